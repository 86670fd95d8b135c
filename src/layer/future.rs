//! The response future of [`ConnStateService`](crate::ConnStateService).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use crate::layer::body::ConnStateBody;
use crate::layer::guard::ResponseGuard;
use crate::layer::unwinding::record_panic;

pin_project! {
    /// Waits for a response, and keeps its request open until it is over.
    ///
    /// Dropping it ends the request, as does an error.
    #[must_use = "futures do nothing unless polled"]
    pub struct ConnStateFuture<F> {
        #[pin]
        inner: F,
        guard: Option<ResponseGuard>,
    }
}

impl<F> ConnStateFuture<F> {
    pub(crate) fn new(inner: F, guard: Option<ResponseGuard>) -> Self {
        Self { inner, guard }
    }
}

impl<F, B, E> Future for ConnStateFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ConnStateBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(record_panic(this.guard, || this.inner.poll(cx)));
        let mut guard = this.guard.take();
        Poll::Ready(result.map(|mut response| {
            if let Some(guard) = &mut guard {
                guard.answered(&mut response);
            }
            response.map(|body| ConnStateBody::new(body, guard))
        }))
    }
}

impl<F> fmt::Debug for ConnStateFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnStateFuture").finish_non_exhaustive()
    }
}
