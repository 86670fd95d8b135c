//! Ending a connection, and waiting for its end.

use std::pin::pin;
use std::time::Duration;

use super::Conn;
use crate::sync::atomic::Ordering;
use crate::tracker::Fact;
use crate::{CloseReason, ConnState};

/// How long a drained connection that is New or Idle waits for a request,
/// unless it is said otherwise.
pub(crate) const IDLE_GRACE: Duration = Duration::from_secs(1);

impl Conn {
    /// Closes the connection now: from a hook, a handler or anywhere.
    ///
    /// It ends in [`Closed`](ConnState::Closed) soon, whatever it waits for: a
    /// silent client, one that does not read, a handler, a TLS handshake. Its
    /// task is woken and closes it. A task that blocks its thread closes nothing
    /// until it stops blocking.
    ///
    /// - **New or Idle**: closed in good order. What has been written reaches
    ///   the client, so a hook that calls `close` at Idle never cuts a response
    ///   short. Over HTTP/2 the client is told which of its requests were looked
    ///   at (GOAWAY, RFC 9113, section 6.8), and can send the others again. Then
    ///   the server closes its side, and the client has half a second to close
    ///   its own, as in Go. Without that wait, bytes still on their way to the
    ///   server would make the system discard those on their way to the client.
    ///   (A runtime without a timer does not wait.)
    /// - **Active**: broken off. To end it after the response, use
    ///   [`drain`](Self::drain).
    /// - **Hijacked**: both sides of the socket are shut down, even if its owner
    ///   does not touch it. The socket has to be known: a stream of tokio's, or
    ///   tokio-rustls' around one (feature `tls`). On other streams, reads and
    ///   writes fail from then on.
    ///
    /// Prefer [`drain`](Self::drain) where there is no hurry. A client may send
    /// a request at the very moment at which its idle HTTP/1 connection is
    /// closed, and can't know what became of it.
    ///
    /// Closing a connection that is gone does nothing.
    pub fn close(&self) {
        self.close_for(CloseReason::ClosedByProgram);
    }

    pub(crate) fn close_for(&self, reason: CloseReason) {
        self.apply_and_wake(Fact::Close(reason));
        self.0.changed.notify_waiters();
        self.end_of_socket();
    }

    /// The tracker has been told that the connection is to end: now whoever has
    /// its stream is.
    pub(super) fn told_to_end(&self) {
        self.wake();
        self.0.changed.notify_waiters();
        if self.closing().is_some() {
            self.end_of_socket();
        }
    }

    /// Ends a hijacked stream, whose owner may keep what is left of it for ever.
    fn end_of_socket(&self) {
        if self.shut_down_socket() {
            self.record(Fact::Dropped);
        }
    }

    /// Closes the connection if it is Idle: [`close`](Self::close). Returns
    /// whether it was.
    ///
    /// A request that begins at the same time is either served or was not seen;
    /// it is never broken off.
    pub fn close_if_idle(&self) -> bool {
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

    /// Ends the connection after telling its client, so that the client loses no
    /// request.
    ///
    /// - **HTTP/1**: responses say `Connection: close` from now on, and the
    ///   connection ends after such a response. A New or Idle connection stays
    ///   open for one more second, since a request may be under way; if one
    ///   comes it is answered.
    /// - **HTTP/2**: the client is told to send no more requests on this
    ///   connection (GOAWAY). Those that it has sent are answered.
    /// - **Hijacked**: its owner is told ([`draining`](Self::draining)), and
    ///   ends it when it sees fit.
    ///
    /// There is no deadline: a request that takes long is waited for.
    /// [`Connections::drain`](crate::Connections::drain) has one, and drains
    /// all connections of a listener.
    ///
    /// Draining a connection that is gone does nothing.
    pub fn drain(&self) {
        self.drain_with(IDLE_GRACE, false);
    }

    /// Drains this connection, or `all` of its registry.
    pub(crate) fn drain_with(&self, idle_grace: Duration, all: bool) {
        self.set_idle_grace(idle_grace);
        self.apply_and_wake(Fact::Drain { all });
        self.0.changed.notify_waiters();
    }

    /// How long a drain that begins now waits for the next request.
    pub(crate) fn set_idle_grace(&self, grace: Duration) {
        let grace = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
        self.0.idle_grace.store(grace, Ordering::Release);
    }

    /// The drain of all connections was given up.
    pub(crate) fn cancel_drain(&self) {
        self.apply_and_wake(Fact::DrainCancelled);
    }

    /// How long a drain waits for the next request of this connection.
    pub(crate) fn idle_grace(&self) -> Duration {
        Duration::from_nanos(self.0.idle_grace.load(Ordering::Acquire))
    }

    /// Why the connection ended; `None` while its stream is there.
    ///
    /// It is known when [`Closed`](ConnState::Closed) is reported. A hijacked
    /// connection has it when its new owner has dropped the stream.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.tracker().reason(self.0.failure.get().copied())
    }

    /// What went wrong when the connection ended, in a word for metrics and
    /// traces (OpenTelemetry's `error.type`). `None` if it ended in good order,
    /// or has not ended.
    ///
    /// The words are those of ASP.NET's Kestrel where it has them:
    /// `connection_reset`, `tls_handshake_failed`, `app_shutdown_timeout`,
    /// `aborted_by_app` (after [`close`](Self::close)), `io_error`. Others are
    /// [`CloseReason::as_str`]. A connection that the program closed when it
    /// was New or Idle ended in good order: no answer was cut short.
    pub fn error_type(&self) -> Option<&'static str> {
        let reason = self.close_reason()?;
        let quiet = matches!(self.state_before_end(), ConnState::New | ConnState::Idle);
        if reason == CloseReason::ClosedByProgram && quiet {
            return None;
        }
        reason.error_type()
    }

    /// What the connection was doing when it ended.
    pub(crate) fn state_before_end(&self) -> ConnState {
        match self.state() {
            ConnState::Closed => self.previous_state().unwrap_or(ConnState::New),
            state => state,
        }
    }

    /// The error code of the client's GOAWAY, if it has sent one (RFC 9113,
    /// section 7): 0 if nothing was wrong.
    pub fn goaway_code(&self) -> Option<u32> {
        self.0.goaway_code.get().copied()
    }

    /// Resolves when the stream is really gone and its end has been reported. If
    /// it is gone already, it resolves at once.
    ///
    /// The stream of a hijacked connection is gone when its new owner drops it.
    /// (Go has no event for that.) A stream that was taken out with
    /// [`ConnIo::into_inner`](crate::ConnIo::into_inner) is out of sight, and
    /// counts as gone from then on.
    pub async fn closed(&self) {
        self.wait_until(|| self.is_done()).await;
    }

    /// Resolves when the connection is to be drained: by [`drain`](Self::drain),
    /// or because the server shuts down gracefully. It never resolves if that
    /// does not happen.
    ///
    /// For owners of hijacked connections: nobody else can end these politely.
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

    pub(crate) fn is_done(&self) -> bool {
        self.0.done.load(Ordering::Acquire)
    }
}
