//! The stacks to compare, each serving one connection to its end.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_connstate::{Address, Conn, ConnIo, ConnState, ConnStateLayer, instrument_listener};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tower::{Layer, Service, service_fn};

use super::listeners::{AxumOnce, Done, Once};
use super::noop::NoopLayer;
use super::script::Script;
use super::shell::{Shared, ShellIo, ShellLayer};

type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stack {
    Bare,
    Noop,
    Shell,
    Foreign,
    Serve,
    BareAxum,
    Axum,
    ServeAxum,
    InFlight,
    Trace,
    Prometheus,
}

impl Stack {
    pub const ALL: [Self; 11] = [
        Self::Bare,
        Self::Noop,
        Self::Shell,
        Self::Foreign,
        Self::Serve,
        Self::InFlight,
        Self::Trace,
        Self::BareAxum,
        Self::Axum,
        Self::ServeAxum,
        Self::Prometheus,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper-util",
            Self::Noop => "a body-wrapping layer that does nothing",
            Self::Shell => "the wrapping and two reports, without the rules",
            Self::Foreign => "hyper-connstate, a loop of one's own",
            Self::Serve => "hyper-connstate, `serve`",
            Self::BareAxum => "bare `axum::serve`",
            Self::Axum => "hyper-connstate, `axum::serve`",
            Self::ServeAxum => "hyper-connstate, `serve` with a router",
            Self::InFlight => "tower-http `InFlightRequestsLayer`",
            Self::Trace => "tower-http `TraceLayer`, no subscriber",
            Self::Prometheus => "axum-prometheus",
        }
    }

    /// What it is compared with.
    pub fn base(self) -> Self {
        match self {
            Self::BareAxum | Self::Axum | Self::ServeAxum | Self::Prometheus => Self::BareAxum,
            _ => Self::Bare,
        }
    }

    pub fn is_ours(self) -> bool {
        matches!(self, Self::Foreign | Self::Serve | Self::Axum | Self::ServeAxum)
    }

    /// Serves one connection.
    pub async fn run(self, script: Script) {
        match self {
            Self::Bare => served(spawn(script, service_fn(hello))).await,
            Self::Noop => served(spawn(script, NoopLayer.layer(service_fn(hello)))).await,
            Self::Shell => {
                let shared = Shared::new(|_| {});
                let io = ShellIo::new(script, shared.clone());
                served(spawn(io, ShellLayer(shared).layer(service_fn(hello)))).await;
            }
            Self::Foreign => {
                let io = ConnIo::new(script, Address::Unknown, Address::Unknown, ());
                let layer = ConnStateLayer::for_conn(io.conn());
                served(spawn(io, layer.layer(service_fn(hello)))).await;
            }
            Self::Serve => {
                let (hook, closed) = until_closed();
                let listener = instrument_listener(Once(Some(script)), hook);
                let serve = hyper_connstate::serve(listener, service_fn(hello));
                let serve = serve.http(|http| {
                    // A timer switches on a time-out of hyper's, which the
                    // bare loop does not have.
                    http.http1().header_read_timeout(None);
                });
                tokio::select! { _ = serve.into_future() => {}, () = closed => {} }
            }
            Self::InFlight => {
                let (layer, _counter) = tower_http::metrics::InFlightRequestsLayer::pair();
                served(spawn(script, layer.layer(service_fn(hello)))).await;
            }
            Self::Trace => {
                let layer = tower_http::trace::TraceLayer::new_for_http();
                served(spawn(script, layer.layer(service_fn(hello)))).await;
            }
            Self::BareAxum => {
                let (script, done) = Done::new(script);
                let server = axum::serve(AxumOnce(Some(script)), router());
                tokio::select! { _ = server.into_future() => {}, () = done => {} }
            }
            Self::Prometheus => {
                let (layer, _handle) = axum_prometheus::PrometheusMetricLayer::pair();
                let (script, done) = Done::new(script);
                let server = axum::serve(AxumOnce(Some(script)), router().layer(layer));
                tokio::select! { _ = server.into_future() => {}, () = done => {} }
            }
            Self::Axum => {
                use hyper_connstate::axum::ConnStateServiceExt;
                let (hook, closed) = until_closed();
                let listener = instrument_listener(Once(Some(script)), hook);
                let serve = axum::serve(listener, router().into_make_service_with_conn_state());
                tokio::select! { _ = serve.into_future() => {}, () = closed => {} }
            }
            Self::ServeAxum => {
                use hyper_connstate::axum::ConnStateServiceExt;
                let (hook, closed) = until_closed();
                let listener = instrument_listener(Once(Some(script)), hook);
                let make = router().into_make_service_with_conn_state();
                let serve = hyper_connstate::serve(listener, make).http(|http| {
                    http.http1().header_read_timeout(None);
                });
                tokio::select! { _ = serve.into_future() => {}, () = closed => {} }
            }
        }
    }
}

/// A hook that tells when a connection is closed.
fn until_closed() -> (impl hyper_connstate::Hook, impl Future<Output = ()>) {
    let closed = std::sync::Arc::new(tokio::sync::Notify::new());
    let notify = closed.clone();
    let hook = move |_: &Conn, state: ConnState| {
        if state == ConnState::Closed {
            notify.notify_one();
        }
    };
    (hook, async move { closed.notified().await })
}

/// Starts to serve a connection, in a task, as in any server.
pub fn spawn<I, S, B>(io: I, service: S) -> JoinHandle<Result<(), BoxError>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    tokio::spawn(async move {
        auto::Builder::new(TokioExecutor::new())
            .serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service))
            .await
    })
}

async fn served(connection: JoinHandle<Result<(), BoxError>>) {
    connection.await.expect("the connection's task").expect("the connection");
}

pub async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = if request.method() == http::Method::POST {
        request.into_body().collect().await.expect("a body").to_bytes()
    } else {
        Bytes::from_static(b"Hello, World!")
    };
    Ok(Response::new(Full::new(body)))
}

pub fn router() -> axum::Router {
    let hello = axum::routing::get(async || "Hello, World!").post(async |body: Bytes| body);
    axum::Router::new().route("/", hello)
}
