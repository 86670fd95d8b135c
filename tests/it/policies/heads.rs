//! Requests whose heads take too long.

use hyper_connstate::Policies;
use tokio::time::Instant;

use super::bench::{Bench, GET, SECOND, Talk, get, on_each};
use crate::support::{Kind, frames};

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

fn bench(kind: Kind) -> Bench {
    Bench::new(kind, Policies::new().header_timeout(TIMEOUT))
}

const ANSWER: &str =
    "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

#[test]
fn half_a_head() {
    on_each(Kind::all(), async |kind| {
        for head in ["G", "\r\n", "GET / HTTP/1.1\r\nhost: test\r\n", "\r\n\r\n\r\n\r\n"] {
            let bench = bench(kind);
            let mut client = bench.http1().await;
            let start = Instant::now();
            client.send(head.as_bytes());
            client.ends_after(TIMEOUT, start).await;
            assert_eq!(client.heard(), ANSWER);
            assert_eq!(bench.log.words(), "new active closed (HeaderTimeout)");
            assert_eq!(bench.expired.words(), "header_timeout");
        }
    });
}

/// Bytes buy no time.
#[test]
fn dripped_heads() {
    on_each(Kind::all(), async |kind| {
        for (head, drip) in [
            ("GET / HTTP/1.1\r\nhost: test\r\nx: ", "y"),
            ("GET / HTTP/1.1\r\nhost: test\r\n", "x: y\r\n"),
            ("\r\n", "\r\n"),
        ] {
            let bench = bench(kind);
            let mut client = bench.http1().await;
            let start = Instant::now();
            client.send(head.as_bytes());
            while !client.ended {
                tokio::time::sleep(SECOND / 20).await;
                client.send(drip.as_bytes());
                client.read(usize::MAX);
                assert!(start.elapsed() < 2 * TIMEOUT);
            }
            client.ends_after(TIMEOUT, start).await;
            assert_eq!(client.heard(), ANSWER);
        }
    });
}

/// The time begins with the first byte, not with the answer before.
#[test]
fn half_a_head_on_a_kept_connection() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        assert!(client.say(GET).await.ends_with("hello"));
        client.lives_for(5 * TIMEOUT).await;
        let start = Instant::now();
        client.send(b"GET / HT");
        client.ends_after(TIMEOUT, start).await;
        assert_eq!(client.heard(), ANSWER);
        assert_eq!(bench.log.words(), "new active idle active closed (HeaderTimeout)");
    });
}

#[test]
fn a_head_just_in_time() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        let (start, end) = GET.split_at(20);
        for _ in 0..3 {
            client.send(start);
            client.lives_for(TIMEOUT - SECOND / 10).await;
            assert!(client.say(end).await.ends_with("hello"));
        }
        assert_eq!(bench.expired.words(), "");
    });
}

/// What comes behind the head is no business of this time-out.
#[test]
fn slow_handlers_and_bodies() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        client.send(&get("/slow/100"));
        client.lives_for(99 * SECOND).await;
        assert_eq!(client.heard(), "");
        tokio::time::sleep(2 * SECOND).await;
        assert!(client.say(b"").await.ends_with("slow"));
        let head = "POST /upload HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\n";
        client.send(head.as_bytes());
        client.lives_for(5 * TIMEOUT).await;
        assert!(client.say(b"abc").await.ends_with("got 3"));
        client.send(&get("/events/100"));
        client.lives_for(99 * SECOND).await;
        tokio::time::sleep(2 * SECOND).await;
        assert!(client.say(GET).await.ends_with("hello"));
        assert_eq!(bench.expired.words(), "");
    });
}

/// Half a head behind a request counts from its next byte on.
#[test]
fn half_a_head_behind_a_request() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http1().await;
        let answer = client.say(&[GET, b"GET / HT"].concat()).await;
        assert!(answer.ends_with("hello"));
        tokio::time::sleep(SECOND).await;
        client.send(b"TP");
        let start = Instant::now();
        client.ends_after(TIMEOUT, start).await;
        assert_eq!(client.heard(), ANSWER);
    });
}

pub const CALM: u8 = 0xb;

/// Of the last GOAWAY: the last stream, and the error code.
pub fn goaway_code(received: &[u8]) -> Option<(u32, u8)> {
    let mut rest = received;
    let mut found = None;
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        if rest[3] == 7 {
            let last = u32::from_be_bytes(rest[9..13].try_into().unwrap());
            found = Some((last, rest[16]));
        }
        rest = &rest[9 + length..];
    }
    found
}

/// Header blocks that have begun, and frame headers.
#[test]
fn half_a_header_block() {
    on_each(Kind::all(), async |kind| {
        let block = frames::block("GET", "/");
        let begun = frames::frame(1, 1, 1, &block[..3]);
        for begun in [begun.clone(), begun[..10].to_vec(), begun[..3].to_vec()] {
            let bench = bench(kind);
            let mut client = bench.http2().await;
            client.lives_for(3 * TIMEOUT).await;
            let start = Instant::now();
            client.received.clear();
            client.send(&begun);
            client.ends_after(TIMEOUT, start).await;
            assert_eq!(goaway_code(&client.received), Some((0, CALM)));
            assert_eq!(bench.log.words(), "new active idle closed (HeaderTimeout)");
        }
    });
}

#[test]
fn continuations_now_and_then() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http2().await;
        assert!(client.say(&frames::get(1, "/")).await.contains("hello"));
        let start = Instant::now();
        client.send(&frames::frame(1, 1, 3, &frames::block("GET", "/")));
        for turn in 1.. {
            tokio::time::sleep(SECOND / 20).await;
            client.read(usize::MAX);
            if client.ended {
                break;
            }
            // h2 itself ends a connection that sends many of them.
            if turn % 60 == 0 {
                client.send(&frames::continuation(3, b"", 0));
            }
            assert!(start.elapsed() < 2 * TIMEOUT);
        }
        client.ends_after(TIMEOUT, start).await;
        assert_eq!(goaway_code(&client.received), Some((1, CALM)));
    });
}

/// Other streams go on meanwhile; a whole block ends the time.
#[test]
fn header_blocks_in_time() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http2().await;
        let block = frames::block("GET", "/");
        for stream in [1, 3, 5] {
            client.send(&frames::frame(1, 1, stream, &block[..3]));
            client.lives_for(TIMEOUT - SECOND).await;
            let end = frames::continuation(stream, &block[3..], frames::END_HEADERS);
            assert!(client.say(&end).await.contains("hello"));
        }
        client.send(&frames::get(7, "/slow/100"));
        client.lives_for(99 * SECOND).await;
        tokio::time::sleep(2 * SECOND).await;
        assert!(client.say(b"").await.contains("slow"));
        client.send(&frames::post(9, "/upload"));
        // A frame of data that comes in drops is no head.
        let data = frames::data(9, b"abc", frames::END_STREAM);
        client.send(&data[..10]);
        client.lives_for(5 * TIMEOUT).await;
        assert!(client.say(&data[10..]).await.contains("got 3"));
        assert_eq!(bench.expired.words(), "");
    });
}
