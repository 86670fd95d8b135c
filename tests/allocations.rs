//! What the crate allocates: nothing per request, and little per connection.
//! (A process of its own, because the allocator is the process's.)

#[allow(unreachable_pub, unused)]
#[path = "it/support/mod.rs"]
mod support;

use std::alloc::System;

use hyper_connstate::{Address, ConnIo, ConnStateLayer};
use hyper_util::rt::TokioIo;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::frames::*;
use support::server::{handle_incoming, new_builder};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn allocations(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.allocations + change.reallocations
}

/// Serves an in-memory stream, with this crate or without it.
fn serve(instrumented: bool) -> DuplexStream {
    let (client, server) = tokio::io::duplex(1 << 16);
    let service = hyper::service::service_fn(handle_incoming);
    if instrumented {
        let io = ConnIo::new(server, Address::Unknown, Address::Unknown, ());
        let service = ConnStateLayer::for_conn(io.conn()).layer(service);
        tokio::spawn(async move {
            let _ = new_builder().serve_connection_with_upgrades(TokioIo::new(io), service).await;
        });
    } else {
        tokio::spawn(async move {
            let server = TokioIo::new(server);
            let _ = new_builder().serve_connection_with_upgrades(server, service).await;
        });
    }
    client
}

/// Sends `request` and reads an answer as long as the first one, so many times.
async fn exchange(client: &mut DuplexStream, request: &[u8], answer: usize, times: usize) {
    let mut buf = vec![0; answer];
    for _ in 0..times {
        client.write_all(request).await.unwrap();
        client.read_exact(&mut buf).await.unwrap();
    }
}

/// How long the answer to `request` is.
async fn length(client: &mut DuplexStream, request: &[u8]) -> usize {
    client.write_all(request).await.unwrap();
    let mut buf = vec![0; 4096];
    client.read(&mut buf).await.unwrap()
}

async fn http1(request: &str, instrumented: bool) -> usize {
    const REQUESTS: usize = 200;
    let mut client = serve(instrumented);
    let answer = length(&mut client, request.as_bytes()).await;
    exchange(&mut client, request.as_bytes(), answer, 50).await;
    let region = Region::new(ALLOCATOR);
    exchange(&mut client, request.as_bytes(), answer, REQUESTS).await;
    allocations(&region)
}

/// Reads frames up to one of this type, with this flag, on this stream.
async fn read_frame(client: &mut DuplexStream, kind: u8, flag: u8, stream: u32) {
    let mut payload = [0; 1024];
    loop {
        let mut header = [0; 9];
        client.read_exact(&mut header).await.unwrap();
        let length = usize::from(header[1]) << 8 | usize::from(header[2]);
        client.read_exact(&mut payload[..length]).await.unwrap();
        let of = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        if (header[3], header[4] & flag, of) == (kind, flag, stream) {
            return;
        }
    }
}

/// Sends so many requests on streams from `first` on, one after the other.
async fn http2_requests(client: &mut DuplexStream, first: u32, count: u32) {
    for stream in (0..count).map(|index| first + 2 * index) {
        client.write_all(&get(stream, "/empty")).await.unwrap();
        read_frame(client, 0x1, END_STREAM, stream).await;
    }
}

async fn http2(instrumented: bool) -> usize {
    let mut client = serve(instrumented);
    client.write_all(&opening()).await.unwrap();
    // The acknowledgement of the client's SETTINGS.
    read_frame(&mut client, 0x4, 0x1, 0).await;
    http2_requests(&mut client, 1, 100).await;
    let region = Region::new(ALLOCATOR);
    http2_requests(&mut client, 1001, 200).await;
    allocations(&region)
}

/// The least of a few counts: now and then the test harness's own thread
/// allocates meanwhile, and never the other way round.
async fn least(count: impl AsyncFn() -> usize) -> usize {
    let mut least = usize::MAX;
    for _ in 0..5 {
        least = least.min(count().await);
    }
    least
}

/// One test, since the count is of the whole process.
#[tokio::test]
async fn counted() {
    // Everything that is set up once.
    let get = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    let post = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello";
    for instrumented in [false, true] {
        http1(get, instrumented).await;
        http2(instrumented).await;
    }

    for request in [get, post] {
        let bare = least(async || http1(request, false).await).await;
        let instrumented = least(async || http1(request, true).await).await;
        // A request costs hyper and the handler several; this crate none.
        assert!(bare >= 200, "{bare}");
        assert_eq!(instrumented, bare, "{request}");
    }
    let bare = least(async || http2(false).await).await;
    let instrumented = least(async || http2(true).await).await;
    // hyper's own tables grow now and then.
    assert!(instrumented.abs_diff(bare) <= 4, "{bare} without, {instrumented} with the crate");

    // A connection: its handle, and what the hook is kept in.
    let (_client, server) = tokio::io::duplex(8);
    let region = Region::new(ALLOCATOR);
    let io = ConnIo::new(server, Address::Unknown, Address::Unknown, ());
    let change = region.change();
    assert!(change.allocations <= 2, "{change:?}");
    assert!(change.bytes_allocated <= 512, "{change:?}");
    drop(io);
}
