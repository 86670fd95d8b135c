//! Why a connection ended.

use std::fmt;
use std::io;

/// Why a connection ended: [`Conn::close_reason`](crate::Conn::close_reason).
///
/// It is the first cause: where the client went away in the middle of an
/// answer, and hyper then gave up writing, the client is the reason.
///
/// [`Display`](fmt::Display) says it in a few words for a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed its side.
    PeerClosed,
    /// The client, or something on the way, broke the connection off.
    PeerReset,
    /// The server ended it in good order after an answer: `Connection: close`
    /// on either side, HTTP/1.0, keep-alive turned off, a body left unread.
    ServerClosed,
    /// [`Conn::close`](crate::Conn::close) was called.
    ClosedByProgram,
    /// A graceful shutdown: there was nothing left to do.
    ShutdownDrained,
    /// A graceful shutdown reached its deadline before the connection was
    /// done.
    ShutdownForced,
    /// The TLS handshake failed, took too long or was given up.
    HandshakeFailed,
    /// What the client sent was not HTTP as hyper takes it: it answered with
    /// an error of its own (HTTP/1) or a GOAWAY with an error code (HTTP/2).
    ProtocolError,
    /// A handler panicked while it answered an HTTP/1 request, or its response
    /// body did.
    HandlerPanicked,
    /// The server let go of the stream in the middle: the service or a
    /// response body returned an error, a time-out of hyper's ran off, the
    /// task was aborted, the runtime ended.
    Aborted,
    /// Reading or writing failed in another way.
    Io(io::ErrorKind),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PeerClosed => "closed by the peer",
            Self::PeerReset => "reset by the peer",
            Self::ServerClosed => "closed by the server after an answer",
            Self::ClosedByProgram => "closed by the program",
            Self::ShutdownDrained => "drained for shutdown",
            Self::ShutdownForced => "closed by force for shutdown",
            Self::HandshakeFailed => "TLS handshake failed",
            Self::ProtocolError => "protocol error",
            Self::HandlerPanicked => "handler panicked",
            Self::Aborted => "aborted by the server",
            Self::Io(kind) => return write!(f, "I/O error: {kind}"),
        })
    }
}

impl CloseReason {
    /// What an error of reading or writing says.
    pub(crate) fn of_io(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::PeerReset,
            // What rustls says of a stream that ends without close_notify.
            io::ErrorKind::UnexpectedEof => Self::PeerClosed,
            kind => Self::Io(kind),
        }
    }
}
