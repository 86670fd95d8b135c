//! What is said when something is set up wrong (feature `tracing`). (A process
//! of its own, because some of it is said once in a process.)
#![cfg(feature = "tracing")]

#[allow(unreachable_pub, unused)]
#[path = "it/support/mod.rs"]
mod support;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hyper_connstate::{Conn, ConnState, ConnStateLayer};
use support::{Kind, Peer, Recorder, Server};
use tower::Service;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Collects the events of this crate.
#[derive(Clone, Default)]
struct Log {
    events: Arc<Mutex<Vec<(Level, String)>>>,
    /// Whether it panics at the next event.
    panics: Arc<AtomicBool>,
}

struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // That connections end is no warning.
        let target = metadata.target();
        target.starts_with("hyper_connstate") && target != "hyper_connstate::connection"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut message = String::new();
        event.record(&mut Message(&mut message));
        self.events.lock().unwrap().push((*event.metadata().level(), message));
        assert!(!self.panics.swap(false, Ordering::Relaxed), "a subscriber's panic (wanted)");
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Log {
    fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

/// Loses every connection before it is accepted.
#[cfg(feature = "serve")]
struct Aborts;

#[cfg(feature = "serve")]
impl hyper_connstate::Accept for Aborts {
    type Io = tokio::io::DuplexStream;
    type Addr = hyper_connstate::Address;

    async fn accept(&mut self) -> std::io::Result<(Self::Io, Self::Addr)> {
        Err(std::io::ErrorKind::ConnectionAborted.into())
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(hyper_connstate::Address::Unknown)
    }
}

/// One test, because the warnings are given once in a process.
#[tokio::test(start_paused = true)]
async fn warnings() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();

    // All is well: nothing is said, also for a request that hyper refuses.
    let server = Server::start(Kind::Tower).await;
    let mut peer = server.connect().await;
    peer.get("/").await;
    peer.sees("new active idle").await;
    peer.send("BOGUS REQUEST\r\n\r\n").await;
    peer.sees("active closed").await;
    let mut peer = server.connect().await;
    peer.send("BOGUS REQUEST\r\n\r\n").await;
    peer.sees("new active closed").await;
    assert_eq!(log.take(), []);

    // No layer: HTTP/2 needs none, HTTP/1 is never idle, and that is said once.
    let server = support::raw::serve_without_layer().await;
    let mut peer = server.connect().await;
    peer.send([support::frames::opening(), support::frames::get(1, "/")].concat()).await;
    peer.sees("new active idle active idle").await;
    let mut peer = server.connect().await;
    peer.send("BOGUS REQUEST\r\n\r\n").await;
    peer.sees("new active closed").await;
    assert_eq!(log.take(), []);
    for expected in [1, 0] {
        let mut peer = server.connect().await;
        peer.get("/").await;
        peer.sees("new active").await;
        peer.response().await;
        peer.get("/").await;
        peer.sees("").await;
        let events = log.take();
        assert_eq!(events.len(), expected);
        for (level, message) in events {
            assert_eq!(level, Level::WARN);
            assert!(message.contains("ConnStateLayer::for_conn(&conn)"), "{message}");
        }
        peer.close().await;
        peer.sees("closed").await;
    }

    // A hook's panic.
    let recorder = Recorder::default();
    let panics = |_: &Conn, _: ConnState| panic!("a hook's panic (wanted)");
    let hook = (recorder.clone(), panics);
    let server = Server::start_with(Kind::Tower, recorder, hook, |builder| builder).await;
    let peer = server.connect().await;
    peer.sees("new").await;
    let levels: Vec<_> = log.take().into_iter().map(|(level, _)| level).collect();
    assert_eq!(levels, [Level::ERROR]);

    // A stream below TLS: said once, and nothing else is said of it.
    let server = support::raw::serve_with(async |io, conn| {
        let Ok(tls) = support::tls::acceptor().accept(io).await else { return };
        let service = hyper::service::service_fn(support::server::handle_incoming);
        let service = ConnStateLayer::for_conn(&conn).layer(service);
        let io = hyper_util::rt::TokioIo::new(tls);
        let _ = support::server::new_builder().serve_connection(io, service).await;
    })
    .await;
    for expected in [1, 0, 0] {
        let tcp = tokio::net::TcpStream::connect(server.addr).await.unwrap();
        let client = tcp.local_addr().unwrap().to_string();
        let stream = support::tls::connect(tcp, "http/1.1").await;
        let mut peer = Peer::new(stream, client, Kind::Tower, server.recorder.clone());
        peer.get("/").await;
        peer.response().await;
        peer.sees("new").await;
        peer.close().await;
        peer.sees("closed").await;
        let events = log.take();
        assert_eq!(events.len(), expected);
        for (level, message) in events {
            assert_eq!(level, Level::WARN);
            assert!(message.contains("carries TLS"), "{message}");
            assert!(message.contains("InstrumentedListener::accept_handshake"), "{message}");
        }
    }

    // A listener that always says the same.
    #[cfg(feature = "serve")]
    {
        let listener = hyper_connstate::instrument_listener(Aborts, ());
        let service = tower::service_fn(support::server::handle_incoming);
        let server = tokio::spawn(hyper_connstate::serve(listener, service).into_future());
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        server.abort();
        let events = log.take();
        assert!((5..20).contains(&events.len()), "{}", events.len());
        for (level, message) in events {
            assert_eq!(level, Level::ERROR);
            assert!(message.starts_with("accepting a connection failed"), "{message}");
        }
    }

    // A layer that cannot find its connection; a subscriber that panics when
    // it is told breaks no request after that.
    let service = tower::service_fn(support::handler::handle);
    let service = ConnStateLayer::new().layer(service);
    for expected in [1, 0, 0] {
        let request = http::Request::get("/").body(axum::body::Body::empty()).unwrap();
        log.panics.store(expected == 1, Ordering::Relaxed);
        let mut service = service.clone();
        let answer = tokio::spawn(async move { service.call(request).await }).await;
        assert_eq!(answer.is_err(), expected == 1);
        if let Ok(answer) = answer {
            assert_eq!(answer.unwrap().status(), 200);
        }
        let events = log.take();
        assert_eq!(events.len(), expected);
        for (level, message) in events {
            assert_eq!(level, Level::WARN);
            assert!(message.contains("into_make_service_with_connect_info::<Conn>()"));
        }
    }
}
