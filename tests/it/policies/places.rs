//! Places under a limit come back, however a connection ends.

use std::net::SocketAddr;

use hyper_connstate::{Address, Limit, Policies, Refusal};

use super::bench::{Bench, GET, SECOND, Talk, get, on_each};
use crate::oracles::wire::{Client, settle};
use crate::support::{Kind, frames};

fn from(ip: &str) -> Address {
    SocketAddr::new(ip.parse().unwrap(), 40_000).into()
}

/// Of a server that has one place.
fn bench(kind: Kind) -> Bench {
    let policies =
        Policies::internet().max_connections(1).refuse_when_full(true).max_connections_per_ip(1);
    Bench::new(kind, policies)
}

async fn dial(bench: &Bench, kind: Kind, alpn: &str) -> Client {
    Client::new(bench.dial_from(from("192.0.2.1")), kind.is_tls().then_some(alpn)).await
}

/// The place is free, and the next client is served.
async fn is_free(bench: &Bench, kind: Kind, what: &str) {
    assert!(bench.connections.is_empty(), "{what}: {}", bench.log.words());
    let mut client = dial(bench, kind, "http/1.1").await;
    assert!(client.say(GET).await.ends_with("hello"), "{what}");
    client.close();
    tokio::time::sleep(SECOND).await;
    assert!(bench.connections.is_empty(), "{what}: {}", bench.log.words());
    assert_eq!(bench.connections.refused(Limit::MaxConnections), 0, "{what}");
    assert_eq!(bench.connections.refused(Limit::MaxConnectionsPerIp), 0, "{what}");
}

#[test]
fn after_a_panic() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = dial(&bench, kind, "http/1.1").await;
        client.send(&get("/panic"));
        client.wait_end().await;
        tokio::time::sleep(SECOND).await;
        is_free(&bench, kind, "over HTTP/1").await;
        let mut client = dial(&bench, kind, "h2").await;
        client.send(&[frames::opening(), frames::get(1, "/panic")].concat());
        client.read_all().await;
        client.close();
        tokio::time::sleep(SECOND).await;
        is_free(&bench, kind, "over HTTP/2").await;
    });
}

#[test]
fn after_a_client_that_goes_away() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        for said in ["", "GE", "GET / HTTP/1.1\r\nhost: test\r\n\r\n"] {
            let mut client = dial(&bench, kind, "http/1.1").await;
            client.send(said.as_bytes());
            client.close();
            tokio::time::sleep(SECOND).await;
            is_free(&bench, kind, said).await;
        }
        let mut client = dial(&bench, kind, "http/1.1").await;
        client.send(&get("/slow/100"));
        settle().await;
        client.close();
        tokio::time::sleep(SECOND).await;
        is_free(&bench, kind, "in the middle of a request").await;
        // Before the handshake, or in it.
        for said in [&[][..], &[22, 3, 1], b"GET / HTTP/1.1\r\n\r\n"] {
            let mut client = Client::plain(bench.dial_from(from("192.0.2.1")));
            client.send(said);
            settle().await;
            client.close();
            tokio::time::sleep(SECOND).await;
            is_free(&bench, kind, "in the handshake").await;
        }
    });
}

/// By the program, or by a policy.
#[test]
fn after_the_server_has_ended_it() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        for path in ["/slow/100", "/events/100", "/big/0/500000", "/tunnel"] {
            let mut client = dial(&bench, kind, "http/1.1").await;
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n\
                    upgrade: echo\r\n\r\n"
            );
            client.send(request.as_bytes());
            settle().await;
            let conn = bench.connections.iter().next().unwrap();
            conn.close();
            drop(conn);
            client.close();
            tokio::time::sleep(SECOND).await;
            is_free(&bench, kind, path).await;
        }
        let mut client = dial(&bench, kind, "http/1.1").await;
        client.send(b"GE");
        client.wait_end().await;
        client.close();
        tokio::time::sleep(SECOND).await;
        is_free(&bench, kind, "a time-out").await;
    });
}

/// Tasks that are aborted, streams that are dropped at once.
#[test]
fn after_an_abort() {
    use hyper_connstate::instrument_listener;
    use tokio::sync::mpsc;

    use crate::oracles::wire::{Wires, wire};

    super::bench::run(async {
        let (sender, receiver) = mpsc::unbounded_channel();
        let policies = Policies::internet().max_connections(1).max_connections_per_ip(1);
        let mut listener = instrument_listener(Wires(receiver), ()).policies(policies);
        let connections = listener.connections();
        let mut fars = Vec::new();
        for turn in 0..6 {
            let (near, far) = wire();
            sender.send((near, from("192.0.2.1"))).ok().unwrap();
            fars.push(far);
            match turn % 3 {
                0 => {
                    let (io, _) = listener.accept().await.unwrap();
                    let task = tokio::spawn(async move {
                        let _io = io;
                        std::future::pending::<()>().await;
                    });
                    settle().await;
                    assert_eq!(connections.len(), 1);
                    task.abort();
                    assert!(task.await.unwrap_err().is_cancelled());
                }
                1 => drop(listener.accept().await.unwrap()),
                _ => drop(listener.accept_handshake().await.unwrap()),
            }
            assert!(connections.is_empty(), "{turn}");
        }
        // Nobody who was waiting is forgotten.
        let (near, _far) = wire();
        sender.send((near, from("192.0.2.1"))).ok().unwrap();
        let (io, _) = listener.accept().await.unwrap();
        assert_eq!(connections.len(), 1);
        drop(io);
        assert_eq!(connections.refused(Limit::MaxConnectionsPerIp), 0);
    });
}

/// Whoever is refused takes no place, nor while it is told.
#[test]
fn after_a_refusal() {
    on_each(Kind::all(), async |kind| {
        for refusal in [Refusal::close(), Refusal::too_many_requests()] {
            let policies = Policies::new()
                .max_connections(2)
                .max_connections_per_ip(1)
                .refuse_when_full(true)
                .refusal(refusal);
            let bench = Bench::new(kind, policies);
            let mut one = dial(&bench, kind, "http/1.1").await;
            assert!(one.say(GET).await.ends_with("hello"));
            let refused: Vec<_> =
                (0..5).map(|_| Client::plain(bench.dial_from(from("192.0.2.1")))).collect();
            settle().await;
            assert_eq!(bench.connections.refused(Limit::MaxConnectionsPerIp), 5);
            let two = bench.dial_from(from("192.0.2.2"));
            let mut two = Client::new(two, kind.is_tls().then_some("http/1.1")).await;
            assert!(two.say(GET).await.ends_with("hello"));
            assert_eq!(bench.connections.refused(Limit::MaxConnections), 0);
            for mut client in refused.into_iter().chain([one, two]) {
                client.close();
            }
            tokio::time::sleep(SECOND).await;
            assert!(bench.connections.is_empty(), "{}", bench.log.words());
            let mut again = dial(&bench, kind, "http/1.1").await;
            assert!(again.say(GET).await.ends_with("hello"));
        }
    });
}
