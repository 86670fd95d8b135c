//! What lies between a socket and HTTP: nothing, or TLS.

use std::fmt;
use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Conn, ConnIo, Handshake};

/// Turns an accepted stream into one that speaks HTTP: [`NoTls`]
#[cfg_attr(feature = "tls", doc = "or [`Tls`](crate::Tls).")]
#[cfg_attr(not(feature = "tls"), doc = "or `Tls`.")]
///
/// Sealed: its methods may change. For another TLS library, accept with
/// [`Handshake`] in a loop of your own.
pub trait Transport<S>: sealed::Sealed + Send + Sync + 'static {
    /// The stream that speaks HTTP.
    #[doc(hidden)]
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Runs the handshake; `None` if it did not complete.
    #[doc(hidden)]
    fn handshake(
        &self,
        handshake: Handshake<S>,
    ) -> impl Future<Output = Option<ConnIo<Self::Io>>> + Send;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::NoTls {}
    #[cfg(feature = "tls")]
    impl Sealed for crate::serve::Tls {}
    impl<T: Sealed, F> Sealed for super::Inspect<T, F> {}
}

/// A look at each stream before it speaks HTTP: [`Serve::inspect_stream`].
///
/// [`Serve::inspect_stream`]: crate::Serve::inspect_stream
#[derive(Clone)]
pub struct Inspect<T, F> {
    transport: T,
    inspect: F,
}

impl<T, F> Inspect<T, F> {
    pub(super) fn new(transport: T, inspect: F) -> Self {
        Self { transport, inspect }
    }
}

impl<T, F, S> Transport<S> for Inspect<T, F>
where
    T: Transport<S>,
    F: Fn(&Conn, &T::Io) + Send + Sync + 'static,
    S: Send + 'static,
{
    type Io = T::Io;

    async fn handshake(&self, handshake: Handshake<S>) -> Option<ConnIo<T::Io>> {
        let io = self.transport.handshake(handshake).await?;
        (self.inspect)(io.conn(), io.get_ref());
        Some(io)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for Inspect<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inspect").field(&self.transport).finish()
    }
}

/// No TLS: connections speak HTTP from the start.
#[derive(Clone, Copy, Debug)]
pub struct NoTls(());

impl NoTls {
    pub(super) fn new() -> Self {
        Self(())
    }
}

impl<S> Transport<S> for NoTls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Io = S;

    async fn handshake(&self, handshake: Handshake<S>) -> Option<ConnIo<S>> {
        Some(handshake.into_io())
    }
}
