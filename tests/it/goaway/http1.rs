//! What an HTTP/1 client is told by a drain, and the grace that it is given.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_connstate::{CloseReason, Conn, ConnState, Connections};
use tokio::time::Instant;

use super::stack::serve;
use super::stream::{Shape, Shaped};
use crate::oracles::wire::{Client, wire};
use crate::support::handler::released;
use crate::support::{Kind, start_watchdog};

/// As long as a drain waits for a request, unless it is said otherwise.
pub const GRACE: Duration = Duration::from_secs(1);

pub struct Peer {
    pub client: Client,
    pub connections: Connections,
    conn: Arc<Mutex<Option<Conn>>>,
}

impl Peer {
    pub async fn connect(kind: Kind) -> Self {
        start_watchdog();
        let (near, far) = wire();
        let (stream, _) = Shaped::new(near, Shape::PLAIN);
        let conn = Arc::<Mutex<Option<Conn>>>::default();
        let connections = serve(kind, stream, {
            let known = conn.clone();
            move |conn, _| {
                known.lock().unwrap().get_or_insert_with(|| conn.clone());
            }
        });
        let client = Client::new(far, kind.is_tls().then_some("http/1.1")).await;
        let peer = Self { client, connections, conn };
        wait(Duration::from_millis(1)).await;
        peer
    }

    pub fn conn(&self) -> Conn {
        self.conn.lock().unwrap().clone().expect("it was accepted")
    }

    pub fn send(&mut self, bytes: &str) {
        self.client.send(bytes.as_bytes());
    }

    pub fn get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"));
    }

    /// What has come since it was last asked.
    pub async fn received(&mut self) -> String {
        self.client.read_all().await;
        String::from_utf8(std::mem::take(&mut self.client.received)).unwrap()
    }

    pub async fn is_ended(&mut self) -> bool {
        self.client.read_all().await;
        self.client.ended
    }
}

pub async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

/// An answer that is there from its first byte to its last.
#[track_caller]
pub fn check_answer(answer: &str, body: &str, says_close: bool) {
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer:?}");
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer:?}");
    assert_eq!(answer.contains("connection: close\r\n"), says_close, "{answer:?}");
}

/// Of this connection alone, or of all of a registry.
fn drain(peer: &Peer, all: bool) {
    if all {
        let drain = peer.connections.drain(Duration::from_secs(60));
        tokio::spawn(drain.into_future());
    } else {
        peer.conn().drain();
    }
}

async fn check_gone(mut peer: Peer, kind: Kind) {
    assert!(peer.is_ended().await, "{kind:?}");
    peer.client.close();
    let conn = peer.conn();
    conn.closed().await;
    assert_eq!(conn.close_reason(), Some(CloseReason::ShutdownDrained), "{kind:?}");
    assert!(peer.connections.is_empty(), "{kind:?}");
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_a_request_under_way_says_close() {
    for kind in Kind::all() {
        for all in [false, true] {
            for served_before in [0, 2] {
                let mut peer = Peer::connect(kind).await;
                for _ in 0..served_before {
                    peer.get("/");
                    check_answer(&peer.received().await, "hello\n", false);
                }
                peer.get("/wait/close");
                assert_eq!(peer.received().await, "");
                drain(&peer, all);
                wait(5 * GRACE).await;
                assert_eq!(peer.received().await, "", "{kind:?}");
                released("close").notify_one();
                check_answer(&peer.received().await, "waited\n", true);
                check_gone(peer, kind).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_post_says_close() {
    for kind in Kind::all() {
        let mut peer = Peer::connect(kind).await;
        peer.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbo");
        assert_eq!(peer.received().await, "");
        peer.conn().drain();
        wait(5 * GRACE).await;
        peer.send("dy");
        check_answer(&peer.received().await, "body", true);
        check_gone(peer, kind).await;
    }
}

/// hyper would say keep-alive where the client has asked for it.
#[tokio::test(start_paused = true)]
async fn http_1_0() {
    for kind in Kind::all() {
        for keep_alive in ["connection: keep-alive\r\n", ""] {
            let mut peer = Peer::connect(kind).await;
            peer.send(&format!("GET /wait/1.0 HTTP/1.0\r\nhost: test\r\n{keep_alive}\r\n"));
            assert_eq!(peer.received().await, "");
            peer.conn().drain();
            released("1.0").notify_one();
            let answer = peer.received().await;
            assert!(answer.starts_with("HTTP/1.0 200"), "{kind:?}: {answer}");
            assert!(answer.ends_with("\r\n\r\nwaited\n"), "{kind:?}: {answer}");
            assert!(!answer.contains("keep-alive"), "{kind:?}: {answer}");
            assert!(answer.contains("connection: close"), "{kind:?}: {answer}");
            check_gone(peer, kind).await;
        }
    }
}

/// Their streams go on, and it is for their owners to end them.
#[tokio::test(start_paused = true)]
async fn an_upgrade_and_a_tunnel_do_not_say_close() {
    let upgrade = "GET /upgrade HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n";
    for kind in Kind::all() {
        for request in [upgrade, "CONNECT somebody:80 HTTP/1.1\r\nhost: somebody:80\r\n"] {
            let mut peer = Peer::connect(kind).await;
            peer.conn().drain();
            wait(GRACE / 2).await;
            peer.send(&format!("{request}\r\n"));
            let head = peer.received().await.to_ascii_lowercase();
            assert!(head.ends_with("\r\n\r\n") && !head.contains("close"), "{kind:?}: {head}");
            wait(5 * GRACE).await;
            peer.send("still here");
            assert_eq!(peer.received().await, "still here", "{kind:?}");
            assert_eq!(peer.conn().state(), ConnState::Hijacked);
        }
    }
}

/// Nothing comes in it: FIN, and nothing else.
#[tokio::test(start_paused = true)]
async fn the_grace_of_a_quiet_connection() {
    for kind in Kind::all() {
        for served_before in [0, 1] {
            for grace in [0, 1, 300, 1_000, 3_000].map(Duration::from_millis) {
                let mut peer = Peer::connect(kind).await;
                for _ in 0..served_before {
                    peer.get("/");
                    peer.received().await;
                }
                let drain = peer.connections.drain(Duration::from_secs(60)).idle_grace(grace);
                let drained = tokio::spawn(drain.into_future());
                let start = Instant::now();
                while !peer.is_ended().await {
                    assert!(start.elapsed() <= grace + GRACE, "{kind:?} {grace:?}");
                }
                let took = start.elapsed();
                let near = grace..=grace + Duration::from_millis(20);
                assert!(near.contains(&took), "{kind:?}: {took:?} of {grace:?}");
                assert_eq!(peer.received().await, "", "{kind:?}");
                check_gone(peer, kind).await;
                let drained = drained.await.unwrap();
                assert_eq!((drained.drained, drained.total()), (1, 1), "{kind:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_within_the_grace() {
    for kind in Kind::all() {
        for all in [false, true] {
            for served_before in [0, 1] {
                let mut peer = Peer::connect(kind).await;
                for _ in 0..served_before {
                    peer.get("/");
                    peer.received().await;
                }
                drain(&peer, all);
                wait(GRACE / 2).await;
                peer.get("/");
                let start = Instant::now();
                check_answer(&peer.received().await, "hello\n", true);
                assert!(peer.is_ended().await, "{kind:?}");
                assert!(start.elapsed() < Duration::from_millis(100), "{kind:?}");
                check_gone(peer, kind).await;
            }
        }
    }
}

/// Half a head, and be it one byte, is a request under way.
#[tokio::test(start_paused = true)]
async fn half_a_head() {
    const REQUEST: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

    for kind in Kind::all() {
        for served_before in [0, 1] {
            for half in [1, 3, REQUEST.len() / 2, REQUEST.len() - 1] {
                for before_drain in [true, false] {
                    let mut peer = Peer::connect(kind).await;
                    for _ in 0..served_before {
                        peer.get("/");
                        peer.received().await;
                    }
                    if before_drain {
                        peer.send(&REQUEST[..half]);
                        assert_eq!(peer.received().await, "");
                    }
                    peer.conn().drain();
                    if !before_drain {
                        wait(GRACE - Duration::from_millis(5)).await;
                        peer.send(&REQUEST[..half]);
                    }
                    wait(10 * GRACE).await;
                    assert!(!peer.is_ended().await, "{kind:?}, {half}");
                    peer.send(&REQUEST[half..]);
                    check_answer(&peer.received().await, "hello\n", true);
                    check_gone(peer, kind).await;
                }
            }
        }
    }
}

/// Nobody can add to a head that is out: the grace begins when the answer ends.
#[tokio::test(start_paused = true)]
async fn an_answer_whose_head_is_out() {
    for kind in Kind::all() {
        for asks_again in [false, true] {
            let mut peer = Peer::connect(kind).await;
            peer.get("/parts/out");
            let head = peer.received().await;
            assert!(head.ends_with("one\n\r\n"), "{kind:?}: {head:?}");
            peer.conn().drain();
            wait(5 * GRACE).await;
            released("out").notify_one();
            assert!(peer.received().await.ends_with("0\r\n\r\n"), "{kind:?}");
            wait(GRACE / 2).await;
            assert!(!peer.is_ended().await, "{kind:?}");
            assert_eq!(peer.conn().state(), ConnState::Idle, "{kind:?}");
            if asks_again {
                peer.get("/");
                check_answer(&peer.received().await, "hello\n", true);
            } else {
                wait(GRACE).await;
            }
            check_gone(peer, kind).await;
        }
    }
}

/// The drain is given up, and the connection goes on as if nothing had been.
#[tokio::test(start_paused = true)]
async fn a_drain_that_is_dropped() {
    for kind in Kind::all() {
        let mut peer = Peer::connect(kind).await;
        peer.get("/");
        peer.received().await;
        let drain = peer.connections.drain(Duration::from_secs(60));
        let given_up = tokio::time::timeout(GRACE / 2, drain.into_future()).await;
        assert!(given_up.is_err());
        wait(5 * GRACE).await;
        peer.get("/");
        check_answer(&peer.received().await, "hello\n", false);
        assert!(!peer.is_ended().await, "{kind:?}");
    }
}
