//! The shape of this crate without its rules: a stream and a service that are
//! wrapped, a guard in each response, and a hook that is told of two states a
//! request, when the clock read. It is wrong about nearly everything (when an
//! answer is out, whether the connection is kept, upgrades, HTTP/2, more than
//! one thread), and says what cannot be had for less in this shape.

use std::future::Future;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use http::header::CONNECTION;
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper_connstate::ConnState;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::{Layer, Service};

/// What the stream and the service share.
pub struct Shared {
    hook: Arc<dyn Fn(ConnState) + Send + Sync>,
    accepted_at: Instant,
    state: AtomicU64,
    since: AtomicU64,
}

const IDLE: u64 = 0;
const ACTIVE: u64 = 1;
const ANSWERED: u64 = 2;

impl Shared {
    pub fn new(hook: impl Fn(ConnState) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            hook: Arc::new(hook),
            accepted_at: Instant::now(),
            state: AtomicU64::new(IDLE),
            since: AtomicU64::new(0),
        })
    }

    fn is(&self, state: u64) -> bool {
        self.state.load(Ordering::Acquire) == state
    }

    #[inline(never)]
    fn report(&self, state: ConnState, next: u64) {
        let since = Instant::now().duration_since(self.accepted_at);
        let nanoseconds = since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos());
        self.since.store(nanoseconds, Ordering::Release);
        self.state.store(next, Ordering::Release);
        drop(catch_unwind(AssertUnwindSafe(|| (self.hook)(state))));
    }
}

pub struct ShellIo<T> {
    stream: T,
    shared: Arc<Shared>,
    waker: Option<Waker>,
}

impl<T> ShellIo<T> {
    pub fn new(stream: T, shared: Arc<Shared>) -> Self {
        Self { stream, shared, waker: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ShellIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if poll.is_pending() {
            match &self.waker {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => self.waker = Some(cx.waker().clone()),
            }
        } else if buf.filled().len() > before && self.shared.is(IDLE) {
            self.shared.report(ConnState::Active, ACTIVE);
        }
        poll
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ShellIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.shared.is(ANSWERED) {
            self.shared.report(ConnState::Idle, IDLE);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[derive(Clone)]
pub struct ShellLayer(pub Arc<Shared>);

#[derive(Clone)]
pub struct Shell<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Layer<S> for ShellLayer {
    type Service = Shell<S>;
    fn layer(&self, inner: S) -> Shell<S> {
        Shell { inner, shared: self.0.clone() }
    }
}

struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.state.store(ANSWERED, Ordering::Release);
    }
}

impl<S, R, B> Service<Request<R>> for Shell<S>
where
    S: Service<Request<R>, Response = Response<B>>,
{
    type Response = Response<ShellBody<B>>;
    type Error = S::Error;
    type Future = ShellFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let kept = !request.headers().keys().any(|name| name == CONNECTION);
        let guard =
            (request.version() != Version::HTTP_2 && kept).then(|| Guard(self.shared.clone()));
        ShellFuture { inner: self.inner.call(request), guard }
    }
}

pin_project! {
    pub struct ShellFuture<F> {
        #[pin]
        inner: F,
        guard: Option<Guard>,
    }
}

impl<F, B, E> Future for ShellFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ShellBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx));
        let guard = this.guard.take();
        Poll::Ready(response.map(|response| response.map(|inner| ShellBody { inner, guard })))
    }
}

pin_project! {
    pub struct ShellBody<B> {
        #[pin]
        inner: B,
        guard: Option<Guard>,
    }
}

impl<B: Body> Body for ShellBody<B> {
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
