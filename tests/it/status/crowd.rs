//! Connections as a busy server has them, made up in two hours of a paused
//! clock.

use std::any::Any;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use hyper_connstate::Conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::site::{Site, address, becomes_idle, read_head};

/// What a program knows of a connection.
#[derive(Clone)]
pub struct User(pub &'static str);

/// The clients' ends. When one is dropped, its connection ends.
pub type Crowd = Vec<(Conn, Box<dyn Any + Send>)>;

pub async fn gather(site: &Site) -> Crowd {
    let mut random = fastrand::Rng::with_seed(7);
    let mut crowd = Crowd::new();
    for step in 0..240 {
        // The last minute by the second.
        let (wait, arrivals) = if step < 180 { (40, 3) } else { (1, random.usize(2..9)) };
        for _ in 0..arrivals {
            if let Some(client) = come(site, &mut random).await {
                crowd.push(client);
            }
        }
        let leave = if step < 60 { 0 } else { random.usize(0..5) };
        for _ in 0..leave.min(crowd.len() / 2) {
            let (conn, client) = crowd.swap_remove(random.usize(0..crowd.len()));
            match random.u8(0..20) {
                0 => conn.close(),
                1..4 => {
                    conn.drain();
                    tokio::spawn(async move {
                        conn.closed().await;
                        drop(client);
                    });
                }
                _ => drop(client),
            }
        }
        sleep(Duration::from_millis(wait * 1000 + random.u64(0..200))).await;
    }
    crowd
}

async fn come(site: &Site, random: &mut fastrand::Rng) -> Option<(Conn, Box<dyn Any + Send>)> {
    let mut host = random.u8(1..40).min(random.u8(1..40)).min(random.u8(1..40));
    if host < 4 {
        host = 1;
    }
    let port = random.u16(20_000..60_000);
    let peer = match random.u8(0..6) {
        0 => format!("[2001:db8:0:{:x}::{:x}]:{port}", host % 5, host % 7),
        1 | 2 => format!("203.0.113.{host}:{port}"),
        _ => format!("198.51.100.{host}:{port}"),
    };
    let (mut client, conn) = site.connect_from(address(&peer));
    let names = ["ada", "grace", "edsger", "barbara", "donald", "margaret"];
    let kind = random.u8(0..100);
    if kind < 90 {
        conn.insert(User(names[random.usize(..names.len())]));
    }
    let client: Box<dyn Any + Send> = match kind {
        0..30 => {
            let io = TokioIo::new(client);
            let executor = TokioExecutor::new();
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(executor, io).await.ok()?;
            let task = AbortOnDrop(tokio::spawn(connection));
            for _ in 0..random.u8(1..60) {
                let request = Request::get("http://test/").body(Body::empty()).unwrap();
                sender.send_request(request).await.ok()?;
            }
            let slow = (random.u8(0..3) == 0).then(|| {
                let request = Request::get("http://test/slow").body(Body::empty()).unwrap();
                AbortOnDrop(tokio::spawn(sender.send_request(request)))
            });
            Box::new((sender, slow, task))
        }
        30..80 => {
            for _ in 0..random.u8(1..30) {
                becomes_idle(&mut client).await;
            }
            if random.u8(0..3) == 0 {
                client.write_all(b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await.ok()?;
            }
            Box::new(client)
        }
        80..90 => {
            let upgrade = b"GET /upgrade-held HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            client.write_all(upgrade).await.ok()?;
            read_head(&mut client).await;
            Box::new(client)
        }
        90..95 => {
            client.write_all(b"\x16\x03\x01 what is this\r\n\r\n").await.ok()?;
            sleep(Duration::from_millis(20)).await;
            return None;
        }
        _ => Box::new(client),
    };
    Some((conn, client))
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
