//! TLS for `serve`, with rustls.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::server::TlsStream;

use super::transport::Transport;
use crate::{ConnIo, Handshake, HandshakeError, TlsVersion, diagnostics};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS with rustls.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    timeout: Duration,
}

impl Tls {
    pub(super) fn new(acceptor: TlsAcceptor) -> Self {
        Self { acceptor, timeout: HANDSHAKE_TIMEOUT }
    }

    pub(super) fn set_timeout(&mut self, timeout: Duration) {
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
        let complete = handshake.complete(async |stream| {
            let stream = self.acceptor.accept(stream).await?;
            if let Some(version) = version(&stream) {
                conn.set_tls_version(version);
            }
            Ok::<_, io::Error>(stream)
        });
        match tokio::time::timeout(self.timeout, complete).await {
            Ok(Ok(io)) => return Some(io),
            // What went wrong, and not only that something did.
            Ok(Err(HandshakeError::Failed(error))) => diagnostics::handshake_failed(&conn, &error),
            Ok(Err(error)) => diagnostics::handshake_failed(&conn, &error),
            Err(elapsed) => diagnostics::handshake_failed(&conn, &elapsed),
        }
        None
    }
}

fn version<S>(stream: &TlsStream<S>) -> Option<TlsVersion> {
    match stream.get_ref().1.protocol_version()? {
        ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
        ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
        _ => None,
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
