//! Frames of the crate's own stand between those of h2's, whatever its stream
//! takes at a time and wherever it is held up.

use std::time::Duration;

use super::peer::{MAX, Peer};
use super::stack::Server;
use super::stream::{ALL, Shape};
use crate::oracles::wire::settle;
use crate::support::Kind;
use crate::support::frames::*;

/// Longer than a drain waits for silence, shorter than a closed connection
/// lingers.
const HELD_UP: Duration = Duration::from_millis(300);

/// What a client asks for, and how much of it it lets come.
struct Script {
    name: &'static str,
    paths: &'static [&'static str],
    window: u32,
    /// By how much it opens the window each time.
    step: u32,
    /// How many of the places where it can be held up are tried.
    splits: usize,
}

const SCRIPTS: &[Script] = &[
    Script { name: "small", paths: &["/"], window: 65_535, step: 0, splits: 200 },
    Script { name: "nothing", paths: &[], window: 65_535, step: 0, splits: 60 },
    Script {
        name: "header blocks in parts",
        paths: &["/huge-head", "/trailers"],
        window: 65_535,
        step: 0,
        splits: 30,
    },
    Script {
        name: "tiny windows",
        paths: &["/chunked", "/trailers"],
        window: 3,
        step: 2,
        splits: 150,
    },
    Script { name: "big", paths: &["/60k", "/"], window: 9_000, step: 9_000, splits: 12 },
];

impl Script {
    fn streams(&self) -> impl Iterator<Item = u32> {
        (0..self.paths.len() as u32).map(|index| 2 * index + 1)
    }

    fn next_stream(&self) -> u32 {
        2 * self.paths.len() as u32 + 1
    }

    /// Sends all of it.
    fn begin(&self, peer: &mut Peer) {
        let window = [[0, 4].as_slice(), &self.window.to_be_bytes()].concat();
        peer.send([PREFACE, &frame(0x4, 0, 0, &window)].concat());
        for (stream, path) in self.streams().zip(self.paths) {
            peer.send(get(stream, path));
        }
        peer.window = self.step;
    }

    /// How many bytes a stream below the server is given.
    async fn length(&self, server: Server) -> usize {
        let mut peer = Peer::connect(server, Shape::PLAIN).await;
        let before = peer.client.sent();
        self.begin(&mut peer);
        peer.settle().await;
        assert!(self.streams().all(|stream| peer.is_answered(stream)), "{}", self.name);
        peer.client.sent() - before
    }
}

/// The places to try: all of them, if there are not too many.
pub fn splits(random: &mut fastrand::Rng, length: usize, most: usize) -> Vec<usize> {
    if length <= most {
        return (0..=length).collect();
    }
    (0..most).map(|_| random.usize(..=length)).collect()
}

/// What is common to a drain of one connection and of all.
async fn drain(server: Server, script: &Script, shape: Shape, split: usize, all: bool) {
    let what = format!("{server:?}, {}, {shape:?}, held up after {split} bytes", script.name);
    let mut peer = Peer::connect(server, shape).await;
    peer.room.set(split);
    script.begin(&mut peer);
    peer.settle().await;
    let drain = if all {
        let drain = peer.connections.drain(Duration::from_secs(30));
        Some(tokio::spawn(drain.into_future()))
    } else {
        peer.conn().drain();
        None
    };
    // The request that crosses the first GOAWAY.
    let late = script.next_stream();
    peer.last_words = Some(get(late, "/"));
    peer.live(HELD_UP).await;
    peer.room.set(ALL);
    peer.live(Duration::from_secs(10)).await;

    peer.check_end(&what);
    assert_eq!(peer.goaways(), [(MAX, 0), (late, 0)], "{what}");
    if !server.is_managed() {
        assert!(peer.last_is_goaway(), "{what}: {:?}", peer.frames.last());
    }
    for stream in script.streams().chain([late]) {
        assert!(peer.is_answered(stream), "{what}: stream {stream}");
    }
    for (stream, path) in script.streams().zip(script.paths) {
        if *path == "/60k" {
            assert_eq!(peer.body(stream), 60_000, "{what}");
        }
    }
    peer.client.close();
    if let Some(drain) = drain {
        let drained = drain.await.unwrap();
        assert_eq!((drained.drained, drained.total()), (1, 1), "{what}");
    }
    peer.conn().closed().await;
    assert!(peer.connections.is_empty(), "{what}");
}

/// Tries one of so many places.
async fn drain_everywhere(server: Server, one_of: usize, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for script in SCRIPTS {
        let length = script.length(server).await;
        for split in splits(&mut random, length, script.splits.div_ceil(one_of)) {
            let shape = Shape::random(&mut random);
            drain(server, script, shape, split, random.bool()).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_at_every_byte() {
    drain_everywhere(Server::Kind(Kind::Tower), 1, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_every_kind() {
    for (server, seed) in Server::all().into_iter().zip(1..) {
        drain_everywhere(server, 12, seed).await;
    }
}

/// A connection that is idle, but for what h2 itself has to say.
async fn close(server: Server, shape: Shape, split: usize) {
    let what = format!("{server:?}, {shape:?}, held up after {split} bytes");
    let mut peer = Peer::connect(server, shape).await;
    peer.send([opening(), get(1, "/")].concat());
    peer.settle().await;
    assert!(peer.is_answered(1), "{what}");
    peer.room.set(split);
    peer.send([ping(), settings(), ping()].concat());
    peer.settle().await;
    let conn = peer.conn();
    assert_eq!(conn.state(), hyper_connstate::ConnState::Idle, "{what}");
    let start = tokio::time::Instant::now();
    conn.close();
    // The server never sees this one, and says so.
    peer.send(get(3, "/"));
    peer.live(HELD_UP).await;
    peer.room.set(ALL);
    peer.live(Duration::from_secs(5)).await;

    peer.check_end(&what);
    assert_eq!(peer.goaways(), [(1, 0)], "{what}");
    assert!(peer.last_is_goaway(), "{what}: {:?}", peer.frames.last());
    // It gives the client half a second.
    assert!(!peer.connections.is_empty(), "{what}");
    settle().await;
    peer.client.close();
    conn.closed().await;
    assert!(start.elapsed() < Duration::from_secs(1), "{what}");
    assert_eq!(conn.close_reason(), Some(hyper_connstate::CloseReason::ClosedByProgram));
}

#[tokio::test(start_paused = true)]
async fn a_close_at_every_byte() {
    let mut random = fastrand::Rng::with_seed(1);
    for server in Server::all() {
        // The answers to the PINGs and to SETTINGS, in TLS's records.
        let length = if server.is_tls() { 130 } else { 2 * (9 + 8) + 9 };
        for split in splits(&mut random, length, 60) {
            close(server, Shape::random(&mut random), split).await;
        }
    }
}

/// Before anything was asked for: the first stream is the client's to send
/// again.
#[tokio::test(start_paused = true)]
async fn a_close_before_the_first_request() {
    for server in Server::all() {
        let mut peer = Peer::connect(server, Shape::PLAIN).await;
        peer.send(opening());
        peer.settle().await;
        peer.conn().close();
        peer.send(get(1, "/"));
        peer.live(Duration::from_secs(2)).await;
        peer.check_end(&server);
        assert_eq!(peer.goaways(), [(0, 0)], "{server:?}");
        peer.client.close();
    }
}

/// The hook is told of Idle in the middle of what was read: what is behind it
/// there is given to nobody.
#[tokio::test(start_paused = true)]
async fn a_close_in_the_hook_with_requests_behind_it() {
    for server in Server::all() {
        for served in [0, 1] {
            let mut peer = Peer::connect_with(server, Shape::PLAIN, move |conn, state| {
                if state == hyper_connstate::ConnState::Idle && conn.requests() >= served {
                    conn.close();
                }
            })
            .await;
            let what = format!("{server:?}, after {served}");
            if served == 0 {
                peer.send([opening(), get(1, "/")].concat());
            } else {
                peer.send([opening(), get(1, "/slow")].concat());
                peer.settle().await;
                // The first stream's end and the next one's beginning.
                peer.send([reset(1), get(3, "/")].concat());
            }
            peer.live(Duration::from_secs(2)).await;
            peer.check_end(&what);
            let last = if served == 0 { 0 } else { 1 };
            assert_eq!(peer.goaways(), [(last, 0)], "{what}");
            assert!(peer.last_is_goaway(), "{what}");
            peer.client.close();
        }
    }
}

/// A drain of a client that has been told by hyper already, or by the one
/// before: no GOAWAY takes back what another has said.
#[tokio::test(start_paused = true)]
async fn a_close_after_a_drain() {
    for server in Server::all() {
        for wait in [0, 5, 50, 500, 1_500] {
            let what = format!("{server:?}, closed {wait} ms after the drain");
            let mut peer = Peer::connect(server, Shape::PLAIN).await;
            peer.send([opening(), get(1, "/")].concat());
            peer.settle().await;
            peer.pongs = wait != 500;
            peer.conn().drain();
            peer.live(Duration::from_millis(wait)).await;
            peer.conn().close();
            peer.send(get(3, "/"));
            peer.live(Duration::from_secs(5)).await;
            peer.check_end(&what);
            let goaways = peer.goaways();
            assert_eq!(goaways.last(), Some(&(1, 0)), "{what}");
            assert!(goaways.len() <= 3, "{what}: {goaways:?}");
            peer.client.close();
        }
    }
}
