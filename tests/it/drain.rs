//! Graceful shutdown: active connections finish, and quiet ones have time for
//! the request that may be under way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper_connstate::{Address, ConnIo, ConnState, Connections, Drained};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::frames::*;
use crate::support::handler::released;
use crate::support::raw::Stoppable;
use crate::support::{Answer, Kind, Server, Woken, settle};

const DEADLINE: Duration = Duration::from_secs(30);

const UPGRADE: &str =
    "GET /upgrade HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

/// How long New and Idle ones wait.
const GRACE: Duration = Duration::from_secs(1);

/// How long a client is then given to close its side.
const LINGER: Duration = Duration::from_millis(500);

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

fn drained(drained: usize, forced: usize, hijacked: usize) -> [usize; 4] {
    [drained, forced, 0, hijacked]
}

fn numbers(result: Drained) -> [usize; 4] {
    [result.drained, result.forced, result.broken, result.hijacked]
}

fn says_close(answer: &Answer) -> bool {
    answer.head.contains("connection: close\r\n")
}

/// On every stack: no Idle after an answer that says that it is the last one,
/// and in HTTP/2, whose answers do not, Idle as ever.
#[tokio::test(start_paused = true)]
async fn every_state() {
    for server in Stoppable::of_every_kind().await {
        let kind = server.kind();
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
        if server.is_serve() {
            idle2.answer_ping().await;
            active2.answer_ping().await;
        }
        tokio::time::sleep_until(start + GRACE - Duration::from_millis(100)).await;
        assert_eq!((new.conn().state(), idle.conn().state()), (ConnState::New, ConnState::Idle));
        new.sees("closed").await;
        idle.sees("closed").await;
        idle2.sees("closed").await;
        active.sees("").await;
        active2.sees("").await;
        // No five seconds as in Go.
        let took = start.elapsed();
        assert!(took < GRACE + LINGER + Duration::from_millis(500), "{kind:?} {took:?}");
        assert!(active.conn().is_draining());
        assert!(!result.is_finished());

        active.send("dy").await;
        let answer = active.response().await;
        assert_eq!(answer.body, b"body");
        assert!(says_close(&answer), "{kind:?} {}", answer.head);
        active.sees("closed").await;
        active2.send(data(1, b"body", END_STREAM)).await;
        active2.end_of_stream(1).await;
        active2.sees("idle closed").await;
        assert_eq!(numbers(result.await.unwrap().drained), drained(5, 0, 0), "{kind:?}");
    }
}

/// A request that was under way when the drain began is answered, and told.
#[tokio::test(start_paused = true)]
async fn a_request_that_comes_within_the_grace() {
    for served_before in [0, 1, 2] {
        for server in Stoppable::of_every_kind().await {
            let kind = server.kind();
            let mut peer = server.connect().await;
            for _ in 0..served_before {
                peer.get("/").await;
                peer.response().await;
            }
            settle().await;
            let states = peer.states();
            let result = server.stop();
            tokio::time::sleep(GRACE - Duration::from_millis(200)).await;
            assert_eq!(peer.states(), states, "{kind:?}");
            peer.send(GET).await;
            let answer = peer.response().await;
            assert_eq!(answer.body, b"hello\n");
            assert!(says_close(&answer), "{kind:?} {}", answer.head);
            assert_eq!(peer.rest().await, b"");
            assert_eq!(numbers(result.await.unwrap().drained), drained(1, 0, 0), "{kind:?}");
            assert_eq!(peer.states()[states.len()..], [ConnState::Active, ConnState::Closed]);
        }
    }
}

/// In HTTP/2 those are served that come before the client knows.
#[tokio::test(start_paused = true)]
async fn a_stream_that_comes_within_the_round_trip() {
    for server in Stoppable::of_every_kind().await {
        let mut peer = server.connect_alpn("h2").await;
        peer.send([opening(), get(1, "/")].concat()).await;
        peer.sees("new active idle active idle").await;
        let result = server.stop();
        // Turns nothing away.
        settle().await;
        let goaway = peer.frame_of(0x7).await.payload;
        assert_eq!(goaway, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0], "{:?}", server.kind());
        // hyper finds out when its client has seen that; this crate waits.
        let ping = if server.is_serve() { Some(peer.frame_of(0x6).await.payload) } else { None };
        peer.send(get(3, "/")).await;
        peer.end_of_stream(3).await;
        if let Some(ping) = ping {
            peer.send(frame(0x6, 0x1, 0, &ping)).await;
        }
        // And then says which was the last one.
        tokio::time::sleep(2 * GRACE).await;
        let goaway = peer.frame_of(0x7).await.payload;
        assert_eq!(goaway, [0, 0, 0, 3, 0, 0, 0, 0], "{:?}", server.kind());
        peer.sees("active idle closed").await;
        assert_eq!(numbers(result.await.unwrap().drained), drained(1, 0, 0), "{:?}", server.kind());
    }
}

/// An answer whose head is out when the drain begins cannot say so any more:
/// the connection is Idle after it, and has its grace from then.
#[tokio::test(start_paused = true)]
async fn an_answer_that_has_begun() {
    for server in Stoppable::of_every_kind().await {
        let mut peer = server.connect().await;
        peer.get("/parts/begun").await;
        peer.sees("new active").await;
        let head = peer.head().await;
        assert!(!head.contains("connection: close"));
        let result = server.stop();
        tokio::time::sleep(3 * GRACE).await;
        peer.sees("").await;
        released("begun").notify_one();
        peer.sees("idle").await;
        peer.read_until("0\r\n\r\n").await;
        peer.send(GET).await;
        let answer = peer.response().await;
        assert!(says_close(&answer), "{:?} {}", server.kind(), answer.head);
        peer.sees("active closed").await;
        assert_eq!(numbers(result.await.unwrap().drained), drained(1, 0, 0));
    }
}

/// Without a grace quiet connections are closed at once.
#[tokio::test(start_paused = true)]
async fn no_grace() {
    for kind in Kind::all() {
        let server = Server::start(kind).await;
        let new = server.connect().await;
        let mut idle = server.connect().await;
        idle.get("/").await;
        idle.response().await;
        idle.sees("new active idle").await;
        let start = Instant::now();
        let drain = server.connections.drain(DEADLINE).idle_grace(Duration::ZERO);
        assert_eq!(numbers(drain.await), drained(2, 0, 0), "{kind:?}");
        assert!(start.elapsed() <= LINGER + Duration::from_millis(10), "{:?}", start.elapsed());
        new.sees("new closed").await;
        idle.sees("closed").await;
    }
}

/// HTTP/2 clients are told.
#[tokio::test(start_paused = true)]
async fn goaway() {
    for server in Stoppable::of_every_kind().await {
        for request in [get(1, "/"), get(1, "/slow")] {
            let server = server.another().await;
            let mut peer = server.connect_alpn("h2").await;
            peer.send([opening(), request].concat()).await;
            settle().await;
            let result = server.stop();
            settle().await;
            peer.frame_of(0x7).await;
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
    // Unread, it would make a reset of its end.
    peer.head().await;
    let drain = server.connections.drain(DEADLINE).wait_for_hijacked(true);
    let start = Instant::now();
    let result = tokio::spawn(drain.into_future());
    tokio::time::sleep(Duration::from_secs(10)).await;
    peer.close().await;
    assert_eq!(numbers(result.await.unwrap()), drained(1, 0, 1));
    assert!(start.elapsed() >= DEADLINE);
    assert_eq!(server.connections.len(), 1);
}

/// Nobody is there for them any more, and the system says so at once; those
/// that were accepted before are drained.
#[tokio::test(start_paused = true)]
async fn connections_that_come_late() {
    for server in Stoppable::of_every_kind().await {
        let mut slow = server.connect().await;
        slow.get("/wait/late").await;
        slow.sees("new active").await;
        let just_before = server.connect().await;
        just_before.sees("new").await;
        let result = server.stop();
        settle().await;
        let error = TcpStream::connect(server.addr()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{:?}", server.kind());
        just_before.sees("closed").await;
        released("late").notify_one();
        slow.response().await;
        slow.sees("closed").await;
        assert_eq!(numbers(result.await.unwrap().drained), drained(2, 0, 0), "{:?}", server.kind());
        assert!(server.connections().is_empty());
    }
}

/// What others break off is not drained.
#[tokio::test(start_paused = true)]
async fn broken_off_meanwhile() {
    for server in Stoppable::of_every_kind().await {
        let mut slow = server.connect().await;
        slow.get("/slow").await;
        slow.sees("new active").await;
        let result = server.stop();
        settle().await;
        slow.reset().await;
        let result = result.await.unwrap().drained;
        assert_eq!(numbers(result), [0, 0, 1, 0], "{:?}", server.kind());
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_there() {
    let connections = Connections::new();
    let result = connections.drain(DEADLINE).await;
    assert_eq!(result.to_string(), "0 drained, 0 closed by force, 0 broken off, 0 hijacked left");
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
