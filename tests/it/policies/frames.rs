//! HTTP/2 frames that come in drops, or never at their end.

use std::time::Duration;

use hyper_connstate::Policies;
use tokio::time::Instant;

use super::bench::{Bench, SECOND, Talk, bytes, on_each};
use super::heads::{CALM, goaway_code};
use crate::support::{Kind, frames};

const TIMEOUT: Duration = Duration::from_secs(10);

fn bench(kind: Kind) -> Bench {
    Bench::new(kind, Policies::new().header_timeout(TIMEOUT))
}

/// The time begins with the first byte, whatever frame it will be.
#[test]
fn a_frame_header_that_drips() {
    on_each(Kind::all(), async |kind| {
        for frame in [frames::get(1, "/"), frames::ping(), frames::data(1, b"", 0)] {
            let bench = bench(kind);
            let mut client = bench.http2().await;
            client.received.clear();
            let start = Instant::now();
            client.drip(bytes(&frame[..9]), SECOND * 13 / 10).await;
            client.ends_after(TIMEOUT, start).await;
            assert_eq!(goaway_code(&client.received), Some((0, CALM)));
            assert_eq!(bench.log.words(), "new active idle closed (HeaderTimeout)");
        }
    });
}

#[test]
fn a_header_block_that_drips() {
    on_each(Kind::all(), async |kind| {
        let bench = bench(kind);
        let mut client = bench.http2().await;
        client.received.clear();
        let start = Instant::now();
        client.drip(bytes(&frames::get(1, "/a-long-path")), SECOND / 2).await;
        client.ends_after(TIMEOUT, start).await;
        assert_eq!(goaway_code(&client.received), Some((0, CALM)));
        assert_eq!(bench.expired.words(), "header_timeout");
    });
}

/// The server has not said anything yet when it begins.
#[test]
fn half_a_header_block_in_the_first_packet() {
    on_each(Kind::all(), async |kind| {
        let block = frames::block("GET", "/");
        let begun = frames::frame(1, 1, 1, &block[..3]);
        for begun in [&begun[..], &begun[..4]] {
            let bench = bench(kind);
            let mut client = bench.silent_http2().await;
            let start = Instant::now();
            client.send(&[frames::PREFACE, &frames::settings(), begun].concat());
            client.ends_after(TIMEOUT, start).await;
            assert_eq!(goaway_code(&client.received), Some((0, CALM)));
            assert_eq!(bench.log.words(), "new active idle closed (HeaderTimeout)");
        }
    });
}

/// Each of them is whole soon; only the next one has begun by then.
#[test]
fn frames_that_end_in_the_middle_of_reads() {
    on_each(Kind::all(), async |kind| {
        let whole = frames::get(1, "/");
        let block = frames::block("GET", "/");
        let in_parts = |stream| {
            let begun = frames::frame(1, 1, stream, &block[..3]);
            [begun, frames::continuation(stream, &block[3..], frames::END_HEADERS)].concat()
        };
        let streams = (1..).step_by(2);
        for (frames, split) in [
            (vec![frames::ping(); 30], 5),
            (streams.clone().take(30).map(|stream| frames::get(stream, "/")).collect(), 5),
            (streams.clone().take(30).map(|stream| frames::get(stream, "/")).collect(), 12),
            // In the block, behind its first frame.
            (streams.take(30).map(in_parts).collect(), whole.len() - 3),
        ] {
            let bench = bench(kind);
            let mut client = bench.http2().await;
            let all = frames.concat();
            let (first, rest) = all.split_at(split);
            let length = frames[0].len();
            client.send(first);
            client.drip(rest.chunks(length).map(<[u8]>::to_vec), SECOND).await;
            assert!(!client.ended, "{}: {}", frames.len(), bench.log.words());
            assert_eq!(bench.expired.words(), "");
            // The last one is whole too, and so nothing is waited for.
            client.lives_for(2 * TIMEOUT).await;
            // One that stops in there has its time from its own beginning.
            client.send(&frames::ping()[..8]);
            let start = Instant::now();
            client.ends_after(TIMEOUT, start).await;
        }
    });
}

/// It has introduced itself only when they are whole.
#[test]
fn settings_that_drip() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().first_byte_timeout(TIMEOUT));
        let mut client = bench.silent_http2().await;
        let start = Instant::now();
        client.send(frames::PREFACE);
        let settings = frames::frame(4, 0, 0, &[0, 3, 0, 0, 0, 1]);
        client.drip(bytes(&settings), SECOND * 9 / 10).await;
        client.ends_after(TIMEOUT, start).await;
        assert_eq!(bench.log.words(), "new active idle closed (FirstByteTimeout)");
    });
}
