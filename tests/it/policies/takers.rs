//! Clients that take next to nothing of what they are sent.

use std::time::Duration;

use hyper_connstate::Policies;
use tokio::time::Instant;

use super::bench::{Bench, SECOND, Talk, get, on_each, slack};
use crate::oracles::wire::Client;
use crate::support::{Kind, frames};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A client that gives each stream so much room.
async fn with_window(bench: &Bench, window: u8) -> Client {
    let mut client = bench.silent_http2().await;
    let settings = frames::frame(4, 0, 0, &[0, 4, 0, 0, 0, window]);
    client.send(&[frames::PREFACE, &settings, &frames::settings_ack()].concat());
    client.read_all().await;
    client
}

/// Waits until a policy has run out, for between so long and so long.
async fn waits_between(bench: &Bench, start: Instant, least: Duration, most: Duration) {
    while bench.expired.words().is_empty() {
        tokio::time::sleep(SECOND / 100).await;
        assert!(start.elapsed() < 100 * SECOND, "never: {}", bench.log.words());
    }
    let after = start.elapsed();
    assert!(after >= least && after <= most, "{after:?}");
}

#[test]
fn windows_of_nothing_and_of_one_byte() {
    on_each(Kind::all(), async |kind| {
        for window in [0, 1] {
            let bench = Bench::new(kind, Policies::new().write_timeout(TIMEOUT));
            let mut client = with_window(&bench, window).await;
            client.send(&frames::get(1, "/big/0/30"));
            let start = Instant::now();
            // What else it sends makes no room.
            for _ in 0..20 {
                client.drip([frames::ping()], SECOND).await;
            }
            let window = TIMEOUT..=TIMEOUT + slack(TIMEOUT) + SECOND;
            assert!(client.ended && window.contains(&(start.elapsed())), "{:?}", start.elapsed());
            assert_eq!(bench.expired.words(), "write_timeout");
        }
    });
}

/// It takes a byte now and then, and PINGs have answers; neither is a rate.
#[test]
fn windows_of_one_byte_again_and_again() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().min_write_rate(10_000, 5 * SECOND));
        let mut client = with_window(&bench, 1).await;
        client.send(&frames::get(1, "/big/0/30000"));
        let start = Instant::now();
        while bench.expired.words().is_empty() {
            let more = [frames::window_update(1, 1), frames::ping().repeat(100)].concat();
            client.drip([more], SECOND / 10).await;
            assert!(start.elapsed() < 10 * SECOND, "never");
        }
        assert!(start.elapsed() >= 5 * SECOND, "{:?}", start.elapsed());
        assert!(bench.expired.words().starts_with("write_timeout"));
    });
}

/// What it asks for is answered, and nobody takes the answers.
#[test]
fn pings_whose_answers_nobody_takes() {
    on_each(Kind::all(), async |kind| {
        for policies in
            [Policies::new().write_timeout(TIMEOUT), Policies::new().idle_timeout(TIMEOUT)]
        {
            let bench = Bench::new(kind, policies);
            let mut client = bench.http2().await;
            for _ in 0..1_000 {
                client.send(&frames::ping().repeat(10));
                tokio::time::sleep(SECOND / 1_000).await;
            }
            let start = Instant::now();
            waits_between(&bench, start, TIMEOUT - 2 * SECOND, TIMEOUT + slack(TIMEOUT)).await;
            tokio::time::sleep(20 * SECOND).await;
            assert!(bench.connections.is_empty(), "{}", bench.log.words());
        }
    });
}

/// It asks for less than there is room for, and reads none of it.
#[test]
fn the_end_of_a_connection_that_nobody_takes() {
    on_each(Kind::all(), async |kind| {
        // Around what a stream in memory takes, TLS's records included.
        for length in (64_800..65_500).step_by(if kind.is_tls() { 10 } else { 100 }) {
            let bench = Bench::new(kind, Policies::new().write_timeout(TIMEOUT));
            let mut client = bench.http1().await;
            let request =
                format!("GET /big/0/{length} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
            client.send(request.as_bytes());
            tokio::time::sleep(TIMEOUT + 2 * SECOND).await;
            assert!(bench.connections.is_empty(), "{length}: {}", bench.log.words());
        }
    });
}

/// Its socket's buffer is tiny.
#[test]
fn one_byte_a_minute() {
    let plain = Kind::all().into_iter().filter(|kind| !kind.is_tls());
    on_each(plain, async |kind| {
        // A byte is a byte, for this one.
        let bench = Bench::new(kind, Policies::new().write_timeout(61 * SECOND));
        let mut client = bench.http1().await;
        client.send(&get("/big/0/200000"));
        for _ in 0..20 {
            tokio::time::sleep(60 * SECOND).await;
            client.read(1);
        }
        assert_eq!(bench.expired.words(), "");
        let start = Instant::now();
        let timeout = 61 * SECOND;
        waits_between(&bench, start, timeout, timeout + slack(timeout)).await;
        // But not for this one.
        let bench = Bench::new(kind, Policies::internet().min_write_rate(10_000, 10 * SECOND));
        let mut client = bench.http1().await;
        client.send(&get("/big/0/200000"));
        let start = Instant::now();
        waits_between(&bench, start, 10 * SECOND, 20 * SECOND).await;
    });
}

/// What it takes shows only in large steps: those of a TLS record, of a
/// socket's buffer, or of a window.
#[test]
fn a_client_that_is_fast_enough() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().min_write_rate(240, 5 * SECOND));
        let mut client = bench.http1().await;
        client.send(&get("/big/0/200000"));
        let mut turns = 0;
        while client.received.len() < 200_000 {
            tokio::time::sleep(20 * SECOND).await;
            // 1,000 bytes per second.
            client.read(20_000);
            turns += 1;
            assert!(!client.ended, "{turns}: {}", bench.log.words());
        }
        assert_eq!(bench.expired.words(), "");
        let mut client = bench.http2().await;
        client.send(&frames::get(1, "/big/0/200000"));
        for turn in 0..10 {
            tokio::time::sleep(20 * SECOND).await;
            client.read(usize::MAX);
            let more = [frames::window_update(0, 20_000), frames::window_update(1, 20_000)];
            client.send(&more.concat());
            assert!(!client.ended, "{turn}: {}", bench.log.words());
        }
        assert_eq!(bench.expired.words(), "");
    });
}
