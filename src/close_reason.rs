//! Why a connection ended.

use std::fmt;
use std::io;

/// One table: each reason, its code in a tracker's word, and its words in a
/// log line. [`CloseReason`] is what users see; [`Reason`] is the same without
/// the kind of an I/O error, which the word has no room for. Everything else
/// follows from the table: a new row is counted, named and exported too.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)+) => {
        /// Why a connection ended: [`Conn::close_reason`](crate::Conn::close_reason).
        ///
        /// It is the first cause: if the client went away in the middle of a
        /// response, and hyper then gave up writing, the client is the reason.
        ///
        /// [`Display`](fmt::Display) says it in a few words for a log line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CloseReason {
            $($(#[$doc])* $name,)+
            /// Reading or writing failed in another way.
            Io(io::ErrorKind),
        }

        impl CloseReason {
            /// All reasons, in the order of their declaration.
            /// [`Io`](Self::Io) is there once, with
            /// [`ErrorKind::Other`](io::ErrorKind::Other), and stands for all
            /// kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+ Self::Io(io::ErrorKind::Other)];

            /// Its name in snake case, for labels and attributes: `peer_closed`,
            /// for example. It stays the same from version to version. I/O
            /// errors of all kinds are `io`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => {
                        static NAME: SnakeCase = SnakeCase::of(stringify!($name));
                        NAME.as_str()
                    })+
                    Self::Io(_) => "io",
                }
            }

            /// Where it stands in [`ALL`](Self::ALL).
            pub(crate) const fn index(self) -> usize {
                enum Index {
                    $($name,)+
                    Io,
                }
                match self {
                    $(Self::$name => Index::$name as usize,)+
                    Self::Io(_) => Index::Io as usize,
                }
            }
        }

        impl fmt::Display for CloseReason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => f.pad($text),)+
                    Self::Io(kind) => write!(f, "I/O error: {kind}"),
                }
            }
        }

        /// [`CloseReason`] without the kind of an I/O error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason {
            $($name = $code,)+
            Io = 31,
        }

        impl Reason {
            /// The inverse of `as u8`; zero is none.
            #[inline(always)]
            pub(crate) fn from_u8(code: u8) -> Option<Self> {
                match code {
                    0 => None,
                    $($code => Some(Self::$name),)+
                    _ => Some(Self::Io),
                }
            }

            pub(crate) fn with_kind(self, kind: io::ErrorKind) -> CloseReason {
                match self {
                    $(Self::$name => CloseReason::$name,)+
                    Self::Io => CloseReason::Io(kind),
                }
            }
        }

        impl From<CloseReason> for Reason {
            fn from(reason: CloseReason) -> Self {
                match reason {
                    $(CloseReason::$name => Self::$name,)+
                    CloseReason::Io(_) => Self::Io,
                }
            }
        }
    };
}

reasons! {
    /// The client closed its side, or sent a GOAWAY (HTTP/2;
    /// [`Conn::goaway_code`](crate::Conn::goaway_code) has its error code).
    PeerClosed = 1, "closed by the peer";
    /// The client, or something on the way, broke the connection off.
    PeerReset = 2, "reset by the peer";
    /// The server ended it in good order after an answer: `Connection: close`
    /// on either side, HTTP/1.0, keep-alive turned off, a body left unread. Or
    /// the new owner of a hijacked connection has dropped it.
    ServerClosed = 3, "closed by the server after an answer";
    /// [`Conn::close`](crate::Conn::close) was called.
    ClosedByProgram = 4, "closed by the program";
    /// The connection was drained, and had nothing left to do.
    ShutdownDrained = 5, "drained";
    /// A graceful shutdown ran out of time before the connection was
    /// done.
    ShutdownForced = 6, "closed by force for shutdown";
    /// The TLS handshake failed, took too long or was given up.
    HandshakeFailed = 7, "TLS handshake failed";
    /// The client sent something that hyper does not accept as HTTP. hyper
    /// answered with an error of its own (HTTP/1) or a GOAWAY with an error code
    /// (HTTP/2).
    ProtocolError = 8, "protocol error";
    /// A handler panicked while it answered an HTTP/1 request, or the response
    /// body panicked.
    HandlerPanicked = 9, "handler panicked";
    /// The server dropped the connection in the middle of a request, or while it
    /// waited for one: the service or a response body returned an error, the
    /// task was aborted, or the runtime ended.
    ///
    /// In an accept loop of your own it also stands for hyper's
    /// `header_read_timeout`, which hyper reports to your loop only.
    Aborted = 10, "aborted by the server";
    /// A time-out ended it that is not one of [`Policies`](crate::Policies):
    /// hyper's `header_read_timeout` under `serve`, or an HTTP/2 client that
    /// does not answer hyper's keep-alive PING.
    TimedOut = 11, "timed out";
    /// [`Policies::handshake_timeout`](crate::Policies::handshake_timeout).
    HandshakeTimeout = 12, "TLS handshake timed out";
    /// [`Policies::first_byte_timeout`](crate::Policies::first_byte_timeout).
    FirstByteTimeout = 13, "first byte timed out";
    /// [`Policies::header_timeout`](crate::Policies::header_timeout).
    HeaderTimeout = 14, "request head timed out";
    /// [`Policies::idle_timeout`](crate::Policies::idle_timeout).
    IdleTimeout = 15, "idle for too long";
    /// [`Policies::body_timeout`](crate::Policies::body_timeout) or
    /// [`min_body_rate`](crate::Policies::min_body_rate).
    BodyTimeout = 16, "request body timed out";
    /// [`Policies::write_timeout`](crate::Policies::write_timeout) or
    /// [`min_write_rate`](crate::Policies::min_write_rate).
    WriteTimeout = 17, "writing timed out";
    /// [`Policies::tunnel_idle_timeout`](crate::Policies::tunnel_idle_timeout).
    TunnelIdleTimeout = 18, "hijacked and idle for too long";
    /// [`Policies::max_age`](crate::Policies::max_age).
    MaxAge = 19, "reached its maximum age";
    /// [`Policies::max_requests`](crate::Policies::max_requests).
    MaxRequests = 20, "reached its maximum number of requests";
    /// [`Policies::max_connections`](crate::Policies::max_connections) or
    /// [`max_connections_per_ip`](crate::Policies::max_connections_per_ip).
    Refused = 21, "refused: too many connections";
}

impl CloseReason {
    /// Nobody broke the connection off.
    pub(crate) fn is_good_order(self) -> bool {
        use CloseReason::*;
        matches!(
            self,
            PeerClosed | ServerClosed | ShutdownDrained | IdleTimeout | MaxAge | MaxRequests
        )
    }

    /// What went wrong, as OpenTelemetry's `error.type`: in the words of
    /// ASP.NET's Kestrel where it has them, so that dashboards and alerts fit
    /// both. `None` where the connection ended in good order.
    ///
    /// [`Conn::error_type`](crate::Conn::error_type) knows what the connection
    /// was doing, too.
    pub(crate) fn error_type(self) -> Option<&'static str> {
        if self.is_good_order() {
            return None;
        }
        Some(match self.as_str() {
            "peer_reset" => "connection_reset",
            "closed_by_program" => "aborted_by_app",
            "shutdown_forced" => "app_shutdown_timeout",
            "handshake_failed" | "handshake_timeout" => "tls_handshake_failed",
            "header_timeout" => "request_headers_timeout",
            "refused" => "max_concurrent_connections_exceeded",
            "io" => "io_error",
            name => name,
        })
    }

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

/// A name in camel case turned into snake case, at compile time.
struct SnakeCase {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl SnakeCase {
    const CAPACITY: usize = 48;

    const fn of(name: &str) -> Self {
        let name = name.as_bytes();
        let mut snake = Self { bytes: [0; Self::CAPACITY], length: 0 };
        let mut index = 0;
        while index < name.len() {
            if name[index].is_ascii_uppercase() && index > 0 {
                snake = snake.with(b'_');
            }
            snake = snake.with(name[index].to_ascii_lowercase());
            index += 1;
        }
        snake
    }

    const fn with(mut self, byte: u8) -> Self {
        self.bytes[self.length] = byte;
        self.length += 1;
        self
    }

    const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(name) => name,
            // Names are ASCII.
            Err(_) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_into_five_bits_and_back() {
        assert_eq!(Reason::from_u8(0), None);
        for reason in CloseReason::ALL {
            let code = Reason::from(*reason) as u8;
            assert!((1..32).contains(&code));
            assert_eq!(Reason::from_u8(code).unwrap().with_kind(io::ErrorKind::Other), *reason);
        }
    }

    #[test]
    fn names_are_stable() {
        assert_eq!(CloseReason::PeerClosed.as_str(), "peer_closed");
        assert_eq!(CloseReason::Io(io::ErrorKind::TimedOut).as_str(), "io");
        let mut names: Vec<_> = CloseReason::ALL.iter().map(|reason| reason.as_str()).collect();
        for (index, (reason, name)) in CloseReason::ALL.iter().zip(&names).enumerate() {
            assert_eq!(reason.index(), index, "{name}");
            assert_eq!(
                name.replace('_', ""),
                format!("{reason:?}").to_lowercase().replace("(other)", "")
            );
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CloseReason::ALL.len());
    }
}
