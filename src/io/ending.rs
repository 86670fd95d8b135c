//! How a stream comes to its end: drained, closed by the program, or shut down
//! by the server.
//!
//! What is done, and in which order, is said here; whether and why, by the
//! tracker.
//!
//! - **Drained over HTTP/1**: a quiet connection is given a grace, for the
//!   request that may be under way. If it stays quiet it is closed.
//! - **Drained over HTTP/2**, where the accept loop is not this crate's: GOAWAY
//!   with the highest stream there can be, which turns nothing away. After a
//!   round trip, and when no stream is open, the connection is closed.
//! - **Closed**: over HTTP/2 a GOAWAY with the last stream that the server was
//!   given, so that the client knows which of its requests it may send again.
//!   Then the server's side is closed, and the client given time to close its
//!   own. From the first of these steps on nothing that is read is given to
//!   the server, and nothing that it writes goes out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::goaway::{ErrorCode, GoAwayWriter};
use super::linger::Linger;
use super::refused::Refused;
use super::sensor::Sensor;
use super::timer::Timer;
use crate::tracker::{Closing, Fact};
use crate::{CloseReason, Protocol};

/// After the first GOAWAY: requests that were sent before it came have arrived
/// by then.
const ROUND_TRIP: Duration = Duration::from_secs(1);

/// What came behind the last request may be the beginning of another, of which
/// nobody hears until it is whole.
const HALF_A_REQUEST: Duration = Duration::from_secs(5);

/// How long an HTTP/2 connection has to be silent before a GOAWAY. Clients
/// take up a connection again when an answer has come, and Go's loses a request
/// whose connection goes away between its being chosen and used.
const SILENCE: Duration = Duration::from_millis(10);

/// A busy connection is not waited for any longer than this.
const MOST_SILENCE: Duration = Duration::from_millis(100);

/// To a client whose request's head takes too long (RFC 9110, section 15.5.9).
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a stream that ends has been through.
#[derive(Default)]
pub(super) struct Ending {
    phase: Phase,
    drain: Drain,
    goaway: GoAwayWriter,
    linger: Option<Linger>,
    /// Of a client that is told that there is no room for it.
    refused: Option<Refused>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// The stream is the server's.
    #[default]
    Open,
    /// The client is refused, and has to be heard before it can be told.
    Hearing,
    /// The server has written half a frame, which has to become whole.
    Finishing,
    /// What the client has to know is being written.
    Telling,
    /// The server's side is being closed.
    ShuttingDown,
    /// The client is given time to close its side.
    Lingering,
    Over,
}

/// How far the drain has come.
#[derive(Default)]
enum Drain {
    #[default]
    Unseen,
    /// HTTP/1: nothing is under way.
    Quiet(Timer),
    /// HTTP/2: waits to say the first GOAWAY.
    Silence { since: Instant, timer: Timer, drained_at: Instant },
    /// HTTP/2: has said it.
    RoundTrip(Timer),
    /// HTTP/2: the client has had its time.
    Told,
}

impl Ending {
    /// Before the server reads. `Ready` if it gets nothing from the stream.
    pub(super) fn before_read<T: AsyncRead + AsyncWrite>(
        &mut self,
        stream: Pin<&mut T>,
        sensor: &Sensor,
        cx: &mut Context<'_>,
    ) -> Option<Poll<io::Result<()>>> {
        match sensor.closing()? {
            Closing::Abort => Some(Poll::Ready(Err(closed(sensor)))),
            // The end of the file.
            Closing::Graceful => Some(self.poll_close(stream, sensor, cx).map(Ok)),
        }
    }

    /// Before the server writes. `Ready` with how many bytes it may write.
    pub(super) fn before_write<T: AsyncRead + AsyncWrite>(
        &mut self,
        stream: Pin<&mut T>,
        sensor: &Sensor,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match sensor.closing() {
            None => self.goaway.poll_write(stream, cx).map_ok(|()| usize::MAX),
            Some(Closing::Abort) => Poll::Ready(Err(closed(sensor))),
            Some(Closing::Graceful) => match self.poll_close(stream, sensor, cx) {
                Poll::Pending if self.phase == Phase::Finishing => {
                    Poll::Ready(Ok(sensor.gap().map_or(0, |gap| gap.unfinished)))
                }
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => Poll::Ready(Err(closed(sensor))),
            },
        }
    }

    /// Nothing is left to be written: the client is given time.
    pub(super) fn lingers(&self) -> bool {
        self.phase == Phase::Lingering
    }

    /// The server has read something.
    pub(super) fn has_read(&mut self) {
        if let Drain::Quiet(_) = self.drain {
            self.drain = Drain::Unseen;
        }
    }

    /// The server has flushed bytes. Returns whether it has to be polled again,
    /// since the connection may be quiet from now on.
    pub(super) fn has_flushed(&mut self, sensor: &Sensor) -> bool {
        if let Drain::Silence { since, timer, .. } = &mut self.drain {
            *since = Instant::now();
            return !timer.runs();
        }
        matches!(self.drain, Drain::Unseen | Drain::Told) && sensor.tracker().is_quiet()
    }

    /// The server waits for the client, which has nothing to say: a drain goes
    /// on. Returns whether the connection is to be closed now.
    pub(super) fn poll_drain<T: AsyncRead + AsyncWrite>(
        &mut self,
        stream: Pin<&mut T>,
        sensor: &Sensor,
        cx: &mut Context<'_>,
    ) -> bool {
        let tracker = sensor.tracker();
        if !tracker.is_draining() {
            self.drain = Drain::Unseen;
            return false;
        }
        let over = match tracker.protocol() {
            // hyper's own graceful shutdown does it better: it knows when the
            // round trip is over.
            Protocol::Http2 if tracker.is_managed() => return false,
            Protocol::Http2 => self.poll_drain_http2(stream, sensor, cx),
            _ if tracker.is_quiet() => self.poll_grace(sensor, cx),
            _ => {
                self.drain = Drain::Unseen;
                Poll::Pending
            }
        };
        if over.is_ready() {
            sensor.record(Fact::GraceOver);
        }
        over.is_ready() && sensor.closing().is_some()
    }

    fn poll_grace(&mut self, sensor: &Sensor, cx: &mut Context<'_>) -> Poll<()> {
        if !matches!(self.drain, Drain::Quiet(_)) {
            let mut grace = sensor.conn().idle_grace();
            if sensor.conn().has_read_ahead() {
                grace = grace.max(HALF_A_REQUEST);
            }
            self.drain = Drain::Quiet(Timer::new(grace));
        }
        match &mut self.drain {
            Drain::Quiet(timer) => timer.poll(cx),
            _ => Poll::Pending,
        }
    }

    fn poll_drain_http2<T: AsyncRead + AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut T>,
        sensor: &Sensor,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            match &mut self.drain {
                Drain::Unseen | Drain::Quiet(_) => {
                    let now = Instant::now();
                    let timer = Timer::new(SILENCE);
                    self.drain = Drain::Silence { since: now, timer, drained_at: now };
                }
                Drain::Silence { since, timer, drained_at } => {
                    ready!(timer.poll(cx));
                    let until = (*since + SILENCE).min(*drained_at + MOST_SILENCE);
                    let wait = until.saturating_duration_since(Instant::now());
                    if timer.runs() && !wait.is_zero() {
                        *timer = Timer::new(wait);
                    } else if let Some(gap) = sensor.gap().filter(|gap| gap.is_open()) {
                        // As a rule the highest that there can be.
                        self.goaway.push(gap.highest_stream, ErrorCode::NoError);
                        self.drain = Drain::RoundTrip(Timer::new(ROUND_TRIP));
                    } else if !timer.runs() {
                        // Asked again when the bytes that are on their way are
                        // out.
                        return Poll::Pending;
                    } else {
                        // Bytes of the server's are on their way; it looks
                        // here again when they are out.
                        *since = Instant::now();
                        *drained_at = *since;
                        *timer = Timer::new(SILENCE);
                    }
                }
                Drain::RoundTrip(timer) => {
                    // An error will be the server's when it writes.
                    let _ = ready!(self.goaway.poll_flush(stream.as_mut(), cx));
                    ready!(timer.poll(cx));
                    self.drain = Drain::Told;
                }
                Drain::Told if sensor.tracker().is_quiet() => return Poll::Ready(()),
                Drain::Told => return Poll::Pending,
            }
        }
    }

    /// The program closes the connection, and nothing is under way.
    fn poll_close<T: AsyncRead + AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut T>,
        sensor: &Sensor,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let step = match self.phase {
                Phase::Open if sensor.tracker().is_refused() => Poll::Ready(Ok(Phase::Hearing)),
                Phase::Open => {
                    self.linger = Linger::begin();
                    Poll::Ready(Ok(Phase::Finishing))
                }
                Phase::Hearing => {
                    let refused = self.refused.get_or_insert_with(Refused::new);
                    ready!(refused.poll(stream.as_mut(), cx));
                    refused.answer(sensor.conn(), &mut self.goaway);
                    self.refused = None;
                    self.linger = Linger::begin();
                    Poll::Ready(Ok(Phase::Telling))
                }
                Phase::Finishing => match sensor.gap() {
                    Some(gap) if gap.unfinished > 0 => Poll::Pending,
                    Some(gap) => {
                        let head = sensor.tracker().ends_for_its_head();
                        let calm = ErrorCode::EnhanceYourCalm;
                        let code = if head { calm } else { ErrorCode::NoError };
                        self.goaway.push(gap.last_stream, code);
                        Poll::Ready(Ok(Phase::Telling))
                    }
                    None => {
                        // Idle came before, so all earlier answers are out.
                        if sensor.tracker().ends_for_its_head() && !sensor.may_be_http2() {
                            self.goaway.push_bytes(REQUEST_TIMEOUT);
                        }
                        Poll::Ready(Ok(Phase::Telling))
                    }
                },
                Phase::Telling => {
                    let told = self.poll_tell(stream.as_mut(), cx);
                    told.map_ok(|()| Phase::ShuttingDown)
                }
                Phase::ShuttingDown => {
                    sensor.record(Fact::ShutDown);
                    stream.as_mut().poll_shutdown(cx).map_ok(|()| Phase::Lingering)
                }
                Phase::Lingering => self.poll_linger(stream.as_mut(), cx).map(|()| Ok(Phase::Over)),
                Phase::Over => return Poll::Ready(()),
            };
            self.phase = match step {
                Poll::Ready(Ok(next)) => next,
                Poll::Ready(Err(_)) => Phase::Over,
                // Every step is bounded, since a client may take nothing any
                // more.
                Poll::Pending => match self.linger.as_mut().map(|linger| linger.poll_timer(cx)) {
                    Some(Poll::Pending) => return Poll::Pending,
                    _ => Phase::Over,
                },
            };
        }
    }

    fn poll_tell<T: AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut T>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.goaway.poll_flush(stream.as_mut(), cx))?;
        stream.poll_flush(cx)
    }

    fn poll_linger<T: AsyncRead>(&mut self, stream: Pin<&mut T>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.linger {
            Some(linger) => linger.poll(stream, cx),
            None => Poll::Ready(()),
        }
    }

    /// The server shuts the stream down itself.
    pub(super) fn poll_shutdown<T: AsyncRead + AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut T>,
        sensor: &Sensor,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match sensor.closing() {
            Some(Closing::Abort) => return Poll::Ready(Err(closed(sensor))),
            Some(Closing::Graceful) => return self.poll_close(stream, sensor, cx).map(Ok),
            None => {}
        }
        if self.phase == Phase::Open {
            ready!(self.goaway.poll_write(stream.as_mut(), cx))?;
            self.phase = Phase::ShuttingDown;
        }
        if self.phase == Phase::ShuttingDown {
            ready!(stream.as_mut().poll_shutdown(cx))?;
            self.linger = Linger::begin();
            self.phase = Phase::Lingering;
        }
        self.poll_linger(stream, cx).map(Ok)
    }
}

/// What the server is told when it reads or writes then, and handlers that read
/// a body.
fn closed(sensor: &Sensor) -> io::Error {
    let reason = sensor.tracker().first_cause().unwrap_or(CloseReason::ClosedByProgram);
    let kind = match reason {
        CloseReason::BodyTimeout | CloseReason::WriteTimeout => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::ConnectionAborted,
    };
    let conn = sensor.conn();
    io::Error::new(kind, format!("connection {} from {}: {reason}", conn.id(), conn.remote_addr()))
}
