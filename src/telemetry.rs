//! What the metrics are called and what they say, whoever exports them: after
//! OpenTelemetry's semantic conventions.

use crate::{Address, Conn, ConnState, ConnStats, HandshakeOutcome};

/// What is read from [`ConnStats`] when an exporter asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instrument {
    Count,
    Accepted,
    Closed,
    Refused,
    Expired,
    Handshakes,
    AcceptErrors,
}

impl Instrument {
    pub(crate) const ALL: [Self; 7] = [
        Self::Count,
        Self::Accepted,
        Self::Closed,
        Self::Refused,
        Self::Expired,
        Self::Handshakes,
        Self::AcceptErrors,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Count => "hyper.server.connection.count",
            Self::Accepted => "hyper.server.connection.accepted",
            Self::Closed => "hyper.server.connection.closed",
            Self::Refused => "hyper.server.connection.refused",
            Self::Expired => "hyper.server.connection.expired",
            Self::Handshakes => "hyper.server.tls_handshake.count",
            Self::AcceptErrors => "hyper.server.accept.errors",
        }
    }

    #[cfg(feature = "opentelemetry")]
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Handshakes => "{handshake}",
            Self::AcceptErrors => "{error}",
            _ => "{connection}",
        }
    }

    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Count => "Connections that are there, by state",
            Self::Accepted => "Connections that have been accepted",
            Self::Closed => "Connections that have ended, by reason and by the state before",
            Self::Refused => "Connections that a limit has refused",
            Self::Expired => "Connections that a policy has ended",
            Self::Handshakes => "TLS handshakes that are under way",
            Self::AcceptErrors => "Failures to accept a connection",
        }
    }

    /// Whether it can go down.
    pub(crate) const fn is_gauge(self) -> bool {
        matches!(self, Self::Count | Self::Handshakes)
    }
}

/// A histogram of seconds: what is recorded once a connection.
pub(crate) struct Histogram {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    /// Where its buckets end.
    pub(crate) buckets: [f64; 14],
}

/// With Kestrel's buckets.
pub(crate) const CONNECTION_DURATION: Histogram = Histogram {
    name: "hyper.server.connection.duration",
    description: "How long connections have lived, from accepting them to the end of their stream",
    buckets: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0],
};

/// With the buckets that the conventions advise for requests.
pub(crate) const HANDSHAKE_DURATION: Histogram = Histogram {
    name: "hyper.server.tls_handshake.duration",
    description: "How long TLS handshakes have taken",
    buckets: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
};

const STATE: &str = "http.connection.state";
const VERSION: &str = "network.protocol.version";
const REASON: &str = "hyper.connection.close_reason";
const POLICY: &str = "hyper.connection.policy";
const LIMIT: &str = "hyper.connection.limit";
const ERROR: &str = "error.type";
const TLS_VERSION: &str = "tls.protocol.version";

/// An attribute of a measurement. There are few values of each: never a peer's
/// address.
pub(crate) type Attribute = (&'static str, &'static str);

/// Gives each number with its attributes: always the same ones in the same
/// order, those that are zero included.
pub(crate) fn observe(stats: &ConnStats, mut give: impl FnMut(Instrument, &[Attribute], u64)) {
    for (state, protocol, count) in stats.live.iter() {
        let state = (STATE, state_name(state));
        match protocol.version() {
            Some(version) => give(Instrument::Count, &[state, (VERSION, version)], count),
            None => give(Instrument::Count, &[state], count),
        }
    }
    give(Instrument::Accepted, &[], stats.accepted);
    for (reason, before, count) in stats.closed.iter() {
        let reason = (REASON, reason.as_str());
        give(Instrument::Closed, &[reason, (STATE, state_name(before))], count);
    }
    for (limit, count) in stats.refused.iter() {
        give(Instrument::Refused, &[(LIMIT, limit.as_str())], count);
    }
    for (policy, count) in stats.expired.iter() {
        give(Instrument::Expired, &[(POLICY, policy.as_str())], count);
    }
    give(Instrument::Handshakes, &[], stats.handshakes.under_way);
    let errors = &stats.accept_errors;
    let errors = [("lost", errors.lost), ("exhausted", errors.exhausted), ("fatal", errors.fatal)];
    for (error, count) in errors {
        give(Instrument::AcceptErrors, &[(ERROR, error)], count);
    }
}

/// The attributes of a connection's duration.
pub(crate) fn end_attributes(conn: &Conn) -> impl Iterator<Item = Attribute> {
    let error = conn.error_type().map(|error| (ERROR, error));
    let version = conn.protocol().version().map(|version| (VERSION, version));
    error.into_iter().chain(version)
}

/// The attributes of a handshake's duration.
pub(crate) fn handshake_attributes(
    conn: &Conn,
    outcome: HandshakeOutcome,
) -> impl Iterator<Item = Attribute> {
    let error = (!outcome.completed).then_some((ERROR, "tls_handshake_failed"));
    let version = conn.tls_version().map(|version| (TLS_VERSION, version.as_str()));
    error.into_iter().chain(version)
}

/// What the connections of a listener have in common, as attributes of all its
/// measurements.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerAttributes {
    pub(crate) address: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) transport: Option<&'static str>,
}

impl ServerAttributes {
    pub(crate) const ADDRESS: &str = "server.address";
    pub(crate) const PORT: &str = "server.port";
    pub(crate) const TRANSPORT: &str = "network.transport";
}

impl From<Address> for ServerAttributes {
    fn from(address: Address) -> Self {
        match &address {
            Address::Ip(address) => Self {
                address: Some(address.ip().to_string()),
                port: Some(address.port()),
                transport: Some("tcp"),
            },
            #[cfg(unix)]
            Address::Unix(_) => {
                Self { address: Some(address.to_string()), port: None, transport: Some("unix") }
            }
            Address::Unknown => Self::default(),
        }
    }
}

const fn state_name(state: ConnState) -> &'static str {
    match state {
        ConnState::New => "new",
        ConnState::Active => "active",
        ConnState::Idle => "idle",
        ConnState::Hijacked => "hijacked",
        ConnState::Closed => "closed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CloseReason;

    #[test]
    fn every_number_is_given_from_the_start() {
        let mut given = Vec::new();
        observe(&ConnStats::default(), |instrument, attributes, value| {
            assert_eq!(value, 0);
            given.push((instrument, attributes.to_vec()));
        });
        let of = |instrument| given.iter().filter(|(of, _)| *of == instrument).count();
        assert_eq!(of(Instrument::Count), 4 * 3);
        assert_eq!(of(Instrument::Accepted), 1);
        assert_eq!(of(Instrument::Closed), 4 * CloseReason::ALL.len());
        assert_eq!(of(Instrument::Handshakes), 1);
        assert_eq!(of(Instrument::AcceptErrors), 3);
        let count = given.len();
        given.sort_by_key(|given| format!("{given:?}"));
        given.dedup();
        assert_eq!(given.len(), count, "two are told apart by nothing");
    }

    #[test]
    fn servers_have_an_address() {
        let of = |address: Address| {
            let attributes = ServerAttributes::from(address);
            (attributes.address, attributes.port, attributes.transport)
        };
        let ip: std::net::SocketAddr = "[::1]:8080".parse().unwrap();
        assert_eq!(of(ip.into()), (Some("::1".to_owned()), Some(8080), Some("tcp")));
        assert_eq!(of(Address::Unknown), (None, None, None));
        #[cfg(unix)]
        {
            let path = std::os::unix::net::SocketAddr::from_pathname("/run/x").unwrap();
            assert_eq!(of(path.into()), (Some("/run/x".to_owned()), None, Some("unix")));
        }
    }
}
