//! A layer that wraps responses' bodies and does nothing: what the wrapping
//! alone costs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

#[derive(Clone)]
pub struct NoopLayer;

#[derive(Clone)]
pub struct Noop<S>(S);

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
    pub struct NoopFuture<F> {
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
    pub struct NoopBody<B> {
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
