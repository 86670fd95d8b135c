//! What each format says, of connections that are known.

use std::collections::HashMap;
use std::time::Duration;

use http::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::site::{PATH, Site, address, becomes_idle, exchange, http2, read_head};
use crate::support::settle;

/// One that is New, one Active, two Idle, one Hijacked, one Idle in HTTP/2, and
/// three that have closed: what is given back keeps them so.
async fn known_shape(site: &Site) -> impl Sized + use<> {
    for _ in 0..2 {
        becomes_idle(&mut site.connect().await).await;
    }
    let mut broken = site.connect().await;
    broken.write_all(b"nonsense\r\n\r\n").await.unwrap();
    let _ = broken.read_to_end(&mut Vec::new()).await;
    let (new, _) = site.connect_from(address("192.0.2.1:1000"));
    let (mut active, _) = site.connect_from(address("192.0.2.1:1001"));
    active.write_all(b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let (mut idle, _) = site.connect_from(address("192.0.2.1:1002"));
    becomes_idle(&mut idle).await;
    let (mut also_idle, _) = site.connect_from(address("[2001:db8::1]:1003"));
    becomes_idle(&mut also_idle).await;
    let mut hijacked = site.connect().await;
    let upgrade =
        b"GET /upgrade-held HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    hijacked.write_all(upgrade).await.unwrap();
    read_head(&mut hijacked).await;
    let mut multiplexed = http2(site.addr).await;
    let request = Request::get("http://localhost/").body(axum::body::Body::empty()).unwrap();
    multiplexed.send_request(request).await.unwrap();
    settle().await;
    (new, active, idle, also_idle, hijacked, multiplexed)
}

#[tokio::test(start_paused = true)]
async fn json() {
    let site = Site::start();
    let _clients = known_shape(&site).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let document = site.json("").await;
    let summary = &document["summary"];
    // The connection that asks is Active, too.
    assert_eq!(summary["states"], json!({"new": 1, "active": 2, "idle": 3, "hijacked": 1}));
    assert_eq!(
        summary["protocols"],
        json!({
            "HTTP/1": {"new": 0, "active": 2, "idle": 2, "hijacked": 1},
            "HTTP/2": {"new": 0, "active": 0, "idle": 1, "hijacked": 0},
            "unknown": {"new": 1, "active": 0, "idle": 0, "hijacked": 0},
        })
    );
    assert_eq!(summary["open"], 7);
    assert_eq!(summary["accepted"], 10);
    assert_eq!(summary["closed"], 3);
    assert_eq!(summary["requests"], 8);
    assert_eq!(summary["draining"], false);
    let listeners = json!([
        {"address": "127.0.0.1:80", "connections": 4},
        {"address": site.addr.to_string(), "connections": 3},
    ]);
    assert_eq!(summary["listeners"], listeners);
    let peers = json!([
        {"peer": "127.0.0.1", "connections": 3},
        {"peer": "192.0.2.1", "connections": 3},
        {"peer": "2001:db8::1", "connections": 1},
    ]);
    assert_eq!(summary["peers"], peers);
    assert_eq!(summary["distinct_peers"], 3);
    let reasons = json!([
        {"reason": "closed by the peer", "code": "peer_closed", "count": 2},
        {"reason": "protocol error", "code": "protocol_error", "count": 1},
    ]);
    assert_eq!(summary["reasons"], reasons);
    // The one that asks came just now, the others some twenty seconds ago.
    assert_eq!(summary["ages"]["counts"], json!([1, 0, 0, 6, 0, 0, 0, 0, 0, 0]));
    assert_eq!(summary["idle"]["counts"], json!([0, 0, 0, 3, 0, 0, 0, 0, 0, 0]));

    let rows = document["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &document["matched"]), (7, &json!(7)));
    assert_eq!(document["next"], json!(null));
    let own = rows.iter().find(|row| row["id"] == document["own"]).unwrap();
    assert_eq!(own["state"], "active");
    let idle = rows.iter().find(|row| row["peer"] == "192.0.2.1:1002").unwrap();
    assert_eq!(idle["local"], "127.0.0.1:80");
    assert_eq!(idle["protocol"], "HTTP/1");
    assert_eq!(idle["requests"], 1);
    assert_eq!(idle["bytes_received"], 30);
    assert!(idle["age"].as_f64().unwrap() >= 20.0 && idle["age"].as_f64().unwrap() < 21.0);
    assert_eq!(idle["draining"], false);
    let hijacked = rows.iter().find(|row| row["state"] == "hijacked").unwrap();
    assert_eq!(hijacked["bytes_received"], json!(null));

    let closed = document["closed"].as_array().unwrap();
    assert_eq!(closed.len(), 3);
    assert_eq!(closed[0]["reason"], "protocol error");
    assert_eq!(closed[0]["state"], "active");
    assert_eq!(closed[2]["state"], "idle");
    assert_eq!(closed[2]["requests"], 1);

    for (show, has) in [("summary", "summary"), ("rows", "rows"), ("closed", "closed")] {
        let document = site.json(&format!("show={show}")).await;
        for part in ["summary", "rows", "closed"] {
            assert_eq!(document.get(part).is_some(), part == has, "{show}: {part}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn text_begins_as_nginx_does() {
    let site = Site::start();
    let _clients = known_shape(&site).await;
    let text = site.get("").await.body;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "Active connections: 7 ",
            "server accepts handled requests",
            " 10 10 8 ",
            "Reading: 1 Writing: 3 Waiting: 3 ",
            "",
        ]
    );
    assert!(text.contains("\nHTTP/1   0    2       2     1         5\n"), "{text}");
    assert!(text.contains("\nclosed by the peer  2\n"), "{text}");
    assert!(text.contains("  192.0.2.1:1002"), "{text}");
    assert!(text.contains("  protocol error\n"), "{text}");
    let text = site.get("format=text&show=rows&state=idle&limit=2").await.body;
    assert!(text.starts_with("\nid "), "{text}");
    assert!(text.contains("\n2 of 3; more: after="), "{text}");
    let text = site.get("show=rows&peer=10.0.0.0/8").await.body;
    assert_eq!(text, "\nno connection matches\n");
}

#[tokio::test(start_paused = true)]
async fn openmetrics() {
    let site = Site::start();
    let _clients = known_shape(&site).await;
    let reply = site.get("format=openmetrics").await;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(reply.header("content-type"), Some(content_type));
    let values = parse(&reply.body);
    let count = |state: &str, version: &str| {
        let labels =
            format!("http_connection_state=\"{state}\",network_protocol_version=\"{version}\"");
        values[&format!("hyper_server_connection_count{{{labels}}}")]
    };
    assert_eq!(count("idle", "1.1"), 2.0);
    assert_eq!(count("hijacked", "1.1"), 1.0);
    assert_eq!(count("idle", "2"), 1.0);
    assert_eq!(count("new", ""), 1.0);
    assert_eq!(values["hyper_server_connection_accepted_total"], 10.0);
    let closed = |reason: &str| {
        let labels = format!("hyper_connection_close_reason=\"{reason}\"");
        values[&format!("hyper_server_connection_closed_total{{{labels}}}")]
    };
    assert_eq!((closed("peer_closed"), closed("protocol_error")), (2.0, 1.0));
    assert_eq!(values["hyper_server_connection_age_seconds_gcount"], 7.0);
    assert_eq!(values["hyper_server_connection_age_seconds_bucket{le=\"+Inf\"}"], 7.0);
    assert_eq!(values["hyper_server_connection_idle_seconds_gcount"], 3.0);
    assert_eq!(values["hyper_server_draining"], 0.0);
}

/// The samples, after a look at what the format asks for.
fn parse(text: &str) -> HashMap<String, f64> {
    let mut values = HashMap::new();
    let mut family = "";
    let body = text.strip_suffix("# EOF\n").unwrap();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            match (words.next().unwrap(), words.next().unwrap(), words.next().unwrap()) {
                ("TYPE", name, _) => family = name,
                ("UNIT", name, unit) => assert!(name == family && name.ends_with(unit), "{line}"),
                ("HELP", name, _) => assert_eq!(name, family),
                other => panic!("{other:?}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with(family), "{name} is not of {family}");
        assert!(values.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} twice");
    }
    values
}

#[tokio::test(start_paused = true)]
async fn what_clients_accept_is_what_they_get() {
    let site = Site::start();
    let accepting = async |accept: &str| {
        let request = format!("GET {PATH} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n");
        let reply = site.ask(&request).await;
        assert_eq!(reply.status, 200, "{accept}");
        reply.header("content-type").unwrap().to_owned()
    };
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    assert_eq!(accepting(browser).await, "text/html; charset=utf-8");
    assert_eq!(accepting("*/*").await, "text/plain; charset=utf-8");
    assert_eq!(accepting("application/json").await, "application/json");
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
    assert!(accepting(prometheus).await.starts_with("application/openmetrics-text"));
    assert_eq!(accepting("text/\u{ff}").await, "text/plain; charset=utf-8");
    assert_eq!(site.get("").await.header("content-type"), Some("text/plain; charset=utf-8"));
}

/// The policy forbids what is inline, so there must be none.
#[tokio::test(start_paused = true)]
async fn the_page_is_html_and_two_files() {
    let site = Site::start();
    let page = site.get("format=html").await.body;
    assert!(page.starts_with("<!doctype html>"));
    for inline in
        ["<style", "style=", "<script>", " onclick", " onload", "javascript:", "http:", "https:"]
    {
        let page = page
            .replace("http://www.w3.org/2000/svg", "")
            .replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(inline), "{inline}");
    }
    assert_eq!(page.matches("<script").count(), 1);
    for (link, content_type) in [
        ("?asset=page.css", "text/css; charset=utf-8"),
        ("?asset=page.js", "text/javascript; charset=utf-8"),
    ] {
        assert!(page.contains(&format!("\"{link}\"")));
        let file = site.get(&link[1..]).await;
        assert_eq!((file.status, file.header("content-type")), (200, Some(content_type)));
        for away in [
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "@import",
            "url(",
        ] {
            assert!(!file.body.contains(away), "{link}: {away}");
        }
    }
}

/// A head without its date: that one goes on while a test's clock stands still.
fn undated(head: &str) -> Vec<&str> {
    head.lines().filter(|line| !line.starts_with("date:")).collect()
}

#[tokio::test(start_paused = true)]
async fn head_is_get_without_its_body() {
    let site = Site::start();
    let mut stream = site.connect().await;
    for query in ["format=html", "asset=page.js", "format=json&show=closed", "format=json&limit=0"]
    {
        let ask = |method| format!("{method} {PATH}?{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let got = exchange(&mut stream, &ask("GET")).await;
        // On the same connection: a byte of a body would be read as a head.
        let head = exchange(&mut stream, &ask("HEAD")).await;
        assert_eq!(undated(&head.head), undated(&got.head));
    }
    let head = format!("HEAD {PATH}?format=events HTTP/1.1\r\nhost: localhost\r\n\r\n");
    for _ in 0..20 {
        stream.write_all(head.as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.contains("text/event-stream"));
    }

    let mut sender = http2(site.addr).await;
    let url = format!("http://localhost{PATH}?format=html");
    let request = Request::head(url).body(axum::body::Body::empty()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(
        response.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap() > 1000
    );
}

#[tokio::test(start_paused = true)]
async fn other_methods_are_not_allowed() {
    let site = Site::start();
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "POST"] {
        let request = format!("{method} {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let reply = site.ask(&request).await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    let site = Site::with(|page| page.allow_actions(|_, _| true));
    let reply = site.ask(&format!("PUT {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD, POST")));
}

#[tokio::test(start_paused = true)]
async fn odd_targets_get_clean_answers() {
    let site = Site::start();
    let long = "x".repeat(10_000);
    for (target, status) in [
        ("//", 200),
        ("/%00/..%2f", 200),
        ("/debug/connections/../../etc/passwd", 200),
        ("http://localhost/debug", 200),
        ("/x?", 200),
        ("/x?&&&", 200),
        ("/x?=", 400),
        ("/x?=&=", 400),
        ("/x?%", 400),
        ("/x?format=%ff", 400),
        ("/x?limit=18446744073709551616", 400),
        ("/x?min_age=18446744073709551615d", 400),
        ("/x?after=-1", 400),
        ("/x?after=18446744073709551615", 200),
        ("/x?limit=1000&min_age=18446744073709551615ms", 200),
        (&format!("/{long}"), 200),
        (&format!("/x?peer={long}"), 414),
        (&format!("/x?{}", "a&".repeat(1000)), 400),
    ] {
        let reply = site.ask(&format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        assert_eq!(reply.status, status, "{target}: {}", reply.body);
        if status != 200 {
            assert!(reply.body.len() < 300, "{}", reply.body);
            assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
        }
    }
    let reply = site.ask("OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(reply.status, 405);
}
