//! A TLS handshake, counted and timed.

use std::time::{Duration, Instant};

use super::{Conn, now};
use crate::hook::report_handshake;

/// How a TLS handshake went: [`Hook::on_handshake`](crate::Hook::on_handshake).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeOutcome {
    /// Whether it completed. It did not if it failed, or was given up: by a
    /// time-out, a shutdown, or because the client was gone.
    pub completed: bool,
    /// How long it took.
    pub duration: Duration,
}

/// The version of TLS that a connection speaks, kept with the connection
/// ([`Conn::get`]): `1.3` for example, as OpenTelemetry writes it.
///
/// `serve` says it. In an accept loop of your own, say it before the handshake
/// is over, and the metrics have it too:
///
/// ```
/// # async fn example(
/// #     handshake: hyper_connstate::Handshake<tokio::net::TcpStream>,
/// #     acceptor: tokio_rustls::TlsAcceptor,
/// # ) {
/// use hyper_connstate::TlsVersion;
///
/// let conn = handshake.conn().clone();
/// let complete = handshake.complete(|tcp| async {
///     let tls = acceptor.accept(tcp).await?;
///     conn.insert(TlsVersion("1.3")); // as tls.get_ref().1.protocol_version() says
///     Ok::<_, std::io::Error>(tls)
/// });
/// # drop(complete);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlsVersion(pub &'static str);

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
