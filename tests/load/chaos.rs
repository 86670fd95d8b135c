//! 100,000 connections of clients that stop, reset, half-close, pipeline,
//! upgrade, flood and talk nonsense at random: every one of them is reported
//! as New once and as ended once, and nothing is left of them.
//!
//! `CHAOS_CONNECTIONS` says how many, and `CHAOS_SEED` which ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_connstate::{ConnState, Connections, Policies};

use crate::behaviour::behave;
use crate::checker::Checker;
use crate::clients::Client;
use crate::process::{Orders, ServerAt, open_files, say};
use crate::support::{Kind, Recorder, Server, quiet_panics, start_watchdog};
use crate::{ALLOCATOR, alone};

/// How many connections there are at once, at most.
const AT_ONCE: usize = 200;
/// So that everything is there that stays: threads, their pools, tables at
/// their full size.
const WARM_UP: usize = 5_000;
/// What may be there at the end that was not after the warm-up: the tables'
/// sizes are a matter of chance. It is less than a byte for each connection.
const SLACK: isize = 32 << 10;

/// What is allocated and not freed.
fn live_bytes() -> isize {
    let stats = ALLOCATOR.stats();
    // What is reallocated is in there as well.
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

/// The clients' process.
#[test]
#[ignore = "started by the test below, in a process of its own"]
fn clients() {
    let Some(Orders { servers, count, seed }) = Orders::given() else { return };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    // Whichever thread has it, a connection behaves the same.
                    let mut rng = fastrand::Rng::with_seed(seed.wrapping_add(index as u64));
                    behave(servers[index % servers.len()], &mut rng);
                }
            });
        }
    });
    say("connected", count);
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect(name))
}

#[test]
fn nothing_is_left_of_a_hundred_thousand_connections() {
    let _alone = alone();
    start_watchdog();
    quiet_panics();
    let count = number("CHAOS_CONNECTIONS", 100_000) as usize;
    let seed = number("CHAOS_SEED", fastrand::u64(..));
    println!("CHAOS_CONNECTIONS={count} CHAOS_SEED={seed}");

    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let checker = Arc::new(Checker::new(WARM_UP + count));
    let servers = Kind::all().into_iter().map(|kind| {
        let server = Server::start_with(kind, Recorder::default(), checker.clone(), |http| http);
        runtime.block_on(server)
    });
    let servers: Vec<_> = servers.collect();
    for server in &servers {
        // Few enough for some to have to wait: places that do not come back would
        // have the others wait for ever.
        let policies = Policies::internet().max_connections(20).max_connections_per_ip(1_000);
        server.connections.set_policies(policies);
    }
    let run = |count: usize, seed: u64| {
        let at = |server: &Server| ServerAt { addr: server.addr, tls: server.kind.is_tls() };
        let servers = servers.iter().map(at).collect();
        let mut clients = Orders { servers, count, seed }.start("chaos::clients");
        let connected = clients.hear("connected");
        clients.join();
        connected
    };
    let connections = || servers.iter().map(|server| &server.connections);
    let wait = |condition: &mut dyn FnMut() -> bool| {
        // A watchdog ends it if that takes too long.
        while !condition() {
            std::thread::sleep(Duration::from_millis(1));
        }
    };

    run(WARM_UP, !seed);
    wait(&mut || checker.count(ConnState::New) == WARM_UP && checker.unfinished() == 0);
    wait(&mut || connections().all(Connections::is_empty));
    // Tasks go a moment after their connections.
    let (mut bytes, mut files, mut unchanged) = (live_bytes(), open_files(), 0);
    wait(&mut || {
        let now = (live_bytes(), open_files());
        unchanged = if now == (bytes, files) { unchanged + 1 } else { 0 };
        (bytes, files) = now;
        unchanged == 100
    });

    let start = std::time::Instant::now();
    assert_eq!(run(count, seed), count);
    wait(&mut || checker.count(ConnState::New) == WARM_UP + count && checker.unfinished() == 0);
    wait(&mut || connections().all(Connections::is_empty));
    checker.assert_all_ended();
    eprintln!("{:?}; {checker}", start.elapsed());

    // What is closed is freed a moment later.
    for _ in 0..100 {
        if open_files() <= files && live_bytes() - bytes <= SLACK {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let (more_files, more_bytes) = (open_files() - files, live_bytes() - bytes);
    println!("{more_files} files and {more_bytes} bytes more than after the warm-up");
    assert_eq!(more_files, 0);
    for server in &servers {
        // All of the places have come back.
        let policies = Policies::new().max_connections(1).max_connections_per_ip(1);
        server.connections.set_policies(policies.refuse_when_full(true));
        // The first has the place that the listener was waiting with.
        for _ in 0..3 {
            let accepted = server.connections.stats().accepted;
            let at = ServerAt { addr: server.addr, tls: server.kind.is_tls() };
            let client = Client::connect(at);
            wait(&mut || server.connections.stats().accepted > accepted);
            assert_eq!(server.connections.stats().refused.total(), 0, "{:?}", server.kind);
            drop(client);
            wait(&mut || server.connections.is_empty());
        }
    }
    assert!(more_bytes <= SLACK, "{more_bytes} bytes more than before");
}
