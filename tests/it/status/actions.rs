//! What visitors may do, and how one who may not would try.

use std::time::Duration;

use hyper_connstate::CloseReason;
use tokio::io::AsyncWriteExt;

use super::site::{PATH, Reply, Site, address, becomes_idle, exchange, read_reply};
use crate::support::settle;

const GOOD: &str =
    "host: localhost\r\ncontent-type: application/json\r\nsec-fetch-site: same-origin\r\n";

fn acting() -> Site {
    Site::with(|page| page.allow_actions(|_, _| true))
}

fn post(headers: &str, body: &str) -> String {
    format!("POST {PATH} HTTP/1.1\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

async fn act(site: &Site, body: &str) -> Reply {
    site.ask(&post(GOOD, body)).await
}

#[tokio::test(start_paused = true)]
async fn close_and_drain_one() {
    let site = acting();
    let (mut closed, conn) = site.connect_from(address("10.0.0.1:1"));
    becomes_idle(&mut closed).await;
    let action = |name: &str, id: u64| format!("{{\"action\": \"{name}\", \"id\": {id}}}");
    let reply = act(&site, &action("close", conn.id().get())).await;
    assert_eq!(reply.body, r#"{"action":"close","connections":1}"#);
    conn.closed().await;
    assert_eq!(conn.close_reason(), Some(CloseReason::ClosedByProgram));
    let again = act(&site, &action("close", conn.id().get())).await;
    assert_eq!(again.status, 404, "{}", again.body);

    let (mut drained, conn) = site.connect_from(address("10.0.0.1:2"));
    becomes_idle(&mut drained).await;
    assert_eq!(act(&site, &action("drain", conn.id().get())).await.status, 200);
    let rows = site.json("show=rows&peer=10.0.0.1").await;
    assert_eq!(rows["rows"][0]["draining"], true);
    conn.closed().await;
    assert_eq!(conn.close_reason(), Some(CloseReason::ShutdownDrained));
}

#[tokio::test(start_paused = true)]
async fn close_idle_and_drain_all() {
    let site = acting();
    let (mut idle, conn) = site.connect_from(address("10.0.0.1:1"));
    becomes_idle(&mut idle).await;
    let (_new, new) = site.connect_from(address("10.0.0.1:2"));
    let reply = act(&site, r#"{"action": "close_idle"}"#).await;
    assert_eq!(reply.body, r#"{"action":"close_idle","connections":1}"#);
    conn.closed().await;
    assert_eq!(new.close_reason(), None);

    let (mut slow, slow_conn) = site.connect_from(address("10.0.0.1:3"));
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let (mut admin, _) = site.connect_from(address("127.0.0.1:1"));
    let action = r#"{"action": "drain_all", "timeout_seconds": 5}"#;
    assert_eq!(exchange(&mut admin, &post(GOOD, action)).await.status, 200);
    let (mut admin, _) = site.connect_from(address("127.0.0.1:2"));
    let again = exchange(&mut admin, &post(GOOD, action)).await;
    assert_eq!(again.status, 409, "{}", again.body);
    new.closed().await;
    assert_eq!(new.close_reason(), Some(CloseReason::ShutdownDrained));
    slow_conn.closed().await;
    assert_eq!(slow_conn.close_reason(), Some(CloseReason::ShutdownForced));
}

#[tokio::test(start_paused = true)]
async fn nobody_may_act_unless_it_is_said() {
    let site = Site::start();
    let (mut client, conn) = site.connect_from(address("10.0.0.1:1"));
    becomes_idle(&mut client).await;
    let reply = act(&site, r#"{"action": "close_idle"}"#).await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(site.json("show=rows").await["actions"], false);
    settle().await;
    assert_eq!(conn.close_reason(), None);
}

/// Each request here is one that another site can make a browser send, or that
/// a guard is there to stop.
#[tokio::test(start_paused = true)]
async fn what_is_no_action_of_the_page_does_nothing() {
    let site = Site::with(|page| {
        page.allow_actions(|parts, conn| {
            conn.is_some() && parts.headers.get("x-who").is_none_or(|who| who != "guest")
        })
    });
    let (mut client, conn) = site.connect_from(address("10.0.0.1:1"));
    becomes_idle(&mut client).await;
    let without = |name: &str| {
        let lines = GOOD.split_inclusive("\r\n").filter(|line| !line.starts_with(name));
        lines.collect::<String>()
    };
    let with = |name: &str, value: &str| format!("{}{name}: {value}\r\n", without(name));
    for (headers, status) in [
        (without("content-type"), 415),
        (with("content-type", "text/plain"), 415),
        (with("content-type", "text/plain; application/json"), 415),
        (with("content-type", "application/x-www-form-urlencoded"), 415),
        (with("content-type", "multipart/form-data; boundary=application/json"), 415),
        (with("content-type", "application/jsonp"), 415),
        (without("sec-fetch-site"), 403),
        (with("sec-fetch-site", "cross-site"), 403),
        (with("sec-fetch-site", "same-site"), 403),
        (with("sec-fetch-site", "none"), 403),
        (with("sec-fetch-site", "same-origin, cross-site"), 403),
        (format!("{GOOD}sec-fetch-site: cross-site\r\n"), 403),
        (with("host", "evil.example"), 403),
        (format!("{GOOD}x-forwarded-for: 127.0.0.1\r\n"), 403),
        (format!("{GOOD}x-who: guest\r\n"), 403),
    ] {
        let reply = site.ask(&post(&headers, r#"{"action": "close_idle"}"#)).await;
        assert_eq!(reply.status, status, "{headers}: {}", reply.body);
    }
    let (mut remote, _) = site.connect_from(address("192.0.2.1:1"));
    let reply = exchange(&mut remote, &post(GOOD, r#"{"action": "close_idle"}"#)).await;
    assert_eq!(reply.status, 403);
    // Nor by a query, nor by another method.
    assert_eq!(site.get("action=close_idle").await.status, 400);
    let get = format!(
        "GET {PATH} HTTP/1.1\r\n{GOOD}content-length: 24\r\n\r\n{{\"action\": \"close_idle\"}}"
    );
    assert_eq!(site.ask(&get).await.status, 200);
    settle().await;
    assert_eq!(conn.close_reason(), None);
    // Buttons are shown to those who may press them.
    assert_eq!(site.json("show=rows").await["actions"], true);
    let guest =
        format!("GET {PATH}?format=json HTTP/1.1\r\nhost: localhost\r\nx-who: guest\r\n\r\n");
    assert!(site.ask(&guest).await.body.contains("\"actions\":false"));
    let typed = with("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(site.ask(&post(&typed, r#"{"action": "close_idle"}"#)).await.status, 200);
    conn.closed().await;
}

#[tokio::test(start_paused = true)]
async fn bodies_of_any_kind_get_clean_answers() {
    let site = acting();
    for (body, status) in [
        ("", 400),
        ("close", 400),
        ("\u{0}\u{ff}", 400),
        ("{\"action\": \"close\"}", 400),
        ("{\"action\": \"explode\"}", 400),
        ("{\"action\": \"close\", \"id\": 18446744073709551616}", 400),
        ("{\"action\": \"close\", \"id\": 18446744073709551615}", 404),
        (&"[".repeat(4000), 400),
        (&" ".repeat(5000), 413),
    ] {
        let reply = act(&site, body).await;
        assert_eq!(reply.status, status, "{body:.60}: {}", reply.body);
    }
    // One in chunks, one that never comes, one that breaks off.
    let mut stream = site.connect().await;
    let head = format!("POST {PATH} HTTP/1.1\r\n{GOOD}transfer-encoding: chunked\r\n\r\n");
    let chunks = "a\r\n{\"action\":\r\nf\r\n \"close_idle\" }\r\n0\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(chunks.as_bytes()).await.unwrap();
    assert_eq!(read_reply(&mut stream, true).await.status, 200);
    let mut stream = site.connect().await;
    let start = tokio::time::Instant::now();
    let head = format!("POST {PATH} HTTP/1.1\r\n{GOOD}content-length: 20\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_reply(&mut stream, true).await.status, 408);
    assert!(start.elapsed() >= Duration::from_secs(10));
    let mut stream = site.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    settle().await;
    assert_eq!(site.get("").await.status, 200);
}
