//! The registry: how many there are, what they are doing, and for how long
//! nobody has been there.

use std::time::Duration;

use hyper_connstate::{Address, ConnIo, ConnState, Connections, Protocol, instrument_listener};
use tokio::time::Instant;

use crate::support::frames::*;
use crate::support::server::listen;
use crate::support::{Kind, Peer, Server, settle};

fn counts(connections: &Connections) -> [usize; 4] {
    let counts = connections.counts();
    assert_eq!(counts.total(), connections.len());
    [counts.new, counts.active, counts.idle, counts.hijacked]
}

async fn one_of_each(server: &Server) -> [Peer; 4] {
    let new = server.connect().await;
    new.sees("new").await;
    let mut active = server.connect().await;
    active.get("/slow").await;
    active.sees("new active").await;
    let mut idle = server.connect_alpn("h2").await;
    idle.send([opening(), get(1, "/")].concat()).await;
    idle.sees("new active idle active idle").await;
    let mut hijacked = server.connect().await;
    let upgrade = "host: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    hijacked.send(format!("GET /upgrade HTTP/1.1\r\n{upgrade}")).await;
    hijacked.sees("new active hijacked").await;
    [new, active, idle, hijacked]
}

#[tokio::test(start_paused = true)]
async fn counts_snapshot_and_get() {
    for kind in Kind::all() {
        let server = Server::start(kind).await;
        let connections = &server.connections;
        assert!(connections.is_empty());
        let [new, active, mut idle, mut hijacked] = one_of_each(&server).await;
        assert_eq!(counts(connections), [1, 1, 1, 1]);

        let snapshot = connections.snapshot();
        assert_eq!(snapshot.len(), 4);
        let entry = snapshot.iter().find(|entry| entry.id == idle.conn().id()).unwrap();
        assert_eq!(entry.state, ConnState::Idle);
        assert_eq!(entry.protocol, Protocol::Http2);
        assert_eq!(entry.requests, 1);
        assert_eq!(entry.remote_addr.to_string(), idle.name());
        assert_eq!(entry.local_addr.socket_addr(), Some(server.addr));
        assert_eq!(entry.state_since, idle.conn().state_since());

        let id = active.conn().id();
        assert_eq!(connections.get(id), Some(active.conn()));
        assert_eq!(connections.iter().count(), 4);

        idle.close().await;
        idle.sees("closed").await;
        assert_eq!(counts(connections), [1, 1, 0, 1]);
        hijacked.close().await;
        hijacked.sees("").await;
        assert_eq!(counts(connections), [1, 1, 0, 0]);
        drop((new, active));
        settle().await;
        assert!(connections.is_empty());
        assert_eq!(connections.get(id), None);
    }
}

#[tokio::test(start_paused = true)]
async fn since_when() {
    let server = Server::start(Kind::Tower).await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    let accepted = peer.conn().accepted_at();
    tokio::time::sleep(Duration::from_secs(7)).await;
    let sent = Instant::now().into_std();
    peer.get("/").await;
    peer.sees("active idle").await;
    let conn = peer.conn();
    assert!(conn.state_since() >= sent && conn.state_since() - sent < Duration::from_secs(1));
    assert!(conn.accepted_at() == accepted && sent - accepted >= Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn close_idle_and_close_all() {
    for kind in Kind::all() {
        let server = Server::start(kind).await;
        let [new, active, idle, hijacked] = one_of_each(&server).await;
        assert_eq!(server.connections.close_idle(), 1);
        idle.sees("closed").await;
        new.sees("").await;
        active.sees("").await;
        assert_eq!(server.connections.close_all(), 3);
        new.sees("closed").await;
        active.sees("closed").await;
        hijacked.sees("").await;
        assert!(server.connections.is_empty());
    }
}

/// Connections that come from no listener.
#[tokio::test(start_paused = true)]
async fn a_registry_of_ones_own() {
    let connections = Connections::new();
    let (_client, stream) = tokio::io::duplex(8);
    let io = ConnIo::new(stream, Address::Unknown, Address::Unknown, ());
    assert!(connections.insert(io.conn()));
    assert!(!connections.insert(io.conn()));
    assert_eq!(connections.len(), 1);
    let conn = io.conn().clone();
    drop(io);
    assert!(connections.is_empty());
    // One that is gone does not stay.
    assert!(!connections.insert(&conn));
    let late = Connections::new();
    let (_client, stream) = tokio::io::duplex(8);
    let io = ConnIo::new(stream, Address::Unknown, Address::Unknown, ());
    let conn = io.conn().clone();
    drop(io);
    late.insert(&conn);
    assert!(late.is_empty());

    // Those of a listener are in its own.
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let mut listener = instrument_listener(listener, ());
    let _client = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (_io, conn) = listener.accept().await.unwrap();
    assert!(!connections.insert(&conn));
    assert_eq!(listener.connections().len(), 1);
}

/// Stream taken out of the instrumentation: out of sight.
#[tokio::test(start_paused = true)]
async fn into_inner_leaves() {
    let connections = Connections::new();
    let (_client, stream) = tokio::io::duplex(8);
    let io = ConnIo::new(stream, Address::Unknown, Address::Unknown, ());
    connections.insert(io.conn());
    let conn = io.conn().clone();
    let _stream = io.into_inner();
    conn.closed().await;
    assert!(connections.is_empty());
}

#[tokio::test]
async fn a_hundred_thousand() {
    let connections = Connections::new();
    let mut streams = Vec::new();
    for _ in 0..100_000 {
        let io = ConnIo::new(tokio::io::empty(), Address::Unknown, Address::Unknown, ());
        connections.insert(io.conn());
        streams.push(io);
    }
    assert_eq!(counts(&connections), [100_000, 0, 0, 0]);
    let mut ids: Vec<_> = connections.snapshot().iter().map(|entry| entry.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100_000);
    assert_eq!(connections.close_all(), 100_000);
    drop(streams);
    assert!(connections.is_empty());
}

mod idle_for {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    /// Starts to wait; gives when it was over.
    fn wait(server: &Server) -> tokio::task::JoinHandle<Instant> {
        let connections = server.connections.clone();
        tokio::spawn(async move {
            connections.idle_for(MINUTE).await;
            Instant::now()
        })
    }

    #[track_caller]
    fn about(end: Instant, expected: Instant) {
        let late = end.saturating_duration_since(expected);
        assert!(end >= expected && late < SECOND, "{late:?} late");
    }

    #[tokio::test(start_paused = true)]
    async fn when_nobody_ever_comes() {
        let server = Server::start(Kind::Tower).await;
        let start = Instant::now();
        about(wait(&server).await.unwrap(), start + MINUTE);
        // It is so already.
        about(wait(&server).await.unwrap(), start + MINUTE);
    }

    /// Connections without work do not count, neither new nor idle ones.
    #[tokio::test(start_paused = true)]
    async fn with_connections_that_have_no_work() {
        let server = Server::start(Kind::Tower).await;
        let start = Instant::now();
        let waiting = wait(&server);
        tokio::time::sleep(MINUTE / 2).await;
        let new = server.connect().await;
        about(waiting.await.unwrap(), start + MINUTE);
        let mut idle = server.connect().await;
        idle.get("/").await;
        idle.response().await;
        let answered = Instant::now();
        about(wait(&server).await.unwrap(), answered + MINUTE);
        drop((new, idle));
    }

    #[tokio::test(start_paused = true)]
    async fn work_puts_it_off() {
        for path in ["/", "/slow"] {
            let server = Server::start(Kind::Tower).await;
            let waiting = wait(&server);
            tokio::time::sleep(MINUTE - 5 * SECOND).await;
            // A client that is gone by the time it is looked at again.
            let mut peer = server.connect().await;
            peer.get(path).await;
            settle().await;
            peer.close().await;
            settle().await;
            let gone = Instant::now();
            let end = waiting.await.unwrap();
            assert!(end + SECOND >= gone + MINUTE && end <= gone + MINUTE, "{path}");
        }
    }

    /// An idle connection that goes was no work.
    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_that_goes() {
        let server = Server::start(Kind::Tower).await;
        let mut peer = server.connect().await;
        peer.get("/").await;
        peer.response().await;
        settle().await;
        let answered = Instant::now();
        let waiting = wait(&server);
        tokio::time::sleep(MINUTE / 2).await;
        peer.close().await;
        let end = waiting.await.unwrap();
        assert!(end <= answered + MINUTE, "{:?}", end - answered);
    }

    #[tokio::test(start_paused = true)]
    async fn for_ever() {
        let connections = Connections::new();
        let idle = connections.idle_for(Duration::MAX);
        assert!(tokio::time::timeout(MINUTE, idle).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_request_and_a_hijacked_connection() {
        let server = Server::start(Kind::Tower).await;
        let [_, mut active, _, mut hijacked] = one_of_each(&server).await;
        let waiting = wait(&server);
        tokio::time::sleep(10 * MINUTE).await;
        assert!(!waiting.is_finished());
        active.close().await;
        tokio::time::sleep(10 * MINUTE).await;
        assert!(!waiting.is_finished());
        hijacked.close().await;
        let gone = Instant::now();
        about(waiting.await.unwrap(), gone + MINUTE);
    }
}
