//! Servers of every kind over streams in memory.

use std::convert::Infallible;
use std::sync::{Arc, Once};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_connstate::{Address, ConnStateLayer, Hook, InstrumentedListener, instrument_listener};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;

use super::wire::{Near, Wires};
use crate::support::server::new_builder;
use crate::support::{Kind, tls};

/// Serves a stream with these handlers.
pub fn serve<H, F>(kind: Kind, near: Near, hook: impl Hook, handle: H)
where
    H: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send((near, Address::Unknown)).ok().unwrap();
    serve_listener(kind, instrument_listener(Wires(receiver), hook), handle);
}

/// Serves what comes through a listener.
pub fn serve_listener<H, F>(kind: Kind, mut listener: InstrumentedListener<Wires>, handle: H)
where
    H: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let incoming = {
        let handle = handle.clone();
        move |request: Request<Incoming>| handle(request.map(Body::new))
    };
    match kind {
        Kind::Tower => drop(tokio::spawn(async move {
            while let Ok((io, conn)) = listener.accept().await {
                let service = tower::service_fn(incoming.clone());
                let service = ConnStateLayer::for_conn(&conn).layer(service);
                let service = TowerToHyperService::new(service);
                tokio::spawn(async move {
                    let builder = new_builder();
                    let _ = builder.serve_connection_with_upgrades(TokioIo::new(io), service).await;
                });
            }
        })),
        Kind::Hyper => drop(tokio::spawn(async move {
            while let Ok((io, conn)) = listener.accept().await {
                let service = hyper::service::service_fn(incoming.clone());
                let service = ConnStateLayer::for_conn(&conn).layer(service);
                tokio::spawn(async move {
                    let builder = new_builder();
                    let _ = builder.serve_connection_with_upgrades(TokioIo::new(io), service).await;
                });
            }
        })),
        Kind::Tls => drop(tokio::spawn(async move {
            while let Ok(handshake) = listener.accept_handshake().await {
                let service = tower::service_fn(incoming.clone());
                tokio::spawn(async move {
                    let acceptor = tls::acceptor();
                    let io = handshake.complete(|near| acceptor.accept(near)).await;
                    let Ok(io) = io else { return };
                    let service = ConnStateLayer::for_conn(io.conn()).layer(service);
                    let service = TowerToHyperService::new(service);
                    let builder = new_builder();
                    let _ = builder.serve_connection_with_upgrades(TokioIo::new(io), service).await;
                });
            }
        })),
        #[cfg(feature = "serve")]
        Kind::Serve => drop(tokio::spawn(async move {
            let serve = hyper_connstate::serve(listener, tower::service_fn(incoming));
            serve.http(|http| *http = new_builder()).await.map(drop).unwrap();
        })),
        #[cfg(feature = "tls")]
        Kind::ServeTls => drop(tokio::spawn(async move {
            let serve = hyper_connstate::serve(listener, tower::service_fn(incoming));
            let serve = serve.http(|http| *http = new_builder());
            serve.tls(tls::acceptor()).await.map(drop).unwrap();
        })),
        #[cfg(feature = "axum")]
        _ => serve_axum(kind, listener, handle),
    }
}

#[cfg(feature = "axum")]
fn serve_axum<H, F>(kind: Kind, listener: InstrumentedListener<Wires>, handle: H)
where
    H: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    use hyper_connstate::axum::ConnStateServiceExt;

    let app = axum::Router::new().fallback_service(tower::service_fn(handle));
    match kind {
        #[cfg(feature = "serve")]
        Kind::ServeAxum => drop(tokio::spawn(async move {
            let serve = hyper_connstate::serve(listener, app.into_make_service_with_conn_state());
            serve.http(|http| *http = new_builder()).await.map(drop).unwrap();
        })),
        Kind::Axum => drop(tokio::spawn(async move {
            axum::serve(listener, app.into_make_service_with_conn_state()).await.unwrap();
        })),
        Kind::AxumLayer => drop(tokio::spawn(async move {
            let app = app
                .layer(ConnStateLayer::new())
                .into_make_service_with_connect_info::<hyper_connstate::Conn>();
            axum::serve(listener, app).await.unwrap();
        })),
        _ => unreachable!(),
    }
}

/// Runs one script to its end, in a runtime of its own: nothing of it is left.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    crate::support::quiet_panics();
    quiet_assertions();
    crate::support::start_watchdog();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Keeps h2 from printing that it has lost count of its streams: see
/// `http2::bare::Answer::Miscounted`.
fn quiet_assertions() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.to_string().contains("!self.has_streams()") {
                print(info);
            }
        }));
    });
}

/// What a service is made of.
pub fn service<T, H, F>(
    state: Arc<T>,
    handle: H,
) -> impl Fn(Request<Body>) -> F + Clone + Send + Sync
where
    T: Send + Sync,
    H: Fn(Arc<T>, Request<Body>) -> F + Clone + Send + Sync,
{
    move |request| handle(state.clone(), request)
}
