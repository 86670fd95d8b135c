//! Until a client has said what it speaks.

use hyper_connstate::{Address, Policies};
use tokio::time::Instant;

use super::bench::{Bench, SECOND, Talk, on_each};
use crate::oracles::wire::Client;
use crate::support::{Kind, frames};

fn tls_kinds() -> impl Iterator<Item = Kind> {
    Kind::all().into_iter().filter(|kind| kind.is_tls())
}

#[test]
fn a_client_that_says_nothing() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().first_byte_timeout(10 * SECOND));
        let mut client = bench.http1().await;
        let start = Instant::now();
        client.ends_after(10 * SECOND, start).await;
        assert_eq!(client.heard(), "");
        assert_eq!(bench.log.words(), "new closed (FirstByteTimeout)");
        assert_eq!(bench.expired.words(), "first_byte_timeout");
    });
}

/// With TLS the time begins behind the handshake.
#[test]
fn a_client_whose_handshake_takes_its_time() {
    on_each(tls_kinds(), async |kind| {
        let bench = Bench::new(kind, Policies::new().first_byte_timeout(5 * SECOND));
        let far = bench.dial_from(Address::Unknown);
        tokio::time::sleep(8 * SECOND).await;
        let mut client = Client::new(far, Some("http/1.1")).await;
        client.ends_after(5 * SECOND, Instant::now()).await;
    });
}

#[test]
fn a_byte_just_before_the_end() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().first_byte_timeout(10 * SECOND));
        let mut client = bench.http1().await;
        tokio::time::sleep(10 * SECOND - SECOND / 100).await;
        client.send(b"G");
        client.lives_for(60 * SECOND).await;
        let answer = client.say(b"ET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        assert!(answer.ends_with("hello"), "{answer}");
        assert_eq!(bench.expired.words(), "");
    });
}

#[test]
fn half_a_preface_and_a_preface_without_settings() {
    on_each(Kind::all(), async |kind| {
        let policies = Policies::new().first_byte_timeout(10 * SECOND);
        for (said, log) in [
            (&frames::PREFACE[..24], "new active idle closed (FirstByteTimeout)"),
            // It may be the head of a request.
            (&frames::PREFACE[..10], "new active closed (HeaderTimeout)"),
        ] {
            let bench = Bench::new(kind, policies.clone().header_timeout(10 * SECOND));
            let mut client = bench.silent_http2().await;
            let start = Instant::now();
            client.send(said);
            client.ends_after(10 * SECOND, start).await;
            assert_eq!(bench.log.words(), log);
            // No HTTP/1 for a client that has begun HTTP/2.
            assert!(!client.heard().contains("HTTP/1.1"));
        }
    });
}

#[test]
fn a_preface_with_settings() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().first_byte_timeout(10 * SECOND));
        let mut client = bench.http2().await;
        client.lives_for(60 * SECOND).await;
        assert_eq!(bench.log.words(), "new active idle");
    });
}

#[test]
fn a_handshake_that_does_not_come_to_its_end() {
    on_each(tls_kinds(), async |kind| {
        for hello in [&[][..], &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc]] {
            let bench = Bench::new(kind, Policies::new().handshake_timeout(5 * SECOND));
            let far = bench.dial_from(Address::Unknown);
            let start = Instant::now();
            let mut client = Client::plain(far);
            client.send(hello);
            client.ends_after(5 * SECOND, start).await;
            assert_eq!(bench.log.words(), "new closed (HandshakeTimeout)");
            assert_eq!(bench.expired.words(), "handshake_timeout");
        }
    });
}

#[test]
fn a_handshake_in_time() {
    on_each(tls_kinds(), async |kind| {
        let bench = Bench::new(kind, Policies::new().handshake_timeout(5 * SECOND));
        let far = bench.dial_from(Address::Unknown);
        tokio::time::sleep(4 * SECOND).await;
        let mut client = Client::new(far, Some("http/1.1")).await;
        client.lives_for(25 * SECOND).await;
    });
}
