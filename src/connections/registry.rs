//! Where the live connections of a listener are kept.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

#[cfg(any(feature = "serve", feature = "axum"))]
use crate::AcceptErrorCounts;
use crate::conn::{ConnObserver, now};
use crate::policies::enforcer::{Enforcer, Looked, NextLook};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::{Conn, ConnId, ConnStats, Policies, Policy};

/// In parts, so that connections which come and go on different threads seldom
/// meet.
// (Which part a connection is in depends on its id, and a model has to do the
// same thing each time.)
pub(super) const SHARDS: usize = if cfg!(loom_models) { 1 } else { 16 };

/// A part of the registry.
#[derive(Default)]
pub(super) struct Shard {
    pub(super) conns: HashMap<ConnId, Kept>,
    /// What has become of the connections of this part; but not those that are
    /// there, which are counted when someone asks.
    // Plain numbers: who comes and goes has the lock anyway.
    pub(super) stats: ConnStats,
}

/// A connection of a registry.
pub(super) struct Kept {
    pub(super) conn: Conn,
    /// When its policies have to be looked at again. Here, so that most of the
    /// time the connection itself need not be looked at.
    next_look: NextLook,
}

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
    pub(super) enforcer: Enforcer,
    /// Itself, for the task that looks after its connections.
    this: Weak<Self>,
    /// Those that are gone, for the status page.
    #[cfg(feature = "status")]
    pub(super) closed: super::closed::Closed,
}

impl Registry {
    pub(super) fn new() -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            shards: Default::default(),
            len: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            draining: AtomicUsize::new(0),
            idle_grace: AtomicU64::new(0),
            drain_began: Notify::new(),
            created_at: now(),
            last_work: AtomicU64::new(0),
            gone: Notify::new(),
            enforcer: Enforcer::default(),
            this: this.clone(),
            #[cfg(feature = "status")]
            closed: Default::default(),
        })
    }
}

impl ConnObserver for Registry {
    fn added(&self, conn: &Conn) {
        let mut shard = self.shard(conn.id());
        let kept = Kept { conn: conn.clone(), next_look: NextLook::SOON };
        shard.conns.insert(conn.id(), kept);
        shard.stats.add_accepted();
        self.len.fetch_add(1, Ordering::AcqRel);
        self.accepted.fetch_add(1, Ordering::AcqRel);
        drop(shard);
        conn.take_place(&self.enforcer.limits);
        if let Some(policies) = self.enforcer.policies_if_any() {
            self.demand(conn);
            self.run_enforcer(&policies);
        }
        // Set before there was anybody to look after them.
        if let Some(own) = conn.own_policies() {
            self.enforcer.note_own(&own);
            self.run_enforcer(&own);
        }
        // Either this sees that draining has started, or the drain, which
        // looks at the connections after that, sees this one.
        if self.is_draining() {
            conn.drain_with(self.idle_grace(), true);
        }
    }

    fn removed(&self, conn: &Conn) {
        let mut shard = self.shard(conn.id());
        let removed = shard.conns.remove(&conn.id());
        if removed.is_some() {
            shard.stats.add_closed(conn);
            self.len.fetch_sub(1, Ordering::AcqRel);
            #[cfg(feature = "status")]
            self.closed.note(conn);
        }
        drop(shard);
        drop(removed);
        conn.leave_place(&self.enforcer.limits);
        self.gone.notify_waiters();
    }

    fn policies(&self) -> Arc<Policies> {
        self.enforcer.policies()
    }

    #[cfg(feature = "axum")]
    fn limits_bodies(&self) -> bool {
        self.enforcer.limits_bodies()
    }

    fn keep_alive_seconds(&self) -> Option<u64> {
        self.enforcer.keep_alive_seconds()
    }

    fn look_after(&self, conn: &Conn, policies: &Policies) {
        if let Some(kept) = self.shard(conn.id()).conns.get_mut(&conn.id()) {
            kept.next_look = NextLook::SOON;
        }
        self.enforcer.note_own(policies);
        self.run_enforcer(policies);
    }

    fn expired(&self, conn: &Conn, policy: Policy) {
        let policies = conn.own_policies().unwrap_or_else(|| self.enforcer.policies());
        self.enforcer.note_expiry(conn, &policies, policy);
    }

    fn had_work_until(&self, end: Instant) {
        let since = end.saturating_duration_since(self.created_at);
        let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.last_work.fetch_max(nanoseconds, Ordering::AcqRel);
    }

    fn handshake_began(&self, conn: &Conn) {
        self.shard(conn.id()).stats.handshakes.under_way += 1;
    }

    fn handshake_ended(&self, conn: &Conn, completed: bool) {
        let handshakes = &mut self.shard(conn.id()).stats.handshakes;
        handshakes.under_way -= 1;
        if completed {
            handshakes.completed += 1;
        } else {
            handshakes.failed += 1;
        }
    }
}

impl Looked for Registry {
    fn enforcer(&self) -> &Enforcer {
        &self.enforcer
    }

    fn look(&self, time: NextLook, f: &mut dyn FnMut(&Conn) -> NextLook) {
        for index in 0..SHARDS {
            let mut shard = self.lock(index);
            let due = shard.conns.values_mut().filter(|kept| kept.next_look <= time);
            due.for_each(|kept| kept.next_look = f(&kept.conn));
        }
    }
}

impl Registry {
    /// Has somebody look after the connections, if these policies need it.
    pub(super) fn run_enforcer(&self, policies: &Policies) {
        if let Some(this) = self.this.upgrade() {
            Enforcer::look_after(&this, policies);
        }
    }

    /// The policies of the registry hold for this connection, unless it has its
    /// own.
    pub(super) fn demand(&self, conn: &Conn) {
        loop {
            let policies = self.enforcer.policies();
            if conn.own_policies().is_none() {
                conn.adopt(&policies);
            }
            if policies.max_connections_per_ip.is_some() {
                conn.count_ip(&self.enforcer.limits, &policies);
            }
            // Others may have been set meanwhile, and been taken over before
            // these were.
            if let Some(own) = conn.own_policies() {
                conn.adopt(&own);
            }
            if Arc::ptr_eq(&policies, &self.enforcer.policies()) {
                return;
            }
        }
    }

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

    pub(super) fn lock_all(&self) -> [MutexGuard<'_, Shard>; SHARDS] {
        // Always in this order, and nobody else locks more than one.
        std::array::from_fn(|index| self.lock(index))
    }

    /// Counts an accept error.
    #[cfg(any(feature = "serve", feature = "axum"))]
    pub(super) fn accept_failed(&self, count: impl FnOnce(&mut AcceptErrorCounts)) {
        // They are of no connection, and so of any part.
        count(&mut self.lock(0).stats.accept_errors);
    }

    pub(super) fn lock(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
