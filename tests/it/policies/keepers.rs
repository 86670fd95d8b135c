//! What clients send to be kept without asking for anything.

use std::time::Duration;

use hyper_connstate::Policies;
use tokio::time::Instant;

use super::bench::{Bench, GET, SECOND, Talk, bytes, on_each, slack};
use crate::support::{Kind, frames};

const TIMEOUT: Duration = Duration::from_secs(20);

/// When a client is told that its connection ends.
async fn told_after(bench: &Bench, start: Instant, late: Duration) {
    let after = start.elapsed();
    let window = TIMEOUT..=TIMEOUT + slack(TIMEOUT) + late;
    assert!(window.contains(&after), "{after:?}");
    assert_eq!(bench.expired.words(), "idle_timeout");
}

/// Whatever it is, and though the client goes on with it when it has been told.
#[test]
fn frames_that_ask_for_nothing() {
    on_each(Kind::all(), async |kind| {
        for frame in [
            frames::ping(),
            frames::settings(),
            frames::settings_ack(),
            frames::priority(1),
            frames::priority(3),
            frames::window_update(0, 1),
            // RFC 9113, section 5.5: ignored.
            frames::frame(0x20, 0, 0, b"unknown"),
        ] {
            let bench = Bench::new(kind, Policies::new().idle_timeout(TIMEOUT));
            let mut client = bench.http2().await;
            assert!(client.say(&frames::get(1, "/")).await.contains("hello"));
            // hyper expects no more acknowledgements than it has asked for.
            let frame = if frame == frames::settings_ack() { frames::ping() } else { frame };
            let start = Instant::now();
            while bench.expired.words().is_empty() {
                client.drip([frame.clone()], SECOND / 2).await;
                assert!(!client.ended && start.elapsed() < 2 * TIMEOUT, "{frame:?}");
            }
            told_after(&bench, start, SECOND / 2).await;
            let told = Instant::now();
            client.drip(std::iter::repeat_n(frame, 100), SECOND / 10).await;
            assert!(client.ended && told.elapsed() < 7 * SECOND, "{:?}", told.elapsed());
            client.close();
            tokio::time::sleep(SECOND).await;
            assert!(bench.log.words().ends_with("idle closed (IdleTimeout)"));
        }
    });
}

/// Of a frame that is no head.
#[test]
fn a_payload_that_drips() {
    on_each(Kind::all(), async |kind| {
        let policies = Policies::new().idle_timeout(TIMEOUT).header_timeout(TIMEOUT / 4);
        let bench = Bench::new(kind, policies);
        let mut client = bench.http2().await;
        assert!(client.say(&frames::get(1, "/")).await.contains("hello"));
        let start = Instant::now();
        let ping = frames::ping();
        client.send(&ping[..9]);
        for byte in bytes(&ping[9..16]) {
            client.drip([byte], 3 * SECOND - SECOND / 20).await;
        }
        assert!(start.elapsed() > TIMEOUT);
        told_after(&bench, start, SECOND).await;
        client.wait_end().await;
    });
}

/// RFC 9112, section 2.2, lets a client send them in front of a request.
#[test]
fn blank_lines_between_requests() {
    on_each(Kind::all(), async |kind| {
        let policies = Policies::new().idle_timeout(TIMEOUT).header_timeout(TIMEOUT / 2);
        let bench = Bench::new(kind, policies);
        let mut client = bench.http1().await;
        for _ in 0..2 {
            assert!(client.say(GET).await.ends_with("hello"));
            client.send(b"\r\n");
            client.lives_for(TIMEOUT / 4).await;
        }
        assert!(client.say(GET).await.ends_with("hello"));
        client.lives_for(TIMEOUT / 2).await;
        let start = Instant::now();
        client.drip(std::iter::repeat_n(b"\r\n".to_vec(), 100), SECOND / 2).await;
        client.ends_after(TIMEOUT / 2, start).await;
        assert!(client.heard().starts_with("HTTP/1.1 408 "));
        assert!(bench.log.words().ends_with("active closed (HeaderTimeout)"));
    });
}

/// Each of them is a request, and counts as one.
#[test]
fn requests_that_are_reset() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::internet().max_requests(5));
        let mut client = bench.http2().await;
        let mut opened = 0;
        for stream in (1..100).step_by(2) {
            if client.ended {
                break;
            }
            opened += 1;
            let request = [frames::post(stream, "/upload"), frames::reset(stream)].concat();
            client.drip([request], SECOND).await;
        }
        client.wait_end().await;
        assert!((5..=12).contains(&opened), "{opened}");
        client.close();
        tokio::time::sleep(SECOND).await;
        assert!(bench.log.words().ends_with("idle closed (MaxRequests)"), "{}", bench.log.words());
    });
}

/// They make a connection no younger.
#[test]
fn an_old_connection_whose_requests_are_reset() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().max_age(TIMEOUT));
        let start = Instant::now();
        let mut client = bench.http2().await;
        for stream in (1..1_000).step_by(2) {
            let request = [frames::get(stream, "/slow/100"), frames::reset(stream)].concat();
            client.drip([request], SECOND / 4).await;
        }
        assert!(client.ended);
        // hyper waits for an answer to its PING.
        let most = TIMEOUT * 11 / 10 + slack(TIMEOUT) + 7 * SECOND;
        let (after, least) = (start.elapsed(), TIMEOUT * 9 / 10);
        assert!(after >= least && after <= most, "{after:?}");
        assert_eq!(bench.expired.words(), "max_age");
    });
}

/// One stream is always open, so it does not heed what it is told.
#[test]
fn new_streams_after_goaway() {
    on_each(Kind::all(), async |kind| {
        let grace = 10 * SECOND;
        let policies = Policies::new().max_age(TIMEOUT).age_grace(grace);
        let bench = Bench::new(kind, policies);
        let start = Instant::now();
        let mut client = bench.http2().await;
        let streams = (1..1_000).step_by(2);
        client.drip(streams.map(|stream| frames::get(stream, "/slow/3")), SECOND).await;
        assert!(client.ended);
        let (least, most) = (TIMEOUT * 9 / 10, TIMEOUT * 11 / 10 + slack(TIMEOUT) + grace);
        assert!(start.elapsed() >= least && start.elapsed() <= most, "{:?}", start.elapsed());
        client.close();
        tokio::time::sleep(SECOND).await;
        assert!(bench.log.words().ends_with("closed (MaxAge)"), "{}", bench.log.words());
    });
}
