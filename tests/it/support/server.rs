//! Servers of every kind that the crate supports.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
#[cfg(feature = "serve")]
use hyper_connstate::serve;
use hyper_connstate::{
    Conn, ConnIo, ConnStateLayer, Connections, Hook, InstrumentedListener, instrument_listener,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::handler::handle;
use super::peer::Peer;
use super::recorder::Recorder;
use super::{start_watchdog, tls};

/// Which stack serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// hyper-util, a tower service.
    Tower,
    /// hyper-util, a hyper service.
    Hyper,
    /// hyper-util over TLS.
    Tls,
    /// `serve` with a tower service.
    #[cfg(feature = "serve")]
    Serve,
    /// `serve` over TLS.
    #[cfg(feature = "tls")]
    ServeTls,
    /// `serve` with a router.
    #[cfg(all(feature = "serve", feature = "axum"))]
    ServeAxum,
    /// `axum::serve` with `into_make_service_with_conn_state`.
    #[cfg(feature = "axum")]
    Axum,
    /// `axum::serve` with the layer inside the router.
    #[cfg(feature = "axum")]
    AxumLayer,
}

impl Kind {
    pub fn all() -> Vec<Self> {
        vec![
            Self::Tower,
            Self::Hyper,
            Self::Tls,
            #[cfg(feature = "serve")]
            Self::Serve,
            #[cfg(feature = "tls")]
            Self::ServeTls,
            #[cfg(all(feature = "serve", feature = "axum"))]
            Self::ServeAxum,
            #[cfg(feature = "axum")]
            Self::Axum,
            #[cfg(feature = "axum")]
            Self::AxumLayer,
        ]
    }

    /// Whether request bodies are followed.
    pub fn follows_bodies(self) -> bool {
        match self {
            #[cfg(feature = "axum")]
            Self::Axum => true,
            #[cfg(all(feature = "serve", feature = "axum"))]
            Self::ServeAxum => true,
            _ => false,
        }
    }

    /// Whether clients speak TLS.
    pub fn is_tls(self) -> bool {
        match self {
            Self::Tls => true,
            #[cfg(feature = "tls")]
            Self::ServeTls => true,
            _ => false,
        }
    }
}

pub type Builder = auto::Builder<TokioExecutor>;

/// A server on loopback; it goes when the runtime does.
pub struct Server {
    pub kind: Kind,
    pub addr: SocketAddr,
    pub recorder: Recorder,
    pub connections: Connections,
}

impl Server {
    pub async fn start(kind: Kind) -> Self {
        let recorder = Recorder::default();
        Self::start_with(kind, recorder.clone(), recorder, |builder| builder).await
    }

    /// hyper-util with settings of the test's own.
    pub async fn configured(configure: impl FnOnce(Builder) -> Builder + Send + 'static) -> Self {
        let recorder = Recorder::default();
        Self::start_with(Kind::Tower, recorder.clone(), recorder, configure).await
    }

    pub async fn start_with(
        kind: Kind,
        recorder: Recorder,
        hook: impl Hook,
        configure: impl FnOnce(Builder) -> Builder + Send + 'static,
    ) -> Self {
        Self::start_observed(kind, recorder, |_, _| hook, configure).await
    }

    /// The hook knows the registry, and where the server listens.
    pub async fn start_observed<H: Hook>(
        kind: Kind,
        recorder: Recorder,
        hook: impl FnOnce(&Connections, SocketAddr) -> H,
        configure: impl FnOnce(Builder) -> Builder + Send + 'static,
    ) -> Self {
        start_watchdog();
        let listener = listen();
        let addr = listener.local_addr().unwrap();
        let connections = Connections::new();
        let hook = hook(&connections, addr);
        let listener = instrument_listener(listener, hook).with_connections(connections.clone());
        match kind {
            #[cfg(feature = "serve")]
            Kind::Serve => tokio::spawn(async move {
                let builder = configure(new_builder());
                let service = tower::service_fn(handle_incoming);
                serve(listener, service).http(|http| *http = builder).await.map(drop).unwrap();
            }),
            #[cfg(feature = "tls")]
            Kind::ServeTls => tokio::spawn(async move {
                let builder = configure(new_builder());
                let service = tower::service_fn(handle_incoming);
                let serve = serve(listener, service).http(|http| *http = builder);
                serve.tls(tls::acceptor()).await.map(drop).unwrap();
            }),
            #[cfg(all(feature = "serve", feature = "axum"))]
            Kind::ServeAxum => tokio::spawn(async move {
                use hyper_connstate::axum::ConnStateServiceExt;

                let app = axum::Router::new().fallback_service(tower::service_fn(handle));
                let builder = configure(new_builder());
                let serve = serve(listener, app.into_make_service_with_conn_state());
                serve.http(|http| *http = builder).await.map(drop).unwrap();
            }),
            #[cfg(feature = "axum")]
            Kind::Axum => tokio::spawn(serve_axum(listener)),
            #[cfg(feature = "axum")]
            Kind::AxumLayer => tokio::spawn(serve_axum_layer(listener)),
            _ => tokio::spawn(serve_hyper(kind, listener, configure(new_builder()))),
        };
        Self { kind, addr, recorder, connections }
    }

    /// A client; over TLS it speaks HTTP/1.1.
    pub async fn connect(&self) -> Peer {
        self.connect_alpn("http/1.1").await
    }

    /// A client that has agreed on this protocol, where TLS lets it.
    pub async fn connect_alpn(&self, alpn: &str) -> Peer {
        let tcp = dial(self.addr).await;
        let client = tcp.local_addr().unwrap().to_string();
        let recorder = self.recorder.clone();
        if self.kind.is_tls() {
            let stream = tls::connect(tcp, alpn).await;
            Peer::new(stream, client, self.kind, recorder)
        } else {
            Peer::new(tcp, client, self.kind, recorder)
        }
    }
}

/// Small, so that a large answer does not fit into the sockets, whatever the
/// system's own settings are.
const SOCKET_BUFFER: u32 = 64 << 10;

pub async fn dial(addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(SOCKET_BUFFER).unwrap();
    let tcp = socket.connect(addr).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

pub fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(SOCKET_BUFFER).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(1024).unwrap()
}

pub fn new_builder() -> Builder {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
    builder.http2().timer(TokioTimer::new()).enable_connect_protocol();
    builder
}

pub async fn serve_hyper(
    kind: Kind,
    mut listener: InstrumentedListener<TcpListener>,
    builder: Builder,
) {
    let builder = Arc::new(builder);
    let acceptor = tls::acceptor();
    loop {
        let builder = builder.clone();
        match kind {
            Kind::Tls => {
                let handshake = listener.accept_handshake().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(io) = handshake.complete(|tcp| acceptor.accept(tcp)).await else {
                        return;
                    };
                    let conn = io.conn().clone();
                    serve_connection(&builder, io, &conn).await;
                });
            }
            Kind::Hyper => {
                let (io, conn) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(|request: Request<Incoming>| {
                        handle(request.map(Body::new))
                    });
                    let service = ConnStateLayer::for_conn(&conn).layer(service);
                    let _ = builder.serve_connection_with_upgrades(TokioIo::new(io), service).await;
                });
            }
            _ => {
                let (io, conn) = listener.accept().await.unwrap();
                tokio::spawn(async move { serve_connection(&builder, io, &conn).await });
            }
        }
    }
}

pub async fn handle_incoming(
    request: Request<Incoming>,
) -> Result<http::Response<Body>, std::convert::Infallible> {
    handle(request.map(Body::new)).await
}

pub async fn serve_connection<T>(builder: &Builder, io: ConnIo<T>, conn: &Conn)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = ConnStateLayer::for_conn(conn)
        .layer(tower::service_fn(|request: Request<Incoming>| handle(request.map(Body::new))));
    let service = TowerToHyperService::new(service);
    let _ = builder.serve_connection_with_upgrades(TokioIo::new(io), service).await;
}

#[cfg(feature = "axum")]
async fn serve_axum(listener: InstrumentedListener<TcpListener>) {
    use hyper_connstate::axum::ConnStateServiceExt;

    let app = axum::Router::new().fallback_service(tower::service_fn(handle));
    axum::serve(listener, app.into_make_service_with_conn_state()).await.unwrap();
}

#[cfg(feature = "axum")]
async fn serve_axum_layer(listener: InstrumentedListener<TcpListener>) {
    let app = axum::Router::new()
        .fallback_service(tower::service_fn(handle))
        .layer(ConnStateLayer::new())
        .into_make_service_with_connect_info::<Conn>();
    axum::serve(listener, app).await.unwrap();
}
