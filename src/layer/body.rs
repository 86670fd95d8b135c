//! Bodies that tell when they are over.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::layer::guard::ResponseGuard;
use crate::layer::unwinding::record_panic;

pin_project! {
    /// A response body that tells its connection when it is over: when it has
    /// given its last frame, failed or been dropped.
    ///
    /// It forwards everything else, its size included. So hyper sends the same
    /// `Content-Length` as without it.
    pub struct ConnStateBody<B> {
        // Dropped first: a response is over once nothing of it is left.
        #[pin]
        inner: B,
        guard: Option<ResponseGuard>,
    }
}

impl<B> ConnStateBody<B> {
    pub(crate) fn new(inner: B, guard: Option<ResponseGuard>) -> Self {
        Self { inner, guard }
    }

    /// The body of an axum response. One that is over already has nothing to
    /// wait for, which saves a box.
    #[cfg(feature = "axum")]
    pub(crate) fn into_axum(self) -> axum::body::Body
    where
        B: Body<Data = axum::body::Bytes, Error: Into<axum::BoxError>> + Send + 'static,
    {
        if self.guard.is_none() || self.inner.is_end_stream() {
            return axum::body::Body::new(self.inner);
        }
        axum::body::Body::new(self)
    }
}

impl<B: Body> Body for ConnStateBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(record_panic(this.guard, || this.inner.poll_frame(cx)));
        if !matches!(frame, Some(Ok(_))) {
            drop(this.guard.take());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A body of no request's.
impl<B: Default> Default for ConnStateBody<B> {
    fn default() -> Self {
        Self::new(B::default(), None)
    }
}

impl<B: fmt::Debug> fmt::Debug for ConnStateBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnStateBody").field(&self.inner).finish()
    }
}
