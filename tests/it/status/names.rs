//! A peer's address may hold anything: a Unix socket's path does.
#![cfg(unix)]

use std::os::unix::net::SocketAddr;

use tokio::net::{UnixListener, UnixStream};

use hyper_connstate::{StatusPage, instrument_listener};

use super::site::{PATH, Site, exchange, serve};
use crate::support::start_watchdog;

/// Markup, the end of a line, a terminal's escapes, text that runs backwards,
/// and what ends strings in each format.
pub const NASTY: &str = "/tmp/<script>alert(1)</script>\n\u{1b}[31m\u{202e}\"\\&'`${x}";

#[tokio::test(start_paused = true)]
async fn stay_text_in_every_format() {
    let site = Site::start();
    let (_client, _) = site.connect_from(SocketAddr::from_pathname(NASTY).unwrap());
    let document = site.json("").await;
    let peers = document["summary"]["peers"].as_array().unwrap();
    assert!(peers.iter().any(|peer| peer["peer"] == NASTY));
    assert!(document["rows"].as_array().unwrap().iter().any(|row| row["peer"] == NASTY));
    for query in ["format=json", "format=text", "format=openmetrics", "format=json&show=rows"] {
        let body = site.get(query).await.body;
        for char in ['\u{1b}', '\r'] {
            assert!(!body.contains(char), "{query}");
        }
    }
    let text = site.get("").await.body;
    assert!(!text.contains('\u{202e}'));
    let shown = "/tmp/<script>alert(1)</script>\u{fffd}\u{fffd}[31m\u{fffd}\"\\&'`${x}";
    assert!(text.lines().any(|line| line.contains(shown)), "{text}");
    // Names go into no metric.
    assert!(!site.get("format=openmetrics").await.body.contains("script"));
}

#[tokio::test(start_paused = true)]
async fn clients_of_a_unix_socket_are_on_this_machine() {
    start_watchdog();
    let folder = std::env::temp_dir().join(format!("connstate-status-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("<b onclick=x>.sock");
    let _ = std::fs::remove_file(&path);
    let mut listener = instrument_listener(UnixListener::bind(&path).unwrap(), ());
    let page = StatusPage::new(&listener.connections());
    tokio::spawn(async move {
        loop {
            let (io, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(io, page.clone()));
        }
    });
    let mut client = UnixStream::connect(&path).await.unwrap();
    let ask = |host: &str| format!("GET {PATH}?format=json HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let reply = exchange(&mut client, &ask("localhost")).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.body.contains("<b onclick=x>.sock"));
    assert!(reply.body.contains("\"peer\":\"@\""));
    assert_eq!(exchange(&mut client, &ask("evil.example")).await.status, 403);
    let _ = std::fs::remove_dir_all(folder);
}
