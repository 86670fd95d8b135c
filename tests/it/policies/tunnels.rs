//! Connections that were handed over.

use hyper_connstate::Policies;
use tokio::time::Instant;

use super::bench::{Bench, SECOND, Talk, on_each, slack};
use crate::oracles::wire::Client;
use crate::support::Kind;

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

async fn tunnel(bench: &Bench) -> Client {
    let mut client = bench.http1().await;
    let request = "GET /tunnel HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n\
        upgrade: echo\r\n\r\n";
    assert!(client.say(request.as_bytes()).await.starts_with("HTTP/1.1 101"));
    client
}

/// No time-out of HTTP's holds for them.
#[test]
fn a_silent_tunnel() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::internet());
        let mut client = tunnel(&bench).await;
        client.lives_for(1_000 * SECOND).await;
        assert_eq!(client.say(b"ping").await, "ping");
        assert_eq!(bench.log.words(), "new active hijacked");
        assert_eq!(bench.expired.words(), "");
    });
}

#[test]
fn a_tunnel_that_is_idle() {
    on_each(Kind::all(), async |kind| {
        let bench = Bench::new(kind, Policies::new().tunnel_idle_timeout(TIMEOUT));
        let mut client = tunnel(&bench).await;
        for _ in 0..5 {
            client.lives_for(TIMEOUT - SECOND).await;
            assert_eq!(client.say(b"ping").await, "ping");
        }
        let start = Instant::now();
        while bench.expired.words().is_empty() {
            tokio::time::sleep(SECOND / 100).await;
        }
        let window = TIMEOUT..=TIMEOUT + slack(TIMEOUT);
        assert!(window.contains(&start.elapsed()), "after {:?}", start.elapsed());
        client.wait_end().await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(bench.log.words(), "new active hijacked (TunnelIdleTimeout)");
    });
}

/// Its owner is told of its age, and goes on.
#[test]
fn an_old_tunnel() {
    on_each(Kind::all(), async |kind| {
        let policies = Policies::new().max_age(TIMEOUT).age_grace(SECOND);
        let bench = Bench::new(kind, policies);
        let mut client = tunnel(&bench).await;
        let conn = bench.connections.iter().next().unwrap();
        client.lives_for(TIMEOUT / 2).await;
        assert!(!conn.is_draining());
        conn.draining().await;
        client.lives_for(10 * TIMEOUT).await;
        assert_eq!(client.say(b"ping").await, "ping");
        assert_eq!(bench.expired.words(), "max_age");
    });
}
