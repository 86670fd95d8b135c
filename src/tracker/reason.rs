//! Close reasons, as they fit into a tracker's word.

use std::io;

use crate::close_reason::CloseReason;

/// [`CloseReason`] without the kind of an I/O error, which
/// the word has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    PeerClosed = 1,
    PeerReset,
    ServerClosed,
    ClosedByProgram,
    ShutdownDrained,
    ShutdownForced,
    HandshakeFailed,
    ProtocolError,
    HandlerPanicked,
    Aborted,
    Io,
}

impl Reason {
    /// The inverse of `as u8`; zero is none.
    #[inline(always)]
    pub(super) fn from_u8(code: u8) -> Option<Self> {
        Some(match code {
            0 => return None,
            1 => Self::PeerClosed,
            2 => Self::PeerReset,
            3 => Self::ServerClosed,
            4 => Self::ClosedByProgram,
            5 => Self::ShutdownDrained,
            6 => Self::ShutdownForced,
            7 => Self::HandshakeFailed,
            8 => Self::ProtocolError,
            9 => Self::HandlerPanicked,
            10 => Self::Aborted,
            _ => Self::Io,
        })
    }

    pub(super) fn with_kind(self, kind: io::ErrorKind) -> CloseReason {
        match self {
            Self::PeerClosed => CloseReason::PeerClosed,
            Self::PeerReset => CloseReason::PeerReset,
            Self::ServerClosed => CloseReason::ServerClosed,
            Self::ClosedByProgram => CloseReason::ClosedByProgram,
            Self::ShutdownDrained => CloseReason::ShutdownDrained,
            Self::ShutdownForced => CloseReason::ShutdownForced,
            Self::HandshakeFailed => CloseReason::HandshakeFailed,
            Self::ProtocolError => CloseReason::ProtocolError,
            Self::HandlerPanicked => CloseReason::HandlerPanicked,
            Self::Aborted => CloseReason::Aborted,
            Self::Io => CloseReason::Io(kind),
        }
    }
}

impl From<CloseReason> for Reason {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::PeerClosed => Self::PeerClosed,
            CloseReason::PeerReset => Self::PeerReset,
            CloseReason::ServerClosed => Self::ServerClosed,
            CloseReason::ClosedByProgram => Self::ClosedByProgram,
            CloseReason::ShutdownDrained => Self::ShutdownDrained,
            CloseReason::ShutdownForced => Self::ShutdownForced,
            CloseReason::HandshakeFailed => Self::HandshakeFailed,
            CloseReason::ProtocolError => Self::ProtocolError,
            CloseReason::HandlerPanicked => Self::HandlerPanicked,
            CloseReason::Aborted => Self::Aborted,
            CloseReason::Io(_) => Self::Io,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_round_trip() {
        assert_eq!(Reason::from_u8(0), None);
        for code in 1..=11 {
            let reason = Reason::from_u8(code).unwrap();
            assert_eq!(reason as u8, code);
            let kind = io::ErrorKind::TimedOut;
            assert_eq!(Reason::from(reason.with_kind(kind)), reason);
        }
    }
}
