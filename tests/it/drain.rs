//! Graceful shutdown: idle connections go at once, active ones finish.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper_connstate::{Address, ConnIo, ConnState, Connections, Drained};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::frames::*;
use crate::support::handler::released;
use crate::support::raw::{Stoppable, Stopped};
use crate::support::{Answer, Kind, Server, Woken, settle};

const DEADLINE: Duration = Duration::from_secs(30);

const UPGRADE: &str =
    "GET /upgrade HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

fn drained(drained: usize, forced: usize, hijacked: usize) -> [usize; 3] {
    [drained, forced, hijacked]
}

fn numbers(result: Drained) -> [usize; 3] {
    [result.drained, result.forced, result.hijacked]
}

fn drain(connections: &Connections) -> JoinHandle<Stopped> {
    let drain = connections.drain(DEADLINE);
    tokio::spawn(async move { Stopped::now(drain.await) })
}

/// What both ways to drain have in common: a loop of the user's own, and
/// `serve`. Idle is reported where nobody can know that it will not last.
#[tokio::test(start_paused = true)]
async fn every_state() {
    for server in Stoppable::of_every_kind().await {
        let (idle_word, kind) = (server.idle_word(), server.kind());
        let new = server.connect().await;
        new.sees("new").await;
        let mut idle = server.connect().await;
        idle.get("/").await;
        idle.sees("new active idle").await;
        let mut idle2 = server.connect_alpn("h2").await;
        idle2.send([opening(), get(1, "/")].concat()).await;
        idle2.sees("new active idle active idle").await;
        let mut active = server.connect().await;
        active.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbo").await;
        active.sees("new active").await;
        let mut active2 = server.connect_alpn("h2").await;
        active2.send([opening(), post(1, "/echo")].concat()).await;
        active2.sees("new active idle active").await;

        let start = Instant::now();
        let result = server.stop();
        new.sees("closed").await;
        idle.sees("closed").await;
        idle2.sees("closed").await;
        active.sees("").await;
        active2.sees("").await;
        // At once: no five seconds as in Go.
        assert!(start.elapsed() < Duration::from_secs(2), "{kind:?} {:?}", start.elapsed());
        assert!(active.conn().is_draining());
        assert!(!result.is_finished());

        active.send("dy").await;
        let Answer { head, body } = active.response().await;
        assert_eq!(body, b"body");
        assert_eq!(head.contains("connection: close"), idle_word.is_empty(), "{head}");
        active.sees(&format!("{idle_word} closed")).await;
        active2.send(data(1, b"body", END_STREAM)).await;
        active2.end_of_stream(1).await;
        active2.sees(&format!("{idle_word} closed")).await;
        assert_eq!(numbers(result.await.unwrap().drained), drained(5, 0, 0), "{kind:?}");
    }
}

/// Where the loop is the crate's, HTTP/2 clients are told.
#[cfg(feature = "serve")]
#[tokio::test(start_paused = true)]
async fn goaway() {
    for server in Stoppable::of_every_kind().await {
        if !server.idle_word().is_empty() {
            continue;
        }
        for request in [get(1, "/"), get(1, "/slow")] {
            let server = server.another().await;
            let mut peer = server.connect_alpn("h2").await;
            peer.send([opening(), request].concat()).await;
            settle().await;
            let result = server.stop();
            while peer.frame().await.kind != 0x7 {}
            peer.close().await;
            result.await.unwrap();
        }
    }
}

/// The deadline: a handler that does not come to an end, a client that does
/// not read, a body that does not come.
#[tokio::test(start_paused = true)]
async fn the_deadline() {
    for server in Stoppable::of_every_kind().await {
        let mut slow = server.connect().await;
        slow.get("/slow").await;
        let mut deaf = server.connect().await;
        deaf.get("/big").await;
        let mut slow2 = server.connect_alpn("h2").await;
        slow2.send([opening(), get(1, "/slow")].concat()).await;
        let mut half = server.connect().await;
        half.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbo").await;
        let mut idle = server.connect().await;
        idle.get("/").await;
        settle().await;
        let start = Instant::now();
        let stopped = server.stop().await.unwrap();
        let took = stopped.at - start;
        assert!(took >= DEADLINE && took < DEADLINE + Duration::from_secs(1), "{took:?}");
        assert_eq!(numbers(stopped.drained), drained(1, 4, 0), "{:?}", server.kind());
        assert!(server.connections().is_empty());
    }
}

/// A client that keeps sending requests can't hold it up.
#[tokio::test(start_paused = true)]
async fn a_client_that_goes_on_and_on() {
    for server in Stoppable::of_every_kind().await {
        let mut peer = server.connect().await;
        let requests = "GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(10);
        peer.send(&requests).await;
        peer.sees(&format!("new{}", " active idle".repeat(10))).await;
        let mut busy = server.connect().await;
        busy.get("/wait/drained").await;
        busy.send(&requests).await;
        busy.sees("new active").await;
        let result = server.stop();
        settle().await;
        released("drained").notify_one();
        let stopped = result.await.unwrap();
        assert_eq!(numbers(stopped.drained), drained(2, 0, 0), "{:?}", server.kind());
        // The request that was under way is answered, and in full.
        assert_eq!(busy.response().await.body, b"waited\n");
    }
}

#[tokio::test(start_paused = true)]
async fn hijacked_connections() {
    for server in Stoppable::of_every_kind().await {
        let mut peer = server.connect().await;
        peer.send(UPGRADE).await;
        peer.sees("new active hijacked").await;
        let conn = peer.conn();
        let told = tokio::spawn(async move { conn.draining().await });
        settle().await;
        assert!(!told.is_finished());
        let start = Instant::now();
        let stopped = server.stop().await.unwrap();
        assert_eq!(numbers(stopped.drained), drained(0, 0, 1));
        assert!(stopped.at - start < Duration::from_secs(1));
        told.await.unwrap();
        // It is left to its owner.
        peer.head().await;
        peer.send("still here").await;
        assert_eq!(peer.read(10).await, b"still here");
    }
}

#[tokio::test(start_paused = true)]
async fn hijacked_connections_waited_for() {
    let server = Server::start(Kind::Tower).await;
    let mut peer = server.connect().await;
    peer.send(UPGRADE).await;
    let mut other = server.connect().await;
    other.send(UPGRADE).await;
    other.sees("new active hijacked").await;
    let drain = server.connections.drain(DEADLINE).wait_for_hijacked(true);
    let start = Instant::now();
    let result = tokio::spawn(drain.into_future());
    tokio::time::sleep(Duration::from_secs(10)).await;
    peer.close().await;
    assert_eq!(numbers(result.await.unwrap()), drained(1, 0, 1));
    assert!(start.elapsed() >= DEADLINE);
    assert_eq!(server.connections.len(), 1);
}

/// Those that come while it lasts are closed too.
#[tokio::test(start_paused = true)]
async fn connections_that_come_late() {
    let server = Server::start(Kind::Tower).await;
    let mut slow = server.connect().await;
    slow.get("/slow").await;
    slow.sees("new active").await;
    let result = drain(&server.connections);
    settle().await;
    let late = server.connect().await;
    late.sees("new closed").await;
    slow.close().await;
    assert_eq!(result.await.unwrap().drained.forced, 0);
    assert!(server.connections.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nobody_there() {
    let connections = Connections::new();
    let result = connections.drain(DEADLINE).await;
    assert_eq!(result.to_string(), "0 drained, 0 closed by force, 0 hijacked left");
}

/// A handshake under way is given up.
#[cfg(feature = "tls")]
#[tokio::test(start_paused = true)]
async fn a_handshake() {
    use crate::support::Peer;

    let server = Stoppable::start(Kind::ServeTls).await;
    let tcp = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let client = tcp.local_addr().unwrap().to_string();
    let peer = Peer::new(tcp, client, Kind::ServeTls, server.recorder().clone());
    peer.sees("new").await;
    let stopped = server.stop().await.unwrap();
    assert_eq!(numbers(stopped.drained), drained(1, 0, 0));
    peer.sees("closed").await;
}

/// Why they ended does not depend on what a connection had served before.
#[tokio::test(start_paused = true)]
async fn the_reason_is_the_drain() {
    for server in Stoppable::of_every_kind().await {
        for served_before in [0, 2] {
            let server = server.another().await;
            let mut peer = server.connect().await;
            for _ in 0..served_before {
                peer.get("/").await;
                peer.response().await;
            }
            peer.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbo").await;
            settle().await;
            let result = server.stop();
            settle().await;
            peer.send("dy").await;
            settle().await;
            peer.response().await;
            result.await.unwrap();
            let reason = peer.conn().close_reason();
            assert_eq!(reason, Some(hyper_connstate::CloseReason::ShutdownDrained));
        }
    }
}

/// A request whose first bytes could be HTTP/2's preface is finished too.
#[tokio::test(start_paused = true)]
async fn a_request_that_has_hardly_begun() {
    for server in Stoppable::of_every_kind().await {
        let mut peer = server.connect().await;
        peer.send("P").await;
        peer.sees("new active").await;
        let result = server.stop();
        peer.sees("").await;
        peer.send("OST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody").await;
        assert_eq!(peer.response().await.body, b"body", "{:?}", server.kind());
        assert_eq!(numbers(result.await.unwrap().drained), drained(1, 0, 0));
    }
}

/// The last stream is reset and another opened in one go: it is served.
#[tokio::test(start_paused = true)]
async fn a_stream_opened_as_the_last_one_ends() {
    for server in Stoppable::of_every_kind().await {
        let mut peer = server.connect_alpn("h2").await;
        peer.send([opening(), get(1, "/slow")].concat()).await;
        settle().await;
        let result = server.stop();
        settle().await;
        peer.send([reset(1), get(3, "/")].concat()).await;
        peer.end_of_stream(3).await;
        assert_eq!(numbers(result.await.unwrap().drained), drained(1, 0, 0), "{:?}", server.kind());
    }
}

/// Whoever waits to hear of it does, also where the connection is gone.
#[tokio::test(start_paused = true)]
async fn those_who_wait_are_told() {
    let server = Server::start(Kind::Tower).await;
    let mut idle = server.connect().await;
    idle.get("/").await;
    idle.sees("new active idle").await;
    let conn = idle.conn();
    let told = tokio::spawn({
        let conn = conn.clone();
        async move { conn.draining().await }
    });
    settle().await;
    server.connections.drain(DEADLINE).await;
    told.await.unwrap();
    conn.draining().await;
    assert!(conn.is_draining());
}

#[tokio::test(start_paused = true)]
async fn without_end() {
    let server = Server::start(Kind::Tower).await;
    let mut peer = server.connect().await;
    peer.get("/wait/drained").await;
    peer.sees("new active").await;
    let drain = server.connections.drain(Duration::MAX);
    let result = tokio::spawn(drain.into_future());
    settle().await;
    released("drained").notify_one();
    peer.response().await;
    assert_eq!(numbers(result.await.unwrap()), drained(1, 0, 0));
}

/// What writing brings about has to be acted upon too.
#[tokio::test]
async fn a_write_that_ends_a_drained_connection_wakes() {
    let (mut client, stream) = tokio::io::duplex(1024);
    let mut io = ConnIo::new(stream, Address::Unknown, Address::Unknown, ());
    let conn = io.conn().clone();
    let connections = Connections::new();
    connections.insert(&conn);
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    tokio::io::AsyncReadExt::read_exact(&mut io, &mut [0; 24]).await.unwrap();
    let drain = connections.drain(std::time::Duration::from_secs(5));
    let drain = tokio::spawn(async move { drain.await });
    while !conn.is_draining() {
        tokio::task::yield_now().await;
    }
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(matches!(
        Pin::new(&mut io).poll_write(&mut cx, &[0, 0, 0, 4, 0, 0, 0, 0, 0]),
        Poll::Ready(Ok(9))
    ));
    assert_eq!(conn.state(), ConnState::Idle);
    assert!(woken.is_woken(), "closing, and nobody was woken");
    drop(io);
    let _ = drain.await;
}
