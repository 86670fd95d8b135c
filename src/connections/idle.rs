//! Waiting until nobody needs the server.

use std::time::Duration;

use super::Connections;
use crate::ConnState;
use crate::conn::now;

/// How soon busy connections are looked at again, at the earliest.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Connections {
    /// Resolves when no connection has been Active or Hijacked for `duration`.
    /// For programs that exit when nobody uses them.
    ///
    /// New and Idle connections do not hold it up: a client that only keeps a
    /// connection open uses nothing. Where there has been no request yet, the
    /// time counts from when the registry was made. Needs a tokio runtime with
    /// a timer.
    pub async fn idle_for(&self, duration: Duration) {
        loop {
            let now = now();
            let mut busy = false;
            let mut last_work = None;
            self.for_each(|conn| match conn.state_and_since() {
                (ConnState::Active | ConnState::Hijacked, _) => busy = true,
                (ConnState::Idle, since) => last_work = last_work.max(Some(since)),
                (ConnState::New | ConnState::Closed, _) => {}
            });
            // Read after them: one that is closed meanwhile has told by then.
            let last_work = self.0.last_work().max(last_work.unwrap_or(self.0.created_at));
            let until = if busy {
                // From now at the earliest. Nobody says when it ends, so it is
                // looked at again.
                now.checked_add(duration.max(LOOK_AGAIN))
            } else {
                last_work.checked_add(duration)
            };
            let Some(until) = until else { return std::future::pending().await };
            if !busy && until <= now {
                return;
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }
}
