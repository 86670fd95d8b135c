//! A make-service whose services track their connection.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::provide_socket_addr;
use crate::Conn;
use crate::conn::Place;
use crate::layer::body::ConnStateBody;
use crate::layer::future::ConnStateFuture;
use crate::layer::guard::{RequestBodyGuard, ResponseGuard, mark_tracked};
use crate::layer::request_body::RequestBody;
use crate::layer::unwinding::record_panic;

/// Adds [`into_make_service_with_conn_state`] to routers and other axum
/// services.
///
/// [`into_make_service_with_conn_state`]: Self::into_make_service_with_conn_state
pub trait ConnStateServiceExt: Service<Request, Response = Response> + Clone + Sized {
    /// Makes a service for each connection of an instrumented listener. It
    /// reports requests and responses, follows request bodies that outlive their
    /// response, and gives handlers `ConnectInfo<Conn>` and
    /// `ConnectInfo<SocketAddr>`.
    ///
    /// Put it where `into_make_service()` stood. It is outside of the whole
    /// router, so no route can miss it. [The module](crate::axum) has an
    /// example.
    fn into_make_service_with_conn_state(self) -> IntoMakeServiceWithConnState<Self> {
        IntoMakeServiceWithConnState { inner: self }
    }
}

impl<S> ConnStateServiceExt for S where S: Service<Request, Response = Response> + Clone {}

/// A make-service for `axum::serve`; see
/// [`into_make_service_with_conn_state`](ConnStateServiceExt::into_make_service_with_conn_state).
#[derive(Clone, Debug)]
pub struct IntoMakeServiceWithConnState<S> {
    inner: S,
}

impl<S, L> Service<IncomingStream<'_, L>> for IntoMakeServiceWithConnState<S>
where
    S: Clone,
    L: Listener,
    L::Io: AsRef<Conn>,
{
    type Response = RouterService<S>;
    type Error = Infallible;
    type Future = Ready<Result<RouterService<S>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, L>) -> Self::Future {
        let conn = stream.io().as_ref().clone();
        ready(Ok(RouterService { inner: self.inner.clone(), conn }))
    }
}

/// For [`serve`](fn@crate::serve), which tells of requests and responses itself.
impl<S: Clone> Service<Conn> for IntoMakeServiceWithConnState<S> {
    type Response = RouterService<S>;
    type Error = Infallible;
    type Future = Ready<Result<RouterService<S>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, conn: Conn) -> Self::Future {
        ready(Ok(RouterService { inner: self.inner.clone(), conn }))
    }
}

/// The service of one connection: a router, and around it what tracks the
/// connection.
#[derive(Clone, Debug)]
pub struct RouterService<S> {
    inner: S,
    conn: Conn,
}

impl<S> RouterService<S> {
    /// Puts into the request what handlers extract.
    fn provide<B>(&self, request: &mut http::Request<B>) {
        provide_socket_addr(&self.conn, request);
        request.extensions_mut().insert(ConnectInfo(self.conn.clone()));
        mark_tracked(request);
    }
}

/// As `axum::serve` calls it.
impl<S> Service<Request> for RouterService<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = RouterFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let guard = ResponseGuard::begin(&self.conn, &mut request, Place::Outermost);
        self.provide(&mut request);
        if let Some(guard) = RequestBodyGuard::begin(&self.conn, &request) {
            request = request.map(|body| Body::new(RequestBody::new(body, Some(guard))));
        }
        let inner = record_panic(&guard, || self.inner.call(request));
        RouterFuture { inner: ConnStateFuture::new(inner, guard) }
    }
}

/// As [`serve`](fn@crate::serve) calls it.
impl<S> Service<http::Request<Incoming>> for RouterService<S>
where
    S: Service<http::Request<RequestBody<Incoming>>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Incoming>) -> Self::Future {
        self.provide(&mut request);
        let guard = RequestBodyGuard::begin(&self.conn, &request);
        self.inner.call(request.map(|body| RequestBody::new(body, guard)))
    }
}

pin_project! {
    /// The response future of [`RouterService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct RouterFuture<F> {
        #[pin]
        inner: ConnStateFuture<F>,
    }
}

impl<F, E> Future for RouterFuture<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = self.project().inner.poll(cx);
        poll.map_ok(|response| response.map(ConnStateBody::into_axum))
    }
}

impl<F> fmt::Debug for RouterFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterFuture").finish_non_exhaustive()
    }
}
