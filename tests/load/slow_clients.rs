//! Thousands of slow clients of every kind on `axum::serve`, on sockets and in
//! real time: all of them are gone in their time, ordinary clients notice
//! nothing, and the memory comes back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use hyper_connstate::axum::ConnStateServiceExt;
use hyper_connstate::{CloseReason, Conn, ConnState, Hook, Policies, instrument_listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::process::room_for;
use crate::support::{frames, start_watchdog};
use crate::{ALLOCATOR, alone};

const SECOND: Duration = Duration::from_secs(1);

/// Counts the ends of connections by their reason, and keeps the longest life.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<BTreeMap<String, (usize, Duration)>>>);

impl Hook for Ends {
    fn on_state(&self, _: &Conn, _: ConnState) {}

    fn on_end(&self, conn: &Conn, reason: CloseReason) {
        let mut ends = self.0.lock().unwrap();
        let end = ends.entry(format!("{reason:?}")).or_default();
        end.0 += 1;
        end.1 = end.1.max(conn.accepted_at().elapsed());
    }
}

/// What a client does that is never done with it.
#[derive(Clone, Copy, Debug)]
enum Slow {
    Silent,
    DripsHead,
    StopsInBody,
    DoesNotRead,
    StaysIdle,
    HalfAPreface,
    HalfAHeaderBlock,
    Pings,
}

const KINDS: [Slow; 8] = [
    Slow::Silent,
    Slow::DripsHead,
    Slow::StopsInBody,
    Slow::DoesNotRead,
    Slow::StaysIdle,
    Slow::HalfAPreface,
    Slow::HalfAHeaderBlock,
    Slow::Pings,
];

/// Goes on until the server ends it.
async fn be_slow(address: std::net::SocketAddr, kind: Slow, drip: Duration) {
    let socket = TcpSocket::new_v4().unwrap();
    // So that what nobody reads is soon too much.
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let Ok(mut stream) = socket.connect(address).await else { return };
    let begin = [frames::PREFACE, &frames::settings()].concat();
    let (first, drip_bytes): (Vec<u8>, Vec<u8>) = match kind {
        Slow::Silent => (Vec::new(), Vec::new()),
        Slow::DripsHead => (b"GET / HTTP/1.1\r\nhost: x\r\n".into(), b"x: y\r\n".into()),
        Slow::StopsInBody => {
            (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc".into(), Vec::new())
        }
        Slow::DoesNotRead => (b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n".into(), Vec::new()),
        Slow::StaysIdle => (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".into(), Vec::new()),
        Slow::HalfAPreface => (frames::PREFACE[..14].into(), Vec::new()),
        Slow::HalfAHeaderBlock => {
            let block = frames::frame(1, 1, 1, &frames::block("GET", "/"));
            ([begin, block].concat(), Vec::new())
        }
        Slow::Pings => ([begin, frames::get(1, "/")].concat(), frames::ping()),
    };
    let _ = stream.write_all(&first).await;
    let mut scrap = [0; 4096];
    loop {
        let reads = !matches!(kind, Slow::DoesNotRead);
        tokio::select! {
            read = stream.read(&mut scrap), if reads => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            },
            () = tokio::time::sleep(drip) => {
                if !drip_bytes.is_empty() && stream.write_all(&drip_bytes).await.is_err() {
                    return;
                }
                // One that does not read learns it only so.
                if !reads && stream.write_all(b"x").await.is_err() {
                    return;
                }
            }
        }
    }
}

/// An ordinary client: a kept connection and new ones. Returns how many answers
/// it got.
async fn be_ordinary(address: std::net::SocketAddr, until: Instant) -> usize {
    let mut answers = 0;
    while Instant::now() < until {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..10 {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut answer = [0; 1024];
            let length = stream.read(&mut answer).await.unwrap();
            assert!(answer[..length].ends_with(b"hello"), "after {answers} answers");
            answers += 1;
            tokio::time::sleep(SECOND / 20).await;
        }
    }
    answers
}

fn live_bytes() -> isize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

async fn wait_until(condition: impl Fn() -> bool) {
    // A watchdog ends it if that takes too long.
    while !condition() {
        tokio::time::sleep(SECOND / 100).await;
    }
}

async fn run(count: usize, policies: Policies, longest: Duration, drip: Duration) {
    let ends = Ends::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = instrument_listener(listener, ends.clone()).policies(policies);
    let connections = listener.connections();
    // One for all of them.
    let big = Bytes::from(vec![b'a'; 16 << 20]);
    let app = Router::new()
        .route("/", get("hello"))
        .route("/", post(async |body: Bytes| body))
        .route("/big", get(async move || big.clone()));
    let server = axum::serve(listener, app.into_make_service_with_conn_state());
    let server = tokio::spawn(server.into_future());

    // So that all is there that stays.
    be_ordinary(address, Instant::now() + SECOND / 10).await;
    wait_until(|| connections.is_empty()).await;
    let before = live_bytes();

    let start = Instant::now();
    let mut slow = Vec::new();
    for index in 0..count {
        slow.push(tokio::spawn(be_slow(address, KINDS[index % KINDS.len()], drip)));
        // No more at once than the system's queue has room for: a client that it
        // drops may take itself for connected, and wait for ever.
        if slow.len() % 200 == 0 {
            let accepted = slow.len() as u64;
            wait_until(|| connections.stats().accepted >= accepted).await;
        }
    }
    println!("{} connections after {:?}", connections.len(), start.elapsed());
    let at_most = live_bytes() - before;
    let ordinary: Vec<_> =
        (0..10).map(|_| tokio::spawn(be_ordinary(address, Instant::now() + longest))).collect();
    let mut answers = 0;
    for client in ordinary {
        answers += client.await.unwrap();
    }
    println!("{} connections after {:?}", connections.len(), start.elapsed());
    if tokio::time::timeout(10 * SECOND, connections.wait_empty()).await.is_err() {
        panic!("left: {:?}", connections.snapshot());
    }
    let took = start.elapsed();
    for client in slow {
        client.await.unwrap();
    }
    let left = live_bytes() - before;
    println!(
        "{count} slow clients gone after {took:?}; {answers} ordinary answers; {at_most} bytes, then {left}"
    );
    let ends = ends.0.lock().unwrap().clone();
    for (reason, (count, life)) in &ends {
        println!("{count:6} {reason}, the longest after {life:?}");
    }
    let count_of = |reason: &str| ends.get(reason).map_or(0, |end| end.0);
    for (reason, kinds) in [
        ("FirstByteTimeout", 1),
        // Half a preface may be half a head.
        ("HeaderTimeout", 3),
        ("BodyTimeout", 1),
        ("WriteTimeout", 1),
        ("IdleTimeout", 2),
    ] {
        assert_eq!(count_of(reason), kinds * count / KINDS.len(), "{reason}");
    }
    // Tables keep their size.
    assert!(left < (1 << 20) + 64 * count as isize, "{left} bytes are left");
    server.abort();
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    let _alone = alone();
    start_watchdog();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

#[test]
fn slow_clients_are_gone_in_their_time() {
    // Both sides of them are here.
    let count = std::env::var("SLOW_CLIENTS").map_or(800, |count| count.parse().unwrap());
    let count = room_for(2 * count) / 2 / KINDS.len() * KINDS.len();
    let policies = Policies::new()
        .first_byte_timeout(3 * SECOND)
        .header_timeout(2 * SECOND)
        .idle_timeout(4 * SECOND)
        .body_timeout(2 * SECOND)
        .write_timeout(2 * SECOND);
    on_a_runtime(run(count, policies, 5 * SECOND, SECOND / 2));
}

/// `cargo test --release --all-features --test load five_thousand_slow_clients --
/// --ignored --nocapture`
#[test]
#[ignore = "takes three minutes"]
fn five_thousand_slow_clients_and_the_preset() {
    let count = room_for(2 * 5_000) / 2 / KINDS.len() * KINDS.len();
    on_a_runtime(run(count, Policies::internet(), 130 * SECOND, 5 * SECOND));
}
