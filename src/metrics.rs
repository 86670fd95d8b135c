//! Metrics by the [`metrics`] facade 0.24 (feature `metrics`), for
//! Prometheus and whatever else has a recorder for it.
//!
//! | name | kind | labels |
//! |---|---|---|
//! | `hyper_server_connection_count` | gauge | `http_connection_state`: new, active, idle, hijacked; `network_protocol_version`, once it is known |
//! | `hyper_server_connection_accepted_total` | counter | |
//! | `hyper_server_connection_closed_total` | counter | `hyper_connection_close_reason`: [`CloseReason::as_str`]; `http_connection_state` before the end |
//! | `hyper_server_connection_duration_seconds` | histogram | `error_type`: [`Conn::error_type`], absent where it ended well; `network_protocol_version` |
//! | `hyper_server_connection_refused_total` | counter | `hyper_connection_limit`: [`Limit::as_str`](crate::Limit::as_str) |
//! | `hyper_server_connection_expired_total` | counter | `hyper_connection_policy`: [`Policy::as_str`](crate::Policy::as_str) |
//! | `hyper_server_tls_handshake_count` | gauge | |
//! | `hyper_server_tls_handshake_duration_seconds` | histogram | `error_type`, absent where it completed; `tls_protocol_version`, where it is known ([`Conn::tls_version`]) |
//! | `hyper_server_accept_errors_total` | counter | `error_type`: lost, exhausted, fatal |
//!
//! All have `server_address`, `server_port` and `network_transport`. None has
//! the client's address: a label has to have few values. With the feature
//! `opentelemetry` the names are the same, written as OpenTelemetry writes them
//! and turned into these on their way to Prometheus.
//!
//! Nothing is counted when a state changes. Gauges and counters are set when
//! [`ConnMetrics::collect`] is called, from [`Connections::stats`], and begin
//! at zero; histograms record once, at the end of a connection or handshake.
//!
//! # Example
//!
//! Collect the numbers before you render a page:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use hyper_connstate::metrics::{self, ConnMetrics};
//! use hyper_connstate::{Connections, instrument_listener};
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! let duration = Matcher::Full(metrics::CONNECTION_DURATION.to_owned());
//! let prometheus = PrometheusBuilder::new()
//!     .set_buckets_for_metric(duration, &metrics::CONNECTION_DURATION_BUCKETS)?
//!     .install_recorder()?;
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let connections = Connections::new();
//! let metrics = ConnMetrics::new(&connections, listener.local_addr()?);
//! // A hook of your own goes beside it: `(metrics.clone(), hook)`.
//! let mut listener =
//!     instrument_listener(listener, metrics.clone()).with_connections(connections);
//!
//! let _client = TcpStream::connect(listener.local_addr()?).await?;
//! let (_io, _conn) = listener.accept().await?;
//! metrics.collect();
//! let page = prometheus.render();
//! let accepted = |line: &str| line.starts_with("hyper_server_connection_accepted_total{");
//! assert!(page.lines().find(|line| accepted(line)).unwrap().ends_with(" 1"));
//! # Ok(())
//! # }
//! ```
//!
//! `examples/metrics.rs` does so in an axum app, and
//! `examples/grafana-dashboard.json` is a dashboard for these names.
//!
//! [`metrics`]: https://docs.rs/metrics/0.24

use std::fmt;
use std::sync::{Arc, OnceLock};

use ::metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Unit, with_recorder};

use crate::telemetry::{self, Attribute, Instrument, ServerAttributes};
use crate::{
    Address, CloseReason, Conn, ConnState, ConnStats, Connections, HandshakeOutcome, Hook,
    WeakConnections,
};

/// The name of the histogram of how long connections have lived.
pub const CONNECTION_DURATION: &str = "hyper_server_connection_duration_seconds";

/// The upper bounds of its buckets, in seconds. The facade leaves buckets to the
/// exporter, which has to be told.
pub const CONNECTION_DURATION_BUCKETS: [f64; 14] = telemetry::CONNECTION_DURATION.buckets;

/// The name of the histogram of how long TLS handshakes have taken.
pub const HANDSHAKE_DURATION: &str = "hyper_server_tls_handshake_duration_seconds";

/// The upper bounds of its buckets, in seconds.
pub const HANDSHAKE_DURATION_BUCKETS: [f64; 14] = telemetry::HANDSHAKE_DURATION.buckets;

/// Metrics of a registry's connections; see [the module](self).
///
/// It is a hook, for the histograms, and a collector, for everything else.
/// Clones share everything.
#[derive(Clone)]
pub struct ConnMetrics(Arc<Inner>);

struct Inner {
    // Weak: this is in the hook, which the registry's connections keep.
    connections: WeakConnections,
    server: Vec<Label>,
    /// In the order in which [`telemetry::observe`] gives the numbers.
    handles: Vec<Handle>,
    durations: Durations,
}

enum Handle {
    Gauge(Gauge),
    Counter(Counter),
}

/// How long connections have lived, by what went wrong and by protocol. They
/// are there when they are first recorded: empty, all of them would fill pages.
type Durations = [[OnceLock<Histogram>; PROTOCOLS]; 1 + CloseReason::ALL.len()];

const PROTOCOLS: usize = 3;

impl ConnMetrics {
    /// Registers the metrics with the process's recorder.
    ///
    /// Install the recorder first: what was registered before is recorded
    /// nowhere. Call it once for each registry; `local_addr` is what its
    /// listener listens on, or [`Address::Unknown`] if it has several.
    pub fn new(connections: &Connections, local_addr: impl Into<Address>) -> Self {
        let server = server_labels(ServerAttributes::from(local_addr.into()));
        describe();
        let mut handles = Vec::new();
        with_recorder(|recorder| {
            telemetry::observe(&ConnStats::default(), |instrument, attributes, _| {
                let key = Key::from_parts(name(instrument), labels(&server, attributes));
                handles.push(if instrument.is_gauge() {
                    Handle::Gauge(recorder.register_gauge(&key, &METADATA))
                } else {
                    Handle::Counter(recorder.register_counter(&key, &METADATA))
                });
            });
        });
        let connections = connections.downgrade();
        let durations = Durations::default();
        let metrics = Self(Arc::new(Inner { connections, server, handles, durations }));
        metrics.collect();
        metrics
    }

    /// Brings gauges and counters up to date. Call it before the metrics are
    /// rendered or pushed.
    ///
    /// It looks at each connection ([`Connections::stats`]). When the registry
    /// is gone, there are no connections and counters keep their last values.
    pub fn collect(&self) {
        let stats = self.0.connections.upgrade().map(|connections| connections.stats());
        let gone = stats.is_none();
        let mut handles = self.0.handles.iter();
        telemetry::observe(&stats.unwrap_or_default(), |_, _, value| match handles.next() {
            Some(Handle::Gauge(gauge)) => gauge.set(value as f64),
            Some(Handle::Counter(counter)) if !gone => counter.absolute(value),
            _ => {}
        });
    }

    fn duration(&self, conn: &Conn, reason: CloseReason) -> &Histogram {
        let error = conn.error_type().map_or(0, |_| 1 + reason.index());
        self.0.durations[error][conn.protocol() as usize].get_or_init(|| {
            let attributes: Vec<_> = telemetry::end_attributes(conn).collect();
            self.histogram(&telemetry::CONNECTION_DURATION, &attributes)
        })
    }

    fn histogram(&self, of: &telemetry::Histogram, attributes: &[Attribute]) -> Histogram {
        let key = Key::from_parts(name_in_seconds(of), labels(&self.0.server, attributes));
        with_recorder(|recorder| recorder.register_histogram(&key, &METADATA))
    }
}

impl Hook for ConnMetrics {
    fn on_state(&self, _conn: &Conn, _state: ConnState) {}

    fn on_end(&self, conn: &Conn, reason: CloseReason) {
        self.duration(conn, reason).record(conn.age());
    }

    fn on_handshake(&self, conn: &Conn, outcome: HandshakeOutcome) {
        let attributes: Vec<_> = telemetry::handshake_attributes(conn, outcome).collect();
        self.histogram(&telemetry::HANDSHAKE_DURATION, &attributes).record(outcome.duration);
    }
}

impl fmt::Debug for ConnMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnMetrics").field("server", &self.0.server).finish_non_exhaustive()
    }
}

static METADATA: Metadata<'static> =
    Metadata::new("hyper_connstate", Level::INFO, Some(module_path!()));

fn describe() {
    with_recorder(|recorder| {
        for instrument in Instrument::ALL {
            // Without a unit: those of counts are no part of a name.
            let (name, description) = (name(instrument).into(), instrument.description().into());
            if instrument.is_gauge() {
                recorder.describe_gauge(name, None, description);
            } else {
                recorder.describe_counter(name, None, description);
            }
        }
        for histogram in [&telemetry::CONNECTION_DURATION, &telemetry::HANDSHAKE_DURATION] {
            let (name, description) = (name_in_seconds(histogram), histogram.description);
            recorder.describe_histogram(name.into(), Some(Unit::Seconds), description.into());
        }
    });
}

/// As Prometheus writes it, and as OpenTelemetry's names are written for it.
fn name(instrument: Instrument) -> String {
    let name = instrument.name().replace('.', "_");
    if instrument.is_gauge() { name } else { name + "_total" }
}

fn name_in_seconds(histogram: &telemetry::Histogram) -> String {
    histogram.name.replace('.', "_") + "_seconds"
}

fn labels(server: &[Label], attributes: &[Attribute]) -> Vec<Label> {
    let own = attributes.iter().map(|(name, value)| Label::new(name.replace('.', "_"), *value));
    own.chain(server.iter().cloned()).collect()
}

fn server_labels(server: ServerAttributes) -> Vec<Label> {
    let label = |name: &str, value: String| Label::new(name.replace('.', "_"), value);
    let address = server.address.map(|address| label(ServerAttributes::ADDRESS, address));
    let port = server.port.map(|port| label(ServerAttributes::PORT, port.to_string()));
    let transport =
        server.transport.map(|transport| label(ServerAttributes::TRANSPORT, transport.to_owned()));
    [address, port, transport].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_are_told() {
        assert_eq!(name_in_seconds(&telemetry::CONNECTION_DURATION), CONNECTION_DURATION);
        assert_eq!(name_in_seconds(&telemetry::HANDSHAKE_DURATION), HANDSHAKE_DURATION);
    }
}
