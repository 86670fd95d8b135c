//! Ending a connection, and waiting for its end.

use std::pin::pin;

use super::Conn;
use crate::sync::atomic::Ordering;
use crate::tracker::Fact;
use crate::{CloseReason, ConnState};

impl Conn {
    /// Closes the connection: from a hook, a handler or anywhere.
    ///
    /// It ends in [`Closed`](ConnState::Closed) soon, whatever it was waiting
    /// for: a silent client, one that does not read, a handler, a TLS
    /// handshake. Its task, which is woken for that, does the closing; a task
    /// that blocks its thread closes nothing until it stops blocking.
    ///
    /// - A connection that is New or Idle is closed in good order: what has
    ///   been written reaches the client. So a hook that calls `close` when it
    ///   hears of Idle never cuts a response short (but for hyper's
    ///   `pipeline_flush(true)`, where Idle comes before the bytes are out).
    ///   Where the client does not close its side, the socket stays open for
    ///   another half second, as in Go, so that bytes that are still under way
    ///   to the server do not make the system throw those away that are under
    ///   way to the client. (That takes a tokio runtime with a timer.)
    /// - A connection that is Active is broken off. To end it after the
    ///   answer, answer with `Connection: close`.
    /// - A hijacked stream's reads and writes fail from then on.
    ///
    /// hyper leaves its stream alone while it answers the first of pipelined
    /// requests under `pipeline_flush(true)`: in a loop of your own such a
    /// connection is closed when it uses its stream again.
    ///
    /// Closing a connection that is gone does nothing.
    pub fn close(&self) {
        self.close_for(CloseReason::ClosedByProgram);
    }

    fn close_for(&self, reason: CloseReason) {
        self.apply_and_wake(Fact::Close(reason));
        self.0.changed.notify_waiters();
    }

    /// Closes the connection if it is idle. Returns whether it was.
    pub(crate) fn close_if_idle(&self) -> bool {
        self.apply_and_wake(Fact::CloseIfIdle)
    }

    /// Resolves when the program closes the connection.
    #[cfg(feature = "serve")]
    pub(crate) async fn until_closing(&self) {
        self.wait_until(|| self.closing().is_some()).await;
    }

    /// Closes the connection at the end of a graceful shutdown.
    pub(crate) fn close_by_force(&self) {
        self.close_for(CloseReason::ShutdownForced);
    }

    /// Closes the connection as soon as it has nothing to do.
    pub(crate) fn drain(&self) {
        self.apply_and_wake(Fact::Drain);
        self.0.changed.notify_waiters();
    }

    /// Why the connection ended; `None` while its stream is there.
    ///
    /// It is known when [`Closed`](ConnState::Closed) is reported. A hijacked
    /// connection has it when its new owner has dropped the stream.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.tracker().reason(self.0.failure.get().copied())
    }

    /// Resolves when the stream is really gone and its end has been reported,
    /// at once if it is already.
    ///
    /// A hijacked connection's stream is gone when its new owner drops it:
    /// what Go has no event for. A stream that was taken out with
    /// [`ConnIo::into_inner`](crate::ConnIo::into_inner) is out of sight, and
    /// counts as gone from then on.
    pub async fn closed(&self) {
        self.wait_until(|| self.is_done()).await;
    }

    /// Resolves when the connection is to be drained: the server shuts down
    /// gracefully. Never if that does not happen.
    ///
    /// For the owners of hijacked connections, which nobody else can tell to
    /// come to an end:
    ///
    /// ```
    /// # async fn next_message() -> Option<()> { None }
    /// async fn serve_websocket(conn: hyper_connstate::Conn) {
    ///     loop {
    ///         tokio::select! {
    ///             Some(message) = next_message() => { /* … */ }
    ///             () = conn.draining() => break,
    ///             else => break,
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn draining(&self) {
        self.wait_until(|| self.is_draining()).await;
    }

    /// Whether the connection is to be drained; see [`draining`](Self::draining).
    pub fn is_draining(&self) -> bool {
        self.tracker().is_draining()
    }

    /// Resolves when there is nothing to wait for in a graceful shutdown.
    pub(crate) async fn done_or_hijacked(&self) {
        self.wait_until(|| self.is_done() || self.state() == ConnState::Hijacked).await;
    }

    async fn wait_until(&self, condition: impl Fn() -> bool) {
        let mut changed = pin!(self.0.changed.notified());
        loop {
            // Enlisted before the condition is looked at, so that a turn in
            // between is not missed.
            changed.as_mut().enable();
            if condition() {
                return;
            }
            changed.as_mut().await;
            changed.set(self.0.changed.notified());
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.done.load(Ordering::Acquire)
    }
}
