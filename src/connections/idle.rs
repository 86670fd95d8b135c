//! Waiting until nobody needs the server.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Connections;
use crate::conn::now;
use crate::{Conn, ConnId, ConnState};

/// How soon busy connections are looked at again, at the earliest.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Connections {
    /// Resolves when no connection has been Active or Hijacked for `duration`.
    /// For programs that exit when nobody uses them.
    ///
    /// New and Idle connections do not hold it up: a client that only keeps a
    /// connection open uses nothing. Exempt requests with
    /// [`discount_requests`](crate::InstrumentedListener::discount_requests),
    /// and connections with [`Conn::discount`]. Before the first request, the
    /// time counts from when the registry was made. Needs a tokio runtime with a
    /// timer.
    ///
    /// Go on with [`drain`](Self::drain): a request may come at the moment at
    /// which this resolves, and a drain answers it.
    pub async fn idle_for(&self, duration: Duration) {
        let mut uses = Uses::default();
        loop {
            let now = now();
            let busy = uses.look(self);
            // Read after them: one that is closed meanwhile has said by then.
            let last_use = uses.last.max(Some(self.0.last_work()));
            let until = if busy {
                // From now at the earliest. Nobody says when it ends, so it is
                // looked at again.
                now.checked_add(duration.max(LOOK_AGAIN))
            } else {
                last_use.unwrap_or(now).checked_add(duration)
            };
            let Some(until) = until else { return std::future::pending().await };
            if !busy && until <= now {
                return;
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }

    /// Resolves when there has been no connection for `duration`, apart from
    /// those that do not count ([`Conn::discount`]). Unlike for
    /// [`idle_for`](Self::idle_for), a client that only keeps a connection open
    /// holds it up. Needs a tokio runtime with a timer.
    pub async fn empty_for(&self, duration: Duration) {
        let mut empty_since = None;
        loop {
            let now = now();
            let accepted = self.0.accepted();
            let mut connected = false;
            self.for_each(|conn| connected |= conn.counted_requests().is_some());
            empty_since = if connected { None } else { empty_since.or(Some(now)) };
            let until = match empty_since {
                Some(since) => since.checked_add(duration),
                None => now.checked_add(duration.max(LOOK_AGAIN)),
            };
            let Some(until) = until else { return std::future::pending().await };
            if empty_since.is_some() && until <= now {
                return;
            }
            tokio::time::sleep_until(until.into()).await;
            if self.0.accepted() != accepted {
                // Somebody was here, however shortly.
                empty_since = None;
            }
        }
    }
}

/// When connections were last used, as far as that counts.
#[derive(Default)]
struct Uses {
    seen: HashMap<ConnId, Use>,
    last: Option<Instant>,
}

/// What was seen of a connection at the last look.
#[derive(Clone, Copy, Default)]
struct Use {
    /// How many requests counted.
    counted: u64,
    /// When the last of them was over.
    last: Option<Instant>,
    /// Since when it is busy with what counts.
    busy_since: Option<Instant>,
}

impl Uses {
    /// Returns whether a connection is being used.
    fn look(&mut self, connections: &Connections) -> bool {
        let mut seen = HashMap::with_capacity(self.seen.len());
        connections.for_each(|conn| {
            if let Some(now) = self.look_at(conn) {
                seen.insert(conn.id(), now);
            }
        });
        self.last = self.last.max(seen.values().filter_map(|now| now.last).max());
        self.seen = seen;
        self.seen.values().any(|now| now.busy_since.is_some())
    }

    fn look_at(&self, conn: &Conn) -> Option<Use> {
        let counted = conn.counted_requests()?;
        let (state, since) = conn.state_and_since();
        let before = self.seen.get(&conn.id());
        // Whether it was used since the last look.
        let used = match before {
            Some(before) => counted != before.counted || !conn.has_discounted(),
            None => !conn.is_discounted(),
        };
        let before = before.copied().unwrap_or_default();
        let busy = used || before.busy_since == Some(since);
        Some(match state {
            ConnState::Active | ConnState::Hijacked if busy => {
                Use { counted, last: before.last, busy_since: Some(since) }
            }
            ConnState::Idle if busy || before.busy_since.is_some() => {
                Use { counted, last: Some(since), busy_since: None }
            }
            _ => Use { counted, busy_since: None, ..before },
        })
    }
}
