//! This crate: `serve`, a loop of one's own, and `axum::serve`.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper_connstate::axum::ConnStateServiceExt;
use hyper_connstate::{Conn, ConnIo, ConnState, ConnStateLayer, Connections, Hook};
use hyper_connstate::{InstrumentedListener, instrument_listener};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::service_fn;

use super::handler::{echo, router};
use super::setup::{Setup, TIMEOUT};
use super::tls::TlsListener;
use crate::support::nodelay::NoDelay;

/// `serve`, and its graceful shutdown.
pub async fn serve(setup: Setup) -> io::Result<()> {
    let (hook, policies) = (Rotation::new(setup.rotate), setup.policies.clone());
    let (listener, tls, terminated) = setup.split();
    let server = {
        let listener = instrument_listener(listener, hook).policies(policies);
        hyper_connstate::serve(listener, service_fn(echo))
    };
    match tls {
        None => server.with_graceful_shutdown(terminated).drain_timeout(TIMEOUT).await?,
        Some(tls) => {
            server.tls(tls).with_graceful_shutdown(terminated).drain_timeout(TIMEOUT).await?
        }
    };
    Ok(())
}

/// `serve` with an axum router.
pub async fn serve_router(setup: Setup) -> io::Result<()> {
    let (hook, policies) = (Rotation::new(setup.rotate), setup.policies.clone());
    let (listener, tls, terminated) = setup.split();
    let app = router().into_make_service_with_conn_state();
    let server = {
        let listener = instrument_listener(listener, hook).policies(policies);
        hyper_connstate::serve(listener, app)
    };
    match tls {
        None => server.with_graceful_shutdown(terminated).drain_timeout(TIMEOUT).await?,
        Some(tls) => {
            server.tls(tls).with_graceful_shutdown(terminated).drain_timeout(TIMEOUT).await?
        }
    };
    Ok(())
}

/// A loop of one's own, and `Connections::drain`.
pub async fn accept_loop(setup: Setup) -> io::Result<()> {
    let (hook, policies) = (Rotation::new(setup.rotate), setup.policies.clone());
    let (listener, tls, terminated) = setup.split();
    let mut listener = instrument_listener(listener, hook).policies(policies);
    let connections = listener.connections();
    let mut terminated = pin!(terminated);
    loop {
        let handshake = tokio::select! {
            biased;
            () = &mut terminated => break,
            handshake = listener.accept_handshake() => handshake?,
        };
        match tls.clone() {
            Some(tls) => drop(tokio::spawn(async move {
                // One that fails is the client's affair.
                if let Ok(io) = handshake.complete(|tcp| tls.accept(tcp)).await {
                    serve_connection(io).await;
                }
            })),
            None => drop(tokio::spawn(serve_connection(handshake.into_io()))),
        }
    }
    drop(listener);
    connections.drain(TIMEOUT).await;
    Ok(())
}

async fn serve_connection<T>(io: ConnIo<T>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = ConnStateLayer::for_conn(io.conn()).layer(service_fn(echo));
    // An error is seen by the client, which counts it.
    let _ = Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service))
        .await;
}

/// `axum::serve`, and `Connections::drain`. The server lives on until the drain
/// is over: when it is dropped, or shuts down by itself, hyper closes the
/// connections that are idle.
pub async fn axum(setup: Setup) -> io::Result<()> {
    let (hook, policies) = (Rotation::new(setup.rotate), setup.policies.clone());
    let (listener, tls, terminated) = setup.split();
    let listener = instrument_listener(listener, hook).policies(policies);
    let connections = listener.connections();
    let drained = drained(terminated, connections);
    tokio::select! {
        served = axum_server(listener, tls) => served,
        () = drained => Ok(()),
    }
}

async fn axum_server(
    listener: InstrumentedListener<NoDelay>,
    tls: Option<tokio_rustls::TlsAcceptor>,
) -> io::Result<()> {
    let app = router().into_make_service_with_conn_state();
    match tls {
        None => axum::serve(listener, app).await,
        Some(tls) => axum::serve(TlsListener::instrumented(listener, tls)?, app).await,
    }
}

async fn drained(terminated: impl Future<Output = ()>, connections: Connections) {
    terminated.await;
    connections.drain(TIMEOUT).await;
}

/// Ends each connection at every so many times that it is idle, so that its
/// client comes back on another one.
struct Rotation {
    every: Option<u64>,
}

/// How often a connection was idle.
#[derive(Clone, Default)]
struct Served(Arc<AtomicU64>);

impl Rotation {
    fn new(every: Option<u64>) -> Self {
        Self { every }
    }

    /// How it ends one.
    fn end(conn: &Conn) {
        conn.drain();
    }
}

impl Hook for Rotation {
    fn on_state(&self, conn: &Conn, state: ConnState) {
        let Some(every) = self.every else {
            return;
        };
        match state {
            ConnState::New => drop(conn.insert(Served::default())),
            ConnState::Idle => {
                let served = conn.get::<Served>();
                let times = served.map_or(0, |served| served.0.fetch_add(1, Ordering::Relaxed) + 1);
                if times.is_multiple_of(every) {
                    Self::end(conn);
                }
            }
            _ => {}
        }
    }
}
