//! Who may look, and how one who may not would try.

use http::Request;
use hyper_connstate::{Address, StatusPage};

use super::site::{PATH, Reply, Site, address, exchange};

fn get(lines: &str) -> String {
    format!("GET {PATH}?format=json HTTP/1.1\r\n{lines}\r\n")
}

const LOCAL: &str = "host: localhost:8080\r\n";

fn assert_refused(reply: &Reply, why: &str) {
    assert_eq!(reply.status, 403, "{why}: {}", reply.body);
    assert!(reply.body.contains(why), "{}", reply.body);
    assert!(!reply.body.contains("\"rows\""), "{}", reply.body);
    assert_hardened(reply);
}

/// What browsers are told with every answer.
fn assert_hardened(reply: &Reply) {
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("x-frame-options"), Some("DENY"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(reply.header("cross-origin-resource-policy"), Some("same-origin"));
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_hardened() {
    let site = Site::start();
    for query in ["format=html", "asset=page.js", "asset=page.css", "format=json", "", "limit=0"] {
        assert_hardened(&site.get(query).await);
    }
    assert_hardened(&site.ask(&format!("PUT {PATH} HTTP/1.1\r\n{LOCAL}\r\n")).await);
}

#[tokio::test(start_paused = true)]
async fn only_clients_on_this_machine() {
    let site = Site::start();
    for peer in ["127.0.0.1:1", "127.255.0.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let (mut client, _) = site.connect_from(address(peer));
        assert_eq!(exchange(&mut client, &get(LOCAL)).await.status, 200, "{peer}");
    }
    let here = "clients on the same machine";
    for peer in [
        "192.0.2.1:1",
        "10.0.0.1:1",
        "0.0.0.0:1",
        "126.255.255.255:1",
        "128.0.0.1:1",
        "[::]:1",
        "[fe80::1]:1",
        "[::ffff:10.0.0.1]:1",
        // Only looks like one.
        "[::127.0.0.1]:1",
        "[2002:7f00:1::]:1",
    ] {
        let (mut client, _) = site.connect_from(address(peer));
        assert_refused(&exchange(&mut client, &get(LOCAL)).await, here);
    }
    let (mut client, _) = site.connect_from(Address::Unknown);
    assert_refused(&exchange(&mut client, &get(LOCAL)).await, here);
    // A load balancer has said who it really is.
    let (mut client, conn) = site.connect_from(address("127.0.0.1:1"));
    conn.set_remote_addr(address("192.0.2.1:1"));
    assert_refused(&exchange(&mut client, &get(LOCAL)).await, here);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_does_not_know_its_peer_says_what_to_do() {
    let site = Site::start();
    let page = StatusPage::new(&site.connections);
    let request = Request::get("/").header("host", "localhost").body(String::new()).unwrap();
    let reply = page.call(request).await.unwrap();
    assert_eq!(reply.status(), 500);
    let body = http_body_util::BodyExt::collect(reply.into_body()).await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body);
    for help in ["into_make_service_with_conn_state", "for_conn", "conn_in_requests", "allow"] {
        assert!(body.contains(help), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_proxy_passes_others_requests_on() {
    let site = Site::start();
    for header in [
        "Forwarded: for=192.0.2.1",
        "X-Forwarded-For: 192.0.2.1",
        "x-forwarded-for: 127.0.0.1",
        "X-FORWARDED-HOST: localhost",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Anything: 1",
        "X-Forwarded-For:",
        "Via: 1.1 proxy",
        "X-Real-IP: 192.0.2.1",
        "X-Client-IP: 192.0.2.1",
        "True-Client-IP: 192.0.2.1",
        "CF-Connecting-IP: 192.0.2.1",
        "CF-Ray: 1",
        "CDN-Loop: x",
        "Fly-Client-IP: 192.0.2.1",
        "X-Envoy-External-Address: 192.0.2.1",
        "X-Original-Forwarded-For: 192.0.2.1",
        "X-Amzn-Trace-Id: 1",
    ] {
        let request = get(&format!("{LOCAL}{header}\r\n"));
        assert_refused(&site.ask(&request).await, "through a proxy");
    }
}

/// A name that leads here may be anyone's.
#[tokio::test(start_paused = true)]
async fn dns_rebinding() {
    let site = Site::start();
    for host in [
        "localhost",
        "LOCALHOST:80",
        "127.0.0.1",
        "127.0.0.1:8080",
        "192.0.2.7",
        "[::1]",
        "[::1]:8080",
    ] {
        let reply = site.ask(&get(&format!("host: {host}\r\n"))).await;
        assert_eq!(reply.status, 200, "{host}: {}", reply.body);
    }
    let why = "neither `localhost` nor an IP address";
    for host in [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.io",
        "a.localhost",
        "localhost.",
        "evil@127.0.0.1",
        "localhost@evil.example",
        "localhost:80@evil.example",
        "127.1",
        "0x7f000001",
        "2130706433",
        "[::1",
        "[localhost]",
        "",
        "localhost,evil.example",
        "localhost/x",
        "localhost evil.example",
        "\u{ff}",
    ] {
        let reply = site.ask(&get(&format!("host: {host}\r\n"))).await;
        assert!([400, 403].contains(&reply.status), "{host}: {}", reply.body);
    }
    assert_refused(&site.ask(&get("host: evil.example\r\n")).await, why);
    assert_refused(&site.ask(&get("host: localhost\r\nhost: evil.example\r\n")).await, why);
    assert_refused(&site.ask(&get("host: evil.example\r\nhost: localhost\r\n")).await, why);
    // Nothing at all, and the target against the header.
    assert_refused(&site.ask("GET /x HTTP/1.0\r\n\r\n").await, why);
    let absolute = |uri: &str, host: &str| format!("GET {uri} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    assert_refused(&site.ask(&absolute("http://evil.example/x", "localhost")).await, why);
    assert_refused(&site.ask(&absolute("http://localhost/x", "evil.example")).await, why);
    assert_eq!(site.ask(&absolute("http://localhost/x", "localhost")).await.status, 200);
    // HTTP/2 has no `Host`.
    let mut sender = super::site::http2(site.addr).await;
    for (host, status) in [("localhost", 200), ("[::1]:1", 200), ("evil.example", 403)] {
        let request = Request::get(format!("http://{host}{PATH}"));
        let request = request.body(axum::body::Body::empty()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), status, "{host}");
    }
}

/// A page of another site, open in a browser of this machine.
#[tokio::test(start_paused = true)]
async fn other_sites_can_neither_read_nor_take_up_places() {
    let site = Site::start();
    let from = |site: &str, mode: &str| {
        get(&format!("{LOCAL}sec-fetch-site: {site}\r\nsec-fetch-mode: {mode}\r\n"))
    };
    for (origin, mode) in [("cross-site", "no-cors"), ("same-site", "cors"), ("cross-site", "cors")]
    {
        assert_refused(&site.ask(&from(origin, mode)).await, "another site");
    }
    // A link, the address bar, the page itself.
    for (origin, mode) in
        [("cross-site", "navigate"), ("none", "navigate"), ("same-origin", "cors")]
    {
        assert_eq!(site.ask(&from(origin, mode)).await.status, 200, "{origin} {mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_of_ones_own_replaces_the_rules() {
    let site = Site::with(|page| {
        page.allow(|parts, conn| {
            let ip = conn.and_then(|conn| conn.remote_addr().ip());
            ip == Some([192, 0, 2, 1].into())
                && parts.headers.get("x-token").is_some_and(|token| token == "secret")
        })
    });
    let token = "host: evil.example\r\nvia: 1.1 proxy\r\nx-token: secret\r\n";
    let (mut friend, _) = site.connect_from(address("192.0.2.1:1"));
    assert_eq!(exchange(&mut friend, &get(token)).await.status, 200);
    let refused = "given to StatusPage::allow";
    assert_refused(&exchange(&mut friend, &get(LOCAL)).await, refused);
    let (mut other, _) = site.connect_from(address("192.0.2.2:1"));
    assert_refused(&exchange(&mut other, &get(token)).await, refused);
    // It is not asked in addition, nor is being local enough.
    assert_refused(&site.ask(&get(LOCAL)).await, refused);
    // What protects a browser stays.
    let cross_site = format!("{token}sec-fetch-site: cross-site\r\n");
    assert_refused(&exchange(&mut friend, &get(&cross_site)).await, "another site");
}
