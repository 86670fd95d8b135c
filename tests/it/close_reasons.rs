//! Why a connection ended, as a log reader would put it.

use std::convert::Infallible;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_connstate::CloseReason::*;
use hyper_connstate::{CloseReason, ConnStateLayer, Connections};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::support::frames::*;
use crate::support::handler::handle;
use crate::support::raw::serve_with;
use crate::support::{Kind, Peer, Server, everywhere, settle};

async fn ended(peer: &Peer, expected: CloseReason) {
    let conn = peer.conn();
    conn.closed().await;
    assert_eq!(conn.close_reason(), Some(expected), "{:?}", peer.kind);
    // In the hook, at Closed, it is known too.
    let seen = peer.recorder.reason(peer.name());
    assert_eq!(seen, Some(expected), "{:?}", peer.kind);
}

#[tokio::test(start_paused = true)]
async fn the_peer() {
    everywhere!(async |mut peer: Peer| {
        peer.get("/").await;
        peer.sees("new active idle").await;
        peer.response().await;
        peer.close().await;
        ended(&peer, PeerClosed).await;
    });
    everywhere!(async |mut peer: Peer| {
        peer.get("/slow").await;
        peer.sees("new active").await;
        peer.reset().await;
        ended(&peer, PeerReset).await;
    });
    everywhere!(async |mut peer: Peer| {
        peer.get("/big").await;
        peer.sees("new active").await;
        peer.reset().await;
        ended(&peer, PeerReset).await;
    });
    everywhere!("h2", async |mut peer: Peer| {
        peer.send([opening(), get(1, "/slow")].concat()).await;
        peer.sees("new active idle active").await;
        peer.half_close().await;
        ended(&peer, PeerClosed).await;
    });
}

#[tokio::test(start_paused = true)]
async fn the_server_after_an_answer() {
    for request in [
        "GET /close HTTP/1.1\r\nhost: test\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "POST /ignore HTTP/1.1\r\nhost: test\r\ncontent-length: 50\r\n\r\nhello",
    ] {
        everywhere!(async |mut peer: Peer| {
            peer.send(request).await;
            peer.sees("new active closed").await;
            ended(&peer, ServerClosed).await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_protocol_error() {
    everywhere!(async |mut peer: Peer| {
        peer.send("BOGUS REQUEST\r\n\r\n").await;
        peer.sees("new active closed").await;
        ended(&peer, ProtocolError).await;
    });
    everywhere!(async |mut peer: Peer| {
        peer.get("/").await;
        peer.sees("new active idle").await;
        peer.send("BOGUS REQUEST\r\n\r\n").await;
        peer.sees("active closed").await;
        ended(&peer, ProtocolError).await;
    });
    // hyper has it in its buffer already when it has answered what came first.
    for count in [1, 2, 3] {
        everywhere!(async |mut peer: Peer| {
            let requests = "GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(count);
            peer.send(format!("{requests}BOGUS REQUEST\r\n\r\n")).await;
            // As in Go, the refused one does not begin.
            peer.sees(&format!("new {}closed", "active idle ".repeat(count))).await;
            ended(&peer, ProtocolError).await;
        });
    }
    everywhere!("h2", async |mut peer: Peer| {
        peer.send([opening(), data(1, b"out of place", 0)].concat()).await;
        peer.sees("new active idle closed").await;
        ended(&peer, ProtocolError).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_handlers_panic() {
    for path in ["/panic", "/panic-late"] {
        everywhere!(async |mut peer: Peer| {
            peer.get(path).await;
            peer.sees("new active closed").await;
            ended(&peer, HandlerPanicked).await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_response_body() {
    everywhere!(async |mut peer: Peer| {
        peer.get("/body-error").await;
        peer.sees("new active closed").await;
        ended(&peer, Aborted).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_failed_handshake() {
    for kind in Kind::all().into_iter().filter(|kind| kind.is_tls()) {
        let server = Server::start(kind).await;
        let tcp = TcpStream::connect(server.addr).await.unwrap();
        let client = tcp.local_addr().unwrap().to_string();
        let mut peer = Peer::new(tcp, client, kind, server.recorder.clone());
        peer.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        peer.sees("new closed").await;
        ended(&peer, HandshakeFailed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_aborted_task() {
    let server = serve_with(async |io, _conn| drop(io)).await;
    let peer = server.connect().await;
    peer.sees("new closed").await;
    ended(&peer, Aborted).await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown() {
    let server = Server::start(Kind::Tower).await;
    let mut idle = server.connect().await;
    idle.get("/").await;
    idle.sees("new active idle").await;
    let mut slow = server.connect().await;
    slow.get("/slow").await;
    slow.sees("new active").await;
    let connections: Connections = server.connections.clone();
    connections.drain(std::time::Duration::from_secs(5)).await;
    ended(&idle, ShutdownDrained).await;
    ended(&slow, ShutdownForced).await;
}

#[test]
fn they_print_for_a_log() {
    assert_eq!(PeerReset.to_string(), "reset by the peer");
    assert_eq!(Io(std::io::ErrorKind::TimedOut).to_string(), "I/O error: timed out");
}

/// Some requests are answered outside of the layer.
async fn serve_some_outside() -> Server {
    serve_with(async |io, conn| {
        let inside = ConnStateLayer::for_conn(&conn)
            .layer(service_fn(|request: Request<Incoming>| handle(request.map(Body::new))));
        let service = service_fn(move |request: Request<Incoming>| {
            let inside = inside.clone();
            async move {
                if request.uri().path() == "/outside" {
                    return Ok::<_, Infallible>(
                        Response::builder().status(404).body(Body::from("outside\n")).unwrap(),
                    );
                }
                let response = hyper::service::Service::call(&inside, request).await.unwrap();
                Ok(response.map(Body::new))
            }
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
    })
    .await
}

async fn reason_after(paths: &[&str]) -> Option<CloseReason> {
    let server = serve_some_outside().await;
    let mut peer: Peer = server.connect().await;
    for path in paths {
        peer.get(path).await;
        peer.response().await;
        settle().await;
    }
    let conn = peer.conn();
    conn.closed().await;
    conn.close_reason()
}

/// A 404 of a fallback that is not behind the layer, then good requests.
#[tokio::test(start_paused = true)]
async fn an_answer_outside_of_the_layer_first() {
    let reason = reason_after(&["/outside", "/", "/close"]).await;
    assert_eq!(reason, Some(CloseReason::ServerClosed));
}

#[tokio::test(start_paused = true)]
async fn an_answer_outside_of_the_layer_in_between() {
    let reason = reason_after(&["/", "/outside", "/", "/close"]).await;
    assert_eq!(reason, Some(CloseReason::ServerClosed));
}
