//! Giving a client time to close its side.
//!
//! The system throws away what is under way to a client when more bytes come
//! for a socket that is closed, or when a socket is closed with bytes unread: a
//! reset overtakes the answer. So the server's side is closed first, and what
//! the client still sends is read and thrown away, for a while.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};

use super::timer::Timer;

/// As long as in Go (`rstAvoidanceDelay` in net/http).
pub(crate) const LINGER: Duration = Duration::from_millis(500);

/// How much is read and thrown away of one client. What comes after that is
/// left unread until the time is up, as Go leaves all of it.
const MOST_BYTES: usize = 16 << 20;

/// How many connections of the process may linger at once. It is a courtesy,
/// which nobody must be able to use up the server's sockets with.
const MOST_CONNECTIONS: usize = 1024;

static LINGERING: AtomicUsize = AtomicUsize::new(0);

/// How often a client is read from before other tasks have their turn.
const READS: usize = 16;

/// One connection that lingers.
pub(super) struct Linger {
    timer: Timer,
    bytes_left: usize,
}

impl Linger {
    /// `None` if too many linger already, or where there is no timer.
    pub(super) fn begin() -> Option<Self> {
        let before = LINGERING.fetch_add(1, Ordering::Relaxed);
        // Made first, so that it is counted off in either case.
        let linger = Self { timer: Timer::new(LINGER), bytes_left: MOST_BYTES };
        (before < MOST_CONNECTIONS && linger.timer.runs()).then_some(linger)
    }

    /// Whether the time is up.
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll(cx)
    }

    /// Reads until the client has closed its side, or the time is up.
    pub(super) fn poll<T: AsyncRead>(
        &mut self,
        mut stream: Pin<&mut T>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if self.timer.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut scrap = [0; 4096];
        for _ in 0..READS {
            if self.bytes_left == 0 {
                return Poll::Pending;
            }
            let mut buf = ReadBuf::new(&mut scrap);
            let read = ready!(stream.as_mut().poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                return Poll::Ready(());
            }
            self.bytes_left = self.bytes_left.saturating_sub(buf.filled().len());
        }
        // A flood: let others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Linger {
    fn drop(&mut self) {
        LINGERING.fetch_sub(1, Ordering::Relaxed);
    }
}
