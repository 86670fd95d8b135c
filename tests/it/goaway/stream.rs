//! A stream that takes little at a time, or nothing for a while.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// All that there is.
pub const ALL: usize = usize::MAX;

/// What a stream makes of the operations that are asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many bytes a read gives and a write takes at most.
    pub chunk: usize,
    pub vectored: bool,
    /// Each operation that has something to do is pending once before it is
    /// done.
    pub pending: bool,
}

impl Shape {
    pub const PLAIN: Self = Self { chunk: ALL, vectored: true, pending: false };

    pub fn random(random: &mut fastrand::Rng) -> Self {
        Self {
            chunk: if random.u8(..4) == 0 { ALL } else { random.usize(1..=17) },
            vectored: random.bool(),
            pending: random.bool(),
        }
    }
}

pub struct Shaped<T> {
    inner: T,
    shape: Shape,
    /// What was read, and is given when it is asked for again.
    held: Option<Vec<u8>>,
    unflushed: bool,
    /// Writing or flushing was pending when last asked for.
    pended: [bool; 2],
    room: Room,
}

/// How many bytes the stream takes before it takes none.
#[derive(Clone)]
pub struct Room(Arc<Mutex<(usize, Option<Waker>)>>);

const WRITE: usize = 0;
const FLUSH: usize = 1;

impl<T> Shaped<T> {
    pub fn new(inner: T, shape: Shape) -> (Self, Room) {
        let room = Room(Arc::new(Mutex::new((ALL, None))));
        let (held, unflushed, pended) = (None, false, [false; 2]);
        (Self { inner, shape, held, unflushed, pended, room: room.clone() }, room)
    }

    /// Whether this operation is pending this time.
    fn pends(&mut self, operation: usize, cx: &Context<'_>) -> bool {
        if !self.shape.pending {
            return false;
        }
        let pended = &mut self.pended[operation];
        *pended = !*pended;
        if *pended {
            cx.waker().wake_by_ref();
        }
        *pended
    }

    /// How many of so many bytes may be written now.
    fn poll_room(&mut self, length: usize, cx: &Context<'_>) -> Poll<usize> {
        let mut room = self.room.lock();
        if room.0 == 0 && length > 0 {
            room.1 = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let most = room.0;
        drop(room);
        if self.pends(WRITE, cx) {
            return Poll::Pending;
        }
        Poll::Ready(length.min(self.shape.chunk).min(most))
    }
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, (usize, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream takes so many bytes from now on.
    pub fn set(&self, bytes: usize) {
        let mut room = self.lock();
        room.0 = bytes;
        room.1.take().into_iter().for_each(Waker::wake);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Shaped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(held) = self.held.take() {
            buf.put_slice(&held);
            return Poll::Ready(Ok(()));
        }
        let mut part = buf.take(self.shape.chunk);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        let bytes = part.filled().to_vec();
        if self.shape.pending && !bytes.is_empty() {
            self.held = Some(bytes);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // `buf` knows nothing of what was put there through `part`.
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Shaped<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let length = ready!(self.poll_room(buf.len(), cx));
        let result = Pin::new(&mut self.inner).poll_write(cx, &buf[..length]);
        if let Poll::Ready(Ok(written)) = result {
            let mut room = self.room.lock();
            room.0 = if room.0 == ALL { ALL } else { room.0 - written };
            drop(room);
            self.unflushed = true;
        }
        result
    }

    /// Takes bytes of several of them.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut joined = Vec::new();
        let all: usize = bufs.iter().map(|buf| buf.len()).sum();
        let most = self.shape.chunk.min(all);
        for buf in bufs {
            joined.extend_from_slice(&buf[..buf.len().min(most - joined.len())]);
        }
        self.poll_write(cx, &joined)
    }

    fn is_write_vectored(&self) -> bool {
        self.shape.vectored
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed && self.pends(FLUSH, cx) {
            return Poll::Pending;
        }
        self.unflushed = false;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
