//! Request bodies that tell when they are over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use hyper::body::Buf;
use pin_project_lite::pin_project;

use crate::layer::guard::RequestBodyGuard;

pin_project! {
    /// A request body that tells its connection when it has been read to its
    /// end or dropped.
    pub struct RequestBody<B> {
        // Dropped first: hyper learns that nobody reads any more before it is
        // told that the request is over.
        #[pin]
        inner: B,
        guard: Option<RequestBodyGuard>,
    }
}

impl<B> RequestBody<B> {
    pub(crate) fn new(inner: B, guard: Option<RequestBodyGuard>) -> Self {
        Self { inner, guard }
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let mut poll_inner = |cx: &mut Context<'_>| this.inner.as_mut().poll_frame(cx);
        let frame = match this.guard {
            Some(guard) => ready!(guard.poll(cx, poll_inner)),
            None => ready!(poll_inner(cx)),
        };
        if let (Some(guard), Some(Ok(frame))) = (&*this.guard, &frame) {
            guard.got(frame.data_ref().map_or(0, |data| data.remaining()));
        }
        match &frame {
            Some(Ok(_)) if !this.inner.is_end_stream() => {}
            Some(Err(_)) => drop(this.guard.take()),
            Some(Ok(_)) | None => {
                if let Some(guard) = this.guard.take() {
                    guard.read_to_end();
                }
            }
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
