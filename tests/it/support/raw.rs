//! Accept loops that the usual servers do not cover.

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_connstate::{Conn, ConnIo, ConnStateLayer, Connections, Drained, instrument_listener};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

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

/// A server that can be shut down, with what its connections become.
pub struct Stoppable {
    server: Server,
    signal: watch::Sender<bool>,
    result: Mutex<Option<JoinHandle<Stopped>>>,
}

/// What became of a server's connections, and when that was done.
pub struct Stopped {
    pub drained: Drained,
    pub at: Instant,
}

impl Stopped {
    pub fn now(drained: Drained) -> Self {
        Self { drained, at: Instant::now() }
    }
}

const DEADLINE: Duration = Duration::from_secs(30);

impl Stoppable {
    pub async fn of_every_kind() -> Vec<Self> {
        let mut servers = Vec::new();
        for kind in Kind::all() {
            servers.push(Self::start(kind).await);
        }
        servers
    }

    pub async fn another(&self) -> Self {
        Self::start(self.server.kind).await
    }

    pub async fn start(kind: Kind) -> Self {
        let (signal, shutdown) = watch::channel(false);
        let mut stopped = shutdown.clone();
        let stopped = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
        let (server, result) = match kind {
            #[cfg(feature = "serve")]
            _ if format!("{kind:?}").starts_with("Serve") => serve_until(kind, stopped).await,
            _ => {
                let server = Server::start(kind).await;
                let connections = server.connections.clone();
                let result = tokio::spawn(async move {
                    stopped.await;
                    Stopped::now(connections.drain(DEADLINE).await)
                });
                (server, result)
            }
        };
        Self { server, signal, result: Mutex::new(Some(result)) }
    }

    /// Shuts down; can be done once.
    pub fn stop(&self) -> JoinHandle<Stopped> {
        self.signal.send_replace(true);
        self.result.lock().unwrap().take().unwrap()
    }

    /// Whether the loop is the crate's, and hyper does the draining in HTTP/2.
    pub fn is_serve(&self) -> bool {
        format!("{:?}", self.server.kind).starts_with("Serve")
    }

    pub fn kind(&self) -> Kind {
        self.server.kind
    }

    pub fn addr(&self) -> std::net::SocketAddr {
        self.server.addr
    }

    #[cfg(feature = "tls")]
    pub fn recorder(&self) -> &Recorder {
        &self.server.recorder
    }

    pub fn connections(&self) -> &Connections {
        &self.server.connections
    }

    pub async fn connect(&self) -> Peer {
        self.server.connect().await
    }

    pub async fn connect_alpn(&self, alpn: &str) -> Peer {
        self.server.connect_alpn(alpn).await
    }
}

#[cfg(feature = "serve")]
async fn serve_until(
    kind: Kind,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> (Server, JoinHandle<Stopped>) {
    use hyper_connstate::serve;

    start_watchdog();
    let recorder = Recorder::default();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let listener = instrument_listener(listener, recorder.clone());
    let connections = listener.connections();
    let service = tower::service_fn(super::server::handle_incoming);
    macro_rules! run {
        ($serve:expr) => {{
            let serve = $serve.with_graceful_shutdown(stopped).drain_timeout(DEADLINE);
            tokio::spawn(async move { Stopped::now(serve.await.unwrap()) })
        }};
    }
    let result = match kind {
        #[cfg(feature = "tls")]
        Kind::ServeTls => run!(serve(listener, service).tls(super::tls::acceptor())),
        #[cfg(feature = "axum")]
        Kind::ServeAxum => {
            use hyper_connstate::axum::ConnStateServiceExt;
            let app = axum::Router::new().fallback_service(tower::service_fn(handle));
            run!(serve(listener, app.into_make_service_with_conn_state()))
        }
        _ => run!(serve(listener, service)),
    };
    (Server { kind, addr, recorder, connections }, result)
}
