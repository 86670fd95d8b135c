//! What no time-out of `Policies::internet()` may end, ten of them long.

use std::time::Duration;

use hyper_connstate::Policies;

use super::bench::{Bench, SECOND, Talk, get, on_each};
use crate::support::{Kind, frames};

/// Ten times the longest time-out.
const LONG: Duration = Duration::from_secs(1_200);

/// CONNECT (RFC 9113, section 8.5).
fn connect(stream: u32) -> Vec<u8> {
    frames::frame(1, frames::END_HEADERS, stream, b"\x02\x07CONNECT\x01\x07test:80")
}

#[test]
fn events_polls_and_slow_handlers() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::internet());
        let paths = ["/events/1200", "/slow/1200"];
        let mut clients = Vec::new();
        for path in paths {
            let mut client = bench.http1().await;
            client.send(&get(path));
            clients.push(client);
            let mut client = bench.http2().await;
            client.send(&frames::get(1, path));
            clients.push(client);
        }
        tokio::time::sleep(LONG - SECOND).await;
        for client in &mut clients {
            client.read_all().await;
            assert!(!client.ended, "{}", bench.log.words());
        }
        tokio::time::sleep(2 * SECOND).await;
        for client in &mut clients {
            client.read_all().await;
            let heard = client.heard();
            assert!(heard.contains("data: two") || heard.contains("slow"), "{heard}");
        }
        assert_eq!(bench.expired.words(), "");
    });
}

#[test]
fn tunnels_of_every_kind() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::internet());
        let mut socket = bench.http1().await;
        let upgrade = "GET /tunnel HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n\
            upgrade: websocket\r\n\r\n";
        assert!(socket.say(upgrade.as_bytes()).await.starts_with("HTTP/1.1 101 "));
        let mut tunnel = bench.http1().await;
        let request = b"CONNECT test:80 HTTP/1.1\r\nhost: test:80\r\n\r\n";
        assert!(tunnel.say(request).await.starts_with("HTTP/1.1 200 "));
        let mut stream = bench.http2().await;
        stream.send(&connect(1));
        stream.read_all().await;
        tokio::time::sleep(LONG).await;
        assert_eq!(socket.say(b"ping").await, "ping");
        assert_eq!(tunnel.say(b"ping").await, "ping");
        stream.received.clear();
        stream.send(&frames::data(1, b"ping", 0));
        stream.read_all().await;
        assert!(stream.heard().contains("ping"));
        assert_eq!(bench.expired.words(), "");
    });
}

/// A tunnel that is only written to is not idle.
#[test]
fn a_tunnel_that_only_speaks() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().tunnel_idle_timeout(30 * SECOND));
        let mut client = bench.http1().await;
        let upgrade = "GET /ticks/25 HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n\
            upgrade: echo\r\n\r\n";
        assert!(client.say(upgrade.as_bytes()).await.starts_with("HTTP/1.1 101 "));
        client.lives_for(LONG).await;
        assert!(client.heard().starts_with("ticktick"));
        assert_eq!(bench.expired.words(), "");
    });
}
