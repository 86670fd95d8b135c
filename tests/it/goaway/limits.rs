//! What a client can hold up by doing nothing, or by never stopping.

use std::time::Duration;

use hyper_connstate::{CloseReason, ConnState};
use tokio::time::Instant;

use super::peer::{MAX, Peer};
use super::stack::Server;
use super::stream::Shape;
use crate::support::frames::*;

/// hyper's own shutdown waits for a PING's answer for ever.
#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping() {
    for server in Server::all() {
        let mut peer = Peer::connect(server, Shape::PLAIN).await;
        peer.send([opening(), get(1, "/")].concat());
        peer.settle().await;
        peer.pongs = false;
        let conn = peer.conn();
        let start = Instant::now();
        conn.drain();
        peer.live(Duration::from_secs(20)).await;
        peer.check_end(&server);
        let took = start.elapsed();
        let most = if server.is_managed() { 5_100 } else { 1_200 };
        assert!(took < Duration::from_millis(most), "{server:?}: {took:?}");
        assert_eq!(peer.goaways(), [(MAX, 0), (1, 0)], "{server:?}");
        peer.client.close();
        conn.closed().await;
        assert_eq!(conn.close_reason(), Some(CloseReason::ShutdownDrained), "{server:?}");
    }
}

/// One stream is open at any time, until the client heeds what it was told.
#[tokio::test(start_paused = true)]
async fn a_client_that_stays_busy() {
    for server in Server::all() {
        let mut peer = Peer::connect(server, Shape::PLAIN).await;
        peer.send([opening(), post(1, "/echo")].concat());
        peer.settle().await;
        let conn = peer.conn();
        conn.drain();
        let mut stream = 1;
        for _ in 0..20 {
            peer.live(Duration::from_millis(100)).await;
            if peer.goaways().contains(&(MAX, 0)) {
                break;
            }
            peer.send([post(stream + 2, "/echo"), data(stream, b"x", END_STREAM)].concat());
            stream += 2;
        }
        assert!(peer.is_told(), "{server:?}");
        // The last one takes its time.
        peer.live(Duration::from_secs(20)).await;
        assert!(!peer.client.ended, "{server:?}");
        assert_eq!(conn.state(), ConnState::Active, "{server:?}");
        peer.send(data(stream, b"the end", END_STREAM));
        peer.live(Duration::from_secs(5)).await;
        peer.check_end(&server);
        for answered in (1..=stream).step_by(2) {
            assert!(peer.is_answered(answered), "{server:?}: {answered}");
        }
        assert_eq!(peer.body(stream), "the end".len(), "{server:?}");
        assert_eq!(peer.goaways(), [(MAX, 0), (stream, 0)], "{server:?}");
        peer.client.close();
        conn.closed().await;
        assert_eq!(conn.close_reason(), Some(CloseReason::ShutdownDrained), "{server:?}");
    }
}

/// The stream takes nothing any more.
#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing() {
    for server in Server::all() {
        for split in [0, 5, 9, 16] {
            let mut peer = Peer::connect(server, Shape::PLAIN).await;
            peer.send([opening(), get(1, "/")].concat());
            peer.settle().await;
            peer.room.set(split);
            peer.send([ping(), ping()].concat());
            peer.settle().await;
            let conn = peer.conn();
            assert_eq!(conn.state(), ConnState::Idle);
            let start = Instant::now();
            conn.close();
            conn.closed().await;
            let took = start.elapsed();
            assert!(took <= Duration::from_millis(1_100), "{server:?}, {split}: {took:?}");
        }
    }
}

/// Its windows are full in the middle of an answer: it is Active, and a close
/// breaks it off at once.
#[tokio::test(start_paused = true)]
async fn a_client_whose_windows_are_full() {
    for server in Server::all() {
        let mut peer = Peer::connect(server, Shape::PLAIN).await;
        peer.send([opening(), get(1, "/big")].concat());
        peer.settle().await;
        let conn = peer.conn();
        assert_eq!(conn.state(), ConnState::Active);
        let start = Instant::now();
        conn.close();
        conn.closed().await;
        assert!(start.elapsed() <= Duration::from_millis(10), "{server:?}");
    }
}

/// A drain has its deadline for such clients.
#[tokio::test(start_paused = true)]
async fn a_drain_of_a_client_that_takes_nothing() {
    for server in Server::all() {
        let mut peer = Peer::connect(server, Shape::PLAIN).await;
        peer.send([opening(), get(1, "/")].concat());
        peer.settle().await;
        peer.room.set(0);
        let start = Instant::now();
        let drained = peer.connections.drain(Duration::from_secs(10)).await;
        let took = start.elapsed();
        assert!(took <= Duration::from_millis(11_100), "{server:?}: {took:?}");
        assert_eq!(drained.total(), 1, "{server:?}: {drained}");
        assert!(peer.connections.is_empty(), "{server:?}");
    }
}
