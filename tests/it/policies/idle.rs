//! Connections that are kept for nothing.

use hyper_connstate::Policies;
use tokio::time::Instant;

use super::bench::{Bench, GET, SECOND, Talk, get, on_each, slack};
use crate::support::{Kind, frames};

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

fn bench(kind: Kind) -> Bench {
    Bench::new(kind, Policies::new().idle_timeout(TIMEOUT))
}

#[test]
fn an_idle_connection() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        for _ in 0..3 {
            assert!(client.say(GET).await.ends_with("hello"));
            client.lives_for(TIMEOUT - 2 * SECOND).await;
        }
        assert!(client.say(GET).await.ends_with("hello"));
        let start = Instant::now();
        client.ends_after(TIMEOUT, start).await;
        assert_eq!(client.heard(), "");
        assert!(bench.log.words().ends_with("active idle closed (IdleTimeout)"));
        assert_eq!(bench.expired.words(), "idle_timeout");
    });
}

/// The request that was under way when the time was nearly up is served, and
/// its client told.
#[test]
fn a_request_in_the_last_moment() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        assert!(client.say(GET).await.ends_with("hello"));
        client.lives_for(TIMEOUT - SECOND / 10).await;
        let answer = client.say(GET).await;
        assert!(answer.ends_with("hello") && answer.contains("connection: close"), "{answer}");
        client.wait_end().await;
        client.close();
        tokio::time::sleep(SECOND).await;
        assert!(bench.log.words().ends_with("(IdleTimeout)"), "{}", bench.log.words());
    });
}

#[test]
fn an_idle_http2_connection() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http2().await;
        assert!(client.say(&frames::get(1, "/")).await.contains("hello"));
        let start = Instant::now();
        while bench.expired.words().is_empty() {
            assert!(!client.read(usize::MAX) && !client.ended);
            tokio::time::sleep(SECOND / 100).await;
        }
        let window = TIMEOUT..=TIMEOUT + slack(TIMEOUT);
        assert!(window.contains(&start.elapsed()), "{:?}", start.elapsed());
        // What was under way is served. (`serve` waits for an answer to its
        // PING, which this client never gives.)
        tokio::time::sleep(SECOND / 4).await;
        assert!(client.say(&frames::get(3, "/")).await.contains("hello"));
        assert!(client.wait_end().await < 6 * SECOND);
        client.close();
        tokio::time::sleep(SECOND).await;
        assert!(bench.log.words().ends_with("(IdleTimeout)"), "{}", bench.log.words());
    });
}

/// PINGs and the like keep nobody, unless they are to.
#[test]
fn pings_and_settings() {
    on_each([Kind::Tower, Kind::Tls], async |kind| {
        for reset in [false, true] {
            let policies = Policies::new().idle_timeout(TIMEOUT).frames_reset_idle(reset);
            let bench = Bench::new(kind, policies);
            let mut client = bench.http2().await;
            assert!(client.say(&frames::get(1, "/")).await.contains("hello"));
            let start = Instant::now();
            while start.elapsed() < 3 * TIMEOUT && bench.expired.words().is_empty() {
                for frame in [frames::ping(), frames::settings(), frames::window_update(0, 1)] {
                    client.send(&frame);
                    tokio::time::sleep(SECOND).await;
                    client.read(usize::MAX);
                }
            }
            if reset {
                assert_eq!(bench.expired.words(), "");
                // A sixteenth later at most, since its beginning was seen late.
                let start = Instant::now();
                while bench.expired.words().is_empty() {
                    tokio::time::sleep(SECOND / 100).await;
                }
                let after = start.elapsed() + SECOND;
                assert!(
                    after >= TIMEOUT && after <= TIMEOUT + SECOND + slack(TIMEOUT),
                    "{after:?}"
                );
            } else {
                let after = start.elapsed();
                let window = TIMEOUT..=TIMEOUT + slack(TIMEOUT) + 3 * SECOND;
                assert!(window.contains(&after), "{after:?}");
            }
        }
    });
}

/// Who is served is not idle, however silent it is.
#[test]
fn events_and_long_polls() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        for path in ["/events/300", "/slow/300"] {
            let mut client = bench.http1().await;
            client.send(&get(path));
            client.lives_for(299 * SECOND).await;
            tokio::time::sleep(2 * SECOND).await;
            client.read_all().await;
            assert!(client.heard().contains(if path == "/slow/300" { "slow" } else { "two" }));
            let mut client = bench.http2().await;
            client.send(&frames::get(1, path));
            client.lives_for(299 * SECOND).await;
        }
    });
}

/// Answers say how long the connection is kept.
#[test]
fn the_keep_alive_header() {
    on_each(Kind::all(), async |kind| {
        let policies = Policies::new().idle_timeout(TIMEOUT).keep_alive_header(true);
        let bench = Bench::new(kind, policies);
        let mut client = bench.http1().await;
        assert!(client.say(GET).await.contains("\r\nkeep-alive: timeout=19\r\n"));
        // Not where it is not kept.
        let request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        client.send(request);
        client.wait_end().await;
        let mut client = bench.http1().await;
        assert!(client.say(GET).await.contains("keep-alive"));
        bench.connections.set_policies(bench.connections.policies().keep_alive_header(false));
        assert!(!client.say(GET).await.contains("keep-alive"));
        let mut client = bench.http2().await;
        assert!(!client.say(&frames::get(1, "/")).await.contains("timeout="));
    });
}

/// A drain goes on undisturbed.
#[test]
fn a_drain_meanwhile() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        client.send(&get("/slow/30"));
        tokio::time::sleep(SECOND).await;
        let drain = bench.connections.drain(100 * SECOND);
        let drained = tokio::spawn(drain.into_future());
        client.lives_for(28 * SECOND).await;
        tokio::time::sleep(2 * SECOND).await;
        client.read_all().await;
        assert!(client.heard().contains("connection: close"));
        client.close();
        assert_eq!(drained.await.unwrap().drained, 1);
        assert!(bench.log.words().ends_with("(ShutdownDrained)"), "{}", bench.log.words());
    });
}
