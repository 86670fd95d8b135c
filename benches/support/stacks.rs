//! The stacks to compare, each serving one connection to its end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_connstate::{
    Accept, Address, Conn, ConnIo, ConnState, ConnStateLayer, instrument_listener,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use pin_project_lite::pin_project;
use tower::{Layer, Service, service_fn};

use super::script::Script;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    Bare,
    Noop,
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
    pub const ALL: [Self; 10] = [
        Self::Bare,
        Self::Noop,
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

    /// Serves one connection.
    pub async fn run(self, script: Script) {
        match self {
            Self::Bare => serve(script, service_fn(hello)).await,
            Self::Noop => serve(script, NoopLayer.layer(service_fn(hello))).await,
            Self::Foreign => {
                let io = ConnIo::accepted(script, Address::Unknown, Address::Unknown, ());
                let layer = ConnStateLayer::for_conn(io.conn());
                serve(io, layer.layer(service_fn(hello))).await;
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
                serve(script, layer.layer(service_fn(hello))).await;
            }
            Self::Trace => {
                let layer = tower_http::trace::TraceLayer::new_for_http();
                serve(script, layer.layer(service_fn(hello))).await;
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

async fn serve<I, S, B>(io: I, service: S)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    // In a task, as in any server.
    tokio::spawn(async move {
        auto::Builder::new(TokioExecutor::new())
            .serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service))
            .await
            .map_err(drop)
    })
    .await
    .expect("the connection's task")
    .expect("the connection");
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = if request.method() == http::Method::POST {
        request.into_body().collect().await.expect("a body").to_bytes()
    } else {
        Bytes::from_static(b"Hello, World!")
    };
    Ok(Response::new(Full::new(body)))
}

fn router() -> axum::Router {
    let hello = axum::routing::get(async || "Hello, World!").post(async |body: Bytes| body);
    axum::Router::new().route("/", hello)
}

/// Gives one stream, then nothing.
struct Once(Option<Script>);

impl Accept for Once {
    type Io = Script;
    type Addr = Address;

    async fn accept(&mut self) -> io::Result<(Script, Address)> {
        match self.0.take() {
            Some(script) => Ok((script, Address::Unknown)),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Unknown)
    }
}

struct AxumOnce<T>(Option<T>);

impl<T> axum::serve::Listener for AxumOnce<T>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    type Io = T;
    type Addr = ();

    async fn accept(&mut self) -> (T, ()) {
        match self.0.take() {
            Some(io) => (io, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream whose end can be waited for.
struct Done {
    script: Script,
    _sender: tokio::sync::oneshot::Sender<()>,
}

impl Done {
    fn new(script: Script) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        (Self { script, _sender: sender }, async move { drop(receiver.await) })
    }
}

impl tokio::io::AsyncRead for Done {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.script).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Done {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.script).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.script).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.script.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.script).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.script).poll_shutdown(cx)
    }
}

// === a layer that does nothing ===

#[derive(Clone)]
struct NoopLayer;

#[derive(Clone)]
struct Noop<S>(S);

impl<S> Layer<S> for NoopLayer {
    type Service = Noop<S>;
    fn layer(&self, inner: S) -> Noop<S> {
        Noop(inner)
    }
}

impl<S, R, B> Service<Request<R>> for Noop<S>
where
    S: Service<Request<R>, Response = Response<B>>,
{
    type Response = Response<NoopBody<B>>;
    type Error = S::Error;
    type Future = NoopFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        NoopFuture { inner: self.0.call(request) }
    }
}

pin_project! {
    struct NoopFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, B, E> Future for NoopFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<NoopBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = std::task::ready!(self.project().inner.poll(cx));
        Poll::Ready(response.map(|response| response.map(|inner| NoopBody { inner })))
    }
}

pin_project! {
    struct NoopBody<B> {
        #[pin]
        inner: B,
    }
}

impl<B: Body> Body for NoopBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
