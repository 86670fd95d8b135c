//! The event at the end of each connection, and the span around it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::support::frames::{get, opening};
use crate::support::{Kind, Server, quiet_panics, settle};

const TARGET: &str = "hyper_connstate::connection";

type Fields = BTreeMap<&'static str, String>;

/// An event, and the span that it was in.
struct Seen {
    level: Level,
    fields: Fields,
    span: Option<u64>,
}

/// A span, from its beginning to its end.
#[derive(Clone, Default)]
struct SeenSpan {
    name: &'static str,
    id: u64,
    fields: Fields,
    parent: Option<u64>,
    follows: Vec<u64>,
    closed: bool,
}

#[derive(Default)]
struct Trace {
    /// Of this crate.
    events: Vec<Seen>,
    /// Of the test's handlers.
    handlers: Vec<Option<u64>>,
    spans: Vec<SeenSpan>,
}

/// Collects what is said on the test's thread.
#[derive(Clone, Default)]
struct Log {
    trace: Arc<Mutex<Trace>>,
    panics: bool,
}

struct Collect<'a>(&'a mut Fields);

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Collect(&mut fields));
        let parent = ctx.span(id).unwrap().parent().map(|parent| parent.id().into_u64());
        let name = attributes.metadata().name();
        let span = SeenSpan { name, id: id.into_u64(), fields, parent, ..Default::default() };
        self.trace.lock().unwrap().spans.push(span);
    }

    fn on_follows_from(&self, span: &span::Id, follows: &span::Id, _: Context<'_, S>) {
        self.with_span(span, |span| span.follows.push(follows.into_u64()));
    }

    fn on_close(&self, id: span::Id, _: Context<'_, S>) {
        self.with_span(&id, |span| span.closed = true);
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let span = ctx.event_span(event).map(|span| span.id().into_u64());
        let metadata = event.metadata();
        let mut trace = self.trace.lock().unwrap();
        if metadata.target() == "handler" {
            trace.handlers.push(span);
        } else if metadata.target().starts_with("hyper_connstate") {
            let mut fields = Fields::new();
            event.record(&mut Collect(&mut fields));
            // The others are diagnostics.
            if metadata.target() == TARGET {
                trace.events.push(Seen { level: *metadata.level(), fields, span });
            }
            drop(trace);
            assert!(!self.panics, "a subscriber's panic (wanted)");
        }
    }
}

impl Log {
    fn install(&self) -> DefaultGuard {
        tracing::subscriber::set_default(Registry::default().with(self.clone()))
    }

    /// Ids of spans come again when a span is closed: the last one counts.
    fn with_span(&self, id: &span::Id, f: impl FnOnce(&mut SeenSpan)) {
        let mut trace = self.trace.lock().unwrap();
        let id = id.into_u64();
        f(trace.spans.iter_mut().rev().find(|span| span.id == id).unwrap());
    }

    fn events(&self) -> Vec<Seen> {
        std::mem::take(&mut self.trace.lock().unwrap().events)
    }

    /// The spans of this name.
    fn spans(&self, name: &str) -> Vec<SeenSpan> {
        let trace = self.trace.lock().unwrap();
        trace.spans.iter().filter(|span| span.name == name).cloned().collect()
    }
}

#[track_caller]
fn one(events: Vec<Seen>) -> Seen {
    assert_eq!(events.len(), 1);
    events.into_iter().next().unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_event_when_a_connection_is_gone() {
    quiet_panics();
    for kind in Kind::all() {
        let log = Log::default();
        let _guard = log.install();
        let server = Server::start(kind).await;

        let mut peer = server.connect().await;
        for _ in 0..3 {
            peer.get("/").await;
            peer.response().await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(log.events().len(), 0, "{kind:?}: nothing per state or request");
        peer.half_close().await;
        settle().await;
        let mut event = one(log.events());
        assert_eq!(event.level, Level::DEBUG, "{kind:?}");
        let duration: f64 = event.fields["hyper.connection.duration"].parse().unwrap();
        assert!((2.0..4.0).contains(&duration), "{duration}");
        event.fields.remove("hyper.connection.duration");
        let (id, port) = (peer.conn().id().to_string(), peer.address().port().to_string());
        let expected = [
            ("hyper.connection.id", id.as_str()),
            ("network.peer.address", "127.0.0.1"),
            ("network.peer.port", &port),
            ("network.protocol.version", "1.1"),
            ("http.connection.state", "idle"),
            ("hyper.connection.requests", "3"),
            ("hyper.connection.close_reason", "peer_closed"),
            ("message", "connection closed"),
        ];
        let fields: Vec<_> =
            event.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(fields, BTreeMap::from(expected).into_iter().collect::<Vec<_>>(), "{kind:?}");
        assert_eq!(event.span, None, "no span unless it is wanted");

        // Not in good order; over HTTP/2; hijacked, when its owner is done.
        let mut reset = server.connect_alpn("h2").await;
        reset.send([opening(), get(1, "/slow")].concat()).await;
        settle().await;
        reset.reset().await;
        settle().await;
        let event = one(log.events());
        assert_eq!(event.level, Level::INFO, "{kind:?}");
        assert_eq!(event.fields["error.type"], "connection_reset");
        assert_eq!(event.fields["hyper.connection.close_reason"], "peer_reset");
        assert_eq!(event.fields["network.protocol.version"], "2");
        assert_eq!(event.fields["http.connection.state"], "active");

        let mut hijacked = server.connect().await;
        hijacked.send("CONNECT test:443 HTTP/1.1\r\nhost: test:443\r\n\r\n").await;
        hijacked.sees("new active hijacked").await;
        assert_eq!(log.events().len(), 0, "{kind:?}");
        hijacked.half_close().await;
        settle().await;
        let event = one(log.events());
        assert_eq!(event.fields["http.connection.state"], "hijacked");
        assert!(log.spans("connection").is_empty(), "{kind:?}");
    }
}

/// It takes down neither the connection's task nor what comes after.
#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics() {
    quiet_panics();
    let log = Log { panics: true, ..Log::default() };
    let _guard = log.install();
    let server = Server::start(Kind::Tower).await;
    for _ in 0..2 {
        let mut peer = server.connect().await;
        peer.get("/").await;
        peer.response().await;
        peer.close().await;
        peer.sees("new active idle closed").await;
        peer.conn().closed().await;
        one(log.events());
    }
    assert!(server.connections.is_empty());
}

#[cfg(feature = "serve")]
mod spans {
    use axum::body::Body;
    use http::{Request, Response};
    use hyper::body::Incoming;
    use hyper_connstate::{Conn, instrument_listener, serve};

    use super::*;
    use crate::support::server::{dial, handle_incoming, listen};
    use crate::support::{Peer, Recorder};

    /// As a service with a trace layer would have it: each request has a root
    /// span of its own, linked to its connection.
    async fn traced(
        request: Request<Incoming>,
    ) -> Result<Response<Body>, std::convert::Infallible> {
        tracing::info!(target: "handler", "handling");
        let conn = request.extensions().get::<Conn>().unwrap();
        let span = tracing::info_span!(parent: None, "request");
        span.follows_from(conn.span());
        tracing::Instrument::instrument(handle_incoming(request), span).await
    }

    async fn start(spans: bool) -> (Recorder, std::net::SocketAddr) {
        let recorder = Recorder::default();
        let listener = listen();
        let addr = listener.local_addr().unwrap();
        let listener = instrument_listener(listener, recorder.clone()).conn_in_requests(true);
        let server = serve(listener, tower::service_fn(traced)).connection_spans(spans);
        // Not in a span of whoever starts it.
        let around = tracing::info_span!("around");
        tokio::spawn(tracing::Instrument::instrument(server.into_future(), around));
        (recorder, addr)
    }

    async fn connect(recorder: &Recorder, addr: std::net::SocketAddr) -> Peer {
        let tcp = dial(addr).await;
        let client = tcp.local_addr().unwrap().to_string();
        Peer::new(tcp, client, Kind::Serve, recorder.clone())
    }

    #[tokio::test(start_paused = true)]
    async fn connections_live_in_them_and_requests_link_to_them() {
        let log = Log::default();
        let _guard = log.install();
        let (recorder, addr) = start(true).await;
        let mut peer = connect(&recorder, addr).await;
        for _ in 0..2 {
            peer.get("/").await;
            peer.response().await;
        }
        settle().await;

        let [span]: [_; 1] = log.spans("connection").try_into().ok().unwrap();
        let conn = peer.conn();
        assert_eq!(span.fields["hyper.connection.id"], conn.id().to_string());
        assert_eq!(span.fields["network.peer.address"], "127.0.0.1");
        assert_eq!(span.fields["network.peer.port"], peer.address().port().to_string());
        assert_eq!(span.parent, None, "a root");
        assert!(!span.closed);
        assert_eq!(conn.span().id().unwrap().into_u64(), span.id);
        assert_eq!(log.trace.lock().unwrap().handlers, [Some(span.id); 2]);
        let requests = log.spans("request");
        assert_eq!(requests.len(), 2);
        for request in requests {
            assert_eq!((request.parent, request.follows), (None, vec![span.id]));
            assert!(request.closed, "it is complete while the connection goes on");
        }

        peer.close().await;
        peer.sees("new active idle active idle closed").await;
        assert_eq!(one(log.events()).span, Some(span.id));
        assert!(log.spans("connection")[0].closed);
        assert!(conn.span().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn hijacked_ones_go_on_in_theirs() {
        let log = Log::default();
        let _guard = log.install();
        let (recorder, addr) = start(true).await;
        let mut peer = connect(&recorder, addr).await;
        peer.send("CONNECT test:443 HTTP/1.1\r\nhost: test:443\r\n\r\n").await;
        peer.sees("new active hijacked").await;
        let span = log.spans("connection").remove(0);
        assert!(!span.closed);
        peer.half_close().await;
        settle().await;
        assert_eq!(one(log.events()).span, Some(span.id));
        assert!(log.spans("connection")[0].closed);
    }

    #[tokio::test(start_paused = true)]
    async fn none_unless_they_are_wanted() {
        let log = Log::default();
        let _guard = log.install();
        let (recorder, addr) = start(false).await;
        let mut peer = connect(&recorder, addr).await;
        peer.get("/").await;
        peer.response().await;
        settle().await;
        assert!(log.spans("connection").is_empty());
        assert!(peer.conn().span().is_none());
        assert!(log.spans("request")[0].follows.is_empty());
    }
}
