//! `Connections::stats`: what comes, goes and is there adds up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_connstate::{
    Address, CloseReason, Conn, ConnIo, ConnState, ConnStats, Connections, Handshake,
    HandshakeOutcome, Hook, Protocol, instrument_listener,
};

use crate::support::frames::{get, opening};
use crate::support::{Kind, Server, quiet_panics, settle};

#[track_caller]
fn adds_up(stats: &ConnStats) {
    let (live, closed) = (stats.live.total(), stats.closed.total());
    assert_eq!(stats.accepted, live + closed, "{stats:?}");
    let by_state: u64 = stats.live.iter().map(|(_, _, count)| count).sum();
    assert_eq!(live, by_state);
    assert_eq!(live, stats.live.by_state().total() as u64);
    let by_reason: u64 = stats.closed.by_reason().map(|(_, count)| count).sum();
    let by_both: u64 = stats.closed.iter().map(|(_, _, count)| count).sum();
    assert_eq!((closed, closed), (by_reason, by_both));
}

fn stats(server: &Server) -> ConnStats {
    let stats = server.connections.stats();
    adds_up(&stats);
    stats
}

#[test]
fn zeros_from_the_start() {
    let stats = Connections::new().stats();
    assert_eq!(stats, ConnStats::default());
    assert_eq!(stats.closed.by_reason().count(), CloseReason::ALL.len());
    assert_eq!(stats.closed.iter().count(), 4 * CloseReason::ALL.len());
    assert_eq!(stats.live.iter().count(), 4 * 3);
    adds_up(&stats);
}

#[tokio::test(start_paused = true)]
async fn what_comes_goes_and_is_there() {
    quiet_panics();
    for kind in Kind::all() {
        let server = Server::start(kind).await;
        let new = server.connect().await;
        new.sees("new").await;
        let mut active = server.connect().await;
        active.get("/slow").await;
        active.sees("new active").await;
        let mut idle = server.connect_alpn("h2").await;
        idle.send([opening(), get(1, "/"), get(3, "/")].concat()).await;
        settle().await;
        let mut hijacked = server.connect().await;
        hijacked.send("CONNECT test:443 HTTP/1.1\r\nhost: test:443\r\n\r\n").await;
        hijacked.sees("new active hijacked").await;

        let there = stats(&server);
        assert_eq!(there.accepted, 4, "{kind:?}");
        assert_eq!(there.live.of(ConnState::New, Protocol::Unknown), 1, "{kind:?}");
        assert_eq!(there.live.of(ConnState::Active, Protocol::Http1), 1, "{kind:?}");
        assert_eq!(there.live.of(ConnState::Idle, Protocol::Http2), 1, "{kind:?}");
        assert_eq!(there.live.of(ConnState::Hijacked, Protocol::Http1), 1, "{kind:?}");
        assert_eq!(there.live.of(ConnState::Closed, Protocol::Http1), 0);
        assert_eq!(there.closed.total(), 0);
        assert_eq!(there.requests, 4, "{kind:?}");
        let handshakes = if kind.is_tls() { 4 } else { 0 };
        assert_eq!(there.handshakes.completed, handshakes, "{kind:?}");
        assert_eq!(there.handshakes.total(), handshakes, "{kind:?}");

        active.reset().await;
        settle().await;
        idle.half_close().await;
        settle().await;
        hijacked.half_close().await;
        settle().await;
        new.conn().close();
        // Its client is given half a second to close its side.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut panics = server.connect().await;
        panics.get("/panic").await;
        panics.sees("new active closed").await;

        let gone = stats(&server);
        assert_eq!(gone.accepted, 5, "{kind:?}");
        assert_eq!(gone.live.total(), 0, "{kind:?}");
        assert_eq!(gone.requests, 5, "{kind:?}");
        for (reason, before) in [
            (CloseReason::PeerReset, ConnState::Active),
            (CloseReason::PeerClosed, ConnState::Idle),
            (CloseReason::PeerClosed, ConnState::Hijacked),
            (CloseReason::ClosedByProgram, ConnState::New),
            (CloseReason::HandlerPanicked, ConnState::Active),
        ] {
            assert_eq!(gone.closed.of_in(reason, before), 1, "{kind:?} {reason} {before}");
        }
        assert_eq!(gone.closed.of(CloseReason::PeerClosed), 2);
        assert_eq!(new.conn().error_type(), None, "nothing was cut short");
        assert_eq!(panics.conn().error_type(), Some("handler_panicked"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closing_is_counted_as_closed() {
    // Looks while Closed is being reported, before the connection leaves.
    struct Looks(Connections);
    impl Hook for Looks {
        fn on_state(&self, _: &Conn, state: ConnState) {
            let stats = self.0.stats();
            adds_up(&stats);
            if state == ConnState::Closed {
                assert_eq!(self.0.len(), 1);
                assert_eq!(stats.live.total(), 0);
                assert_eq!(stats.closed.of_in(CloseReason::Aborted, ConnState::New), 1);
                LOOKED.store(true, Ordering::Relaxed);
            }
        }
        fn on_end(&self, _: &Conn, _: CloseReason) {
            assert!(self.0.is_empty());
            assert_eq!(self.0.stats().closed.of(CloseReason::Aborted), 1);
            LOOKED_TWICE.store(true, Ordering::Relaxed);
        }
    }
    static LOOKED: AtomicBool = AtomicBool::new(false);
    static LOOKED_TWICE: AtomicBool = AtomicBool::new(false);

    let connections = Connections::new();
    let listener = crate::support::server::listen();
    let addr = listener.local_addr().unwrap();
    let mut listener = instrument_listener(listener, Looks(connections.clone()))
        .with_connections(connections.clone());
    let _client = tokio::net::TcpStream::connect(addr).await.unwrap();
    drop(listener.accept().await.unwrap());
    assert!(LOOKED.load(Ordering::Relaxed) && LOOKED_TWICE.load(Ordering::Relaxed));
}

/// Notes how handshakes went.
#[derive(Clone, Default)]
struct Handshakes(Arc<std::sync::Mutex<Vec<HandshakeOutcome>>>);

impl Hook for Handshakes {
    fn on_state(&self, _: &Conn, _: ConnState) {}

    fn on_handshake(&self, conn: &Conn, outcome: HandshakeOutcome) {
        assert_eq!(conn.state(), ConnState::New);
        self.0.lock().unwrap().push(outcome);
        panic!("a hook's panic (wanted)");
    }
}

#[tokio::test(start_paused = true)]
async fn handshakes() {
    quiet_panics();
    const SECOND: Duration = Duration::from_secs(1);
    let connections = Connections::new();
    let hook = Handshakes::default();
    let begin = || {
        let (_, stream) = tokio::io::duplex(8);
        // Beside others, and shared.
        let hook = ((), Some(Arc::new(hook.clone())));
        let handshake = Handshake::new(stream, Address::Unknown, Address::Unknown, hook);
        assert!(connections.insert(handshake.conn()));
        handshake
    };
    let counts = || {
        let stats = connections.stats();
        adds_up(&stats);
        let handshakes = stats.handshakes;
        [handshakes.under_way, handshakes.completed, handshakes.failed]
    };
    // None is run.
    drop(begin().into_io());
    drop(begin());
    assert_eq!(counts(), [0, 0, 0]);

    let slow = begin().complete(async |stream| {
        tokio::time::sleep(SECOND).await;
        Ok::<_, ()>(stream)
    });
    let slow = tokio::spawn(slow);
    let fails = tokio::spawn(begin().complete(async |_| {
        tokio::time::sleep(2 * SECOND).await;
        Err::<tokio::io::DuplexStream, _>(())
    }));
    let never = async |_| std::future::pending::<Result<tokio::io::DuplexStream, ()>>().await;
    let never = tokio::time::timeout(3 * SECOND, begin().complete(never));
    let never = tokio::spawn(never);
    settle().await;
    assert_eq!(counts(), [3, 0, 0]);
    let io = slow.await.unwrap().unwrap();
    assert_eq!(counts(), [2, 1, 0]);
    assert!(fails.await.unwrap().is_err());
    assert_eq!(counts(), [1, 1, 1]);
    assert!(never.await.unwrap().is_err());
    assert_eq!(counts(), [0, 1, 2]);
    drop(io);
    assert!(connections.is_empty());
    let noted = std::mem::take(&mut *hook.0.lock().unwrap());
    let noted: Vec<_> = noted.iter().map(|outcome| (outcome.completed, outcome.duration)).collect();
    assert_eq!(noted.len(), 3);
    for (seconds, (completed, duration)) in (1..).zip(noted) {
        assert_eq!(completed, seconds == 1);
        assert_eq!(duration.as_secs(), seconds);
    }

    // A connection that comes to a registry while its handshake is under way
    // is not in the numbers.
    let late = Connections::new();
    let (_, stream) = tokio::io::duplex(8);
    let handshake = Handshake::new(stream, Address::Unknown, Address::Unknown, ());
    let conn = handshake.conn().clone();
    let late_one = handshake.complete(async |stream| {
        late.insert(&conn);
        Ok::<_, ()>(stream)
    });
    let io = late_one.await.unwrap();
    let stats = late.stats();
    assert_eq!((stats.accepted, stats.handshakes.total()), (1, 0));
    drop(io);
}

/// Loses two connections, then descriptors have run out, then it is over.
#[cfg(feature = "serve")]
#[derive(Default)]
pub struct Fails(std::sync::atomic::AtomicU32);

#[cfg(feature = "serve")]
impl hyper_connstate::Accept for Fails {
    type Io = tokio::io::DuplexStream;
    type Addr = Address;

    async fn accept(&mut self) -> std::io::Result<(Self::Io, Self::Addr)> {
        use std::io::ErrorKind;

        Err(match self.0.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => ErrorKind::ConnectionAborted.into(),
            2 => ErrorKind::OutOfMemory.into(),
            _ => ErrorKind::NotConnected.into(),
        })
    }

    fn local_addr(&self) -> std::io::Result<Address> {
        Ok(Address::Unknown)
    }
}

#[cfg(feature = "serve")]
#[tokio::test(start_paused = true)]
async fn accept_errors() {
    let listener = instrument_listener(Fails::default(), ());
    let connections = listener.connections();
    let service = tower::service_fn(crate::support::server::handle_incoming);
    hyper_connstate::serve(listener, service).await.unwrap_err();
    let errors = connections.stats().accept_errors;
    assert_eq!((errors.lost, errors.exhausted, errors.fatal, errors.total()), (2, 1, 1, 4));
}

#[test]
fn a_weak_handle_keeps_nothing() {
    let connections = Connections::new();
    let weak = connections.downgrade();
    assert!(weak.upgrade().is_some_and(|connections| connections.is_empty()));
    let io = ConnIo::new(tokio::io::empty(), Address::Unknown, Address::Unknown, ());
    connections.insert(io.conn());
    drop(connections);
    assert_eq!(weak.upgrade().map(|connections| connections.len()), Some(1));
    drop(io);
    assert!(weak.upgrade().is_none());
    assert!(hyper_connstate::WeakConnections::default().upgrade().is_none());
}

/// Connections come and go on four threads while others look.
#[test]
fn it_adds_up_while_connections_come_and_go() {
    const EACH: u64 = 20_000;
    const AT_ONCE: u64 = 3;

    let connections = Connections::new();
    let over = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        let lookers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut before, mut looks) = (ConnStats::default(), 0);
                    while !over.load(Ordering::Relaxed) {
                        let now = connections.stats();
                        adds_up(&now);
                        // What only grows, grows; and there are never more than there can be.
                        assert!(now.accepted >= before.accepted);
                        let closed = now.closed.iter().zip(before.closed.iter());
                        closed.for_each(|((_, _, now), (_, _, before))| assert!(now >= before));
                        assert!(now.live.total() <= 4 * AT_ONCE, "{}", now.live.total());
                        (before, looks) = (now, looks + 1);
                    }
                    looks
                })
            })
            .collect();
        let busy: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut there = std::collections::VecDeque::new();
                    for number in 0..EACH {
                        let stream = tokio::io::empty();
                        let io = ConnIo::new(stream, Address::Unknown, Address::Unknown, ());
                        connections.insert(io.conn());
                        if number % 3 == 0 {
                            io.conn().close();
                        }
                        there.push_back(io);
                        if there.len() as u64 == AT_ONCE {
                            there.pop_front();
                        }
                    }
                })
            })
            .collect();
        busy.into_iter().for_each(|thread| thread.join().unwrap());
        over.store(true, Ordering::Relaxed);
        lookers.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
    });
    assert!(looks > 0);
    let stats = connections.stats();
    adds_up(&stats);
    assert_eq!((stats.accepted, stats.live.total()), (4 * EACH, 0));
    assert_eq!(stats.closed.of(CloseReason::ClosedByProgram), 4 * EACH.div_ceil(3));
}

/// As JSON, what a page or a script wants.
#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn as_json() {
    let server = Server::start(Kind::Tower).await;
    let mut peer = server.connect().await;
    peer.get("/").await;
    peer.sees("new active idle").await;
    let mut json = serde_json::to_value(stats(&server)).unwrap();
    let closed = json["closed"].take();
    assert_eq!(closed.as_object().unwrap().len(), CloseReason::ALL.len());
    let none = serde_json::json!({ "new": 0, "active": 0, "idle": 0, "hijacked": 0 });
    assert_eq!(closed["peer_closed"], none);
    let (refused, expired) = (json["refused"].take(), json["expired"].take());
    assert_eq!(refused["max_connections"], 0);
    assert_eq!(expired["idle_timeout"], 0);
    let expected = serde_json::json!({
        "accepted": 1,
        "live": { "new": 0, "active": 0, "idle": 1, "hijacked": 0 },
        "closed": null,
        "requests": 1,
        "accept_errors": { "lost": 0, "exhausted": 0, "fatal": 0 },
        "handshakes": { "under_way": 0, "completed": 0, "failed": 0 },
        "refused": null,
        "expired": null,
    });
    assert_eq!(json, expected);
}
