//! What lies between a socket and HTTP.

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{ConnIo, Handshake};

/// Makes of an accepted stream what speaks HTTP.
pub trait Transport<S>: Send + Sync + 'static {
    /// What speaks HTTP.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Runs the handshake; `None` if it did not complete.
    fn handshake(
        &self,
        handshake: Handshake<S>,
    ) -> impl Future<Output = Option<ConnIo<Self::Io>>> + Send;
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

    const DEADLINE: Duration = Duration::from_secs(10);

    /// TLS with rustls.
    #[derive(Clone)]
    pub struct Tls {
        acceptor: TlsAcceptor,
        deadline: Duration,
    }

    impl Tls {
        pub(in crate::serve) fn new(acceptor: TlsAcceptor) -> Self {
            Self { acceptor, deadline: DEADLINE }
        }

        pub(in crate::serve) fn set_deadline(&mut self, deadline: Duration) {
            self.deadline = deadline;
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
            match tokio::time::timeout(self.deadline, complete).await {
                Ok(Ok(io)) => return Some(io),
                Ok(Err(error)) => diagnostics::handshake_failed(&conn, &error),
                Err(elapsed) => diagnostics::handshake_failed(&conn, &elapsed),
            }
            None
        }
    }

    impl fmt::Debug for Tls {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Tls").field("deadline", &self.deadline).finish_non_exhaustive()
        }
    }
}
