//! Every metric, after traffic of known shape, as Prometheus and OpenTelemetry
//! get it.

use std::time::Duration;

use hyper_connstate::{CloseReason, Connections, Limit, Policies, Policy};
use tokio::net::TcpStream;

use super::export::{Exporters, Series, builder, key, series_of};
use crate::support::frames::{get, opening};
use crate::support::{Kind, Peer, Recorder, Server, quiet_panics, settle};

const COUNT: &str = "hyper_server_connection_count";
const ACCEPTED: &str = "hyper_server_connection_accepted_total";
const CLOSED: &str = "hyper_server_connection_closed_total";
const DURATION: &str = "hyper_server_connection_duration_seconds";
const HANDSHAKES: &str = "hyper_server_tls_handshake_count";
const HANDSHAKE_DURATION: &str = "hyper_server_tls_handshake_duration_seconds";
const REFUSED: &str = "hyper_server_connection_refused_total";
const EXPIRED: &str = "hyper_server_connection_expired_total";
const ACCEPT_ERRORS: &str = "hyper_server_accept_errors_total";

/// A server and what is said of it.
struct Observed<'a> {
    server: Server,
    exporters: &'a Exporters,
    metrics: super::export::Both,
}

impl<'a> Observed<'a> {
    async fn start(kind: Kind, exporters: &'a Exporters) -> Self {
        let recorder = Recorder::default();
        let mut metrics = None;
        let hook = |connections: &Connections, addr| {
            let both = metrics.insert(exporters.metrics(connections, addr));
            (recorder.clone(), both.clone())
        };
        let server = Server::start_observed(kind, recorder.clone(), hook, |http| http).await;
        Self { server, exporters, metrics: metrics.unwrap() }
    }

    /// What both exporters say of this server: the same.
    fn series(&self) -> Series {
        self.metrics.facade.collect();
        let mine = format!("server_port=\"{}\"", self.server.addr.port());
        let of_mine = |mut series: Series| {
            series.retain(|key, _| key.contains(&mine));
            series
        };
        let (prometheus, otel) =
            (of_mine(self.exporters.prometheus()), of_mine(self.exporters.otel()));
        for (key, value) in &prometheus {
            let other = otel.get(key).unwrap_or_else(|| panic!("OpenTelemetry has no {key}"));
            assert!((value - other).abs() < 1e-6, "{key}: {value} and {other}");
        }
        assert_eq!(prometheus.len(), otel.len(), "{prometheus:#?}\n{otel:#?}");
        prometheus
    }

    #[track_caller]
    fn assert(&self, series: &Series, name: &str, labels: &[(&str, &str)], expected: f64) {
        let port = self.server.addr.port().to_string();
        let server = [
            ("server_address", "127.0.0.1"),
            ("server_port", port.as_str()),
            ("network_transport", "tcp"),
        ];
        let key = key(name, &[labels, &server].concat());
        let value = series.get(&key).unwrap_or_else(|| panic!("no {key} in {series:#?}"));
        assert_eq!(*value, expected, "{key} in {series:#?}");
    }

    #[track_caller]
    fn assert_closed(&self, series: &Series, reason: CloseReason, before: &str, expected: u64) {
        let labels =
            [("hyper_connection_close_reason", reason.as_str()), ("http_connection_state", before)];
        self.assert(series, CLOSED, &labels, expected as f64);
    }

    /// The sum of a metric over all its labels.
    fn total(&self, series: &Series, name: &str) -> f64 {
        let prefix = format!("{name}{{");
        series.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, value)| value).sum()
    }

    async fn raw(&self) -> Peer {
        let tcp = TcpStream::connect(self.server.addr).await.unwrap();
        let client = tcp.local_addr().unwrap().to_string();
        Peer::new(tcp, client, self.server.kind, self.server.recorder.clone())
    }
}

const STATE: &str = "http_connection_state";
const VERSION: &str = "network_protocol_version";
const H1: (&str, &str) = (VERSION, "1.1");
const H2: (&str, &str) = (VERSION, "2");

#[tokio::test(start_paused = true)]
async fn every_metric_after_traffic_of_known_shape() {
    quiet_panics();
    let exporters = Exporters::new();
    let _recorder = metrics::set_default_local_recorder(&exporters.prometheus);
    // All at once: one exporter has several servers.
    let mut servers = Vec::new();
    for kind in Kind::all() {
        servers.push(Observed::start(kind, &exporters).await);
    }
    for observed in &servers {
        zeros_from_the_start(observed);
    }
    for observed in &servers {
        traffic(observed).await;
    }
    for observed in &servers {
        chaos(observed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_policies_and_limits_do() {
    let exporters = Exporters::new();
    let _recorder = metrics::set_default_local_recorder(&exporters.prometheus);
    for kind in Kind::all() {
        let observed = Observed::start(kind, &exporters).await;
        let server = &observed.server;
        let policies = Policies::new().max_connections(1).refuse_when_full(true).max_requests(1);
        server.connections.set_policies(policies);
        let mut served = server.connect().await;
        served.get("/").await;
        assert!(served.response().await.head.starts_with("HTTP/1.1 200"));
        // Its place is taken until it has gone.
        let refused = observed.raw().await;
        settle().await;
        drop(refused);
        served.rest().await;
        served.close().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        settle().await;
        let series = observed.series();
        observed.assert(&series, EXPIRED, &[("hyper_connection_policy", "max_requests")], 1.0);
        observed.assert(&series, REFUSED, &[("hyper_connection_limit", "max_connections")], 1.0);
        let stats = server.connections.stats();
        assert_eq!(stats.expired.of(Policy::MaxRequests), 1);
        assert_eq!(stats.refused.of(Limit::MaxConnections), 1);
        assert_eq!((stats.expired.total(), stats.refused.total()), (1, 1));
        assert_eq!(stats.closed.of(CloseReason::Refused), 1);
        assert_eq!(stats.closed.of(CloseReason::MaxRequests), 1);
    }
}

fn zeros_from_the_start(observed: &Observed<'_>) {
    let series = observed.series();
    assert!(series.values().all(|value| *value == 0.0), "{series:#?}");
    for state in ["new", "active", "idle", "hijacked"] {
        observed.assert(&series, COUNT, &[(STATE, state)], 0.0);
        observed.assert(&series, COUNT, &[(STATE, state), H1], 0.0);
        observed.assert(&series, COUNT, &[(STATE, state), H2], 0.0);
        for reason in CloseReason::ALL {
            observed.assert_closed(&series, *reason, state, 0);
        }
    }
    for policy in Policy::ALL {
        let labels = [("hyper_connection_policy", policy.as_str())];
        observed.assert(&series, EXPIRED, &labels, 0.0);
    }
    for limit in Limit::ALL {
        observed.assert(&series, REFUSED, &[("hyper_connection_limit", limit.as_str())], 0.0);
    }
    observed.assert(&series, ACCEPTED, &[], 0.0);
    observed.assert(&series, HANDSHAKES, &[], 0.0);
    for error in ["lost", "exhausted", "fatal"] {
        observed.assert(&series, ACCEPT_ERRORS, &[("error_type", error)], 0.0);
    }
}

/// One connection in each state, which end in good order three seconds later.
async fn traffic(observed: &Observed<'_>) {
    let server = &observed.server;
    let tls = server.kind.is_tls();
    let new = server.connect().await;
    new.sees("new").await;
    let mut active = server.connect().await;
    active.get("/wait/metrics").await;
    active.sees("new active").await;
    let mut idle = server.connect().await;
    idle.get("/").await;
    idle.sees("new active idle").await;
    let mut http2 = server.connect_alpn("h2").await;
    http2.send([opening(), get(1, "/")].concat()).await;
    http2.sees("new active idle active idle").await;
    let mut hijacked = server.connect().await;
    hijacked.send("CONNECT test:443 HTTP/1.1\r\nhost: test:443\r\n\r\n").await;
    hijacked.sees("new active hijacked").await;

    let series = observed.series();
    observed.assert(&series, COUNT, &[(STATE, "new")], 1.0);
    observed.assert(&series, COUNT, &[(STATE, "active"), H1], 1.0);
    observed.assert(&series, COUNT, &[(STATE, "idle"), H1], 1.0);
    observed.assert(&series, COUNT, &[(STATE, "idle"), H2], 1.0);
    observed.assert(&series, COUNT, &[(STATE, "hijacked"), H1], 1.0);
    assert_eq!(observed.total(&series, COUNT), 5.0);
    observed.assert(&series, ACCEPTED, &[], 5.0);
    assert_eq!(observed.total(&series, CLOSED), 0.0);
    let handshakes = observed.total(&series, &format!("{HANDSHAKE_DURATION}_count"));
    assert_eq!(handshakes, if tls { 5.0 } else { 0.0 });
    if tls {
        // A loop of one's own does not say the version.
        let version: &[_] = if format!("{:?}", server.kind).starts_with("Serve") {
            &[("tls_protocol_version", "1.3")]
        } else {
            &[]
        };
        observed.assert(&series, &format!("{HANDSHAKE_DURATION}_count"), version, 5.0);
    }

    tokio::time::sleep(Duration::from_secs(3)).await;
    crate::support::handler::released("metrics").notify_one();
    active.sees("idle").await;
    for mut peer in [new, active, idle, http2, hijacked] {
        peer.half_close().await;
        settle().await;
    }

    let series = observed.series();
    assert_eq!(observed.total(&series, COUNT), 0.0);
    observed.assert_closed(&series, CloseReason::PeerClosed, "new", 1);
    observed.assert_closed(&series, CloseReason::PeerClosed, "idle", 3);
    observed.assert_closed(&series, CloseReason::PeerClosed, "hijacked", 1);
    assert_eq!(observed.total(&series, CLOSED), 5.0);
    for (labels, count) in [(&[][..], 1.0), (&[H1], 3.0), (&[H2], 1.0)] {
        observed.assert(&series, &format!("{DURATION}_count"), labels, count);
        let bucket = format!("{DURATION}_bucket");
        for (bound, expected) in [("2", 0.0), ("5", count), ("300", count), ("+Inf", count)] {
            observed.assert(&series, &bucket, &[labels, &[("le", bound)]].concat(), expected);
        }
    }
    assert_eq!(observed.total(&series, &format!("{DURATION}_count")), 5.0);
}

/// Whatever happens to connections, no gauge is left up.
async fn chaos(observed: &Observed<'_>) {
    let server = &observed.server;
    let before = observed.series();
    let mut accepted = 0;

    let mut panics = server.connect().await;
    panics.get("/panic-late").await;
    panics.sees("new active closed").await;
    let mut reset = server.connect().await;
    reset.get("/slow").await;
    reset.sees("new active").await;
    reset.reset().await;
    reset.sees("closed").await;
    let mut bogus = server.connect().await;
    bogus.send("BOGUS REQUEST\r\n\r\n").await;
    bogus.sees("new active closed").await;
    let mut hijacked = server.connect().await;
    hijacked.send("CONNECT held:443 HTTP/1.1\r\nhost: held:443\r\n\r\n").await;
    hijacked.sees("new active hijacked").await;
    let mut http2 = server.connect_alpn("h2").await;
    http2.send([opening(), get(1, "/slow"), get(3, "/panic")].concat()).await;
    settle().await;
    let program = server.connect().await;
    program.sees("new").await;
    accepted += 6;

    if server.kind.is_tls() {
        // One that is no TLS, and one that is given up in the middle.
        let mut plain = observed.raw().await;
        plain.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        plain.sees("new closed").await;
        let mut silent = observed.raw().await;
        silent.sees("new").await;
        let series = observed.series();
        observed.assert(&series, HANDSHAKES, &[], 1.0);
        silent.reset().await;
        silent.sees("closed").await;
        let series = observed.series();
        observed.assert(&series, HANDSHAKES, &[], 0.0);
        let labels = [("error_type", "tls_handshake_failed")];
        observed.assert(&series, &format!("{HANDSHAKE_DURATION}_count"), &labels, 2.0);
        observed.assert(&series, &format!("{DURATION}_count"), &labels, 2.0);
        observed.assert_closed(&series, CloseReason::HandshakeFailed, "new", 2);
        accepted += 2;
    }

    hijacked.conn().close();
    program.conn().close();
    http2.conn().close();
    tokio::time::sleep(Duration::from_secs(1)).await;

    let series = observed.series();
    for gauge in [COUNT, HANDSHAKES] {
        let prefix = format!("{gauge}{{");
        let left = series.iter().filter(|(key, value)| key.starts_with(&prefix) && **value != 0.0);
        assert_eq!(left.collect::<Vec<_>>(), [], "{:?}", server.kind);
    }
    let added = |name| observed.total(&series, name) - observed.total(&before, name);
    assert_eq!((added(ACCEPTED), added(CLOSED)), (f64::from(accepted), f64::from(accepted)));
    assert_eq!(added(&format!("{DURATION}_count")), f64::from(accepted));
    for (reason, state) in [
        (CloseReason::HandlerPanicked, "active"),
        (CloseReason::PeerReset, "active"),
        (CloseReason::ProtocolError, "active"),
        (CloseReason::ClosedByProgram, "hijacked"),
        (CloseReason::ClosedByProgram, "active"),
        (CloseReason::ClosedByProgram, "new"),
    ] {
        observed.assert_closed(&series, reason, state, 1);
    }
    for (error, count) in [
        ("handler_panicked", 1.0),
        ("connection_reset", 1.0),
        ("protocol_error", 1.0),
        // Of the hijacked connection; the new one was closed in good order.
        ("aborted_by_app", 1.0),
    ] {
        let labels = [("error_type", error), H1];
        observed.assert(&series, &format!("{DURATION}_count"), &labels, count);
    }
    let labels = [("error_type", "aborted_by_app"), H2];
    observed.assert(&series, &format!("{DURATION}_count"), &labels, 1.0);
}

/// Of a server that has no address.
#[cfg(feature = "serve")]
#[tokio::test(start_paused = true)]
async fn accept_errors() {
    use hyper_connstate::{Address, instrument_listener, metrics::ConnMetrics, serve};

    let exporters = Exporters::new();
    let _recorder = metrics::set_default_local_recorder(&exporters.prometheus);
    let connections = Connections::new();
    let metrics = ConnMetrics::new(&connections, Address::Unknown);
    let listener = instrument_listener(super::stats::Fails::default(), metrics.clone());
    let listener = listener.with_connections(connections.clone());
    let service = tower::service_fn(crate::support::server::handle_incoming);
    serve(listener, service).await.unwrap_err();
    metrics.collect();
    drop(connections);
    let series = exporters.prometheus();
    let errors = series.iter().filter(|(key, _)| key.starts_with(ACCEPT_ERRORS));
    let errors: Vec<_> = errors.map(|(key, count)| (key.as_str(), *count)).collect();
    assert_eq!(
        errors,
        [
            ("hyper_server_accept_errors_total{error_type=\"exhausted\"}", 1.0),
            ("hyper_server_accept_errors_total{error_type=\"fatal\"}", 1.0),
            ("hyper_server_accept_errors_total{error_type=\"lost\"}", 2.0),
        ]
    );
}

/// What exporters never let go of does not keep the registry.
#[tokio::test(start_paused = true)]
async fn when_the_server_is_gone() {
    use hyper_connstate::{Address, ConnIo};

    let exporters = Exporters::new();
    let _recorder = metrics::set_default_local_recorder(&exporters.prometheus);
    let connections = Connections::new();
    let weak = connections.downgrade();
    let both = exporters.metrics(&connections, "127.0.0.1:1".parse().unwrap());
    let io = ConnIo::new(tokio::io::empty(), Address::Unknown, Address::Unknown, both.clone());
    connections.insert(io.conn());
    both.facade.collect();
    let count =
        |series: Series| series.iter().find(|(_, v)| **v == 1.0).map(|(key, _)| key.clone());
    assert!(count(exporters.prometheus()).is_some());
    assert!(count(exporters.otel()).is_some());
    drop((io, connections));
    assert!(weak.upgrade().is_none());

    both.facade.collect();
    let series = exporters.prometheus();
    assert!(series.iter().all(|(key, value)| !key.starts_with(COUNT) || *value == 0.0));
    let accepted = series.iter().find(|(key, _)| key.starts_with(ACCEPTED));
    assert_eq!(accepted.map(|(_, value)| *value), Some(1.0), "a counter does not fall");
    let series = exporters.otel();
    assert!(!series.keys().any(|key| key.starts_with(COUNT)), "{series:#?}");
}

/// An exporter that adds suffixes by itself adds none twice.
#[test]
fn names_are_those_that_prometheus_recommends() {
    let recommended = builder().with_recommended_naming(true).build_recorder();
    let plain = builder().build_recorder();
    let names = |recorder: metrics_exporter_prometheus::PrometheusRecorder| {
        metrics::with_local_recorder(&recorder, || {
            let connections = Connections::new();
            let addr: std::net::SocketAddr = "[::1]:8080".parse().unwrap();
            let _metrics = hyper_connstate::metrics::ConnMetrics::new(&connections, addr);
            let name = hyper_connstate::metrics::CONNECTION_DURATION;
            metrics::histogram!(name, "x" => "y").record(1.0);
        });
        let page = recorder.handle().render();
        assert!(page.contains("# HELP hyper_server_connection_count Connections that are there"));
        assert!(page.contains("server_address=\"::1\",server_port=\"8080\""), "{page}");
        let names = series_of(&page).into_keys();
        names.map(|key| key.split('{').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(recommended), names(plain));
}
