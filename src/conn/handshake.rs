//! A TLS handshake, counted and timed.

use std::fmt;
use std::time::{Duration, Instant};

use super::{Conn, now};
use crate::hook::report_handshake;
use crate::sync::atomic::{AtomicU8, Ordering};

/// How a TLS handshake went: [`Hook::on_handshake`](crate::Hook::on_handshake).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeOutcome {
    /// Whether it completed. If not, it failed or was given up: by a time-out, a
    /// shutdown, or because the client was gone.
    pub completed: bool,
    /// How long it took.
    pub duration: Duration,
}

/// The version of TLS that a connection speaks: [`Conn::tls_version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl TlsVersion {
    /// As OpenTelemetry's `tls.protocol.version`: `1.2`, `1.3`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

/// As [`TlsVersion::as_str`].
impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A [`TlsVersion`] that may be known.
#[derive(Default)]
pub(super) struct AtomicTlsVersion(AtomicU8);

impl Conn {
    /// The version of TLS, if it is known. `serve` sets it.
    pub fn tls_version(&self) -> Option<TlsVersion> {
        match self.0.tls_version.0.load(Ordering::Relaxed) {
            1 => Some(TlsVersion::Tls12),
            2 => Some(TlsVersion::Tls13),
            _ => None,
        }
    }

    /// Sets the version of TLS. In an accept loop of your own, call it before
    /// the handshake is over, so that
    /// [`Hook::on_handshake`](crate::Hook::on_handshake) and the metrics know:
    ///
    /// ```
    /// # async fn example(
    /// #     handshake: hyper_connstate::Handshake<tokio::net::TcpStream>,
    /// #     acceptor: tokio_rustls::TlsAcceptor,
    /// # ) {
    /// use hyper_connstate::TlsVersion;
    /// use rustls::ProtocolVersion;
    ///
    /// let conn = handshake.conn().clone();
    /// let complete = handshake.complete(async |tcp| {
    ///     let tls = acceptor.accept(tcp).await?;
    ///     if tls.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
    ///         conn.set_tls_version(TlsVersion::Tls13);
    ///     }
    ///     Ok::<_, std::io::Error>(tls)
    /// });
    /// # drop(complete);
    /// # }
    /// ```
    pub fn set_tls_version(&self, version: TlsVersion) {
        let code = match version {
            TlsVersion::Tls12 => 1,
            TlsVersion::Tls13 => 2,
        };
        self.0.tls_version.0.store(code, Ordering::Relaxed);
    }
}

/// A handshake that is under way; one that is dropped has failed.
pub(crate) struct HandshakeRun {
    conn: Conn,
    began: Instant,
    /// The registry knows of it. A connection may be added to one later.
    counted: bool,
    completed: bool,
}

impl HandshakeRun {
    pub(crate) fn begin(conn: &Conn) -> Self {
        let observer = conn.observer();
        if let Some(observer) = observer {
            observer.handshake_began(conn);
        }
        let counted = observer.is_some();
        Self { conn: conn.clone(), began: now(), counted, completed: false }
    }

    pub(crate) fn complete(mut self) {
        self.completed = true;
    }
}

impl Drop for HandshakeRun {
    fn drop(&mut self) {
        if let Some(observer) = self.conn.observer().filter(|_| self.counted) {
            observer.handshake_ended(&self.conn, self.completed);
        }
        let outcome = HandshakeOutcome {
            completed: self.completed,
            duration: now().saturating_duration_since(self.began),
        };
        report_handshake(&self.conn.settings().hook, &self.conn, outcome);
    }
}
