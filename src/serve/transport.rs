//! What lies between a socket and HTTP: nothing, or TLS.

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{ConnIo, Handshake};

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
