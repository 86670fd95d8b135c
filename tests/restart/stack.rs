//! This crate's ways to serve, and how each is brought to an end.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_connstate::{ConnIo, ConnStateLayer, instrument_listener};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tower::service_fn;

use crate::support::tls;

/// Longer than any drain takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How long a handler takes.
const WORK: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    Loop,
    LoopTls,
    #[cfg(feature = "serve")]
    Serve,
    #[cfg(feature = "tls")]
    ServeTls,
    #[cfg(all(feature = "serve", feature = "axum"))]
    ServeRouter,
    #[cfg(feature = "axum")]
    Axum,
}

impl Stack {
    pub fn is_tls(self) -> bool {
        match self {
            Self::LoopTls => true,
            #[cfg(feature = "tls")]
            Self::ServeTls => true,
            _ => false,
        }
    }

    /// Serves until `end`, and then until the connections have come to theirs.
    pub async fn serve(
        self,
        listener: TcpListener,
        end: impl Future<Output = ()> + Send + 'static,
    ) {
        match self {
            Self::Loop | Self::LoopTls => accept_loop(listener, self.is_tls(), end).await,
            #[cfg(feature = "serve")]
            Self::Serve => {
                let listener = instrument_listener(listener, ());
                let server = hyper_connstate::serve(listener, service_fn(echo));
                server.with_graceful_shutdown(end).await.expect("a listener that lasts");
            }
            #[cfg(feature = "tls")]
            Self::ServeTls => {
                let listener = instrument_listener(listener, ());
                let server = hyper_connstate::serve(listener, service_fn(echo));
                let server = server.tls(tls::acceptor());
                server.with_graceful_shutdown(end).await.expect("a listener that lasts");
            }
            #[cfg(all(feature = "serve", feature = "axum"))]
            Self::ServeRouter => {
                use hyper_connstate::axum::ConnStateServiceExt;

                let listener = instrument_listener(listener, ());
                let app = router().into_make_service_with_conn_state();
                let server = hyper_connstate::serve(listener, app);
                server.with_graceful_shutdown(end).await.expect("a listener that lasts");
            }
            #[cfg(feature = "axum")]
            Self::Axum => {
                use hyper_connstate::axum::ConnStateServiceExt;

                let listener = instrument_listener(listener, ());
                let connections = listener.connections();
                let app = router().into_make_service_with_conn_state();
                // The server lives on until the drain is over.
                tokio::select! {
                    served = axum::serve(listener, app).into_future() => {
                        served.expect("a listener that lasts");
                    }
                    _ = async { end.await; connections.drain(TIMEOUT).await } => {}
                }
            }
        }
    }
}

async fn accept_loop(listener: TcpListener, is_tls: bool, end: impl Future<Output = ()>) {
    let mut listener = instrument_listener(listener, ());
    let connections = listener.connections();
    let tls = is_tls.then(tls::acceptor);
    let mut end = pin!(end);
    loop {
        let handshake = tokio::select! {
            biased;
            () = &mut end => break,
            handshake = listener.accept_handshake() => handshake.expect("a listener that lasts"),
        };
        match tls.clone() {
            Some(tls) => drop(tokio::spawn(async move {
                if let Ok(io) = handshake.complete(|tcp| tls.accept(tcp)).await {
                    serve_connection(io).await;
                }
            })),
            None => drop(tokio::spawn(serve_connection(handshake.into_io()))),
        }
    }
    drop(listener);
    connections.drain(TIMEOUT).await;
}

async fn serve_connection<T>(io: ConnIo<T>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = ConnStateLayer::for_conn(io.conn()).layer(service_fn(echo));
    // An error is the client's to see.
    let _ = Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service))
        .await;
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await;
    tokio::time::sleep(WORK).await;
    // One that was broken off is answered with less than was sent.
    let body = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
    Ok(Response::new(Full::new(body)))
}

#[cfg(feature = "axum")]
fn router() -> axum::Router {
    let echo = async |body: Bytes| {
        tokio::time::sleep(WORK).await;
        body
    };
    axum::Router::new().route("/", axum::routing::post(echo))
}
