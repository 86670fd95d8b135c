//! The service that [`ConnStateLayer`](crate::ConnStateLayer) makes.

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::Conn;
use crate::conn::Place;
use crate::diagnostics;
use crate::layer::body::ConnStateBody;
use crate::layer::future::ConnStateFuture;
use crate::layer::guard::{ResponseGuard, is_tracked, mark_tracked};
use crate::layer::unwinding::record_panic;
use crate::tracker::Fact;

/// Tells a connection when requests begin and responses are over; made by
/// [`ConnStateLayer`](crate::ConnStateLayer).
///
/// It is a tower service around a tower service, and a hyper service around a
/// hyper service.
#[derive(Clone, Debug)]
pub struct ConnStateService<S> {
    inner: S,
    conn: Option<Conn>,
    outermost: bool,
}

impl<S> ConnStateService<S> {
    pub(crate) fn new(inner: S, conn: Option<Conn>) -> Self {
        Self { inner, conn, outermost: false }
    }

    /// Around all that serves this connection.
    #[cfg(feature = "serve")]
    pub(crate) fn outermost(inner: S, conn: Conn) -> Self {
        Self { inner, conn: Some(conn), outermost: true }
    }

    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }

    #[inline]
    fn begin<B: Body>(&self, request: &mut Request<B>) -> Option<ResponseGuard> {
        if !request.extensions().is_empty() && is_tracked(request) {
            return None;
        }
        match &self.conn {
            Some(conn) => {
                let place = if self.outermost { Place::Outermost } else { Place::Made };
                ResponseGuard::begin(conn, request, place)
            }
            None => Self::begin_found(request),
        }
    }

    /// For a layer that has to find the connection in the request.
    fn begin_found<B: Body>(request: &mut Request<B>) -> Option<ResponseGuard> {
        let Some(conn) = find_conn(request.extensions()) else {
            diagnostics::conn_missing();
            return None;
        };
        mark_tracked(request);
        #[cfg(feature = "axum")]
        crate::axum::provide_socket_addr(&conn, request);
        ResponseGuard::begin(&conn, request, Place::Found)
    }
}

fn find_conn(extensions: &http::Extensions) -> Option<Conn> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(conn)) = extensions.get() {
        return Some(Conn::clone(conn));
    }
    extensions.get::<Conn>().cloned()
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ConnStateService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<ConnStateBody<ResBody>>;
    type Error = S::Error;
    type Future = ConnStateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let ready = self.inner.poll_ready(cx);
        if let (Poll::Pending, Some(conn)) = (&ready, &self.conn) {
            // It is not the client that is to be waited for.
            conn.record(Fact::HeadRead);
        }
        ready
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let guard = self.begin(&mut request);
        let inner = record_panic(&guard, || self.inner.call(request));
        ConnStateFuture::new(inner, guard)
    }
}

impl<S, ReqBody, ResBody> hyper::service::Service<Request<ReqBody>> for ConnStateService<S>
where
    S: hyper::service::Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<ConnStateBody<ResBody>>;
    type Error = S::Error;
    type Future = ConnStateFuture<S::Future>;

    #[inline]
    fn call(&self, mut request: Request<ReqBody>) -> Self::Future {
        let guard = self.begin(&mut request);
        let inner = record_panic(&guard, || self.inner.call(request));
        ConnStateFuture::new(inner, guard)
    }
}
