//! Which errors of accepting pass, and what to do until they have.

use std::io;
use std::time::Duration;

use super::Accepted;
use crate::diagnostics;
use crate::{Accept, InstrumentedListener};

/// As in Go's `http.Server.Serve`: from here, doubled each time, to there.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// So many connections may be lost in a row, before one was accepted, until it
/// looks as if the listener had nothing else to say.
const MOST_TRANSIENT: u32 = 16;

/// What an accept error says about the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptError {
    /// One connection was lost before it was accepted; the next is fine.
    Transient,
    /// Something has run out that will be there again.
    Exhausted,
    /// The listener is of no use any more.
    Fatal,
}

impl AcceptError {
    fn of(error: &io::Error) -> Self {
        use io::ErrorKind::*;
        match error.kind() {
            ConnectionRefused | ConnectionAborted | ConnectionReset | Interrupted | WouldBlock
            | TimedOut | HostUnreachable | NetworkUnreachable | NetworkDown => Self::Transient,
            OutOfMemory => Self::Exhausted,
            _ => error.raw_os_error().map_or(Self::Fatal, Self::of_os_error),
        }
    }

    /// accept(2): "Linux accept() passes already-pending network errors on the
    /// new socket as an error code", and how to treat them.
    #[cfg(unix)]
    fn of_os_error(code: i32) -> Self {
        match code {
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => Self::Exhausted,
            libc::EPROTO | libc::ENOPROTOOPT | libc::EHOSTDOWN | libc::EOPNOTSUPP => {
                Self::Transient
            }
            // "Firewall rules forbid connection", says accept(2): this one.
            libc::EPERM => Self::Transient,
            #[cfg(target_os = "linux")]
            libc::ENONET => Self::Transient,
            _ => Self::Fatal,
        }
    }

    #[cfg(not(unix))]
    fn of_os_error(code: i32) -> Self {
        const WSAEMFILE: i32 = 10024;
        const WSAENOBUFS: i32 = 10055;
        match code {
            WSAEMFILE | WSAENOBUFS => Self::Exhausted,
            _ => Self::Fatal,
        }
    }
}

/// Accepts, past the errors that pass.
///
/// When file descriptors or memory have run out it waits, longer each time,
/// but no longer than until one of the listener's connections is gone and has
/// left room.
///
/// # Errors
///
/// Those that do not pass.
pub(crate) async fn accept<L: Accept>(
    listener: &mut InstrumentedListener<L>,
) -> io::Result<Accepted<L>> {
    let mut pause = FIRST_PAUSE;
    let mut transient = 0;
    let connections = listener.connections();
    loop {
        // Enlisted before the try, so that no room that comes free is missed.
        let mut room = std::pin::pin!(connections.one_gone());
        room.as_mut().enable();
        let error = match listener.accept_stream().await {
            Ok(accepted) => return Ok(accepted),
            Err(error) => error,
        };
        let kind = AcceptError::of(&error);
        connections.accept_failed(|errors| match kind {
            AcceptError::Transient => errors.lost += 1,
            AcceptError::Exhausted => errors.exhausted += 1,
            AcceptError::Fatal => errors.fatal += 1,
        });
        match kind {
            // A listener may have some of these at once; others have their turn.
            AcceptError::Transient if transient < MOST_TRANSIENT => {
                transient += 1;
                tokio::task::yield_now().await;
            }
            AcceptError::Transient | AcceptError::Exhausted => {
                diagnostics::accept_failed(&error, pause);
                let _ = tokio::time::timeout(pause, room).await;
                pause = LAST_PAUSE.min(pause * 2);
            }
            AcceptError::Fatal => return Err(error),
        }
    }
}

/// [`accept`], for interfaces that have no room for an error.
#[cfg(feature = "axum")]
pub(crate) async fn accept_past_errors<L: Accept>(
    listener: &mut InstrumentedListener<L>,
) -> Accepted<L> {
    loop {
        match accept(listener).await {
            Ok(accepted) => return accepted,
            Err(error) => {
                diagnostics::accept_failed(&error, LAST_PAUSE);
                tokio::time::sleep(LAST_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_by_kind() {
        let of = |kind: io::ErrorKind| AcceptError::of(&kind.into());
        assert_eq!(of(io::ErrorKind::ConnectionAborted), AcceptError::Transient);
        assert_eq!(of(io::ErrorKind::OutOfMemory), AcceptError::Exhausted);
        assert_eq!(of(io::ErrorKind::NotConnected), AcceptError::Fatal);
        assert_eq!(of(io::ErrorKind::Other), AcceptError::Fatal);
    }

    #[cfg(unix)]
    #[test]
    fn errors_of_the_system() {
        let of = |code| AcceptError::of(&io::Error::from_raw_os_error(code));
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(of(code), AcceptError::Exhausted, "{code}");
        }
        for code in [libc::ECONNABORTED, libc::EPROTO, libc::EHOSTUNREACH, libc::ENETDOWN] {
            assert_eq!(of(code), AcceptError::Transient, "{code}");
        }
        for code in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK] {
            assert_eq!(of(code), AcceptError::Fatal, "{code}");
        }
    }
}
