//! The instrumented stream.

pub(crate) mod sensor;

mod ending;
mod goaway;
pub(crate) mod linger;
pub(crate) mod refused;
mod timer;
mod write_waker;

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::ending::Ending;
use self::sensor::Sensor;
pub(crate) use self::timer::Timer;
use crate::conn::{Settings, Side, Socket, send_buffer};
use crate::hook::Hook;
use crate::policies::enforcer::Admission;
use crate::tracker::Fact;
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
    /// [`ConnIo::new`].
    pub struct ConnIo<T> {
        // Dropped first: a connection is reported as closed once its socket is.
        #[pin]
        stream: T,
        sensor: Sensor,
        // There from when the connection is drained, closed or shut down.
        ending: Option<Box<Ending>>,
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
        let (remote_addr, local_addr) = (remote_addr.into(), local_addr.into());
        let settings = Settings::new(hook);
        let conn = Conn::new(remote_addr, local_addr, settings, None, Admission::Unlimited);
        Self::with_sensor(stream, Sensor::new(conn))
    }

    pub(crate) fn with_sensor(stream: T, sensor: Sensor) -> Self {
        Self { stream, sensor, ending: None }
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

    /// Whether the client is given time after the server has shut down; see
    /// [`InstrumentedListener::lingering_close`](crate::InstrumentedListener::lingering_close).
    pub fn set_lingering_close(&mut self, on: bool) {
        self.sensor.set_lingers(on);
    }

    /// Takes the stream out of its instrumentation.
    ///
    /// The connection passes to someone else, so this reports
    /// [`Hijacked`](crate::ConnState::Hijacked) (after `Active`, if it was not
    /// active), unless it was hijacked before. The connection is gone then, and
    /// its place free for another, although the stream is still open: limits
    /// such as [`Policies::max_connections`](crate::Policies::max_connections)
    /// cannot follow it.
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

impl<T: AsyncRead + AsyncWrite> AsyncRead for ConnIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut this = self.project();
        let disturbed = this.sensor.is_disturbed(Side::Read, cx) && ends(this.sensor, this.ending);
        if disturbed {
            let ending = this.ending.get_or_insert_default();
            if let Some(end) = ending.before_read(this.stream.as_mut(), this.sensor, cx) {
                this.sensor.waits(Side::Read, cx);
                return end;
            }
        }
        let room = buf.remaining();
        let before = buf.filled().len();
        let result = this.stream.as_mut().poll_read(cx, buf);
        match &result {
            Poll::Pending => this.sensor.read_pending(cx),
            Poll::Ready(Ok(())) => match &buf.filled()[before..] {
                [] if room == 0 => {}
                [] => this.sensor.record(Fact::ReadClosed),
                bytes => {
                    if !this.sensor.read(bytes, cx) {
                        buf.set_filled(before);
                        let ending = this.ending.get_or_insert_default();
                        let end = ending.before_read(this.stream, this.sensor, cx);
                        this.sensor.waits(Side::Read, cx);
                        return end.unwrap_or(Poll::Pending);
                    }
                }
            },
            Poll::Ready(Err(error)) => this.sensor.read_failed(error.kind()),
        }
        if !disturbed {
            return result;
        }
        let ending = this.ending.get_or_insert_default();
        if result.is_ready() {
            ending.has_read();
        } else if ending.poll_drain(this.stream.as_mut(), this.sensor, cx) {
            // Closed from now on.
            if let Some(end) = ending.before_read(this.stream, this.sensor, cx) {
                return end;
            }
        }
        result
    }
}

impl<T: AsyncRead + AsyncWrite + 'static> AsyncWrite for ConnIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let may = ready!(self.as_mut().poll_may_write(cx))?;
        let buf = match may {
            MayWrite::All | MayWrite::Watched => buf,
            MayWrite::AtMost(most) => &buf[..buf.len().min(most)],
        };
        let mut this = self.project();
        let stream = &mut this.stream;
        let result = this
            .sensor
            .poll_write(may != MayWrite::All, cx, |cx| stream.as_mut().poll_write(cx, buf));
        this.sensor.wrote(&result, [buf], cx);
        if result.is_pending() {
            this.sensor.write_pending(|| send_buffer(&*this.stream), cx);
        }
        if may != MayWrite::All {
            this.sensor.write_goes_on(&result, taken(&result));
        }
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let may = ready!(self.as_mut().poll_may_write(cx))?;
        if let MayWrite::AtMost(_) = may {
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
            return self.poll_write(cx, first);
        }
        let mut this = self.project();
        let stream = &mut this.stream;
        let result = this.sensor.poll_write(may != MayWrite::All, cx, |cx| {
            stream.as_mut().poll_write_vectored(cx, bufs)
        });
        this.sensor.wrote(&result, bufs.iter().map(|buf| &**buf), cx);
        if result.is_pending() {
            this.sensor.write_pending(|| send_buffer(&*this.stream), cx);
        }
        if may != MayWrite::All {
            this.sensor.write_goes_on(&result, taken(&result));
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let may = ready!(self.as_mut().poll_may_write(cx))?;
        let mut this = self.project();
        let stream = &mut this.stream;
        let result =
            this.sensor.poll_write(may != MayWrite::All, cx, |cx| stream.as_mut().poll_flush(cx));
        if may != MayWrite::All {
            this.sensor.write_goes_on(&result, 0);
        }
        match &result {
            Poll::Ready(Ok(())) => {
                // A task that has nothing to wait for here may come to wait for
                // a handler, and it need not be the one that waited before.
                this.sensor.waits(Side::Write, cx);
                let flush = this.sensor.flushed(cx);
                if flush.hijacked {
                    this.sensor.conn().keep_socket(Socket::of(&*this.stream));
                }
                if let Some(ending) = this.ending {
                    if flush.bytes && ending.has_flushed(this.sensor) {
                        cx.waker().wake_by_ref();
                    }
                }
            }
            Poll::Ready(Err(error)) => this.sensor.write_failed(error.kind()),
            Poll::Pending => this.sensor.write_pending(|| send_buffer(&*this.stream), cx),
        }
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        let disturbed = this.sensor.is_disturbed(Side::Write, cx) && ends(this.sensor, this.ending);
        this.sensor.waits(Side::Write, cx);
        if this.ending.is_none() && !disturbed && !this.sensor.lingers() {
            this.sensor.record(Fact::ShutDown);
            let shut_down = this.stream.as_mut().poll_shutdown(cx);
            if shut_down.is_pending() {
                // A TLS stream has something to say at its end.
                this.sensor.end_pending(cx);
            }
            ready!(shut_down)?;
            if !this.sensor.may_linger() || !has_unread(this.stream.as_mut(), cx) {
                return Poll::Ready(Ok(()));
            }
        }
        this.sensor.record(Fact::ShutDown);
        let ending = this.ending.get_or_insert_default();
        let result = ending.poll_shutdown(this.stream, this.sensor, cx);
        if result.is_pending() && !ending.lingers() {
            this.sensor.end_pending(cx);
        }
        result
    }
}

impl<T: AsyncRead + AsyncWrite> ConnIo<T> {
    /// What the server may write: nothing while a frame of this crate's is half
    /// written, nor when the program has closed the connection, but for the rest
    /// of a frame that has begun.
    #[inline]
    fn poll_may_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<MayWrite>> {
        let this = self.as_mut().project();
        if !this.sensor.is_disturbed(Side::Write, cx) {
            return Poll::Ready(Ok(MayWrite::All));
        }
        self.poll_may_write_disturbed(cx)
    }

    #[cold]
    fn poll_may_write_disturbed(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<MayWrite>> {
        let this = self.project();
        if !ends(this.sensor, this.ending) {
            return Poll::Ready(Ok(MayWrite::Watched));
        }
        let ending = this.ending.get_or_insert_default();
        let may = ending.before_write(this.stream, this.sensor, cx);
        if may.is_pending() {
            // What the client is told waits for it to take something, and what
            // the server has to say waits behind that.
            this.sensor.end_pending(cx);
        }
        this.sensor.waits(Side::Write, cx);
        may.map_ok(|most| match most {
            usize::MAX => MayWrite::Watched,
            most => MayWrite::AtMost(most),
        })
    }
}

/// What the server may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MayWrite {
    All,
    /// All, and it is counted.
    Watched,
    /// So many bytes; counted too.
    AtMost(usize),
}

/// Whether a stream that is not left alone is drained or closed, or was: it may
/// be only watched.
#[cold]
fn ends(sensor: &Sensor, ending: &Option<Box<Ending>>) -> bool {
    ending.is_some() || !sensor.tracker().goes_on()
}

fn taken(result: &Poll<io::Result<usize>>) -> usize {
    match result {
        Poll::Ready(Ok(length)) => *length,
        _ => 0,
    }
}

/// Whether the client has sent something that nobody has read.
fn has_unread<T: AsyncRead>(stream: Pin<&mut T>, cx: &mut Context<'_>) -> bool {
    let mut scrap = [0; 1024];
    let mut buf = ReadBuf::new(&mut scrap);
    matches!(stream.poll_read(cx, &mut buf), Poll::Ready(Ok(())) if !buf.filled().is_empty())
}
