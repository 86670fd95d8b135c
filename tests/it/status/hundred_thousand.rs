//! The page beside 100,000 connections.
//!
//! ```console
//! $ cargo test --all-features --test it status::hundred_thousand -- --ignored --nocapture
//! ```
//!
//! prints how long each answer takes to begin and to come, how much memory it
//! takes meanwhile, and what eight viewers cost the other clients.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper_connstate::ConnIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::site::{PATH, Site, becomes_idle, read_head};

const CONNECTIONS: u32 = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes long, and measures"]
async fn beside_100_000_connections() {
    let site = Site::start();
    let mut streams = Vec::new();
    for number in 0..CONNECTIONS {
        let peer: SocketAddr = (std::net::Ipv4Addr::from(0x0a00_0000 + number / 2), 1000).into();
        let local: SocketAddr = ([127, 0, 0, 1], 80).into();
        let stream = tokio::io::join(&b"GET"[..], tokio::io::sink());
        let mut io = ConnIo::new(stream, peer, local, ());
        assert!(site.connections.insert(io.conn()));
        if number % 3 == 0 {
            io.read_u8().await.unwrap();
        }
        streams.push(io);
    }
    let before = resident();
    println!("{CONNECTIONS} connections, {} MB resident", before >> 20);
    for query in [
        "format=html",
        "",
        "format=json&show=summary",
        "format=json&show=rows&limit=25",
        "format=json&show=rows&limit=1000",
        "format=json&show=rows&limit=1000&sort=peer",
        "format=json&show=rows&limit=1000&sort=-state_for&state=active",
        "format=json&show=rows&peer=10.0.128.0/24",
        "format=openmetrics",
        "format=events",
    ] {
        let mut stream = site.connect().await;
        let start = Instant::now();
        let request = format!("GET {PATH}?{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let first = start.elapsed();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(100, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        let all = start.elapsed();
        println!("{query:64} first byte {first:>9.1?}, all {all:>9.1?}, {:>7} bytes", body.len());
        assert!(all < Duration::from_secs(20), "{query}");
        assert!(body.len() < 1 << 20, "{query}");
    }
    let during = resident();
    println!("{} MB more resident after these", during.saturating_sub(before) >> 20);
    assert!(during.saturating_sub(before) < 128 << 20);

    let alone = requests_in(&site, Duration::from_secs(5)).await;
    let mut viewers = Vec::new();
    for _ in 0..8 {
        let mut stream = site.connect().await;
        let request = format!("GET {PATH}?format=events HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        viewers.push(tokio::spawn(async move {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }));
    }
    let watched = requests_in(&site, Duration::from_secs(5)).await;
    viewers.iter().for_each(|viewer| viewer.abort());
    println!(
        "requests of another client: {alone} alone, {watched} beside eight viewers: {:.2}",
        watched as f64 / alone as f64
    );
    drop(streams);
}

async fn requests_in(site: &Site, time: Duration) -> usize {
    let mut stream = site.connect().await;
    let start = Instant::now();
    let mut requests = 0;
    while start.elapsed() < time {
        becomes_idle(&mut stream).await;
        requests += 1;
    }
    requests
}

/// Bytes; zero where the system does not say.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
