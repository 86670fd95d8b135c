//! The states a connection can be in, and which may follow which.

use std::fmt;

/// What a server connection is doing, as in Go's `http.ConnState`.
///
/// ```text
/// New ──▶ Active ──▶ Idle ──▶ Active …
///  │        ├──▶ Hijacked            (terminal)
///  └────────┴──▶ Closed ◀── Idle     (terminal)
/// ```
///
/// There will be no others, so you can match on the five states without a
/// wildcard arm.
///
/// [`Display`](fmt::Display) gives the words Go prints:
///
/// ```
/// use hyper_connstate::ConnState;
///
/// assert_eq!(ConnState::Hijacked.to_string(), "hijacked");
/// assert!(ConnState::Hijacked.is_terminal());
/// assert!(!ConnState::Idle.is_terminal());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnState {
    /// The connection has been accepted and has sent nothing yet.
    ///
    /// Every connection begins here. Next comes [`Active`](Self::Active) or
    /// [`Closed`](Self::Closed).
    New,

    /// The connection has a request under way.
    ///
    /// HTTP/1: the first byte of a request has been read, and the request has
    /// not been answered in full. HTTP/2: at least one stream is open.
    Active,

    /// Every request has been answered in full, the bytes of the responses are
    /// in the socket, and the connection is kept for another request.
    Idle,

    /// The stream has passed to a new owner, after an upgrade (`101 Switching
    /// Protocols`) or a `CONNECT` over HTTP/1.
    ///
    /// Terminal: nothing is reported after it, not even
    /// [`Closed`](Self::Closed). [`Conn::closed`](crate::Conn::closed) and
    /// [`Hook::on_end`](crate::Hook::on_end) tell when the stream is gone.
    Hijacked,

    /// The connection is over and its socket closed.
    ///
    /// Terminal.
    Closed,
}

impl ConnState {
    /// Whether nothing is reported after this state: `Hijacked` and `Closed`.
    #[inline]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Hijacked | Self::Closed)
    }

    /// Go's word for the state, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Hijacked => "hijacked",
            Self::Closed => "closed",
        }
    }

    /// The diagram above as data: whether `next` may be reported after `self`.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        match self {
            Self::New => matches!(next, Self::Active | Self::Closed),
            Self::Active => matches!(next, Self::Idle | Self::Hijacked | Self::Closed),
            Self::Idle => matches!(next, Self::Active | Self::Closed),
            Self::Hijacked | Self::Closed => false,
        }
    }

    /// In three bits, of which the highest says whether the state is terminal.
    #[inline(always)]
    pub(crate) const fn to_u8(self) -> u8 {
        // 0, 1, 2 and 4, 5.
        self as u8 + self.is_terminal() as u8
    }

    pub(crate) const TERMINAL: u8 = 4;

    /// The inverse of [`to_u8`](Self::to_u8).
    #[inline(always)]
    pub(crate) const fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::New,
            1 => Self::Active,
            2 => Self::Idle,
            Self::TERMINAL => Self::Hijacked,
            _ => Self::Closed,
        }
    }
}

impl fmt::Display for ConnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which protocol a connection speaks, as far as its bytes have told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Too little has been read to tell.
    Unknown,
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 (RFC 9113), over TLS or in the clear.
    Http2,
}

impl Protocol {
    pub(crate) const fn to_u8(self) -> u8 {
        self as u8
    }

    /// As OpenTelemetry's `network.protocol.version`, once it is known. HTTP/1.0
    /// counts as 1.1: what a connection speaks differs from request to request.
    #[cfg(any(feature = "metrics", feature = "opentelemetry", feature = "tracing"))]
    pub(crate) const fn version(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Http1 => Some("1.1"),
            Self::Http2 => Some("2"),
        }
    }

    /// The inverse of [`to_u8`](Self::to_u8).
    pub(crate) const fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Http1,
            2 => Self::Http2,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Http1 => "HTTP/1",
            Self::Http2 => "HTTP/2",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        use ConnState::*;
        for state in [New, Active, Idle, Hijacked, Closed] {
            assert_eq!(ConnState::from_u8(state.to_u8()), state);
        }
        for protocol in [Protocol::Unknown, Protocol::Http1, Protocol::Http2] {
            assert_eq!(Protocol::from_u8(protocol.to_u8()), protocol);
        }
    }

    /// As in Go, and so that arrays can be indexed with them.
    #[test]
    fn states_are_numbered_from_zero() {
        use ConnState::*;
        let numbers = [New, Active, Idle, Hijacked, Closed].map(|state| state as usize);
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn nothing_follows_a_terminal_state() {
        use ConnState::*;
        for state in [New, Active, Idle, Hijacked, Closed] {
            let has_successor = [New, Active, Idle, Hijacked, Closed]
                .into_iter()
                .any(|next| state.may_become(next));
            assert_eq!(has_successor, !state.is_terminal(), "{state}");
        }
    }
}
