//! Connections that have been there for long enough.

use std::time::Duration;

use hyper_connstate::Policies;
use tokio::time::Instant;

use super::bench::{Bench, GET, SECOND, Talk, get, on_each, slack};
use crate::support::{Kind, frames};

const AGE: Duration = Duration::from_secs(60);

/// When connections of this age end, at the soonest and at the latest.
fn window() -> std::ops::RangeInclusive<Duration> {
    let tenth = AGE / 10;
    // Then they are given a second for what is under way.
    AGE - tenth + SECOND..=AGE + tenth + SECOND + slack(AGE)
}

#[test]
fn an_old_connection() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().max_age(AGE));
        let start = Instant::now();
        let mut client = bench.http1().await;
        while !client.say(GET).await.contains("connection: close") {
            client.lives_for(SECOND / 4).await;
        }
        client.wait_end().await;
        let after = start.elapsed() + SECOND;
        assert!(window().contains(&after), "{after:?}");
        client.close();
        tokio::time::sleep(SECOND).await;
        assert!(bench.log.words().ends_with("(MaxAge)"), "{}", bench.log.words());
        assert_eq!(bench.expired.words(), "max_age");
    });
}

#[test]
fn an_old_connection_that_is_idle() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().max_age(AGE));
        let start = Instant::now();
        let mut client = bench.http1().await;
        client.say(GET).await;
        client.wait_end().await;
        assert!(window().contains(&start.elapsed()), "{:?}", start.elapsed());
    });
}

#[test]
fn a_long_request_of_an_old_connection() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().max_age(AGE));
        let mut client = bench.http1().await;
        client.send(&get("/slow/300"));
        client.lives_for(299 * SECOND).await;
        tokio::time::sleep(2 * SECOND).await;
        client.read_all().await;
        let answer = client.heard();
        assert!(answer.contains("connection: close") && answer.ends_with("slow"), "{answer}");
        let mut client = bench.http2().await;
        client.send(&frames::get(1, "/slow/300"));
        client.lives_for(299 * SECOND).await;
        tokio::time::sleep(2 * SECOND).await;
        assert!(client.say(b"").await.contains("slow"));
    });
}

#[test]
fn patience_has_an_end() {
    on_each(Kind::all(), async |kind| {
        let grace = 20 * SECOND;
        let bench = Bench::new(kind, Policies::new().max_age(AGE).age_grace(grace));
        let start = Instant::now();
        let mut client = bench.http1().await;
        client.send(&get("/slow/300"));
        client.wait_end().await;
        let (least, most) = (AGE - AGE / 10 + grace, AGE + AGE / 10 + grace + slack(AGE));
        assert!(start.elapsed() >= least && start.elapsed() <= most, "{:?}", start.elapsed());
        tokio::time::sleep(SECOND).await;
        assert_eq!(bench.log.words(), "new active closed (MaxAge)");
    });
}

/// It is told then, and once, if the program has drained it before.
#[test]
fn patience_with_what_is_drained() {
    on_each(Kind::all(), async |kind| {
        let grace = 20 * SECOND;
        let bench = Bench::new(kind, Policies::new().max_age(AGE).age_grace(grace));
        let mut client = bench.http1().await;
        client.send(&get("/slow/300"));
        client.lives_for(SECOND).await;
        bench.connections.iter().next().unwrap().drain();
        client.wait_end().await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(bench.log.words(), "new active closed (MaxAge)");
        assert_eq!(bench.expired.words(), "max_age");
    });
}

#[test]
fn a_number_of_requests() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().max_requests(3));
        let mut client = bench.http1().await;
        assert!(!client.say(GET).await.contains("connection: close"));
        assert!(!client.say(GET).await.contains("connection: close"));
        assert!(client.say(GET).await.contains("connection: close"));
        client.wait_end().await;
        client.close();
        tokio::time::sleep(SECOND).await;
        assert!(bench.log.words().ends_with("(MaxRequests)"), "{}", bench.log.words());
        assert_eq!(bench.expired.words(), "max_requests");

        let mut client = bench.http2().await;
        for stream in [1, 3, 5] {
            assert!(!client.ended);
            assert!(client.say(&frames::get(stream, "/")).await.contains("hello"));
        }
        client.wait_end().await;
        assert_eq!(bench.served.words(), ["/"; 6].join(" "));
    });
}

/// Those that came together do not end together.
#[test]
fn ten_thousand_of_one_moment() {
    on_each([Kind::Tower], async |kind| {
        let bench = Bench::new(kind, Policies::new().max_age(100 * SECOND));
        let mut clients = Vec::new();
        for _ in 0..10_000 {
            clients.push(bench.http1().await);
        }
        let counts = async || {
            let mut counts = Vec::new();
            let start = Instant::now();
            while bench.connections.expired(hyper_connstate::Policy::MaxAge) < 10_000 {
                tokio::time::sleep(SECOND).await;
                counts.push(bench.connections.expired(hyper_connstate::Policy::MaxAge));
                assert!(start.elapsed() < 200 * SECOND);
            }
            counts
        };
        let counts = counts().await;
        // None before nine tenths of it, then as many in each second as in any
        // other, within the steps of the task that looks.
        assert_eq!(counts[88], 0);
        let per_second: Vec<_> = counts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let most = *per_second.iter().max().unwrap();
        assert!(most < 1_000, "{most} in a second");
        assert!(counts[99] > 4_000 && counts[99] < 6_000, "{}", counts[99]);
    });
}
