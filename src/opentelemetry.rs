//! Metrics by the API of [`opentelemetry`] 0.33 (feature `opentelemetry`).
//!
//! | name | instrument, unit | attributes |
//! |---|---|---|
//! | `hyper.server.connection.count` | observable UpDownCounter, `{connection}` | `http.connection.state`: new, active, idle, hijacked; `network.protocol.version`, once it is known |
//! | `hyper.server.connection.accepted` | observable Counter, `{connection}` | |
//! | `hyper.server.connection.closed` | observable Counter, `{connection}` | `hyper.connection.close_reason`: [`CloseReason::as_str`]; `http.connection.state` before the end |
//! | `hyper.server.connection.duration` | Histogram, `s` | `error.type`: [`Conn::error_type`], absent where it ended well; `network.protocol.version` |
//! | `hyper.server.connection.refused` | observable Counter, `{connection}` | `hyper.connection.limit`: [`Limit::as_str`](crate::Limit::as_str) |
//! | `hyper.server.connection.expired` | observable Counter, `{connection}` | `hyper.connection.policy`: [`Policy::as_str`](crate::Policy::as_str) |
//! | `hyper.server.tls_handshake.count` | observable UpDownCounter, `{handshake}` | |
//! | `hyper.server.tls_handshake.duration` | Histogram, `s` | `error.type`, absent where it completed; `tls.protocol.version`, where it is known ([`Conn::tls_version`]) |
//! | `hyper.server.accept.errors` | observable Counter, `{error}` | `error.type`: lost, exhausted, fatal |
//!
//! All have `server.address`, `server.port` and `network.transport`. None has
//! the client's address: an attribute has to have few values.
//!
//! Nothing is counted when a state changes. What is observed is read from
//! [`Connections::stats`] when the exporter asks, and begins at zero;
//! histograms record once, at the end of a connection or handshake.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use hyper_connstate::opentelemetry::ConnMetrics;
//! use hyper_connstate::{Connections, instrument_listener};
//! use tokio::net::TcpListener;
//!
//! // With the SDK's provider set before.
//! let meter = opentelemetry::global::meter("my-server");
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let connections = Connections::new();
//! let metrics = ConnMetrics::new(&meter, &connections, listener.local_addr()?);
//! // A hook of your own goes beside it: `(metrics, hook)`.
//! let listener = instrument_listener(listener, metrics).with_connections(connections);
//! # drop(listener);
//! # Ok(())
//! # }
//! ```
//!
//! [`opentelemetry`]: https://docs.rs/opentelemetry/0.33

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ::opentelemetry::KeyValue;
use ::opentelemetry::metrics::{Histogram, Meter};

use crate::telemetry::{self, Attribute, Instrument, ServerAttributes};
use crate::{
    Address, CloseReason, Conn, ConnState, ConnStats, Connections, HandshakeOutcome, Hook,
    WeakConnections,
};

/// Metrics of a registry's connections; see [the module](self).
///
/// It is a hook, for the histograms. What is observed goes on being observed
/// without it, until the registry is gone.
#[derive(Clone)]
pub struct ConnMetrics(Arc<Inner>);

struct Inner {
    server: Vec<KeyValue>,
    duration: Histogram<f64>,
    handshake_duration: Histogram<f64>,
}

impl ConnMetrics {
    /// Makes the instruments.
    ///
    /// Call it once for each registry; `local_addr` is what its listener
    /// listens on, or [`Address::Unknown`] if it has several.
    pub fn new(meter: &Meter, connections: &Connections, local_addr: impl Into<Address>) -> Self {
        let server = server_attributes(ServerAttributes::from(local_addr.into()));
        let observed = Arc::new(Observed {
            connections: connections.downgrade(),
            server: server.clone(),
            last: Mutex::default(),
        });
        for instrument in Instrument::ALL {
            observe(meter, instrument, observed.clone());
        }
        let histogram = |histogram: telemetry::Histogram| {
            let builder = meter.f64_histogram(histogram.name).with_unit("s");
            let builder = builder.with_description(histogram.description);
            builder.with_boundaries(histogram.buckets.to_vec()).build()
        };
        Self(Arc::new(Inner {
            server,
            duration: histogram(telemetry::CONNECTION_DURATION),
            handshake_duration: histogram(telemetry::HANDSHAKE_DURATION),
        }))
    }
}

impl Hook for ConnMetrics {
    fn on_state(&self, _conn: &Conn, _state: ConnState) {}

    fn on_end(&self, conn: &Conn, _reason: CloseReason) {
        let attributes = attributes(telemetry::end_attributes(conn), &self.0.server);
        self.0.duration.record(conn.age().as_secs_f64(), &attributes);
    }

    fn on_handshake(&self, conn: &Conn, outcome: HandshakeOutcome) {
        let own = telemetry::handshake_attributes(conn, outcome);
        let attributes = attributes(own, &self.0.server);
        self.0.handshake_duration.record(outcome.duration.as_secs_f64(), &attributes);
    }
}

impl fmt::Debug for ConnMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnMetrics").field("server", &self.0.server).finish_non_exhaustive()
    }
}

/// What the callbacks observe. They are never let go of, and so must not keep
/// the registry.
struct Observed {
    connections: WeakConnections,
    server: Vec<KeyValue>,
    last: Mutex<Option<Snapshot>>,
}

/// Numbers that each instrument takes once: those of one export are of one
/// moment, and the connections are looked at once.
struct Snapshot {
    stats: Arc<ConnStats>,
    taken_by: [bool; Instrument::ALL.len()],
}

impl Observed {
    /// The numbers for this instrument; `None` when the registry is gone.
    fn take(&self, instrument: Instrument) -> Option<Arc<ConnStats>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = match &mut *last {
            // An instrument that asks again begins another export.
            Some(snapshot) if !snapshot.taken_by[instrument as usize] => snapshot,
            last => {
                *last = None;
                let stats = Arc::new(self.connections.upgrade()?.stats());
                last.insert(Snapshot { stats, taken_by: Default::default() })
            }
        };
        snapshot.taken_by[instrument as usize] = true;
        Some(snapshot.stats.clone())
    }

    fn each(&self, instrument: Instrument, mut give: impl FnMut(u64, &[KeyValue])) {
        let Some(stats) = self.take(instrument) else { return };
        telemetry::observe(&stats, |of, own, value| {
            if of == instrument {
                give(value, &attributes(own.iter().copied(), &self.server));
            }
        });
    }
}

/// Has the numbers of an instrument observed.
fn observe(meter: &Meter, instrument: Instrument, observed: Arc<Observed>) {
    let (name, unit) = (instrument.name(), instrument.unit());
    // The instruments themselves are of no use: their callbacks stay with the
    // meter.
    if instrument.is_gauge() {
        let builder = meter.i64_observable_up_down_counter(name).with_unit(unit);
        let _ = builder
            .with_description(instrument.description())
            .with_callback(move |observer| {
                observed.each(instrument, |value, attributes| {
                    observer.observe(i64::try_from(value).unwrap_or(i64::MAX), attributes);
                });
            })
            .build();
    } else {
        let builder = meter.u64_observable_counter(name).with_unit(unit);
        let _ = builder
            .with_description(instrument.description())
            .with_callback(move |observer| {
                observed.each(instrument, |value, attributes| observer.observe(value, attributes));
            })
            .build();
    }
}

fn attributes(own: impl Iterator<Item = Attribute>, server: &[KeyValue]) -> Vec<KeyValue> {
    let own = own.map(|(name, value)| KeyValue::new(name, value));
    own.chain(server.iter().cloned()).collect()
}

fn server_attributes(server: ServerAttributes) -> Vec<KeyValue> {
    let address = server.address.map(|address| KeyValue::new(ServerAttributes::ADDRESS, address));
    let port = server.port.map(|port| KeyValue::new(ServerAttributes::PORT, i64::from(port)));
    let transport =
        server.transport.map(|transport| KeyValue::new(ServerAttributes::TRANSPORT, transport));
    [address, port, transport].into_iter().flatten().collect()
}
