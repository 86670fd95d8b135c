//! TLS: New when the socket is accepted, and a handshake's bytes count for
//! nothing. (The other tests run over TLS too.)

use std::time::Duration;

use hyper_connstate::{ConnState, Handshake, Protocol, instrument_listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::server::listen;
use crate::support::{Kind, Peer, Recorder, Server, frames, tls};

/// A client of the TLS port that has said nothing yet.
async fn tcp(server: &Server) -> Peer {
    let tcp = TcpStream::connect(server.addr).await.unwrap();
    let client = tcp.local_addr().unwrap().to_string();
    Peer::new(tcp, client, Kind::Tls, server.recorder.clone())
}

#[tokio::test(start_paused = true)]
async fn new_comes_before_the_handshake() {
    let server = Server::start(Kind::Tls).await;
    let mut peer = tcp(&server).await;
    peer.sees("new").await;
    peer.close().await;
    peer.sees("closed").await;
}

#[tokio::test(start_paused = true)]
async fn the_handshake_is_no_request() {
    let server = Server::start(Kind::Tls).await;
    for (alpn, expected) in [("http/1.1", "new"), ("h2", "new")] {
        let mut peer = server.connect_alpn(alpn).await;
        peer.sees(expected).await;
        peer.close().await;
        peer.sees("closed").await;
    }
}

#[tokio::test(start_paused = true)]
async fn both_protocols() {
    let server = Server::start(Kind::Tls).await;
    let mut peer = server.connect_alpn("http/1.1").await;
    peer.get("/").await;
    peer.sees("new active idle").await;
    assert_eq!(peer.conn().protocol(), Protocol::Http1);

    let mut peer = server.connect_alpn("h2").await;
    peer.send(frames::opening()).await;
    peer.sees("new active idle").await;
    assert_eq!(peer.conn().protocol(), Protocol::Http2);
}

#[tokio::test(start_paused = true)]
async fn plaintext_sent_to_the_tls_port() {
    let server = Server::start(Kind::Tls).await;
    let mut peer = tcp(&server).await;
    peer.sees("new").await;
    peer.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    peer.sees("closed").await;
}

#[tokio::test(start_paused = true)]
async fn half_a_handshake_and_gone() {
    let server = Server::start(Kind::Tls).await;
    let mut peer = tcp(&server).await;
    peer.sees("new").await;
    // The start of a ClientHello.
    peer.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await;
    peer.sees("").await;
    peer.reset().await;
    peer.sees("closed").await;
}

/// A handshake that is given up: its socket is closed when Closed comes.
#[tokio::test(start_paused = true)]
async fn a_handshake_under_a_deadline() {
    let recorder = Recorder::default();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let mut listener = instrument_listener(listener, recorder.clone());
    let mut client = TcpStream::connect(addr).await.unwrap();
    let name = client.local_addr().unwrap().to_string();

    let handshake = listener.accept_handshake().await.unwrap();
    assert_eq!(handshake.conn().state(), ConnState::New);
    recorder.sees(&name, "new", "accepted").await;
    let acceptor = tls::acceptor();
    let complete = handshake.complete(|tcp| acceptor.accept(tcp));
    assert!(tokio::time::timeout(Duration::from_secs(10), complete).await.is_err());
    recorder.sees(&name, "closed", "timed out").await;
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}

/// The type before the handshake can be had without a listener, and may turn
/// out to need no handshake.
#[tokio::test(start_paused = true)]
async fn a_stream_of_a_foreign_loop() {
    let recorder = Recorder::default();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(addr).await.unwrap();
    let (tcp, remote_addr) = listener.accept().await.unwrap();
    let name = remote_addr.to_string();
    let handshake = Handshake::new(tcp, remote_addr, addr, recorder.clone());
    assert_eq!(handshake.get_ref().peer_addr().unwrap(), remote_addr);
    let mut io = handshake.into_io();
    client.write_all(b"x").await.unwrap();
    io.read_u8().await.unwrap();
    recorder.sees(&name, "new active", "read").await;
    drop(io);
    recorder.sees(&name, "closed", "dropped").await;
}

/// `serve` gives a handshake ten seconds; a slow one holds up nobody.
#[cfg(feature = "tls")]
#[tokio::test(start_paused = true)]
async fn handshakes_of_serve() {
    use hyper_connstate::CloseReason;

    let server = Server::start(Kind::ServeTls).await;
    let slow = tcp(&server).await;
    slow.sees("new").await;
    let mut other = server.connect().await;
    other.get("/").await;
    other.sees("new active idle").await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    slow.sees("").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    slow.sees("closed").await;
    assert_eq!(slow.conn().close_reason(), Some(CloseReason::HandshakeFailed));
}
