//! 10,000 connections at once, all idle: they are counted and listed, and end
//! once each when idle ones are closed, and when the server shuts down.

use std::sync::Arc;
use std::time::Duration;

use hyper_connstate::{ConnState, Connections, Protocol};

use crate::alone;
use crate::checker::Checker;
use crate::clients::Client;
use crate::process::{Clients, Orders, ServerAt, room_for, say, wait};
use crate::support::frames::*;
use crate::support::{Kind, Recorder, Server};

const CONNECTIONS: usize = 10_000;
/// Every fourth speaks HTTP/2.
const HTTP2: usize = 4;

/// The clients' process.
#[test]
#[ignore = "started by the tests below, in a process of its own"]
fn clients() {
    let Some(Orders { servers, count, .. }) = Orders::given() else { return };
    assert_eq!(room_for(count), count);
    let client = |index| {
        let mut client = Client::connect(servers[0]);
        if index % HTTP2 == 0 {
            client.send([opening(), settings_ack(), get(1, "/")].concat());
            client.streams_end(1).unwrap();
        } else {
            client.get("/");
            assert_eq!(client.response(), Some(200));
        }
        client
    };
    let clients: Vec<_> = (0..count).map(client).collect();
    say("answered", clients.len());
    wait();

    // One after the other: each ends when the server has closed it.
    let closed = clients.into_iter().map(|mut client| client.rest());
    say("closed", closed.count());
}

/// A server with so many idle connections.
struct Held {
    server: Server,
    checker: Arc<Checker>,
    clients: Clients,
    count: usize,
}

impl Held {
    async fn start(kind: Kind) -> Self {
        let count = room_for(CONNECTIONS);
        let checker = Arc::new(Checker::new(count));
        let server =
            Server::start_with(kind, Recorder::default(), checker.clone(), |http| http).await;
        let servers = vec![ServerAt { addr: server.addr, tls: false }];
        let mut clients = Orders { servers, count, seed: 0 }.start("held_idle::clients");
        let (answered, clients) = tokio::task::spawn_blocking(move || {
            let answered = clients.hear("answered");
            (answered, clients)
        })
        .await
        .unwrap();
        assert_eq!(answered, count);

        let held = Self { server, checker, clients, count };
        // The last clients were answered just now.
        held.until(|connections| connections.counts().idle == count).await;
        held
    }

    /// A watchdog ends it if that takes too long.
    async fn until(&self, condition: impl Fn(&Connections) -> bool) {
        while !condition(&self.server.connections) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn assert_all_idle(&self) {
        let connections = &self.server.connections;
        let counts = connections.counts();
        assert_eq!((counts.idle, counts.total()), (self.count, self.count));
        assert_eq!(connections.len(), self.count);

        let snapshot = connections.snapshot();
        assert_eq!(snapshot.len(), self.count);
        assert!(snapshot.iter().all(|conn| conn.state == ConnState::Idle));
        assert!(snapshot.iter().all(|conn| conn.requests == 1));
        let http2 = snapshot.iter().filter(|conn| conn.protocol == Protocol::Http2);
        assert_eq!(http2.count(), self.count.div_ceil(HTTP2));
    }

    /// The clients find themselves closed.
    async fn assert_all_closed(mut self) {
        self.clients.go_on();
        let closed = tokio::task::spawn_blocking(move || {
            let closed = self.clients.hear("closed");
            self.clients.join();
            closed
        });
        assert_eq!(closed.await.unwrap(), self.count);
        let (checker, count) = (self.checker, self.count);
        let connections = self.server.connections;
        while !connections.is_empty() || checker.unfinished() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        checker.assert_all_ended();
        // HTTP/2 connections are idle before their request as well.
        let idle = count + count.div_ceil(HTTP2);
        for (state, expected) in [
            (ConnState::New, count),
            (ConnState::Active, idle),
            (ConnState::Idle, idle),
            (ConnState::Closed, count),
        ] {
            assert_eq!(checker.count(state), expected, "{state}");
        }
    }
}

async fn close_idle(kind: Kind) {
    let held = Held::start(kind).await;
    held.assert_all_idle();
    assert_eq!(held.server.connections.close_idle(), held.count);
    held.assert_all_closed().await;
}

async fn drain(kind: Kind) {
    let held = Held::start(kind).await;
    held.assert_all_idle();
    let connections = held.server.connections.clone();
    let drain = tokio::spawn(async move { connections.drain(Duration::from_secs(250)).await });
    let count = held.count;
    held.assert_all_closed().await;
    let drained = drain.await.unwrap();
    assert_eq!((drained.drained, drained.forced, drained.hijacked), (count, 0, 0));
}

/// One after the other: together they would have too many files open.
#[test]
fn ten_thousand_held_idle() {
    let _alone = alone();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        close_idle(Kind::Tower).await;
        drain(Kind::Hyper).await;
        #[cfg(feature = "serve")]
        drain(Kind::Serve).await;
    });
}
