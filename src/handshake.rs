//! A connection that has been accepted and does not speak HTTP yet.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::hook::Hook;
use crate::io::{ConnIo, Sensor};
use crate::{Address, Conn};

/// An accepted connection before its TLS handshake.
///
/// Its `New` has been reported, and its stream is not instrumented: it can be
/// neither read nor written nor served, so a handshake's bytes can't be taken
/// for a request's. [`complete`](Self::complete) runs the handshake and gives
/// the stream that is to be served. If the handshake fails, or is given up
/// (a time-out, a shutdown), the connection is reported as
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
    /// Where there is no handshake to come, use [`ConnIo::accepted`].
    pub fn accepted(
        stream: T,
        remote_addr: impl Into<Address>,
        local_addr: impl Into<Address>,
        hook: impl Hook,
    ) -> Self {
        let conn = Conn::accepted(remote_addr.into(), local_addr.into(), Arc::new(hook));
        Self::new(stream, conn)
    }

    pub(crate) fn new(stream: T, conn: Conn) -> Self {
        Self { stream, sensor: Sensor::new(conn) }
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
    /// What `handshake` returns as its error, after the connection has been
    /// reported as [`Closed`](crate::ConnState::Closed). The same state is
    /// reported when the future is dropped before it is done.
    pub async fn complete<F, U, E>(self, handshake: impl FnOnce(T) -> F) -> Result<ConnIo<U>, E>
    where
        F: Future<Output = Result<U, E>>,
    {
        // The order matters: when this future is dropped in the middle, the
        // handshake, and the socket with it, goes before the sensor does.
        let Self { stream, sensor } = self;
        let stream = handshake(stream).await?;
        Ok(ConnIo::new(stream, sensor))
    }

    /// Goes on without a handshake: the stream itself speaks HTTP.
    pub fn into_io(self) -> ConnIo<T> {
        ConnIo::new(self.stream, self.sensor)
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
