//! The connections that closed last, and why (feature `status`).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::Connections;
use super::registry::SHARDS;
use crate::conn::now;
use crate::{Address, CloseReason, Conn, ConnId, ConnState, Protocol};

/// How many are remembered.
pub(crate) const KEPT: usize = 256;

/// A connection that is gone. Not its [`Conn`], which would keep alive what
/// belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct ClosedConn {
    pub(crate) id: ConnId,
    pub(crate) remote_addr: Address,
    /// What it was doing when it ended.
    pub(crate) state: ConnState,
    pub(crate) protocol: Protocol,
    pub(crate) requests: u64,
    pub(crate) accepted_at: Instant,
    pub(crate) closed_at: Instant,
    pub(crate) reason: CloseReason,
}

/// What has become of connections since somebody wanted to know.
#[derive(Clone, Debug)]
pub(crate) struct Closings {
    /// The last of them, the newest first.
    pub(crate) last: Vec<ClosedConn>,
    /// All that closed since then are in `last`.
    pub(crate) complete_since: Instant,
}

/// Nothing is noted, and nothing allocated, until it is watched.
#[derive(Default)]
pub(crate) struct Closed(OnceLock<Watched>);

struct Watched {
    since: Instant,
    // In parts as the registry is, whose lock is held while one is noted: no
    // thread waits here for another one that adds to a different part. (The
    // standard library's locks in models too, which never watch.)
    parts: [Mutex<Part>; SHARDS],
}

#[derive(Default)]
struct Part {
    last: VecDeque<ClosedConn>,
    /// When the newest of those that were forgotten closed.
    forgotten: Option<Instant>,
}

impl Closed {
    /// The connection is gone.
    pub(super) fn note(&self, conn: &Conn) {
        let Some(watched) = self.0.get() else { return };
        let Some(reason) = conn.close_reason() else { return };
        let state = match conn.state() {
            ConnState::Closed => conn.previous_state().unwrap_or(ConnState::New),
            hijacked => hijacked,
        };
        let closed = ClosedConn {
            id: conn.id(),
            remote_addr: conn.remote_addr().clone(),
            state,
            protocol: conn.protocol(),
            requests: conn.requests(),
            accepted_at: conn.accepted_at(),
            closed_at: now(),
            reason,
        };
        lock(&watched.parts[conn.id().get() as usize % SHARDS]).push(closed);
    }
}

impl Part {
    fn push(&mut self, closed: ClosedConn) {
        // All of the last may be of one part.
        if self.last.len() == KEPT {
            self.forgotten = self.last.pop_front().map(|closed| closed.closed_at);
        }
        self.last.push_back(closed);
    }
}

impl Connections {
    /// From now on it is noted which connections close.
    pub(crate) fn watch_closed(&self) {
        self.0.closed.0.get_or_init(|| Watched { since: now(), parts: Default::default() });
    }

    /// Those that have closed since that was first asked for.
    pub(crate) fn closings(&self) -> Closings {
        let mut closings = Closings { last: Vec::new(), complete_since: self.0.created_at };
        let Some(watched) = self.0.closed.0.get() else { return closings };
        closings.complete_since = watched.since;
        for part in &watched.parts {
            let part = lock(part);
            closings.last.extend(part.last.iter().cloned());
            closings.complete_since =
                closings.complete_since.max(part.forgotten.unwrap_or(watched.since));
        }
        closings
            .last
            .sort_unstable_by_key(|closed| std::cmp::Reverse((closed.closed_at, closed.id)));
        if let Some(forgotten) = closings.last.get(KEPT) {
            closings.complete_since = closings.complete_since.max(forgotten.closed_at);
        }
        closings.last.truncate(KEPT);
        closings
    }

    /// How many connections have come in all.
    pub(crate) fn accepted(&self) -> u64 {
        self.0.accepted()
    }

    /// Whether a drain of all of them is under way.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.is_draining()
    }

    /// When the registry was made.
    pub(crate) fn created_at(&self) -> Instant {
        self.0.created_at
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
