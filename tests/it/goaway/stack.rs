//! Servers of every kind over any stream.

use std::io;

use hyper_connstate::instrument_listener;
use hyper_connstate::{Accept, Address, Conn, ConnState, ConnStateLayer, Connections};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

#[cfg(feature = "axum")]
use crate::support::handler::handle;
use crate::support::server::{handle_incoming, new_builder, serve_connection};
use crate::support::{Kind, tls};

/// Gives one stream, then nothing.
struct Once<T>(Option<T>);

impl<T: Send> Accept for Once<T> {
    type Io = T;
    type Addr = Address;

    async fn accept(&mut self) -> io::Result<(T, Address)> {
        match self.0.take() {
            Some(stream) => Ok((stream, Address::Unknown)),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Unknown)
    }
}

/// What serves HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Kind(Kind),
    /// hyper's own connection, without hyper-util.
    Hyper,
}

impl Server {
    pub fn all() -> Vec<Self> {
        Kind::all().into_iter().map(Self::Kind).chain([Self::Hyper]).collect()
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Self::Kind(kind) if kind.is_tls())
    }

    /// Whether the end of its connections is left to hyper.
    pub fn is_managed(self) -> bool {
        matches!(self, Self::Kind(kind) if format!("{kind:?}").starts_with("Serve"))
    }

    /// Serves a stream; the hook is given its states.
    pub fn serve<T>(
        self,
        stream: T,
        hook: impl Fn(&Conn, ConnState) + Send + Sync + 'static,
    ) -> Connections
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self::Kind(kind) = self else {
            return serve_http2(stream, hook);
        };
        serve(kind, stream, hook)
    }
}

fn serve_http2<T>(stream: T, hook: impl Fn(&Conn, ConnState) + Send + Sync + 'static) -> Connections
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut listener = instrument_listener(Once(Some(stream)), hook);
    let connections = listener.connections();
    tokio::spawn(async move {
        let (io, conn) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(handle_incoming);
        let service = ConnStateLayer::for_conn(&conn).layer(service);
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(io), service).await;
    });
    connections
}

/// Serves a stream in both protocols.
pub fn serve<T>(
    kind: Kind,
    stream: T,
    hook: impl Fn(&Conn, ConnState) + Send + Sync + 'static,
) -> Connections
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut listener = instrument_listener(Once(Some(stream)), hook);
    let connections = listener.connections();
    match kind {
        Kind::Tower => drop(tokio::spawn(async move {
            let (io, conn) = listener.accept().await.unwrap();
            serve_connection(&new_builder(), io, &conn).await;
        })),
        Kind::Hyper => drop(tokio::spawn(async move {
            let (io, conn) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(handle_incoming);
            let service = ConnStateLayer::for_conn(&conn).layer(service);
            let io = TokioIo::new(io);
            let _ = new_builder().serve_connection_with_upgrades(io, service).await;
        })),
        Kind::Tls => drop(tokio::spawn(async move {
            let handshake = listener.accept_handshake().await.unwrap();
            let acceptor = tls::acceptor();
            let io = handshake.complete(|stream| acceptor.accept(stream)).await.unwrap();
            let conn = io.conn().clone();
            serve_connection(&new_builder(), io, &conn).await;
        })),
        #[cfg(feature = "serve")]
        Kind::Serve => drop(tokio::spawn(async move {
            let serve = hyper_connstate::serve(listener, tower::service_fn(handle_incoming));
            serve.http(|http| *http = new_builder()).await.map(drop)
        })),
        #[cfg(feature = "tls")]
        Kind::ServeTls => drop(tokio::spawn(async move {
            let serve = hyper_connstate::serve(listener, tower::service_fn(handle_incoming));
            let serve = serve.http(|http| *http = new_builder()).tls(tls::acceptor());
            serve.await.map(drop)
        })),
        #[cfg(all(feature = "serve", feature = "axum"))]
        Kind::ServeAxum => drop(tokio::spawn(async move {
            use hyper_connstate::axum::ConnStateServiceExt;

            let app = axum::Router::new().fallback_service(tower::service_fn(handle));
            let serve = hyper_connstate::serve(listener, app.into_make_service_with_conn_state());
            serve.http(|http| *http = new_builder()).await.map(drop)
        })),
        #[cfg(feature = "axum")]
        Kind::Axum | Kind::AxumLayer => drop(tokio::spawn(async move {
            use hyper_connstate::axum::ConnStateServiceExt;

            let app = axum::Router::new().fallback_service(tower::service_fn(handle));
            if kind == Kind::Axum {
                return axum::serve(listener, app.into_make_service_with_conn_state()).await;
            }
            let app = app.layer(ConnStateLayer::new());
            axum::serve(listener, app.into_make_service_with_connect_info::<Conn>()).await
        })),
    }
    connections
}
