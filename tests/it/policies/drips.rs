//! Bodies of requests that come in drops, or only seem to come.

#![cfg(feature = "axum")]

use std::time::Duration;

use hyper_connstate::Policies;
use tokio::time::Instant;

use super::bench::{Bench, SECOND, Talk, on_each, slack};
use crate::oracles::wire::Client;
use crate::support::{Kind, frames};

const TIMEOUT: Duration = Duration::from_secs(10);

const CHUNKED: &[u8] = b"POST /upload HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";

fn kinds() -> impl Iterator<Item = Kind> {
    Kind::all().into_iter().filter(|kind| kind.follows_bodies())
}

/// What the server has ended for its body, after so long.
async fn ends_for_its_body(bench: &Bench, client: &mut Client, timeout: Duration, since: Instant) {
    client.ends_after(timeout, since).await;
    assert!(bench.log.words().ends_with("active closed (BodyTimeout)"), "{}", bench.log.words());
    assert_eq!(bench.expired.words(), "body_timeout");
}

fn often(part: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    std::iter::repeat_n(part.to_vec(), 100)
}

#[test]
fn chunks_of_one_byte() {
    on_each(kinds(), async |kind| {
        let bench = Bench::new(kind, Policies::new().body_timeout(TIMEOUT));
        let mut client = bench.http1().await;
        client.send(CHUNKED);
        let chunk = b"1\r\na\r\n".to_vec();
        // Each of them is a byte, and begins the time anew.
        client.drip(vec![chunk; 5], TIMEOUT - SECOND).await;
        assert!(!client.ended);
        let since = Instant::now() - (TIMEOUT - SECOND);
        ends_for_its_body(&bench, &mut client, TIMEOUT, since).await;
    });
}

/// Bytes come, but none of the body.
#[test]
fn chunks_that_carry_nothing() {
    on_each(kinds(), async |kind| {
        for (begun, drip) in [
            ("1;x=", "y"),
            ("1;x=\"", "y"),
            ("0", "0"),
            ("1\r\na\r\n0\r\n", "x"),
            ("1\r\na\r\n0\r\n", "x: y\r\n"),
        ] {
            for policies in [
                Policies::new().body_timeout(TIMEOUT),
                // What comes is fast enough, if it were body.
                Policies::new().min_body_rate(1, TIMEOUT),
            ] {
                let rate = policies.clone();
                let bench = Bench::new(kind, policies);
                let mut client = bench.http1().await;
                client.send(CHUNKED);
                client.read_all().await;
                let start = Instant::now();
                client.send(begun.as_bytes());
                client.drip(often(drip.as_bytes()), SECOND / 2).await;
                let after = start.elapsed();
                let window = TIMEOUT..=TIMEOUT + slack(TIMEOUT) + SECOND / 2;
                let what = format!("{begun:?}, {rate:?}: {after:?}, {}", bench.log.words());
                assert!(client.ended && window.contains(&after), "{what}");
                tokio::time::sleep(SECOND).await;
                assert_eq!(bench.expired.words(), "body_timeout", "{what}");
            }
        }
    });
}

/// Slower than the least rate, however many frames or chunks it comes in.
#[test]
fn one_byte_after_the_other() {
    on_each(kinds(), async |kind| {
        let policies = Policies::new().min_body_rate(10, 5 * SECOND);
        let in_window = |start: Instant| {
            let after = start.elapsed();
            assert!(after >= 5 * SECOND && after <= 6 * SECOND + slack(5 * SECOND), "{after:?}");
        };
        let bench = Bench::new(kind, policies.clone());
        let mut client = bench.http1().await;
        client.send(CHUNKED);
        let start = Instant::now();
        client.drip(often(b"1\r\na\r\n"), SECOND / 2).await;
        in_window(start);
        assert_eq!(bench.expired.words(), "body_timeout");

        let padding = [[5].as_slice(), b"a", &[0; 5]].concat();
        for data in [frames::data(1, b"a", 0), frames::frame(0, 8, 1, &padding)] {
            let bench = Bench::new(kind, policies.clone());
            let mut client = bench.http2().await;
            client.send(&frames::post(1, "/upload"));
            let start = Instant::now();
            client.drip(often(&data), SECOND / 4).await;
            in_window(start);
            assert_eq!(bench.expired.words(), "body_timeout");
        }
    });
}

#[test]
fn empty_data() {
    on_each(kinds(), async |kind| {
        let bench = Bench::new(kind, Policies::new().body_timeout(TIMEOUT));
        let mut client = bench.http2().await;
        client.send(&frames::post(1, "/upload"));
        client.send(&frames::data(1, b"abc", 0));
        client.read_all().await;
        let start = Instant::now();
        for turn in 0.. {
            let empty = if turn % 2 == 0 {
                frames::data(1, b"", 0)
            } else {
                frames::frame(0, 8, 1, &[[255].as_slice(), &[0; 255]].concat())
            };
            client.drip([empty], SECOND / 2).await;
            if client.ended {
                break;
            }
        }
        ends_for_its_body(&bench, &mut client, TIMEOUT, start).await;
    });
}

/// No stream of the connection gets a byte.
#[test]
fn new_streams_buy_no_time() {
    on_each(kinds(), async |kind| {
        for reset in [false, true] {
            let bench = Bench::new(kind, Policies::new().body_timeout(TIMEOUT));
            let mut client = bench.http2().await;
            let start = Instant::now();
            client.send(&frames::post(1, "/upload"));
            for stream in (3..100).step_by(2) {
                let mut request = frames::post(stream, "/upload");
                if reset {
                    request.extend(frames::reset(stream));
                }
                client.drip([request], TIMEOUT / 4).await;
            }
            let after = start.elapsed();
            let window = TIMEOUT..=TIMEOUT + slack(TIMEOUT);
            assert!(client.ended && window.contains(&after), "{after:?}");
            assert_eq!(bench.expired.words(), "body_timeout");
        }
    });
}

/// A new stream has its own time, though others have waited before it.
#[test]
fn streams_one_after_the_other() {
    on_each(kinds(), async |kind| {
        let bench = Bench::new(kind, Policies::new().body_timeout(TIMEOUT));
        let mut client = bench.http2().await;
        for stream in (1..10).step_by(2) {
            client.send(&frames::post(stream, "/upload"));
            client.lives_for(TIMEOUT - SECOND).await;
            let end = frames::data(stream, b"abc", frames::END_STREAM);
            assert!(client.say(&end).await.contains("got 3"));
        }
        // And while another one gets something.
        client.send(&[frames::post(11, "/upload"), frames::post(13, "/upload")].concat());
        for _ in 0..5 {
            client.lives_for(TIMEOUT - SECOND).await;
            client.send(&frames::data(13, b"a", 0));
        }
        assert_eq!(bench.expired.words(), "");
        client.read_all().await;
        ends_for_its_body(&bench, &mut client, TIMEOUT, Instant::now()).await;
    });
}

#[test]
fn an_expectation_without_a_body() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::internet());
        let mut client = bench.http1().await;
        let get = b"GET / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n\r\n";
        let answer = client.say(get).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
        // The handler does not want it.
        let post = b"POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n\
            content-length: 5\r\n\r\n";
        let mut client = bench.http1().await;
        let answer = client.say(post).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
        client.wait_end().await;
    });
}
