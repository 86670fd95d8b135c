//! Accept loops that the usual servers do not cover.

use std::future::Future;

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_connstate::{Conn, ConnIo, ConnStateLayer, instrument_listener};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower_layer::Layer;

use super::handler::handle;
use super::server::{Builder, listen, new_builder};
use super::{Kind, Peer, Recorder, Server, start_watchdog};

/// Accepts, and gives each connection to `serve` in a task of its own.
pub async fn serve_with<F, Fut>(serve: F) -> Server
where
    F: Fn(ConnIo<TcpStream>, Conn) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    start_watchdog();
    let recorder = Recorder::default();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let mut listener = instrument_listener(listener, recorder.clone());
    let connections = listener.connections();
    tokio::spawn(async move {
        loop {
            let (io, conn) = listener.accept().await.unwrap();
            tokio::spawn(serve(io, conn));
        }
    });
    Server { kind: Kind::Tower, addr, recorder, connections }
}

macro_rules! service {
    ($conn:expr) => {
        ConnStateLayer::for_conn(&$conn)
            .layer(service_fn(|request: Request<Incoming>| handle(request.map(Body::new))))
    };
}

pub async fn serve_without_upgrades() -> Server {
    serve_plain(new_builder()).await
}

/// hyper's own connection, whose stream is taken back after a 101; what the
/// client had sent behind its request is sent back to it.
pub async fn serve_without_shutdown() -> Server {
    serve_with(async |io, conn| {
        let connection = http1::Builder::new().serve_connection(TokioIo::new(io), service!(conn));
        let Ok(parts) = connection.without_shutdown().await else { return };
        let mut tcp: TcpStream = parts.io.into_inner().into_inner();
        tcp.write_all(&parts.read_buf).await.unwrap();
    })
    .await
}

/// A server without the layer.
pub async fn serve_without_layer() -> Server {
    serve_with(async |io, _conn| {
        let service = service_fn(|request: Request<Incoming>| handle(request.map(Body::new)));
        let _ = new_builder().serve_connection_with_upgrades(TokioIo::new(io), service).await;
    })
    .await
}

/// A server whose connections can all be told to shut down gracefully.
pub struct Graceful {
    server: Server,
    signal: watch::Sender<bool>,
}

impl Graceful {
    pub async fn start() -> Self {
        let (signal, shutdown) = watch::channel(false);
        let server = serve_with(move |io, conn| {
            let mut shutdown = shutdown.clone();
            async move {
                let builder = new_builder();
                let connection =
                    builder.serve_connection_with_upgrades(TokioIo::new(io), service!(conn));
                let mut connection = std::pin::pin!(connection);
                tokio::select! {
                    _ = connection.as_mut() => return,
                    _ = shutdown.wait_for(|shutdown| *shutdown) => {}
                }
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        })
        .await;
        Self { server, signal }
    }

    pub async fn connect(&self) -> Peer {
        self.server.connect().await
    }

    pub fn shut_down(&self) {
        self.signal.send_replace(true);
    }
}

/// hyper-util's `serve_connection`, which heeds `http1_only` and `http2_only`.
pub async fn serve_plain(builder: Builder) -> Server {
    serve_with(move |io, conn| {
        let builder = builder.clone();
        async move {
            let _ = builder.serve_connection(TokioIo::new(io), service!(conn)).await;
        }
    })
    .await
}
