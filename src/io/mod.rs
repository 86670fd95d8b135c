//! The instrumented stream.

pub(crate) mod sensor;

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use self::sensor::Sensor;
use crate::conn::Side;
use crate::hook::Hook;
use crate::tracker::{Closing, Fact};
use crate::{Address, Conn};

/// How often a client that is given time is read from before other tasks have
/// their turn.
const LINGER_READS: usize = 16;

/// How long a client may take to close its side of a connection that the
/// program closes; Go's `rstAvoidanceDelay`.
const LINGER: Duration = Duration::from_millis(500);

pin_project! {
    /// A stream whose bytes tell what its connection is doing.
    ///
    /// It forwards everything to the stream inside and changes nothing of
    /// what passes. Dropping it closes the stream, then reports
    /// [`Closed`](crate::ConnState::Closed).
    ///
    /// A [`InstrumentedListener`](crate::InstrumentedListener) hands these
    /// out. For a stream that came from elsewhere there is
    /// [`ConnIo::new`].
    pub struct ConnIo<T> {
        // Dropped first: a connection is reported as closed once its socket is.
        #[pin]
        stream: T,
        sensor: Sensor,
        // Runs while a client is given time to close its side.
        linger: Option<Pin<Box<Sleep>>>,
    }
}

impl<T> ConnIo<T> {
    /// Instruments a stream that was accepted elsewhere, and reports its
    /// connection as [`New`](crate::ConnState::New).
    ///
    /// For a server over in-memory streams, or an accept loop that cannot be
    /// given an [`InstrumentedListener`](crate::InstrumentedListener). Call it
    /// right after accepting; where a TLS handshake comes first, use
    /// [`Handshake::new`](crate::Handshake::new).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use hyper_connstate::{Address, Conn, ConnIo, ConnState};
    ///
    /// let (_client, server) = tokio::io::duplex(1024);
    /// let hook = |conn: &Conn, state: ConnState| println!("{}: {state}", conn.id());
    /// let io = ConnIo::new(server, Address::Unknown, Address::Unknown, hook);
    ///
    /// let conn = io.conn().clone();
    /// assert_eq!(conn.state(), ConnState::New);
    /// drop(io);
    /// assert_eq!(conn.state(), ConnState::Closed);
    /// # }
    /// ```
    pub fn new(
        stream: T,
        remote_addr: impl Into<Address>,
        local_addr: impl Into<Address>,
        hook: impl Hook,
    ) -> Self {
        let conn = Conn::new(remote_addr.into(), local_addr.into(), Arc::new(hook), None);
        Self::with_sensor(stream, Sensor::new(conn))
    }

    pub(crate) fn with_sensor(stream: T, sensor: Sensor) -> Self {
        Self { stream, sensor, linger: None }
    }

    /// The connection that this is the stream of.
    pub fn conn(&self) -> &Conn {
        self.sensor.conn()
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
        let Self { stream, sensor, .. } = self;
        sensor.record(Fact::Detached);
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
        match this.sensor.used(Side::Read, cx) {
            None => {}
            Some(Closing::Graceful) => return Poll::Ready(Ok(())),
            Some(Closing::Abort) => return Poll::Ready(Err(closed())),
        }
        let room = buf.remaining();
        let before = buf.filled().len();
        let result = this.stream.poll_read(cx, buf);
        match &result {
            Poll::Pending => this.sensor.read_pending(cx),
            Poll::Ready(Ok(())) => match &buf.filled()[before..] {
                [] if room == 0 => {}
                [] => this.sensor.record(Fact::ReadClosed),
                bytes => this.sensor.read(bytes, cx),
            },
            Poll::Ready(Err(error)) => this.sensor.read_failed(error.kind()),
        }
        result
    }
}

impl<T: AsyncRead + AsyncWrite> AsyncWrite for ConnIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let closing = this.sensor.used(Side::Write, cx);
        let result = write(closing, || this.stream.poll_write(cx, buf));
        this.sensor.wrote(&result, [buf], cx);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let closing = this.sensor.used(Side::Write, cx);
        let result = write(closing, || this.stream.poll_write_vectored(cx, bufs));
        this.sensor.wrote(&result, bufs.iter().map(|buf| &**buf), cx);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let closing = this.sensor.used(Side::Write, cx);
        let result = write(closing, || this.stream.poll_flush(cx));
        match &result {
            Poll::Ready(Ok(())) => {
                // A task that has nothing to wait for here may come to wait for
                // a handler, and it need not be the one that waited before.
                this.sensor.waits(Side::Write, cx);
                this.sensor.flushed(cx);
            }
            Poll::Ready(Err(error)) => this.sensor.write_failed(error.kind()),
            Poll::Pending => this.sensor.waits(Side::Write, cx),
        }
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        let closing = this.sensor.used(Side::Write, cx);
        this.sensor.waits(Side::Write, cx);
        this.sensor.record(Fact::ShutDown);
        if this.linger.is_none() {
            let mut shutdown = || this.stream.as_mut().poll_shutdown(cx);
            match closing {
                None => return shutdown(),
                Some(closing) => ready!(write(Some(closing), shutdown))?,
            }
            if !this.sensor.has_written() {
                return Poll::Ready(Ok(()));
            }
        }
        // The system drops what is under way to a client when it gets more
        // bytes for a socket that is closed, or closes one with bytes unread.
        let linger = this.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if closing != Some(Closing::Graceful) || linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scrap = [0; 4096];
        for _ in 0..LINGER_READS {
            let mut buf = ReadBuf::new(&mut scrap);
            match ready!(this.stream.as_mut().poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
        // A flood: let others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Writes, flushes or shuts down. A stream that has to end does not wait.
fn write<R>(
    closing: Option<Closing>,
    poll: impl FnOnce() -> Poll<io::Result<R>>,
) -> Poll<io::Result<R>> {
    match closing {
        None => poll(),
        Some(Closing::Graceful) => match poll() {
            Poll::Pending => Poll::Ready(Err(closed())),
            ready => ready,
        },
        Some(Closing::Abort) => Poll::Ready(Err(closed())),
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the program has closed the connection")
}
