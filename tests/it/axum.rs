//! axum: what handlers can extract, and that no route is missed.
#![cfg(feature = "axum")]

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use axum::serve::{Listener, ListenerExt};
use hyper_connstate::axum::ConnStateServiceExt;
use hyper_connstate::{Conn, ConnStateLayer, Connections, instrument_listener};
use tokio::net::{TcpListener, TcpStream};

use crate::support::frames::*;
use crate::support::server::listen;
use crate::support::{Answer, Kind, Peer, Recorder, Server, frames, start_watchdog};

async fn conn(ConnectInfo(conn): ConnectInfo<Conn>) -> String {
    format!("{} {}", conn.remote_addr(), conn.requests())
}

async fn addr(ConnectInfo(addr): ConnectInfo<SocketAddr>) -> String {
    addr.to_string()
}

fn app() -> Router {
    Router::new().route("/conn", get(conn)).route("/addr", get(addr))
}

/// Starts a server with what `serve` makes of the listener; gives a client.
async fn start<F>(serve: impl FnOnce(TcpListener, Recorder) -> F) -> Server
where
    F: IntoFuture<Output = std::io::Result<()>, IntoFuture: Send + 'static>,
{
    start_watchdog();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let recorder = Recorder::default();
    tokio::spawn(serve(listener, recorder.clone()).into_future());
    Server { kind: Kind::Axum, addr, recorder, connections: Connections::new() }
}

async fn body(peer: &mut Peer, path: &str) -> String {
    peer.get(path).await;
    let Answer { head, body } = peer.response().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    String::from_utf8(body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn make_service() {
    let server = start(|listener, recorder| {
        let listener = instrument_listener(listener, recorder);
        axum::serve(listener, app().into_make_service_with_conn_state())
    })
    .await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    assert_eq!(body(&mut peer, "/conn").await, format!("{} 1", peer.name()));
    assert_eq!(body(&mut peer, "/addr").await, peer.name());
    peer.sees("active idle active idle").await;
    // No route: the fallback is not missed.
    peer.get("/nothing").await;
    peer.sees("active idle").await;
    assert!(peer.head().await.starts_with("HTTP/1.1 404"));
}

#[tokio::test(start_paused = true)]
async fn layer_and_connect_info() {
    let server = start(|listener, recorder| {
        let listener = instrument_listener(listener, recorder);
        let app = app().layer(ConnStateLayer::new());
        axum::serve(listener, app.into_make_service_with_connect_info::<Conn>())
    })
    .await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    assert_eq!(body(&mut peer, "/conn").await, format!("{} 1", peer.name()));
    assert_eq!(body(&mut peer, "/addr").await, peer.name());
    peer.sees("active idle active idle").await;
}

/// Both at once, and the layer twice: each request counts once.
#[tokio::test(start_paused = true)]
async fn layers_too_many() {
    let layered = || app().layer(ConnStateLayer::new()).layer(ConnStateLayer::new());
    let both = start(|listener, recorder| {
        let listener = instrument_listener(listener, recorder);
        axum::serve(listener, layered().into_make_service_with_conn_state())
    })
    .await;
    let twice = start(|listener, recorder| {
        let listener = instrument_listener(listener, recorder);
        axum::serve(listener, layered().into_make_service_with_connect_info::<Conn>())
    })
    .await;
    for server in [&both, &twice] {
        let mut peer = server.connect().await;
        peer.sees("new").await;
        for count in 1..4 {
            assert_eq!(body(&mut peer, "/conn").await, format!("{} {count}", peer.name()));
            peer.sees("active idle").await;
        }
    }
    // HTTP/2, where the requests are all that the layer counts.
    for server in [&both, &twice] {
        let mut peer = server.connect().await;
        peer.send([opening(), get_frames(1), get_frames(3)].concat()).await;
        peer.end_of_stream(3).await;
        peer.sees("new active idle active idle").await;
        assert_eq!(peer.conn().requests(), 2);
    }
}

fn get_frames(stream: u32) -> Vec<u8> {
    frames::get(stream, "/conn")
}

/// Options of the socket, set before it is instrumented and after.
#[tokio::test(start_paused = true)]
async fn tap_io() {
    let before = start(|listener, recorder| {
        let listener = listener.tap_io(|tcp: &mut TcpStream| tcp.set_nodelay(true).unwrap());
        let listener = instrument_listener(listener, recorder);
        axum::serve(listener, app().into_make_service_with_conn_state())
    })
    .await;
    let after = start(|listener, recorder| {
        let listener = instrument_listener(listener, recorder);
        assert_eq!(Listener::local_addr(&listener).unwrap().ip().to_string(), "127.0.0.1");
        let listener = listener.tap_io(|io| io.get_ref().set_nodelay(true).unwrap());
        axum::serve(listener, app().into_make_service_with_conn_state())
    })
    .await;
    for server in [before, after] {
        let mut peer = server.connect().await;
        peer.sees("new").await;
        assert_eq!(body(&mut peer, "/conn").await, format!("{} 1", peer.name()));
        assert_eq!(body(&mut peer, "/addr").await, peer.name());
        peer.sees("active idle active idle").await;
    }
}

/// Anything that axum serves can be served: a method router, say.
#[tokio::test(start_paused = true)]
async fn not_only_routers() {
    let server = start(|listener, recorder| {
        let listener = instrument_listener(listener, recorder);
        let service: axum::routing::MethodRouter = post(async |body: String| body);
        axum::serve(listener, service.into_make_service_with_conn_state())
    })
    .await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    for _ in 0..2 {
        peer.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello").await;
        peer.sees("active idle").await;
        assert_eq!(peer.response().await.body, b"hello");
    }
}

/// `axum::serve`'s graceful shutdown goes on working.
#[tokio::test(start_paused = true)]
async fn graceful_shutdown() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = start(|listener, recorder| {
        let listener = instrument_listener(listener, recorder);
        axum::serve(listener, app().into_make_service_with_conn_state())
            .with_graceful_shutdown(async { stopped.await.unwrap() })
    })
    .await;
    let fresh = server.connect().await;
    let mut idle = server.connect().await;
    body(&mut idle, "/conn").await;
    fresh.sees("new").await;
    idle.sees("new active idle").await;
    stop.send(()).unwrap();
    fresh.sees("closed").await;
    idle.sees("closed").await;
}
