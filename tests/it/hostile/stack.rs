//! What serves a stream: this crate's stacks, and the same without it.

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
#[cfg(feature = "serve")]
use hyper_connstate::{Accept, instrument_listener, serve};
use hyper_connstate::{Address, Conn, ConnIo, ConnStateLayer, Handshake, Hook};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use crate::support::handler::handle;
use crate::support::server::{Builder, handle_incoming, new_builder, serve_connection};
use crate::support::tls;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// hyper-util, a tower service.
    Tower,
    /// hyper-util, a hyper service.
    Hyper,
    /// `serve` with a tower service.
    #[cfg(feature = "serve")]
    Serve,
    /// `serve` with a router, whose requests' bodies are followed.
    #[cfg(all(feature = "serve", feature = "axum"))]
    ServeAxum,
}

impl Stack {
    pub const ALL: &'static [Self] = &[
        Self::Tower,
        Self::Hyper,
        #[cfg(feature = "serve")]
        Self::Serve,
        #[cfg(all(feature = "serve", feature = "axum"))]
        Self::ServeAxum,
    ];

    /// Whether aborting the task that serves ends the connection.
    pub fn owns_task(self) -> bool {
        matches!(self, Self::Tower | Self::Hyper)
    }

    /// Serves a stream.
    pub fn serve<T>(self, stream: T, hook: impl Hook) -> JoinHandle<()>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match self {
            #[cfg(feature = "serve")]
            Self::Serve => {
                let listener = instrument_listener(Once(Some(stream)), hook);
                let serve = serve(listener, tower::service_fn(handle_incoming));
                tokio::spawn(async move { drop(serve.http(|http| *http = builder()).await) })
            }
            #[cfg(all(feature = "serve", feature = "axum"))]
            Self::ServeAxum => {
                use hyper_connstate::axum::ConnStateServiceExt;

                let listener = instrument_listener(Once(Some(stream)), hook);
                let serve = serve(listener, router().into_make_service_with_conn_state());
                tokio::spawn(async move { drop(serve.http(|http| *http = builder()).await) })
            }
            _ => {
                let io = ConnIo::new(stream, Address::Unknown, Address::Unknown, hook);
                let conn = io.conn().clone();
                tokio::spawn(async move { self.serve_io(io, &conn).await })
            }
        }
    }

    /// Serves a stream over TLS.
    pub fn serve_tls<T>(self, stream: T, hook: impl Hook) -> JoinHandle<()>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let acceptor = tls::acceptor();
        match self {
            #[cfg(feature = "tls")]
            Self::Serve => {
                let listener = instrument_listener(Once(Some(stream)), hook);
                let serve = serve(listener, tower::service_fn(handle_incoming)).tls(acceptor);
                tokio::spawn(async move { drop(serve.http(|http| *http = builder()).await) })
            }
            _ => {
                let unknown = Address::Unknown;
                let handshake = Handshake::new(stream, unknown.clone(), unknown, hook);
                tokio::spawn(async move {
                    let complete = handshake.complete(|stream| acceptor.accept(stream));
                    let Ok(io) = complete.await else { return };
                    let conn = io.conn().clone();
                    self.serve_io(io, &conn).await;
                })
            }
        }
    }

    /// Serves an instrumented stream in a loop of one's own.
    pub async fn serve_io<T>(self, io: ConnIo<T>, conn: &Conn)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if self != Self::Hyper {
            return serve_connection(&builder(), io, conn).await;
        }
        let service =
            hyper::service::service_fn(|request: Request<Incoming>| handle(request.map(Body::new)));
        let service = ConnStateLayer::for_conn(conn).layer(service);
        let _ = builder().serve_connection_with_upgrades(TokioIo::new(io), service).await;
    }

    /// Serves a stream as hyper does without this crate.
    pub fn serve_bare(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> JoinHandle<()> {
        let io = TokioIo::new(stream);
        match self {
            #[cfg(all(feature = "serve", feature = "axum"))]
            Self::ServeAxum => tokio::spawn(async move {
                let service = TowerToHyperService::new(router());
                let _ = builder().serve_connection_with_upgrades(io, service).await;
            }),
            _ => tokio::spawn(async move {
                let service = TowerToHyperService::new(tower::service_fn(handle_incoming));
                let _ = builder().serve_connection_with_upgrades(io, service).await;
            }),
        }
    }
}

/// The same bytes at any time.
fn builder() -> Builder {
    let mut builder = new_builder();
    builder.http1().auto_date_header(false);
    builder.http2().auto_date_header(false);
    builder
}

#[cfg(all(feature = "serve", feature = "axum"))]
fn router() -> axum::Router {
    axum::Router::new().fallback_service(tower::service_fn(handle))
}

/// Gives one stream, then nothing.
#[cfg(feature = "serve")]
pub struct Once<T>(pub Option<T>);

#[cfg(feature = "serve")]
impl<T: Send> Accept for Once<T> {
    type Io = T;
    type Addr = Address;

    async fn accept(&mut self) -> std::io::Result<(T, Address)> {
        match self.0.take() {
            Some(stream) => Ok((stream, Address::Unknown)),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Address> {
        Ok(Address::Unknown)
    }
}
