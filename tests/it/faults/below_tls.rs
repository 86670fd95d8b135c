//! An instrumented stream below TLS (rustls above `ConnIo`): nothing can be
//! said of its requests, and nothing is. `tests/diagnostics.rs` has the
//! warning.

use std::io::{Read, Write};

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper_connstate::{CloseReason, ConnStateLayer, Protocol};
use hyper_util::rt::TokioIo;
use rustls::ClientConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::frames::*;
use crate::support::handler::handle;
use crate::support::raw::serve_with;
use crate::support::server::{dial, new_builder};
use crate::support::{Kind, Peer, Server, everywhere, settle, tls};

/// What somebody writes who puts TLS on the wrong side.
async fn serve_below_tls() -> Server {
    serve_with(async |io, conn| {
        let Ok(tls) = tls::acceptor().accept(io).await else { return };
        let service =
            hyper::service::service_fn(|request: Request<Incoming>| handle(request.map(Body::new)));
        let service = ConnStateLayer::for_conn(&conn).layer(service);
        let _ = new_builder().serve_connection_with_upgrades(TokioIo::new(tls), service).await;
    })
    .await
}

async fn connect(server: &Server, alpn: &str) -> Peer {
    let tcp = dial(server.addr).await;
    let client = tcp.local_addr().unwrap().to_string();
    let stream = tls::connect(tcp, alpn).await;
    Peer::new(stream, client, server.kind, server.recorder.clone())
}

async fn says_nothing_of_requests(peer: &mut Peer) {
    peer.sees("").await;
    assert_eq!(peer.conn().protocol(), Protocol::Unknown);
}

/// It was the client that went, and no error.
async fn is_over(peer: &Peer) {
    peer.sees("closed").await;
    let reason = peer.conn().close_reason().unwrap();
    assert!(matches!(reason, CloseReason::PeerClosed | CloseReason::ServerClosed), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn http1() {
    let server = serve_below_tls().await;
    let mut peer = connect(&server, "http/1.1").await;
    peer.sees("new").await;
    for path in ["/", "/big", "/status/404"] {
        peer.get(path).await;
        peer.response().await;
        says_nothing_of_requests(&mut peer).await;
    }
    peer.half_close().await;
    is_over(&peer).await;
}

#[tokio::test(start_paused = true)]
async fn http2() {
    let server = serve_below_tls().await;
    let mut peer = connect(&server, "h2").await;
    peer.sees("new").await;
    peer.send([opening(), get(1, "/")].concat()).await;
    peer.end_of_stream(1).await;
    peer.send(get(3, "/slow")).await;
    says_nothing_of_requests(&mut peer).await;
    peer.send(reset(3)).await;
    says_nothing_of_requests(&mut peer).await;
    peer.half_close().await;
    is_over(&peer).await;
}

#[tokio::test(start_paused = true)]
async fn the_program_closes_it() {
    let server = serve_below_tls().await;
    for alpn in ["http/1.1", "h2"] {
        let mut peer = connect(&server, alpn).await;
        peer.sees("new").await;
        peer.conn().close();
        peer.sees("closed").await;
        assert_eq!(peer.conn().close_reason(), Some(CloseReason::ClosedByProgram));
        peer.rest().await;
    }
}

// === The handshake in pieces

fn hello() -> Vec<u8> {
    let mut hello = Vec::new();
    tls::client("http/1.1").write_tls(&mut hello).unwrap();
    hello
}

/// Carries what the client has to say, its first message in two parts.
async fn shake_hands(tcp: &mut TcpStream, client: &mut ClientConnection, split: usize) {
    let mut first = true;
    while client.is_handshaking() || client.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let (start, rest) = bytes.split_at(if first { split } else { 0 });
        tcp.write_all(start).await.unwrap();
        if std::mem::take(&mut first) {
            settle().await;
        }
        tcp.write_all(rest).await.unwrap();
        if client.is_handshaking() {
            read(tcp, client).await;
        }
    }
}

async fn read(tcp: &mut TcpStream, client: &mut ClientConnection) {
    let mut bytes = vec![0; 16 << 10];
    let length = tcp.read(&mut bytes).await.unwrap();
    assert!(length > 0, "the server closed");
    let mut bytes = &bytes[..length];
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn in_pieces() {
    let server = serve_below_tls().await;
    // All places in the first header, some of the rest.
    let length = hello().len();
    for split in (1..10).chain((10..length).step_by(23)).chain([length - 1]) {
        let mut tcp = dial(server.addr).await;
        let name = tcp.local_addr().unwrap().to_string();
        let mut client = tls::client("http/1.1");
        shake_hands(&mut tcp, &mut client, split).await;
        client.writer().write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
        client.write_tls(&mut Vec::new()).ok();
        let context = format!("in pieces of {split}");
        server.recorder.sees(&name, "new", &context).await;
        assert_eq!(server.recorder.conn(&name).protocol(), Protocol::Unknown, "{context}");
        drop(tcp);
        server.recorder.sees(&name, "closed", &context).await;
    }
}

/// A request over it all the same, a byte at a time.
#[tokio::test(start_paused = true)]
async fn byte_by_byte() {
    let server = serve_below_tls().await;
    let mut tcp = dial(server.addr).await;
    let name = tcp.local_addr().unwrap().to_string();
    let mut client = tls::client("http/1.1");
    shake_hands(&mut tcp, &mut client, 1).await;
    client.writer().write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    for byte in bytes {
        tcp.write_all(&[byte]).await.unwrap();
        settle().await;
    }
    let mut answer = [0; 12];
    while client.reader().read(&mut answer).is_err() {
        read(&mut tcp, &mut client).await;
    }
    assert_eq!(&answer, b"HTTP/1.1 200");
    server.recorder.sees(&name, "new", "byte by byte").await;
}

// === The other way round: TLS spoken to a port without

/// hyper takes it for a request and refuses it.
#[tokio::test(start_paused = true)]
async fn a_client_hello_where_nobody_speaks_tls() {
    let hello = hello();
    for split in 0..hello.len() {
        // The later places one stack each.
        let kinds = Kind::all().into_iter().filter(|kind| !kind.is_tls()).enumerate();
        let count = kinds.clone().count();
        for (_, kind) in kinds.filter(|(index, _)| split < 12 || split % count == *index) {
            let server = Server::start(kind).await;
            let mut peer = server.connect().await;
            peer.send(&hello[..split]).await;
            settle().await;
            peer.try_send(&hello[split..]).await;
            peer.sees("new active closed").await;
            assert_eq!(peer.conn().close_reason(), Some(CloseReason::ProtocolError), "{split}");
            assert_eq!(peer.conn().protocol(), Protocol::Http1);
        }
    }
}

/// The first byte alone may be of anything: until more comes it is not known.
#[tokio::test(start_paused = true)]
async fn what_only_begins_like_tls() {
    everywhere!(async |mut peer: Peer| {
        peer.send([22, b'G']).await;
        peer.sees("new active closed").await;
        assert_eq!(peer.conn().close_reason(), Some(CloseReason::ProtocolError));
    });
    everywhere!(async |mut peer: Peer| {
        peer.get("/").await;
        peer.sees("new active idle").await;
        peer.send(hello()).await;
        peer.sees("active closed").await;
    });
}
