//! The process runs out of file descriptors: the loop goes on, without
//! spinning, as soon as there is room. (A process of its own, because the limit
//! is the process's.)
#![cfg(all(unix, feature = "serve"))]

#[allow(unreachable_pub, unused)]
#[path = "it/support/mod.rs"]
mod support;

use std::time::Duration;

use hyper_connstate::{instrument_listener, serve};
use rlimit::Resource;
use support::Recorder;
use support::server::handle_incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_lowered_file_limit() {
    support::start_watchdog();
    let recorder = Recorder::default();
    let listener = support::server::listen();
    let addr = listener.local_addr().unwrap();
    let listener = instrument_listener(listener, recorder.clone());
    let connections = listener.connections();

    // Clients that are there before the limit; the server may have ten more.
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(TcpStream::connect(addr).await.unwrap());
    }
    let probe = std::fs::File::open("/dev/null").unwrap();
    let next = std::os::fd::AsRawFd::as_raw_fd(&probe) as u64;
    drop(probe);
    let (soft, hard) = Resource::NOFILE.get().unwrap();
    Resource::NOFILE.set(next + 10, hard).unwrap();
    tokio::spawn(serve(listener, tower::service_fn(handle_incoming)).into_future());

    // The limit is felt.
    while connections.is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(connections.len() <= 10, "{}", connections.len());

    // As clients come to an end, those that wait are served.
    let mut served = 0;
    for mut client in clients {
        client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        client.read_u8().await.unwrap();
        served += 1;
    }
    assert_eq!(served, 30);
    Resource::NOFILE.set(soft, hard).unwrap();
    let empty = async {
        while !connections.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), empty).await.unwrap();
    assert_eq!(recorder.all().len(), 30);
}
