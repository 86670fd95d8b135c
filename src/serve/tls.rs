//! What lies between a socket and HTTP.

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{ConnIo, Handshake};

/// Turns an accepted stream into one that speaks HTTP: [`NoTls`]
#[cfg_attr(feature = "tls", doc = "or [`Tls`].")]
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
    impl Sealed for super::Tls {}
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

#[cfg(feature = "tls")]
pub use self::rustls::Tls;

#[cfg(feature = "tls")]
mod rustls {
    use std::fmt;
    use std::time::Duration;

    use tokio::io::{AsyncRead, AsyncWrite};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::server::TlsStream;

    use super::Transport;
    use crate::{ConnIo, Handshake, diagnostics};

    const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

    /// TLS with rustls.
    #[derive(Clone)]
    pub struct Tls {
        acceptor: TlsAcceptor,
        timeout: Duration,
    }

    impl Tls {
        pub(in crate::serve) fn new(acceptor: TlsAcceptor) -> Self {
            Self { acceptor, timeout: HANDSHAKE_TIMEOUT }
        }

        pub(in crate::serve) fn set_timeout(&mut self, timeout: Duration) {
            self.timeout = timeout;
        }
    }

    impl<S> Transport<S> for Tls
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        type Io = TlsStream<S>;

        async fn handshake(&self, handshake: Handshake<S>) -> Option<ConnIo<TlsStream<S>>> {
            let conn = handshake.conn().clone();
            let complete = handshake.complete(|stream| self.acceptor.accept(stream));
            match tokio::time::timeout(self.timeout, complete).await {
                Ok(Ok(io)) => return Some(io),
                Ok(Err(error)) => diagnostics::handshake_failed(&conn, &error),
                Err(elapsed) => diagnostics::handshake_failed(&conn, &elapsed),
            }
            None
        }
    }

    impl fmt::Debug for Tls {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Tls").field("timeout", &self.timeout).finish_non_exhaustive()
        }
    }
}
