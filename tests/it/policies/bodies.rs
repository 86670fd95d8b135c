//! Bodies of requests that come too slowly.

#![cfg(feature = "axum")]

use hyper_connstate::Policies;
use tokio::time::Instant;

use super::bench::{Bench, SECOND, Talk, on_each};
use crate::support::{Kind, frames};

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

fn kinds() -> impl Iterator<Item = Kind> {
    Kind::all().into_iter().filter(|kind| kind.follows_bodies())
}

fn bench(kind: Kind) -> Bench {
    Bench::new(kind, Policies::new().body_timeout(TIMEOUT))
}

const POST: &[u8] = b"POST /upload HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\n";

#[test]
fn a_body_that_stops() {
    on_each(kinds(), async |kind| {
        let chunked = b"POST /upload HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
            5;extension="
            .to_vec();
        let expect = b"POST /upload HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n\
            content-length: 5\r\n\r\n"
            .to_vec();
        for post in [POST.to_vec(), [POST, b"abc"].concat(), chunked, expect] {
            let bench = bench(kind);
            let mut client = bench.http1().await;
            let start = Instant::now();
            client.send(&post);
            client.ends_after(TIMEOUT, start).await;
            assert_eq!(bench.log.words(), "new active closed (BodyTimeout)");
            assert_eq!(bench.expired.words(), "body_timeout");
            // The error says which connection, and why.
            let served = bench.served.words();
            assert!(served.starts_with("/upload error:connection "), "{served}");
            assert!(served.ends_with(": request body timed out"), "{served}");
        }
    });
}

#[test]
fn a_body_that_goes_on() {
    on_each(kinds(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        client.send(POST);
        for _ in 0..99 {
            client.lives_for(TIMEOUT - SECOND).await;
            client.send(b"a");
        }
        client.lives_for(TIMEOUT - SECOND).await;
        assert!(client.say(b"a").await.ends_with("got 100"));
        assert_eq!(bench.expired.words(), "");
    });
}

/// Nobody waits for the client.
#[test]
fn a_handler_that_does_not_read() {
    on_each(kinds(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        client.send(b"POST /lazy/100 HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\n");
        client.lives_for(99 * SECOND).await;
        let start = Instant::now();
        client.ends_after(TIMEOUT + SECOND, start).await;
        assert_eq!(bench.expired.words(), "body_timeout");
    });
}

/// A time-out that is set while a body is waited for holds for that one.
#[test]
fn a_time_out_that_comes_late() {
    on_each(kinds(), async |kind| {
        for http2 in [false, true] {
            let bench = Bench::new(kind, Policies::new());
            let mut client = if http2 { bench.http2().await } else { bench.http1().await };
            let start = Instant::now();
            let post = if http2 { frames::post(1, "/upload") } else { POST.to_vec() };
            client.send(&post);
            client.lives_for(TIMEOUT / 2).await;
            bench.connections.set_policies(Policies::new().body_timeout(TIMEOUT));
            client.ends_after(TIMEOUT, start).await;
            assert_eq!(bench.connections.expired(hyper_connstate::Policy::BodyTimeout), 1);
        }
    });
}

/// It has begun to, and has other things to do when the body comes.
#[test]
fn a_handler_that_does_not_come_back_for_a_while() {
    on_each(kinds(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        client.send(b"POST /busy/100 HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\n");
        client.lives_for(2 * SECOND).await;
        client.send(b"abc");
        tokio::time::sleep(100 * SECOND).await;
        assert!(client.say(b"").await.ends_with("got 3"));
        assert_eq!(bench.expired.words(), "");

        // What comes is the beginning: the rest has its own time.
        client.send(b"POST /busy/100 HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\n");
        client.lives_for(2 * SECOND).await;
        client.send(b"abc");
        client.lives_for(99 * SECOND).await;
        client.ends_after(TIMEOUT, Instant::now()).await;
        assert_eq!(bench.expired.words(), "body_timeout");

        let mut client = bench.http2().await;
        client.send(&frames::post(1, "/busy/50"));
        client.lives_for(2 * SECOND).await;
        client.send(&frames::data(1, b"abc", frames::END_STREAM));
        tokio::time::sleep(50 * SECOND).await;
        assert!(client.say(b"").await.contains("got 3"));
        assert_eq!(bench.expired.words(), "body_timeout");
    });
}

#[test]
fn bodies_of_streams() {
    on_each(kinds(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http2().await;
        client.send(&frames::post(1, "/upload"));
        for _ in 0..9 {
            client.lives_for(TIMEOUT - SECOND).await;
            client.send(&frames::data(1, b"a", 0));
        }
        let start = Instant::now();
        // None of these carries anything.
        while !client.ended {
            let padded = frames::frame(0, 8, 1, &[3, 0, 0, 0]);
            client.send(&[frames::ping(), padded].concat());
            tokio::time::sleep(SECOND).await;
            client.read(usize::MAX);
            assert!(start.elapsed() < 2 * TIMEOUT);
        }
        let after = start.elapsed();
        assert!(after >= TIMEOUT && after <= TIMEOUT + 2 * SECOND, "{after:?}");
        tokio::time::sleep(SECOND).await;
        assert!(bench.log.words().ends_with("(BodyTimeout)"));
        assert!(bench.served.words().starts_with("/upload error:"), "{}", bench.served.words());
    });
}

#[test]
fn a_stream_whose_body_is_not_read() {
    on_each(kinds(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http2().await;
        client.send(&frames::post(1, "/lazy/50"));
        client.lives_for(49 * SECOND).await;
        client.send(&frames::data(1, b"abc", frames::END_STREAM));
        tokio::time::sleep(2 * SECOND).await;
        assert!(client.say(b"").await.contains("got 3"));
        assert_eq!(bench.expired.words(), "");
    });
}

/// Slowly, and never so that nothing comes for long.
#[test]
fn a_body_that_drips() {
    on_each(kinds(), async |kind| {
        let policies = Policies::new().min_body_rate(10, 5 * SECOND);
        let bench = Bench::new(kind, policies);
        let mut client = bench.http1().await;
        let start = Instant::now();
        client.send(b"POST /upload HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n");
        // Fast enough.
        while start.elapsed() < 20 * SECOND {
            client.lives_for(SECOND / 2).await;
            client.send(b"aaaaaa");
        }
        let slower = Instant::now();
        while !client.ended {
            tokio::time::sleep(SECOND / 2).await;
            client.send(b"a");
            client.read(usize::MAX);
            assert!(slower.elapsed() < 20 * SECOND);
        }
        // What it had sent more than it had to is used up first.
        assert!(slower.elapsed() > 3 * SECOND, "{:?}", slower.elapsed());
        tokio::time::sleep(SECOND).await;
        assert!(bench.log.words().ends_with("(BodyTimeout)"));
    });
}
