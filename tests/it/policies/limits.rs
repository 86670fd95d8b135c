//! Who may come.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper_connstate::{Accept, Address, ConnIo, Limit, Policies, Refusal, instrument_listener};
use tokio::sync::mpsc;

use super::bench::{Bench, GET, SECOND, Talk, on_each, run};
use crate::oracles::wire::{Client, Wires, settle, wire};
use crate::support::{Kind, frames};

fn from(ip: &str) -> Address {
    SocketAddr::new(ip.parse().unwrap(), 40_000).into()
}

/// Those whose clients can be kept waiting without having to shake hands.
fn plain_kinds() -> impl Iterator<Item = Kind> {
    Kind::all().into_iter().filter(|kind| !kind.is_tls())
}

/// The next one waits until there is a place.
#[test]
fn a_full_server_has_clients_wait() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().max_connections(2));
        let mut one = bench.http1().await;
        let mut two = bench.http1().await;
        let far = bench.dial_from(Address::Unknown);
        assert!(one.say(GET).await.ends_with("hello"));
        assert!(two.say(GET).await.ends_with("hello"));
        assert_eq!(bench.connections.len(), 2);
        one.close();
        let mut three = Client::new(far, kind.is_tls().then_some("http/1.1")).await;
        assert!(three.say(GET).await.ends_with("hello"));
        // Or until there is more room.
        let far = bench.dial_from(Address::Unknown);
        settle().await;
        assert_eq!(bench.connections.len(), 2);
        bench.connections.set_policies(Policies::new().max_connections(3));
        let mut four = Client::new(far, kind.is_tls().then_some("http/1.1")).await;
        assert!(four.say(GET).await.ends_with("hello"));
        assert_eq!(bench.connections.refused(Limit::MaxConnections), 0);
    });
}

/// A listener to which nobody comes takes no place from another's clients.
#[test]
fn listeners_that_share_a_limit() {
    on_each(plain_kinds(), async |kind| {
        let one = Bench::new(kind, Policies::new().max_connections(1));
        let two = one.beside();
        settle().await;
        let mut first = two.http1().await;
        assert!(first.say(GET).await.ends_with("hello"));
        let mut second = one.http1().await;
        assert_eq!(second.say(GET).await, "");
        first.close();
        second.read_all().await;
        assert!(second.heard().ends_with("hello"));
        let mut third = two.http1().await;
        assert_eq!(third.say(GET).await, "");
        assert_eq!(one.connections.len(), 1);
    });
}

/// It holds for the next client, though its listener waits for that one already.
#[test]
fn a_limit_that_comes_while_a_listener_waits() {
    on_each(plain_kinds(), async |kind| {
        let bench = Bench::new(kind, Policies::new());
        let mut one = bench.http1().await;
        assert!(one.say(GET).await.ends_with("hello"));
        bench.connections.set_policies(Policies::new().max_connections(1));
        let mut two = bench.http1().await;
        assert_eq!(two.say(GET).await, "");
        assert!(!two.ended);
        one.close();
        two.read_all().await;
        assert!(two.heard().ends_with("hello"));
        assert_eq!(bench.connections.refused(Limit::MaxConnections), 0);
    });
}

/// Clients wait where they came, and whoever gives up accepting loses none.
#[test]
fn a_full_server_leaves_clients_in_the_queue() {
    run(async {
        let (sender, receiver) = mpsc::unbounded_channel();
        let policies = Policies::new().max_connections(1);
        let mut listener = instrument_listener(Wires(receiver), ()).policies(policies);
        for _ in 0..3 {
            sender.send((wire().0, Address::Unknown)).ok().unwrap();
        }
        let one = listener.accept().await.unwrap();
        assert!(tokio::time::timeout(SECOND, listener.accept()).await.is_err());
        assert_eq!(listener.get_ref().0.len(), 2);
        drop(one);
        let _two = listener.accept().await.unwrap();
        assert_eq!(listener.get_ref().0.len(), 1);
    });
}

/// Has a client whenever it is asked.
struct Endless;

impl Accept for Endless {
    type Io = tokio::io::Empty;
    type Addr = Address;

    async fn accept(&mut self) -> io::Result<(tokio::io::Empty, Address)> {
        Ok((tokio::io::empty(), from("192.0.2.1")))
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Unknown)
    }
}

/// Two listeners with one connection each stay below a limit of two. Where there
/// is room for one only, they take turns.
#[test]
fn nobody_is_refused_while_there_is_room() {
    let policies = [
        Policies::new().max_connections(2).refuse_when_full(true),
        Policies::new().max_connections_per_ip(2),
        Policies::new().max_connections(1),
    ];
    for policies in policies {
        let one = instrument_listener(Endless, ()).policies(policies);
        let connections = one.connections();
        let two = instrument_listener(Endless, ()).with_connections(connections.clone());
        std::thread::scope(|threads| {
            for mut listener in [one, two] {
                threads.spawn(move || {
                    run(async {
                        for _ in 0..20_000 {
                            drop(listener.accept().await.unwrap());
                        }
                    });
                });
            }
        });
        for limit in [Limit::MaxConnections, Limit::MaxConnectionsPerIp] {
            assert_eq!(connections.refused(limit), 0, "{limit}");
        }
    }
}

/// A hijacked one keeps its place.
#[test]
fn tunnels_count() {
    on_each([Kind::Tower, Kind::Hyper], async |kind| {
        let policies = Policies::new().max_connections(1).refuse_when_full(true);
        let bench = Bench::new(kind, policies);
        let mut tunnel = bench.http1().await;
        let request = b"GET /tunnel HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n\
            upgrade: echo\r\n\r\n";
        assert!(tunnel.say(request).await.starts_with("HTTP/1.1 101"));
        let mut client = bench.http1().await;
        client.wait_end().await;
        tunnel.close();
        tokio::time::sleep(SECOND).await;
        let mut client = bench.http1().await;
        assert!(client.say(GET).await.ends_with("hello"));
    });
}

/// A refused connection is New and Closed, and never served.
#[test]
fn a_full_server_refuses() {
    on_each(Kind::all(), async |kind| {
        let policies = Policies::new().max_connections(1).refuse_when_full(true);
        let bench = Bench::new(kind, policies);
        let mut one = bench.http1().await;
        assert!(one.say(GET).await.ends_with("hello"));
        let mut two = Client::plain(bench.dial_from(Address::Unknown));
        two.wait_end().await;
        assert_eq!(two.heard(), "");
        assert_eq!(bench.log.words(), "new active idle new closed (Refused)");
        assert_eq!(bench.connections.refused(Limit::MaxConnections), 1);
        one.close();
        tokio::time::sleep(SECOND).await;
        let mut three = bench.http1().await;
        assert!(three.say(GET).await.ends_with("hello"));
    });
}

/// It is told why, once it has begun to ask; over TLS, behind the handshake.
#[test]
fn a_full_server_says_so() {
    on_each(Kind::all(), async |kind| {
        let refusal = Refusal::unavailable().retry_after(30 * SECOND);
        let policies = Policies::new().max_connections(1).refuse_when_full(true).refusal(refusal);
        let bench = Bench::new(kind, policies);
        let mut one = bench.http1().await;
        assert!(one.say(GET).await.ends_with("hello"));
        let mut two = bench.http1().await;
        two.lives_for(SECOND).await;
        // The rest of it must not cost it the answer.
        two.send(&[GET, &[b'x'; 100_000]].concat());
        two.wait_end().await;
        assert_eq!(
            two.heard(),
            "HTTP/1.1 503 Service Unavailable\r\nretry-after: 30\r\nconnection: close\r\n\
             content-length: 0\r\n\r\n"
        );
        two.close();
        let mut three = bench.silent_http2().await;
        three.send(frames::PREFACE);
        three.wait_end().await;
        let goaway = frames::frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xb]);
        assert_eq!(three.received, [frames::settings(), goaway].concat());
        three.close();
        // One that says nothing does not stay.
        let mut four = bench.http1().await;
        assert!(four.wait_end().await <= 6 * SECOND);
        assert_eq!(four.heard(), "");
        four.close();
        tokio::time::sleep(SECOND).await;
        assert_eq!(bench.served.words(), "/");
        let refused = " new closed (Refused)".repeat(3);
        assert_eq!(bench.log.words(), format!("new active idle{refused}"));
    });
}

/// Nor does one stay that does not even finish its handshake.
#[test]
fn a_refused_client_that_never_shakes_hands() {
    on_each(Kind::all().into_iter().filter(|kind| kind.is_tls()), async |kind| {
        let policies = Policies::new()
            .max_connections(1)
            .refuse_when_full(true)
            .refusal(Refusal::unavailable());
        let bench = Bench::new(kind, policies);
        let _one = bench.http1().await;
        let mut two = Client::plain(bench.dial_from(Address::Unknown));
        assert!(two.wait_end().await <= 6 * SECOND);
        assert_eq!(bench.log.words(), "new new closed (Refused)");
    });
}

/// At most so many are told at once.
#[test]
fn a_flood_of_refused_clients() {
    on_each([Kind::Tower], async |kind| {
        let policies = Policies::new()
            .max_connections(0)
            .refuse_when_full(true)
            .refusal(Refusal::unavailable());
        let bench = Bench::new(kind, policies);
        let mut clients = Vec::new();
        for _ in 0..1_000 {
            clients.push(bench.http1().await);
        }
        settle().await;
        assert_eq!(bench.connections.len(), 256);
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(bench.connections.len(), 0);
        // There is room for others to be told.
        let mut client = bench.http1().await;
        client.send(GET);
        client.wait_end().await;
        assert!(client.heard().starts_with("HTTP/1.1 503"));
    });
}

#[test]
fn from_one_address() {
    on_each(Kind::all(), async |kind| {
        let refused = Arc::new(std::sync::Mutex::new(Vec::new()));
        let on_refusal = {
            let refused = refused.clone();
            move |conn: &hyper_connstate::Conn, limit: Limit| {
                refused.lock().unwrap().push((conn.remote_addr().to_string(), limit));
            }
        };
        let policies = Policies::new().max_connections_per_ip(2).on_refusal(on_refusal);
        let bench = Bench::new(kind, policies);
        let dial = |ip: &str| Client::plain(bench.dial_from(from(ip)));
        let kept = [
            dial("192.0.2.1"),
            dial("::ffff:192.0.2.1"),
            dial("192.0.2.2"),
            dial("2001:db8::1"),
            dial("2001:db8::2"),
            dial("2001:db8:0:1::1"),
        ];
        settle().await;
        assert_eq!(bench.connections.len(), kept.len());
        for ip in ["192.0.2.1", "2001:db8::ffff:1"] {
            dial(ip).wait_end().await;
        }
        let addresses: Vec<_> = refused.lock().unwrap().iter().map(|(ip, _)| ip.clone()).collect();
        assert_eq!(addresses, ["192.0.2.1:40000", "[2001:db8::ffff:1]:40000"]);
        assert_eq!(bench.connections.refused(Limit::MaxConnectionsPerIp), 2);
        // Those that have gone make room.
        for mut client in kept {
            client.close();
        }
        tokio::time::sleep(SECOND).await;
        let again = [dial("192.0.2.1"), dial("192.0.2.1")];
        settle().await;
        assert_eq!(bench.connections.len(), again.len());
    });
}

/// Of those that are exempt, too.
#[test]
fn each_address_is_asked_for_its_key_once() {
    on_each(plain_kinds(), async |kind| {
        let asked = Arc::new(AtomicUsize::new(0));
        let key = {
            let asked = asked.clone();
            move |ip: IpAddr| {
                asked.fetch_add(1, Ordering::Relaxed);
                Some(ip).filter(|ip| !ip.is_loopback())
            }
        };
        let policies = Policies::new().max_connections_per_ip(1).per_ip_key(key);
        let bench = Bench::new(kind, policies);
        let _there = ["192.0.2.1", "127.0.0.1", "127.0.0.1"].map(|ip| bench.dial_from(from(ip)));
        settle().await;
        assert_eq!(bench.connections.len(), 3);
        // They keep what they had.
        bench.connections.set_policies(bench.connections.policies());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    });
}

/// It exempts the address, and the server goes on.
#[test]
fn a_key_function_that_panics() {
    on_each(plain_kinds(), async |kind| {
        let key = |_| -> Option<IpAddr> { panic!("a key function's panic (wanted)") };
        let policies = Policies::new().max_connections_per_ip(1).per_ip_key(key);
        let bench = Bench::new(kind, policies);
        for _ in 0..2 {
            let mut client = Client::plain(bench.dial_from(from("192.0.2.1")));
            assert!(client.say(GET).await.ends_with("hello"));
        }
        assert_eq!(bench.connections.len(), 2);
        bench.connections.set_policies(Policies::new());
        let mut client = Client::plain(bench.dial_from(from("192.0.2.1")));
        assert!(client.say(GET).await.ends_with("hello"));
        // Those that are there are asked, too, when the limit comes late.
        bench.connections.set_policies(Policies::new().max_connections_per_ip(1).per_ip_key(key));
    });
}

/// A limit that comes late counts who is there, and closes nobody.
#[test]
fn a_limit_that_comes_late() {
    on_each([Kind::Tower], async |kind| {
        let bench = Bench::new(kind, Policies::new());
        let dial = || Client::plain(bench.dial_from(from("192.0.2.1")));
        let mut there = [dial(), dial(), dial()];
        settle().await;
        bench.connections.set_policies(Policies::new().max_connections_per_ip(2));
        settle().await;
        assert_eq!(bench.connections.len(), 3);
        dial().wait_end().await;
        there[0].close();
        settle().await;
        dial().wait_end().await;
        there[1].close();
        settle().await;
        let client = dial();
        settle().await;
        assert!(!client.ended);
        assert_eq!(bench.connections.len(), 2);
        bench.connections.set_policies(Policies::new());
        let more = [dial(), dial(), dial()];
        settle().await;
        assert_eq!(bench.connections.len(), 2 + more.len());
    });
}

#[test]
fn those_that_were_accepted_elsewhere_count() {
    on_each([Kind::Tower], async |kind| {
        let policies = Policies::new().max_connections(1).refuse_when_full(true);
        let bench = Bench::new(kind, policies);
        let (near, _far) = crate::oracles::wire::wire();
        let io = ConnIo::new(near, Address::Unknown, Address::Unknown, ());
        assert!(bench.connections.insert(io.conn()));
        bench.http1().await.wait_end().await;
        drop(io);
        let mut client = bench.http1().await;
        assert!(client.say(GET).await.ends_with("hello"));
    });
}
