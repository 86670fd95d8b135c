//! A connection that has been accepted and does not speak HTTP yet.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::conn::{HandshakeRun, Settings, Side};
use crate::hook::Hook;
use crate::io::refused::PATIENCE;
use crate::io::sensor::Sensor;
use crate::io::{ConnIo, Timer};
use crate::policies::enforcer::Admission;
use crate::tracker::Fact;
use crate::{Address, Conn};

/// An accepted connection before its TLS handshake.
///
/// Its `New` has been reported. Its stream is not instrumented yet, and can be
/// neither read nor written nor served, so that nothing takes the handshake's
/// bytes for a request's. [`complete`](Self::complete) runs the handshake and
/// returns the stream to serve. If the handshake fails or is given up (a
/// time-out, a shutdown), the connection is reported as
/// [`Closed`](crate::ConnState::Closed).
///
/// # Example
///
/// ```no_run
/// # async fn example(
/// #     mut listener: hyper_connstate::InstrumentedListener<tokio::net::TcpListener>,
/// #     acceptor: tokio_rustls::TlsAcceptor,
/// # ) -> std::io::Result<()> {
/// use std::time::Duration;
///
/// loop {
///     let handshake = listener.accept_handshake().await?;
///     let acceptor = acceptor.clone();
///     // In a task of its own: a slow handshake must not hold up accepting.
///     tokio::spawn(async move {
///         let complete = handshake.complete(|tcp| acceptor.accept(tcp));
///         let Ok(Ok(io)) = tokio::time::timeout(Duration::from_secs(10), complete).await else {
///             return; // failed or too slow: Closed has been reported
///         };
///         // `io` is a ConnIo<TlsStream<TcpStream>>, ready to be served.
///         # drop(io);
///     });
/// }
/// # }
/// ```
#[must_use = "dropping it closes the connection"]
pub struct Handshake<T> {
    // Dropped first: a connection is reported as closed once its socket is.
    stream: T,
    sensor: Sensor,
}

impl<T> Handshake<T> {
    /// Begins with a stream that was accepted elsewhere, and reports its
    /// connection as [`New`](crate::ConnState::New).
    ///
    /// If there is no handshake, use [`ConnIo::new`].
    pub fn new(
        stream: T,
        remote_addr: impl Into<Address>,
        local_addr: impl Into<Address>,
        hook: impl Hook,
    ) -> Self {
        let (remote_addr, local_addr) = (remote_addr.into(), local_addr.into());
        let settings = Settings::new(hook);
        let conn = Conn::new(remote_addr, local_addr, settings, None, Admission::Unlimited);
        Self::begin(stream, conn)
    }

    pub(crate) fn begin(stream: T, conn: Conn) -> Self {
        let sensor = Sensor::new(conn);
        sensor.record(Fact::HandshakeBegan);
        Self { stream, sensor }
    }

    /// The connection.
    pub fn conn(&self) -> &Conn {
        self.sensor.conn()
    }

    /// The stream, for looking at it and setting its options.
    pub fn get_ref(&self) -> &T {
        &self.stream
    }

    /// Runs the handshake and instruments what comes out of it.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Failed`] with the error of `handshake`, or
    /// [`HandshakeError::Closed`] if the connection was ended meanwhile, or if it
    /// is [refused](crate::Policies::refusal) and the handshake takes more than
    /// five seconds. The connection has been reported as
    /// [`Closed`](crate::ConnState::Closed) by then. It is, too, if you drop
    /// this future before it is done.
    pub async fn complete<F, U, E>(
        self,
        handshake: impl FnOnce(T) -> F,
    ) -> Result<ConnIo<U>, HandshakeError<E>>
    where
        F: Future<Output = Result<U, E>>,
    {
        // The order matters: when this future is dropped in the middle, the
        // handshake, and the socket with it, goes before the sensor does.
        let Self { stream, mut sensor } = self;
        let run = HandshakeRun::begin(sensor.conn());
        let stream = {
            let mut handshake = pin!(handshake(stream));
            let mut grace = None;
            let refused = sensor.tracker().is_refused();
            let mut patience = refused.then(|| Timer::new(PATIENCE));
            poll_fn(|cx| {
                sensor.waits(Side::Read, cx);
                // There are few places among those that are told.
                if patience.as_mut().is_some_and(|timer| timer.poll(cx).is_ready()) {
                    return Poll::Ready(Err(HandshakeError::Closed));
                }
                if sensor.conn().is_draining() {
                    let timer = grace.get_or_insert_with(|| Timer::new(sensor.conn().idle_grace()));
                    if timer.poll(cx).is_ready() {
                        sensor.record(Fact::GraceOver);
                    }
                }
                if sensor.conn().closing().is_some() {
                    return Poll::Ready(Err(HandshakeError::Closed));
                }
                handshake.as_mut().poll(cx).map_err(HandshakeError::Failed)
            })
            .await?
        };
        sensor.conn().set_ready();
        run.complete();
        sensor.record(Fact::HandshakeDone);
        Ok(ConnIo::with_sensor(stream, sensor))
    }

    /// Goes on without a handshake: the stream itself speaks HTTP.
    pub fn into_io(self) -> ConnIo<T> {
        self.sensor.record(Fact::HandshakeDone);
        ConnIo::with_sensor(self.stream, self.sensor)
    }
}

impl<T> AsRef<Conn> for Handshake<T> {
    fn as_ref(&self) -> &Conn {
        self.conn()
    }
}

impl<T: fmt::Debug> fmt::Debug for Handshake<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("conn", self.conn())
            .field("stream", &self.stream)
            .finish()
    }
}

/// Why a [`Handshake`] did not complete.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandshakeError<E> {
    /// The handshake failed.
    Failed(E),
    /// The connection was ended meanwhile: by [`Conn::close`], a shutdown, a
    /// [`handshake_timeout`](crate::Policies::handshake_timeout), or because it
    /// was [refused](crate::Policies::refusal). [`Conn::close_reason`] says which.
    Closed,
}

impl<E> fmt::Display for HandshakeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed(_) => "the handshake failed",
            Self::Closed => "the connection was ended during the handshake, by a time-out, a shutdown or `Conn::close`",
        })
    }
}

impl<E: Error + 'static> Error for HandshakeError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Closed => None,
        }
    }
}
