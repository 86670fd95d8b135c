//! Where the live connections of a listener are kept.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::conn::{ConnObserver, now};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::{Conn, ConnId};

/// In parts, so that connections which come and go on different threads seldom
/// meet.
// (Which part a connection is in depends on its id, and a model has to do the
// same thing each time.)
pub(super) const SHARDS: usize = if cfg!(loom_models) { 1 } else { 16 };

pub(super) type Shard = HashMap<ConnId, Conn>;

pub(crate) struct Registry {
    shards: [Mutex<Shard>; SHARDS],
    pub(super) len: AtomicUsize,
    /// How many connections have come.
    accepted: AtomicU64,
    /// How many drains are under way.
    draining: AtomicUsize,
    /// How long they wait for the next request of a quiet connection, in
    /// nanoseconds.
    idle_grace: AtomicU64,
    drain_began: Notify,
    pub(super) created_at: Instant,
    /// When the last of the connections that are gone had work, in nanoseconds
    /// from `created_at`.
    last_work: AtomicU64,
    pub(super) gone: Notify,
    /// Those that are gone, for the status page.
    #[cfg(feature = "status")]
    pub(super) closed: super::closed::Closed,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            shards: Default::default(),
            len: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            draining: AtomicUsize::new(0),
            idle_grace: AtomicU64::new(0),
            drain_began: Notify::new(),
            created_at: now(),
            last_work: AtomicU64::new(0),
            gone: Notify::new(),
            #[cfg(feature = "status")]
            closed: Default::default(),
        }
    }
}

impl ConnObserver for Registry {
    fn added(&self, conn: &Conn) {
        let mut shard = self.shard(conn.id());
        shard.insert(conn.id(), conn.clone());
        self.len.fetch_add(1, Ordering::AcqRel);
        self.accepted.fetch_add(1, Ordering::AcqRel);
        drop(shard);
        // Either this sees that draining has started, or the drain, which
        // looks at the connections after that, sees this one.
        if self.is_draining() {
            conn.drain_with(self.idle_grace(), true);
        }
    }

    fn removed(&self, conn: &Conn) {
        let mut shard = self.shard(conn.id());
        let removed = shard.remove(&conn.id());
        if removed.is_some() {
            self.len.fetch_sub(1, Ordering::AcqRel);
            #[cfg(feature = "status")]
            self.closed.note(conn);
        }
        drop(shard);
        drop(removed);
        self.gone.notify_waiters();
    }

    fn had_work_until(&self, end: Instant) {
        let since = end.saturating_duration_since(self.created_at);
        let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.last_work.fetch_max(nanoseconds, Ordering::AcqRel);
    }
}

impl Registry {
    /// A drain begins. From now on connections are drained as they come.
    pub(super) fn begin_drain(&self, idle_grace: Duration) {
        let grace = u64::try_from(idle_grace.as_nanos()).unwrap_or(u64::MAX);
        self.idle_grace.store(grace, Ordering::SeqCst);
        self.draining.fetch_add(1, Ordering::SeqCst);
        self.drain_began.notify_waiters();
    }

    /// A drain is given up. Returns whether it was the last one.
    pub(super) fn cancel_drain(&self) -> bool {
        self.draining.fetch_sub(1, Ordering::SeqCst) == 1
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst) > 0
    }

    fn idle_grace(&self) -> Duration {
        Duration::from_nanos(self.idle_grace.load(Ordering::SeqCst))
    }

    pub(super) fn drain_began(&self) -> Notified<'_> {
        self.drain_began.notified()
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Acquire)
    }

    pub(super) fn last_work(&self) -> Instant {
        self.created_at + Duration::from_nanos(self.last_work.load(Ordering::Acquire))
    }

    pub(super) fn shard(&self, id: ConnId) -> MutexGuard<'_, Shard> {
        self.lock(id.get() as usize % SHARDS)
    }

    pub(super) fn lock(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
