//! What policies tell HTTP/2 clients, wherever their streams are held up.

use std::time::Duration;

use hyper_connstate::{Connections, Limit, Policies, Policy, Refusal};
use tokio::time::Instant;

use super::clients::{Stream, h2_answer, h2_client, request, shapes};
use super::peer::{MAX, Peer};
use super::splits::splits;
use super::stack::Server;
use super::stream::{ALL, Shape, Shaped};
use crate::oracles::wire::{connect, wire};
use crate::support::frames::*;
use crate::support::handler::released;
use crate::support::start_watchdog;

/// Shorter than a closed connection lingers.
const HELD_UP: Duration = Duration::from_millis(300);

/// When policies run out, as nobody waits for long here.
const SOON: Duration = Duration::from_millis(250);

/// ENHANCE_YOUR_CALM (RFC 9113, section 7).
const CALM: u32 = 0xb;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Head,
    Idle,
    Age,
    Requests,
    Refused,
}

impl End {
    const ALL: [Self; 5] = [Self::Head, Self::Idle, Self::Age, Self::Requests, Self::Refused];

    fn policies(self) -> Policies {
        let policies = Policies::new();
        match self {
            Self::Head => policies.header_timeout(SOON),
            Self::Idle => policies.idle_timeout(SOON),
            Self::Age => policies.max_age(SOON),
            Self::Requests => policies.max_requests(1),
            Self::Refused => {
                let refusal = Refusal::unavailable();
                policies.max_connections(0).refuse_when_full(true).refusal(refusal)
            }
        }
    }

    fn has_come(self, connections: &Connections) -> bool {
        let policy = match self {
            Self::Head => Policy::HeaderTimeout,
            Self::Idle => Policy::IdleTimeout,
            Self::Age => Policy::MaxAge,
            Self::Requests => Policy::MaxRequests,
            Self::Refused => return connections.refused(Limit::MaxConnections) > 0,
        };
        connections.expired(policy) > 0
    }

    /// How many bytes of the server's have to do with it, and how many places
    /// among them are tried.
    fn length(self, server: Server) -> (usize, usize) {
        let (plain, places) = match self {
            Self::Head => (17, 60),
            Self::Refused => (9 + 17, 60),
            // A late request is answered in between.
            _ => (150, 30),
        };
        // A record's header and what it ends with.
        (if server.is_tls() { plain + 3 * 22 } else { plain }, places)
    }

    async fn check(self, server: Server, shape: Shape, split: usize) {
        let what = format!("{self:?}, {server:?}, {shape:?}, held up after {split} bytes");
        let mut peer = Peer::connect_under(server, shape, self.policies()).await;
        match self {
            Self::Refused => {
                peer.room.set(split);
                peer.send([opening(), get(1, "/")].concat());
            }
            Self::Requests => {
                peer.send(opening());
                peer.settle().await;
                peer.room.set(split);
                peer.send(get(1, "/"));
            }
            _ => {
                peer.send([opening(), get(1, "/")].concat());
                peer.settle().await;
                peer.room.set(split);
            }
        }
        if self == Self::Head {
            peer.send(&get(3, "/")[..12]);
        } else if self != Self::Refused {
            // The request that crosses the first GOAWAY.
            peer.last_words = Some(get(3, "/"));
        }
        let start = Instant::now();
        while !self.has_come(&peer.connections) {
            peer.live(Duration::from_millis(10)).await;
            assert!(start.elapsed() < 4 * SOON, "{what}: never");
        }
        peer.live(HELD_UP).await;
        peer.room.set(ALL);
        peer.live(Duration::from_secs(10)).await;

        peer.check_end(&what);
        match self {
            Self::Head => assert_eq!(peer.goaways(), [(1, CALM)], "{what}"),
            Self::Refused => assert_eq!(peer.goaways(), [(0, CALM)], "{what}"),
            _ => {
                assert_eq!(peer.goaways(), [(MAX, 0), (3, 0)], "{what}");
                assert!(peer.is_answered(1) && peer.is_answered(3), "{what}");
            }
        }
        peer.client.close();
        peer.conn().closed().await;
        // Nobody looks after it any more.
        peer.connections.set_policies(Policies::new());
    }
}

#[tokio::test(start_paused = true)]
async fn every_end_at_every_byte() {
    let mut random = fastrand::Rng::with_seed(3);
    for server in Server::all() {
        for end in End::ALL {
            let (length, places) = end.length(server);
            for split in splits(&mut random, length, places) {
                end.check(server, Shape::random(&mut random), split).await;
            }
        }
    }
}

/// The client's end of a connection, and the server's registry.
async fn dial(server: Server, shape: Shape, end: End) -> (Box<dyn Stream>, Connections) {
    start_watchdog();
    let (near, far) = wire();
    let (stream, _) = Shaped::new(near, shape);
    let connections = server.serve(stream, |_, _| {});
    connections.set_policies(end.policies());
    let stream: Box<dyn Stream> =
        if server.is_tls() { Box::new(connect(far, "h2").await) } else { Box::new(far) };
    (stream, connections)
}

fn told_to_be_calm(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
}

fn may_be_sent_again(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
}

/// Its own stream takes nothing more in the middle of a header block.
#[tokio::test(start_paused = true)]
async fn h2_takes_too_long_for_a_head() {
    for server in Server::all() {
        for shape in shapes() {
            let what = format!("{server:?} {shape:?}");
            let (stream, connections) = dial(server, shape, End::Head).await;
            let (stream, room) = Shaped::new(stream, Shape::PLAIN);
            let (mut client, connection) = h2_client(Box::new(stream)).await;
            let (first, _) = client.send_request(request("/", ()), true).unwrap();
            assert_eq!(h2_answer(first).await.unwrap(), "hello\n".len());
            room.set(12);
            let (second, _) = client.send_request(request("/", ()), true).unwrap();
            let error = h2_answer(second).await.unwrap_err();
            assert!(told_to_be_calm(&error), "{what}: {error:?}");
            room.set(ALL);
            assert!(told_to_be_calm(&connection.await.unwrap().unwrap_err()), "{what}");
            drop(client);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(connections.is_empty(), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h2_is_refused() {
    for server in Server::all() {
        for shape in shapes() {
            let what = format!("{server:?} {shape:?}");
            let (stream, connections) = dial(server, shape, End::Refused).await;
            let (mut client, connection) = h2_client(stream).await;
            if let Ok((first, _)) = client.send_request(request("/", ()), true) {
                let error = h2_answer(first).await.unwrap_err();
                assert!(told_to_be_calm(&error), "{what}: {error:?}");
            }
            assert!(told_to_be_calm(&connection.await.unwrap().unwrap_err()), "{what}");
            drop(client);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(connections.is_empty(), "{what}");
        }
    }
}

/// It loses nothing, and takes no more.
#[tokio::test(start_paused = true)]
async fn h2_is_idle_old_or_has_asked_enough() {
    for server in Server::all() {
        for shape in shapes() {
            for end in [End::Idle, End::Age, End::Requests] {
                let what = format!("{end:?} {server:?} {shape:?}");
                let (stream, connections) = dial(server, shape, end).await;
                let (mut client, connection) = h2_client(stream).await;
                let path = if end == End::Idle { "/" } else { "/wait/policies" };
                let (first, _) = client.send_request(request(path, ()), true).unwrap();
                let first = tokio::spawn(h2_answer(first));
                while !end.has_come(&connections) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                // It may know, or not.
                match client.send_request(request("/chunked", ()), true) {
                    Ok((late, _)) => match h2_answer(late).await {
                        Ok(length) => assert_eq!(length, "onetwothree".len(), "{what}"),
                        Err(error) => assert!(may_be_sent_again(&error), "{what}: {error:?}"),
                    },
                    Err(error) => assert!(may_be_sent_again(&error), "{what}: {error:?}"),
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
                assert!(client.clone().ready().await.is_err(), "{what}");
                released("policies").notify_one();
                assert!(first.await.unwrap().is_ok(), "{what}");
                if end == End::Idle {
                    // Nobody has waited for it.
                    let notified = released("policies");
                    notified.notified().await;
                }
                connection.await.unwrap().unwrap();
                drop(client);
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert!(connections.is_empty(), "{what}");
            }
        }
    }
}

/// What it is told does not go out, nor what it has asked for.
#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_when_it_is_told() {
    let timeout = Duration::from_secs(5);
    for server in Server::all() {
        for split in [0, 5, 16, 17] {
            let policies = Policies::new().write_timeout(timeout);
            let mut peer = Peer::connect_under(server, Shape::PLAIN, policies).await;
            peer.send([opening(), get(1, "/wait/told")].concat());
            peer.settle().await;
            let conn = peer.conn();
            peer.room.set(split);
            conn.drain();
            peer.live(Duration::from_millis(500)).await;
            released("told").notify_one();
            let start = Instant::now();
            let _ = tokio::time::timeout(4 * timeout, conn.closed()).await;
            let took = start.elapsed();
            assert!(took < 2 * timeout, "{server:?}, {split}: {took:?}");
        }
    }
}

/// It has all its answers, but does not take what it is told.
#[tokio::test(start_paused = true)]
async fn an_idle_client_that_takes_nothing() {
    for server in Server::all() {
        for split in [0, 5, 16, 17] {
            let mut peer = Peer::connect_under(server, Shape::PLAIN, End::Idle.policies()).await;
            peer.send([opening(), get(1, "/")].concat());
            peer.settle().await;
            peer.pongs = false;
            peer.room.set(split);
            let start = Instant::now();
            let conn = peer.conn();
            let _ = tokio::time::timeout(Duration::from_secs(30), conn.closed()).await;
            let took = start.elapsed();
            assert!(took < Duration::from_secs(15), "{server:?}, {split}: {took:?}");
        }
    }
}
