//! The instrumented stream.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::hook::Hook;
use crate::tracker::wire::Wire;
use crate::tracker::{Fact, Interest};
use crate::{Address, Conn};

pin_project! {
    /// A stream whose bytes tell what its connection is doing.
    ///
    /// It forwards everything to the stream inside and changes nothing of
    /// what passes. Dropping it closes the stream, then reports
    /// [`Closed`](crate::ConnState::Closed).
    ///
    /// A [`InstrumentedListener`](crate::InstrumentedListener) hands these
    /// out. For a stream that came from elsewhere there is
    /// [`ConnIo::accepted`].
    pub struct ConnIo<T> {
        // Dropped first: a connection is reported as closed once its socket is.
        #[pin]
        stream: T,
        sensor: Sensor,
    }
}

impl<T> ConnIo<T> {
    /// Instruments a stream that was accepted elsewhere, and reports its
    /// connection as [`New`](crate::ConnState::New).
    ///
    /// For a server over in-memory streams, or an accept loop that cannot be
    /// given an [`InstrumentedListener`](crate::InstrumentedListener). Call it
    /// right after accepting; where a TLS handshake comes first, use
    /// [`Handshake::accepted`](crate::Handshake::accepted).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use hyper_connstate::{Address, Conn, ConnIo, ConnState};
    ///
    /// let (_client, server) = tokio::io::duplex(1024);
    /// let hook = |conn: &Conn, state: ConnState| println!("{}: {state}", conn.id());
    /// let io = ConnIo::accepted(server, Address::Unknown, Address::Unknown, hook);
    ///
    /// let conn = io.conn().clone();
    /// assert_eq!(conn.state(), ConnState::New);
    /// drop(io);
    /// assert_eq!(conn.state(), ConnState::Closed);
    /// # }
    /// ```
    pub fn accepted(
        stream: T,
        remote_addr: impl Into<Address>,
        local_addr: impl Into<Address>,
        hook: impl Hook,
    ) -> Self {
        let conn = Conn::accepted(remote_addr.into(), local_addr.into(), Arc::new(hook));
        Self::new(stream, Sensor::new(conn))
    }

    pub(crate) fn new(stream: T, sensor: Sensor) -> Self {
        Self { stream, sensor }
    }

    /// The connection that this is the stream of.
    pub fn conn(&self) -> &Conn {
        &self.sensor.conn
    }

    /// The stream inside.
    pub fn get_ref(&self) -> &T {
        &self.stream
    }

    /// The stream inside, for setting its options.
    ///
    /// Bytes read or written through it pass unseen, and the states may be
    /// wrong from then on.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.stream
    }

    /// Takes the stream out of its instrumentation.
    ///
    /// The connection passes to someone else, so this reports
    /// [`Hijacked`](crate::ConnState::Hijacked) (after `Active`, if it was not
    /// active), unless it was hijacked before.
    pub fn into_inner(self) -> T {
        let Self { stream, sensor } = self;
        sensor.conn.leave(Fact::Taken);
        stream
    }
}

impl<T> AsRef<Conn> for ConnIo<T> {
    fn as_ref(&self) -> &Conn {
        self.conn()
    }
}

impl<T: fmt::Debug> fmt::Debug for ConnIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnIo").field("conn", self.conn()).field("stream", &self.stream).finish()
    }
}

impl<T: AsyncRead> AsyncRead for ConnIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        this.sensor.used(cx);
        let room = buf.remaining();
        let before = buf.filled().len();
        let result = this.stream.poll_read(cx, buf);
        match &result {
            Poll::Pending => this.sensor.read_pending(cx),
            Poll::Ready(Ok(())) => match &buf.filled()[before..] {
                [] if room == 0 => {}
                [] => this.sensor.ending(),
                bytes => this.sensor.read(bytes),
            },
            Poll::Ready(Err(_)) => this.sensor.ending(),
        }
        result
    }
}

impl<T: AsyncWrite> AsyncWrite for ConnIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.sensor.used(cx);
        let result = this.stream.poll_write(cx, buf);
        if let Poll::Ready(Ok(length)) = result {
            this.sensor.written([buf], length);
        }
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.sensor.used(cx);
        let result = this.stream.poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(length)) = result {
            this.sensor.written(bufs.iter().map(|buf| &**buf), length);
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        this.sensor.used(cx);
        let result = this.stream.poll_flush(cx);
        if let Poll::Ready(Ok(())) = result {
            this.sensor.flushed(cx);
        }
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        this.sensor.used(cx);
        this.sensor.ending();
        this.stream.poll_shutdown(cx)
    }
}

/// Tells a connection what passes through its stream; decides nothing.
pub(crate) struct Sensor {
    conn: Conn,
    wire: Wire,
    /// The waker that the connection was last given, to see when it changes.
    waker: Option<Waker>,
}

impl Sensor {
    pub(crate) fn new(conn: Conn) -> Self {
        Self { conn, wire: Wire::new(), waker: None }
    }

    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    #[inline]
    fn used(&mut self, cx: &Context<'_>) {
        match &self.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => {
                self.waker = Some(cx.waker().clone());
                self.conn.set_waker(cx.waker().clone());
            }
        }
        if self.conn.interest() & Interest::USED != 0 {
            self.conn.tell(Fact::Used);
        }
    }

    #[inline]
    fn read(&mut self, bytes: &[u8]) {
        let Self { conn, wire, .. } = self;
        wire.read(bytes, conn.interest(), |fact| {
            conn.tell(fact);
        });
    }

    #[inline]
    fn read_pending(&mut self, cx: &Context<'_>) {
        if self.conn.interest() & Interest::READ_PENDING != 0 && self.conn.tell(Fact::ReadPending) {
            cx.waker().wake_by_ref();
        }
    }

    fn ending(&mut self) {
        self.conn.tell(Fact::Ending);
    }

    /// `length` bytes of `bufs` were taken by the stream.
    #[inline]
    fn written<'a>(&mut self, bufs: impl IntoIterator<Item = &'a [u8]>, mut length: usize) {
        let Self { conn, wire, .. } = self;
        for buf in bufs {
            if length == 0 {
                break;
            }
            // A stream that claims to have taken more than it was given is
            // not believed.
            let taken = &buf[..length.min(buf.len())];
            length -= taken.len();
            wire.written(taken, |fact| {
                conn.tell(fact);
            });
        }
    }

    #[inline]
    fn flushed(&mut self, cx: &Context<'_>) {
        let Self { conn, wire, .. } = self;
        let mut wake = false;
        wire.flushed(conn.interest(), |fact| wake |= conn.tell(fact));
        if wake {
            cx.waker().wake_by_ref();
        }
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.conn.leave(Fact::Gone);
    }
}
