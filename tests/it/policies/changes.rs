//! Policies that change, and odd ones.

use std::time::Duration;

use hyper_connstate::{Policies, Policy};
use tokio::time::Instant;

use super::bench::{Bench, GET, SECOND, Talk, get, on_each, run};
use crate::support::Kind;

/// What is set while connections are there holds for them.
#[test]
fn set_while_connections_are_there() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new());
        let mut client = bench.http1().await;
        client.say(GET).await;
        let idle_since = Instant::now();
        client.lives_for(20 * SECOND).await;
        let policies = bench.connections.policies();
        bench.connections.set_policies(policies.clone().idle_timeout(100 * SECOND));
        client.lives_for(20 * SECOND).await;
        bench.connections.set_policies(policies.clone().idle_timeout(60 * SECOND));
        client.ends_after(60 * SECOND, idle_since).await;
        assert_eq!(bench.expired.words(), "idle_timeout");
        assert_eq!(bench.connections.expired(Policy::IdleTimeout), 1);

        // And ends when it is turned off.
        let mut client = bench.http1().await;
        client.say(GET).await;
        client.lives_for(50 * SECOND).await;
        bench.connections.set_policies(policies.idle_timeout(None));
        client.lives_for(200 * SECOND).await;
    });
}

#[test]
fn one_connection_with_its_own() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().idle_timeout(20 * SECOND));
        let mut client = bench.http1().await;
        client.say(GET).await;
        let conn = bench.connections.iter().next().unwrap();
        conn.set_policies(conn.policies().idle_timeout(None).max_requests(2));
        let mut other = bench.http1().await;
        other.say(GET).await;
        client.lives_for(60 * SECOND).await;
        other.wait_end().await;
        // Those of the others change nothing here.
        bench.connections.set_policies(Policies::new().idle_timeout(SECOND).max_requests(100));
        client.lives_for(60 * SECOND).await;
        assert!(client.say(GET).await.contains("connection: close"));
    });
}

/// Shorter ones are looked after as often as they need, though the registry has
/// none.
#[test]
fn only_one_connection_has_any() {
    on_each([Kind::Tower], async |kind| {
        let bench = Bench::new(kind, Policies::new());
        let mut client = bench.http1().await;
        client.say(GET).await;
        let since = Instant::now();
        let conn = bench.connections.iter().next().unwrap();
        conn.set_policies(Policies::new().idle_timeout(5 * SECOND));
        client.ends_after(5 * SECOND, since).await;
    });
}

/// A time of zero is over at once, one of centuries never.
#[test]
fn zero_and_centuries() {
    on_each(Kind::all(), async |kind| {
        for time in [Duration::ZERO, Duration::MAX, Duration::from_secs(1 << 40)] {
            let policies = Policies::internet()
                .handshake_timeout(Duration::MAX)
                .first_byte_timeout(Duration::MAX)
                .header_timeout(time)
                .idle_timeout(time)
                .body_timeout(time)
                .min_body_rate(u64::MAX, Duration::MAX)
                .write_timeout(time)
                .min_write_rate(0, Duration::ZERO)
                .tunnel_idle_timeout(time)
                .max_age(Duration::MAX)
                .age_grace(Duration::MAX)
                .keep_alive_header(true);
            let bench = Bench::new(kind, policies);
            let mut client = bench.http1().await;
            assert!(client.say(GET).await.ends_with("hello"));
            if time.is_zero() {
                client.wait_end().await;
            } else {
                client.lives_for(1_000 * SECOND).await;
            }
        }
        let bench = Bench::new(kind, Policies::new().max_age(Duration::ZERO));
        let mut client = bench.http1().await;
        client.send(&get("/slow/5"));
        tokio::time::sleep(6 * SECOND).await;
        client.read_all().await;
        assert!(client.heard().contains("connection: close"));
        let bench = Bench::new(kind, Policies::new().max_requests(0));
        let mut client = bench.http1().await;
        assert!(client.say(GET).await.contains("connection: close"));
    });
}

/// Under load, from another task.
#[test]
fn while_requests_come() {
    on_each([Kind::Tower], async |kind| {
        let bench = Bench::new(kind, Policies::internet());
        let mut client = bench.http1().await;
        for round in 0..500 {
            let policies = match round % 3 {
                0 => Policies::internet(),
                1 => Policies::new().max_connections(1).max_connections_per_ip(1),
                _ => Policies::new().max_age(1_000 * SECOND).max_requests(1_000_000),
            };
            bench.connections.set_policies(policies);
            assert!(client.say(GET).await.ends_with("hello"));
        }
        assert_eq!(bench.expired.words(), "");
    });
}

/// The task ends with its registry.
#[test]
fn nobody_is_left_behind() {
    crate::oracles::stack::run(async {
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let connections = hyper_connstate::Connections::new();
        connections.set_policies(Policies::internet());
        assert_eq!(tasks(), before + 1);
        connections.set_policies(Policies::internet());
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(tasks(), before + 1);
        drop(connections);
        tokio::time::sleep(SECOND / 100).await;
        assert_eq!(tasks(), before);
    });
}

/// A panic of the hook's goes no further.
#[test]
fn a_hook_that_panics() {
    crate::support::quiet_panics();
    on_each([Kind::Tower], async |kind| {
        let bench = Bench::new(kind, Policies::new());
        let policies = Policies::new().idle_timeout(5 * SECOND);
        bench
            .connections
            .set_policies(policies.on_expiry(|_, _| panic!("a hook's panic (wanted)")));
        for _ in 0..2 {
            let mut client = bench.http1().await;
            client.say(GET).await;
            client.ends_after(5 * SECOND, Instant::now()).await;
        }
        assert_eq!(bench.connections.expired(Policy::IdleTimeout), 2);
    });
}

async fn hello(
    _: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<String>, std::convert::Infallible> {
    Ok(http::Response::new("hello".to_owned()))
}

/// What a client sent while the program stood still is read first.
#[test]
fn a_program_that_stands_still() {
    use std::io::{Read, Write};

    // At its end it may set policies, which wakes the task that looks after them.
    for sets_policies in [false, true] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let policies = Policies::new().idle_timeout(SECOND).header_timeout(SECOND);
            let mut listener =
                hyper_connstate::instrument_listener(listener, ()).policies(policies);
            let client = std::thread::spawn(move || {
                let mut client = std::net::TcpStream::connect(address).unwrap();
                let mut answer = [0; 1024];
                client.write_all(&GET[..20]).unwrap();
                // In the middle of the server's sleep.
                std::thread::sleep(SECOND);
                client.write_all(&GET[20..]).unwrap();
                let length = client.read(&mut answer).unwrap();
                String::from_utf8_lossy(&answer[..length]).into_owned()
            });
            let (io, conn) = listener.accept().await.unwrap();
            let service = hyper_connstate::ConnStateLayer::for_conn(&conn);
            let service = service.layer(hyper::service::service_fn(hello));
            let server = hyper::server::conn::http1::Builder::new()
                .serve_connection(hyper_util::rt::TokioIo::new(io), service);
            let server = tokio::spawn(server);
            tokio::time::sleep(SECOND / 5).await;
            // Nobody polls anything meanwhile.
            std::thread::sleep(3 * SECOND);
            if sets_policies {
                conn.set_policies(conn.policies().body_timeout(SECOND / 10));
            }
            while !client.is_finished() {
                tokio::time::sleep(SECOND / 50).await;
            }
            let answer = client.join().unwrap();
            assert!(answer.ends_with("hello"), "{answer}");
            server.abort();
        });
    }
}

/// Policies of one request, and then those of the registry again.
#[test]
fn policies_that_are_reset() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().idle_timeout(20 * SECOND));
        let mut client = bench.http1().await;
        client.say(GET).await;
        let conn = bench.connections.iter().next().unwrap();
        conn.set_policies(conn.policies().idle_timeout(None).max_requests(3));
        client.lives_for(60 * SECOND).await;
        conn.reset_policies();
        assert_eq!(format!("{:?}", conn.policies()), format!("{:?}", bench.connections.policies()));
        // It has been idle for longer than that already.
        client.wait_end().await;
        assert_eq!(bench.expired.words(), "idle_timeout");

        let mut client = bench.http1().await;
        client.say(GET).await;
        let conn = bench.connections.iter().next().unwrap();
        conn.set_policies(conn.policies().max_requests(2));
        conn.reset_policies();
        bench.connections.set_policies(Policies::new().max_requests(3));
        assert!(!client.say(GET).await.contains("connection: close"));
        assert!(client.say(GET).await.contains("connection: close"));
    });
}

/// Those that are set in the hook for `New`, before the connection is in a
/// registry.
#[test]
fn policies_of_a_connection_that_comes() {
    use hyper_connstate::{Address, Conn, ConnIo, ConnState, Connections};

    let own = |conn: &Conn, state: ConnState| {
        if state == ConnState::New {
            conn.set_policies(Policies::new().first_byte_timeout(SECOND));
        }
    };
    for policies in [Policies::new(), Policies::new().idle_timeout(600 * SECOND)] {
        run(async {
            let connections = Connections::new();
            connections.set_policies(policies);
            let (_client, server) = tokio::io::duplex(100);
            tokio::time::sleep(SECOND).await;
            let io = ConnIo::new(server, Address::Unknown, Address::Unknown, own);
            connections.insert(io.conn());
            let since = Instant::now();
            while connections.expired(Policy::FirstByteTimeout) == 0 {
                tokio::time::sleep(SECOND / 50).await;
                assert!(since.elapsed() < 2 * SECOND);
            }
            assert!(since.elapsed() >= SECOND);
        });
    }
}

/// Then no time-out fires, and everything else works.
#[test]
fn a_runtime_without_a_timer() {
    use std::io::{Read, Write};

    crate::support::quiet_panics();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let policies = Policies::new().idle_timeout(Duration::ZERO);
        let mut listener = hyper_connstate::instrument_listener(listener, ()).policies(policies);
        for _ in 0..3 {
            let client = std::thread::spawn(move || {
                let mut client = std::net::TcpStream::connect(address).unwrap();
                let mut answer = [0; 1024];
                (0..2).for_each(|_| {
                    client.write_all(GET).unwrap();
                    let length = client.read(&mut answer).unwrap();
                    assert!(answer[..length].ends_with(b"hello"));
                });
            });
            let (io, conn) = listener.accept().await.unwrap();
            let service = hyper_connstate::ConnStateLayer::for_conn(&conn);
            let service = service.layer(hyper::service::service_fn(hello));
            let io = hyper_util::rt::TokioIo::new(io);
            let server = hyper::server::conn::http1::Builder::new();
            server.serve_connection(io, service).await.unwrap();
            client.join().unwrap();
        }
    });
}
