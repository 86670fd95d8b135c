//! Clients that do not take what they have asked for.

use hyper_connstate::Policies;
use tokio::time::Instant;

use super::bench::{Bench, SECOND, Talk, get, on_each, slack};
use crate::support::{Kind, frames};

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

fn bench(kind: Kind) -> Bench {
    Bench::new(kind, Policies::new().write_timeout(TIMEOUT))
}

/// Waits without reading anything.
async fn wait_for(bench: &Bench, least: std::time::Duration) {
    let start = Instant::now();
    while bench.expired.words().is_empty() {
        tokio::time::sleep(SECOND / 100).await;
        assert!(start.elapsed() < 100 * least, "never");
    }
    let window = least..=least + slack(least);
    assert!(window.contains(&start.elapsed()), "after {:?}", start.elapsed());
    tokio::time::sleep(SECOND).await;
}

#[test]
fn an_answer_that_nobody_takes() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        client.send(&get("/big/0/500000"));
        wait_for(&bench, TIMEOUT).await;
        assert_eq!(bench.log.words(), "new active closed (WriteTimeout)");
        assert_eq!(bench.expired.words(), "write_timeout");
    });
}

#[test]
fn pipelined_requests_whose_answers_nobody_takes() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        client.send(&get("/big/0/50000").repeat(10));
        wait_for(&bench, TIMEOUT).await;
        assert!(bench.log.words().ends_with("active closed (WriteTimeout)"));
    });
}

#[test]
fn a_client_that_reads_slowly() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        client.send(&get("/big/0/200000"));
        for turn in 0..20 {
            tokio::time::sleep(TIMEOUT - SECOND).await;
            // More than a TLS record, so that something is taken.
            client.read(20_000);
            assert!(
                !client.ended,
                "{turn}: {}, {} bytes",
                bench.log.words(),
                client.received.len()
            );
        }
        client.read_all().await;
        assert!(client.heard().ends_with("aaa"));
        assert_eq!(bench.expired.words(), "");
    });
}

#[test]
fn a_client_that_reads_too_slowly() {
    on_each([Kind::Tower], async |kind| {
        // What a socket holds back is given to each of them: 64 KiB.
        let bench = Bench::new(kind, Policies::new().min_write_rate(10_000, 5 * SECOND));
        let mut client = bench.http1().await;
        client.send(&get("/big/0/500000"));
        let start = Instant::now();
        while bench.expired.words().is_empty() {
            tokio::time::sleep(SECOND / 10).await;
            client.read(1);
            assert!(start.elapsed() < 10 * SECOND);
        }
        assert!(start.elapsed() > 5 * SECOND);
        // Fast enough.
        bench.connections.set_policies(Policies::new().min_write_rate(1_900, 5 * SECOND));
        let mut client = bench.http1().await;
        client.send(&get("/big/0/100000"));
        while !client.received.ends_with(b"aaaa") || client.received.len() < 100_000 {
            tokio::time::sleep(SECOND / 10).await;
            client.read(200);
            assert!(!client.ended);
        }
    });
}

/// What it is sent is taken as it comes, only not much comes.
#[test]
fn events() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        client.send(&get("/events/100"));
        client.lives_for(99 * SECOND).await;
        let mut client = bench.http2().await;
        client.send(&frames::get(1, "/events/100"));
        client.lives_for(99 * SECOND).await;
        assert_eq!(bench.expired.words(), "");
    });
}

/// The socket takes all, but the client's windows are shut.
#[test]
fn windows_that_stay_shut() {
    on_each(Kind::all(), async |kind| {
        let small = frames::frame(4, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 4, 0, 0, 0, 10]);
        for (settings, path) in [
            // The window of the stream, and that of the connection.
            (small, "/big/0/500"),
            (frames::settings(), "/big/0/100000"),
        ] {
            let bench = bench(kind);
            let mut client = bench.silent_http2().await;
            client.send(&[frames::PREFACE, &settings, &frames::settings_ack()].concat());
            client.read_all().await;
            client.send(&frames::get(1, path));
            let start = Instant::now();
            client.wait_end().await;
            let window = TIMEOUT..=TIMEOUT + slack(TIMEOUT);
            assert!(window.contains(&start.elapsed()), "after {:?}", start.elapsed());
            tokio::time::sleep(SECOND).await;
            assert!(bench.log.words().ends_with("active closed (WriteTimeout)"));
        }
    });
}

#[test]
fn windows_that_open_a_little() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.silent_http2().await;
        let small = frames::frame(4, 0, 0, &[0, 4, 0, 0, 0, 10]);
        client.send(&[frames::PREFACE, &small, &frames::settings_ack()].concat());
        client.read_all().await;
        client.send(&frames::get(1, "/big/0/30"));
        for _ in 0..20 {
            client.lives_for(TIMEOUT - SECOND).await;
            client.send(&frames::window_update(1, 1));
        }
        client.read_all().await;
        // All of it is there, so nobody waits for anything.
        client.lives_for(3 * TIMEOUT).await;
        assert_eq!(bench.expired.words(), "");
    });
}
