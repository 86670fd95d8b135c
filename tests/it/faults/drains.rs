//! Drains that are given up, and several at once.

use std::time::Duration;

use hyper_connstate::{
    Address, ConnIo, Connections, Drained, InstrumentedListener, instrument_listener,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::frames::*;
use crate::support::handler::released;
use crate::support::server::{listen, new_builder, serve_connection};
use crate::support::{Kind, Peer, Recorder, Server, settle, start_watchdog};

const TIMEOUT: Duration = Duration::from_secs(30);

fn begin(connections: &Connections) -> JoinHandle<Drained> {
    tokio::spawn(connections.drain(TIMEOUT).into_future())
}

async fn give_up(drain: JoinHandle<Drained>) {
    drain.abort();
    assert!(drain.await.unwrap_err().is_cancelled());
}

async fn says_close(peer: &mut Peer, path: &str) -> bool {
    peer.get(path).await;
    peer.response().await.head.to_ascii_lowercase().contains("connection: close")
}

/// An accept loop that accepts when the test says so.
struct Loop {
    listener: InstrumentedListener<TcpListener>,
    server: Server,
}

impl Loop {
    fn new() -> Self {
        start_watchdog();
        let listener = listen();
        let addr = listener.local_addr().unwrap();
        let recorder = Recorder::default();
        let listener = instrument_listener(listener, recorder.clone());
        let connections = listener.connections();
        Self { listener, server: Server { kind: Kind::Tower, addr, recorder, connections } }
    }

    async fn accept(&mut self) -> Peer {
        let peer = self.server.connect().await;
        let (io, conn) = self.listener.accept().await.unwrap();
        tokio::spawn(async move { serve_connection(&new_builder(), io, &conn).await });
        peer
    }
}

#[tokio::test(start_paused = true)]
async fn later_clients_are_served_again() {
    let mut server = Loop::new();
    let mut early = server.accept().await;
    assert!(!says_close(&mut early, "/").await);
    early.sees("new active idle").await;

    let drain = begin(&server.server.connections);
    settle().await;
    assert!(early.conn().is_draining());
    give_up(drain).await;

    let mut late = server.accept().await;
    for peer in [&mut early, &mut late] {
        settle().await;
        assert!(!peer.conn().is_draining());
        for _ in 0..3 {
            assert!(!says_close(peer, "/").await);
            // Longer than a drain would leave it.
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }
    early.sees("active idle active idle active idle").await;
    late.sees("new active idle active idle active idle").await;
}

/// As a user would do it who gives up with a time-out or a second signal.
#[tokio::test(start_paused = true)]
async fn dropped_in_a_time_out() {
    let mut server = Loop::new();
    let mut peer = server.accept().await;
    peer.get("/wait/drain").await;
    peer.sees("new active").await;
    let drain = server.server.connections.drain(TIMEOUT).into_future();
    assert!(tokio::time::timeout(Duration::from_secs(5), drain).await.is_err());
    assert!(!peer.conn().is_draining());
    released("drain").notify_one();
    let head = peer.response().await.head.to_ascii_lowercase();
    assert!(!head.contains("connection: close"), "{head}");
    peer.sees("idle").await;
}

/// A drain that nobody has awaited has not begun.
#[tokio::test(start_paused = true)]
async fn dropped_before_it_began() {
    let mut server = Loop::new();
    let mut peer = server.accept().await;
    drop(server.server.connections.drain(TIMEOUT));
    drop(server.server.connections.drain(TIMEOUT).into_future());
    assert!(!says_close(&mut peer, "/").await);
    let mut late = server.accept().await;
    assert!(!says_close(&mut late, "/").await);
}

/// Servers whose loop is not the user's: who is there goes on being served.
#[tokio::test(start_paused = true)]
async fn those_who_are_there_are_served_on() {
    for kind in Kind::all() {
        let server = Server::start(kind).await;
        let mut idle = server.connect().await;
        assert!(!says_close(&mut idle, "/").await);
        let mut busy = server.connect().await;
        busy.get("/wait/busy").await;
        idle.sees("new active idle").await;
        busy.sees("new active").await;

        let drain = begin(&server.connections);
        settle().await;
        assert!(idle.conn().is_draining() && busy.conn().is_draining());
        give_up(drain).await;
        assert!(!idle.conn().is_draining() && !busy.conn().is_draining());
        released("busy").notify_one();
        assert!(!busy.response().await.head.to_ascii_lowercase().contains("connection: close"));
        tokio::time::sleep(Duration::from_secs(10)).await;
        for peer in [&mut idle, &mut busy] {
            assert!(!says_close(peer, "/").await, "{kind:?}");
        }
        idle.sees("active idle").await;
        busy.sees("idle active idle").await;
        // The listener stays closed, where somebody has asked it for more.
        assert!(TcpStream::connect(server.addr).await.is_err());
    }
}

/// Over HTTP/2 the client may have been told already; it is served all the
/// same.
#[tokio::test(start_paused = true)]
async fn over_http2() {
    for wait in [Duration::ZERO, Duration::from_millis(500)] {
        let mut server = Loop::new();
        let mut peer = server.accept().await;
        peer.send([opening(), settings_ack(), get(1, "/")].concat()).await;
        peer.end_of_stream(1).await;
        peer.sees("new active idle active idle").await;
        let drain = begin(&server.server.connections);
        tokio::time::sleep(wait).await;
        give_up(drain).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        peer.send(get(3, "/")).await;
        peer.end_of_stream(3).await;
        peer.sees("active idle").await;
        assert!(!peer.conn().is_draining());
    }
}

/// What a connection's own drain has begun is not undone.
#[tokio::test(start_paused = true)]
async fn one_of_its_own_goes_on() {
    for kind in Kind::all() {
        for own_first in [true, false] {
            let server = Server::start(kind).await;
            let mut peer = server.connect().await;
            let mut other = server.connect().await;
            for peer in [&mut peer, &mut other] {
                peer.get("/wait/own").await;
                peer.sees("new active").await;
            }
            if own_first {
                peer.conn().drain();
            }
            let drain = begin(&server.connections);
            settle().await;
            if !own_first {
                peer.conn().drain();
            }
            give_up(drain).await;
            assert!(peer.conn().is_draining() && !other.conn().is_draining());
            settle().await;
            released("own").notify_waiters();
            for (peer, close) in [(&mut peer, true), (&mut other, false)] {
                let head = peer.response().await.head.to_ascii_lowercase();
                assert_eq!(head.contains("connection: close"), close, "{kind:?}");
            }
            peer.sees("closed").await;
            other.sees("idle").await;
        }
    }
}

// === Two at once

#[tokio::test(start_paused = true)]
async fn one_of_two_is_dropped() {
    for kind in Kind::all() {
        for first in [true, false] {
            let server = Server::start(kind).await;
            let mut peer = server.connect().await;
            peer.get("/wait/two").await;
            peer.sees("new active").await;
            let mut drains = vec![begin(&server.connections), begin(&server.connections)];
            settle().await;
            give_up(drains.remove(usize::from(!first))).await;
            assert!(peer.conn().is_draining());
            released("two").notify_one();
            let head = peer.response().await.head.to_ascii_lowercase();
            assert!(head.contains("connection: close"), "{kind:?}");
            let drained = drains.remove(0).await.unwrap();
            assert_eq!((drained.drained, drained.total()), (1, 1), "{kind:?}");
        }
    }
}

/// Each gives the whole result.
#[tokio::test(start_paused = true)]
async fn two_that_end() {
    let server = Server::start(Kind::Tower).await;
    let mut idle = server.connect().await;
    assert!(!says_close(&mut idle, "/").await);
    let mut slow = server.connect().await;
    slow.get("/slow").await;
    slow.sees("new active").await;
    let short = tokio::spawn(server.connections.drain(TIMEOUT / 2).into_future());
    let long = begin(&server.connections);
    for drain in [short, long] {
        let drained = drain.await.unwrap();
        assert_eq!((drained.drained, drained.forced, drained.total()), (1, 1, 2));
    }
}

/// When both are dropped, nobody is drained.
#[tokio::test(start_paused = true)]
async fn both_are_dropped() {
    let mut server = Loop::new();
    let mut peer = server.accept().await;
    assert!(!says_close(&mut peer, "/").await);
    let drains = [begin(&server.server.connections), begin(&server.server.connections)];
    settle().await;
    for drain in drains {
        assert!(peer.conn().is_draining());
        give_up(drain).await;
    }
    assert!(!peer.conn().is_draining());
    let mut late = server.accept().await;
    assert!(!says_close(&mut late, "/").await);
}

/// One that ran to its end goes on for those who still come.
#[tokio::test(start_paused = true)]
async fn one_that_ended_and_one_that_is_dropped() {
    let connections = Connections::new();
    let come = || {
        let stream = tokio::io::duplex(64).1;
        let io = ConnIo::new(stream, Address::Unknown, Address::Unknown, ());
        assert!(connections.insert(io.conn()));
        io
    };
    connections.drain(TIMEOUT).await;
    let late = come();
    assert!(late.conn().is_draining());
    let second = begin(&connections);
    settle().await;
    give_up(second).await;
    assert!(late.conn().is_draining());
    assert!(come().conn().is_draining());
}
