//! Servers of every kind over any stream.

use std::io;

use hyper_connstate::{Accept, Address, Conn, ConnState, Connections, instrument_listener};
use tokio::io::{AsyncRead, AsyncWrite};

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

/// Serves a stream; the hook is given its states.
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
            let service = hyper_connstate::ConnStateLayer::for_conn(&conn).layer(service);
            let io = hyper_util::rt::TokioIo::new(io);
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
            let app = app.layer(hyper_connstate::ConnStateLayer::new());
            axum::serve(listener, app.into_make_service_with_connect_info::<Conn>()).await
        })),
    }
    connections
}

/// Whether the end of HTTP/2 connections is left to hyper.
pub fn is_managed(kind: Kind) -> bool {
    format!("{kind:?}").starts_with("Serve")
}
