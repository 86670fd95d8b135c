//! What is said when something is set up wrong (feature `tracing`). (A process
//! of its own, because some of it is said once in a process.)
#![cfg(feature = "tracing")]

#[allow(unreachable_pub, unused)]
#[path = "it/support/mod.rs"]
mod support;

use std::fmt;
use std::sync::{Arc, Mutex};

use hyper_connstate::{Conn, ConnState};
use support::{Kind, Recorder, Server};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Collects the events of this crate.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

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
        metadata.target().starts_with("hyper_connstate")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut message = String::new();
        event.record(&mut Message(&mut message));
        self.0.lock().unwrap().push((*event.metadata().level(), message));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Log {
    fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
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

    // A layer that cannot find its connection.
    use tower::Service;
    let service = tower::service_fn(support::handler::handle);
    let mut service = hyper_connstate::ConnStateLayer::new().layer(service);
    for expected in [1, 0] {
        let request = http::Request::get("/").body(axum::body::Body::empty()).unwrap();
        assert_eq!(service.call(request).await.unwrap().status(), 200);
        let events = log.take();
        assert_eq!(events.len(), expected);
        for (level, message) in events {
            assert_eq!(level, Level::WARN);
            assert!(message.contains("into_make_service_with_connect_info::<Conn>()"));
        }
    }
}
