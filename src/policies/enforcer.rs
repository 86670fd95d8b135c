//! What a registry demands of its connections, and the task that sees to it.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::ready;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::deadline::{Clock, Failed, Watch, patience, slack};
use super::limits::{Limits, Permit, Telling};
use super::refusal::MOST_TOLD;
use super::stalls::Stalls;
use super::{Limit, Policies, Policy};
use crate::conn::{Noted, now};
use crate::diagnostics;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::tracker::Fact;
use crate::{Address, Conn, ConnId};

/// How long the task sleeps at most: policies of a connection's own may come.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

const NO_KEEP_ALIVE: u64 = u64::MAX;

/// A registry's policies, what they count, and the task that looks after them.
pub(crate) struct Enforcer {
    policies: Mutex<Arc<Policies>>,
    /// They are not empty, so it is worth looking at them.
    any: AtomicBool,
    // What requests ask for is beside the lock, which all connections share.
    limits_bodies: AtomicBool,
    /// [`NO_KEEP_ALIVE`] if answers do not say it.
    keep_alive_seconds: AtomicU64,
    /// The shortest time-out of connections that have policies of their own, in
    /// nanoseconds.
    own_slack: AtomicU64,
    pub(crate) limits: Arc<Limits>,
    expired: [AtomicU64; Policy::ALL.len()],
    refused: [AtomicU64; Limit::ALL.len()],
    runs: AtomicBool,
    /// Wakes the task.
    changed: Arc<Notify>,
}

/// There is no room for another connection, which has to wait.
struct Full;

/// How a connection was let in.
pub(crate) enum Admission {
    /// Nobody was asked.
    Unlimited,
    Admitted(Permit),
    /// It is told that it is not.
    Refused,
}

/// Whom the task looks at.
pub(crate) trait Looked: Send + Sync + 'static {
    fn enforcer(&self) -> &Enforcer;

    /// Has `f` look at the connections whose time has come, and say when theirs
    /// comes next. It is called under a lock.
    fn look(&self, time: NextLook, f: &mut dyn FnMut(&Conn) -> NextLook);
}

/// When a connection's policies have to be looked at: in nanoseconds from the
/// first look of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NextLook(u64);

impl NextLook {
    /// At the next look that there is.
    pub(crate) const SOON: Self = Self(0);

    /// After all others.
    const LAST: Self = Self(u64::MAX);

    fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Default for Enforcer {
    fn default() -> Self {
        Self {
            policies: Mutex::default(),
            any: AtomicBool::new(false),
            limits_bodies: AtomicBool::new(false),
            keep_alive_seconds: AtomicU64::new(NO_KEEP_ALIVE),
            own_slack: AtomicU64::new(u64::MAX),
            limits: Arc::default(),
            expired: Default::default(),
            refused: Default::default(),
            runs: AtomicBool::new(false),
            changed: Arc::default(),
        }
    }
}

impl Enforcer {
    pub(crate) fn policies(&self) -> Arc<Policies> {
        self.lock().clone()
    }

    /// The policies, if there are any.
    pub(crate) fn policies_if_any(&self) -> Option<Arc<Policies>> {
        self.any.load(Ordering::Acquire).then(|| self.policies())
    }

    pub(crate) fn set_policies(&self, policies: Policies) -> Arc<Policies> {
        let policies = Arc::new(policies);
        let mut current = self.lock();
        let previous = std::mem::replace(&mut *current, policies.clone());
        self.limits_bodies.store(policies.limits_bodies(), Ordering::Release);
        let seconds = policies.keep_alive_seconds().unwrap_or(NO_KEEP_ALIVE);
        self.keep_alive_seconds.store(seconds, Ordering::Release);
        self.any.store(true, Ordering::Release);
        drop(current);
        // It may hold a user's values.
        drop(previous);
        self.changed.notify_one();
        self.limits.room.notify_waiters();
        policies
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Policies>> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handlers that wait for a body have to say so.
    #[cfg(feature = "axum")]
    pub(crate) fn limits_bodies(&self) -> bool {
        self.limits_bodies.load(Ordering::Acquire)
    }

    /// As [`Policies::keep_alive_seconds`].
    pub(crate) fn keep_alive_seconds(&self) -> Option<u64> {
        let seconds = self.keep_alive_seconds.load(Ordering::Acquire);
        (seconds != NO_KEEP_ALIVE).then_some(seconds)
    }

    pub(crate) fn expired(&self, policy: Policy) -> u64 {
        self.expired[policy as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self, limit: Limit) -> u64 {
        self.refused[limit as usize].load(Ordering::Relaxed)
    }

    /// Counts an expiry, and tells of it.
    pub(crate) fn note_expiry(&self, conn: &Conn, policies: &Policies, policy: Policy) {
        self.expired[policy as usize].fetch_add(1, Ordering::Relaxed);
        diagnostics::policy_expired(conn, policy);
        if let Some(hook) = &policies.on_expiry {
            guarded(conn, &policy, || hook(conn, policy));
        }
    }

    fn note_refusal(&self, conn: &Conn, policies: &Policies, limit: Limit) {
        self.refused[limit as usize].fetch_add(1, Ordering::Relaxed);
        diagnostics::connection_refused(conn, limit);
        if let Some(hook) = &policies.on_refusal {
            guarded(conn, &limit, || hook(conn, limit));
        }
    }

    /// Accepts where there is a place, and returns it with what was accepted. A
    /// server that is full has clients wait in the system's queue: it does not
    /// ask for the next one.
    ///
    /// Cancel safe if `accept` is.
    pub(crate) async fn accept<T, E>(
        &self,
        accept: impl Future<Output = Result<T, E>>,
    ) -> Result<(T, Option<Permit>), E> {
        let mut accept = pin!(accept);
        let mut room = pin!(self.limits.room.notified());
        poll_fn(|cx| {
            loop {
                if let Ok(place) = self.place() {
                    // Nobody may have come. Then the place is free again at once,
                    // for another listener whose clients wait for one.
                    return accept.as_mut().poll(cx).map_ok(|accepted| (accepted, place));
                }
                ready!(room.as_mut().poll(cx));
                // It hears of what happens from now on, so that no place that
                // comes free is missed after the look.
                room.set(self.limits.room.notified());
            }
        })
        .await
    }

    /// A place for the next connection, where they wait for one.
    fn place(&self) -> Result<Option<Permit>, Full> {
        let waits = self.policies_if_any().filter(|policies| !policies.refuses_when_full);
        let Some(most) = waits.and_then(|policies| policies.max_connections) else {
            return Ok(None);
        };
        self.limits.admit(Some(most)).map(Some).ok_or(Full)
    }

    /// Once a connection has been accepted, with the place that was found for it.
    pub(crate) fn admit(
        &self,
        place: Option<Permit>,
        address: &Address,
    ) -> Result<Admission, Limit> {
        let Some(policies) = self.policies_if_any() else { return Ok(Admission::Unlimited) };
        // Where clients wait, one without a place was accepted before there was a
        // limit: it is there already, and nobody is refused.
        let most = policies.max_connections.filter(|_| policies.refuses_when_full);
        let permit = place.or_else(|| self.limits.admit(most)).ok_or(Limit::MaxConnections);
        let mut permit = permit?;
        permit.admit_ip(&policies, address)?;
        Ok(Admission::Admitted(permit))
    }

    /// A connection was refused. Unless it is closed at once, it is told.
    pub(crate) fn refuse(&self, conn: &Conn, limit: Limit) -> bool {
        let policies = self.policies();
        self.note_refusal(conn, &policies, limit);
        let Some(farewell) = policies.refusal.to_http1() else { return false };
        let Some(telling) = Telling::begin(&self.limits, MOST_TOLD) else { return false };
        conn.insert(telling);
        conn.insert(farewell);
        true
    }

    /// Has somebody look after the connections, if that is needed and nobody
    /// does.
    pub(crate) fn look_after<R: Looked>(registry: &Arc<R>, policies: &Policies) {
        let this = registry.enforcer();
        if !policies.need_looking() || this.runs.load(Ordering::Acquire) {
            return;
        }
        // Without a runtime the next connection will bring one.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if this.runs.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = Running(Arc::downgrade(registry));
        runtime.spawn(run(running, this.changed.clone()));
    }

    /// A connection has policies of its own.
    pub(crate) fn note_own(&self, policies: &Policies) {
        let slack = u64::try_from(interval(policies).as_nanos()).unwrap_or(u64::MAX);
        // Where the task looks as often as that anyway, it need not look at once:
        // a route may set policies for each of its requests.
        if slack < self.own_slack.fetch_min(slack, Ordering::AcqRel) {
            self.changed.notify_one();
        }
    }

    pub(crate) fn interval(&self, policies: &Policies) -> Duration {
        let own = Duration::from_nanos(self.own_slack.load(Ordering::Acquire));
        interval(policies).min(own).min(LONGEST_SLEEP)
    }
}

impl Drop for Enforcer {
    fn drop(&mut self) {
        // The task ends.
        self.changed.notify_one();
    }
}

/// How often connections have to be looked at for these policies. A little more
/// often than what is allowed, since timers are late.
fn interval(policies: &Policies) -> Duration {
    let noted = [
        policies.handshake_timeout,
        policies.first_byte_timeout,
        policies.header_timeout,
        policies.idle_timeout.filter(|_| !policies.frames_reset_idle),
        policies.body_timeout,
        policies.write_timeout,
        policies.age_grace,
    ];
    // Often enough for those that end for their age not to end together: they are
    // spread over a fifth of it.
    let age = policies.max_age.map(|age| slack(age / 10));
    // Their beginning is seen at a look too, and so later than it was.
    let seen = [
        policies.tunnel_idle_timeout,
        policies.idle_timeout.filter(|_| policies.frames_reset_idle),
        policies.min_body_rate.map(|rate| rate.grace),
        policies.min_write_rate.map(|rate| rate.grace),
    ];
    let noted = noted.into_iter().flatten().map(slack).min();
    let seen = seen.into_iter().flatten().map(|timeout| slack(timeout) / 2).min();
    let shortest = noted.into_iter().chain(seen).chain(age).min();
    shortest.map_or(LONGEST_SLEEP, |shortest| shortest - shortest / 8)
}

/// Says that the task runs until this is dropped, with the runtime for instance.
struct Running<R: Looked>(Weak<R>);

impl<R: Looked> Drop for Running<R> {
    fn drop(&mut self) {
        if let Some(registry) = self.0.upgrade() {
            registry.enforcer().runs.store(false, Ordering::Release);
        }
    }
}

async fn run<R: Looked>(mut running: Running<R>, changed: Arc<Notify>) {
    if !has_timer() {
        // Once is enough.
        diagnostics::no_timer();
        return running.0 = Weak::new();
    }
    let mut looks = Looks::default();
    loop {
        let Some(registry) = running.0.upgrade() else { return };
        let policies = registry.enforcer().policies();
        looks.look(&*registry, &policies);
        let sleep = registry.enforcer().interval(&policies);
        drop((registry, policies));

        let (due, real_due) = (now() + sleep, Instant::now() + sleep);
        let _ = tokio::time::timeout(sleep, changed.notified()).await;
        // Also if it was woken: that may have been at the end of a stall, whose
        // task was polled before the timer.
        let real = Instant::now().saturating_duration_since(real_due);
        looks.stalls.note(due, now(), real);
    }
}

/// Whether this runtime can wait for a time. It does not say, but panics.
fn has_timer() -> bool {
    catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok()
}

/// What was seen when connections were last looked at.
#[derive(Default)]
pub(crate) struct Looks {
    stalls: Stalls,
    watches: HashMap<ConnId, Watch>,
    seed: Option<u64>,
    begun: Option<Instant>,
    policies: Option<Arc<Policies>>,
}

/// A connection that fails a policy.
struct Failing {
    conn: Conn,
    noted: Noted,
    policies: Option<Arc<Policies>>,
    failed: Failed,
}

impl Looks {
    pub(crate) fn look(&mut self, registry: &impl Looked, policies: &Arc<Policies>) {
        let now = now();
        let seed = *self.seed.get_or_insert_with(random);
        self.stalls.forget_before(now.checked_sub(Duration::from_secs(3600)));
        let begun = *self.begun.get_or_insert(now);
        let time = NextLook::SOON.after(now.saturating_duration_since(begun));
        // Times that another task has set mean nothing, nor do those for other
        // policies: then it is time for all.
        let before = self.policies.replace(policies.clone());
        let same = before.is_some_and(|before| Arc::ptr_eq(&before, policies));
        let clock = Clock { now, stalls: &self.stalls, seed };
        let before = std::mem::take(&mut self.watches);
        let mut watches = HashMap::new();
        let mut failing = Vec::new();
        registry.look(if same { time } else { NextLook::LAST }, &mut |conn| {
            let own = conn.own_policies();
            let policies = own.as_ref().unwrap_or(policies);
            let noted = conn.noted();
            if policies.tunnel_idle_timeout.is_some()
                && noted.tracker.is_hijacked()
                && !noted.tracker.is_watched()
            {
                conn.record(Fact::Watched);
            }
            let mut watch = before.get(&conn.id()).copied().unwrap_or_default();
            let failed = watch.look(policies, &noted, &clock);
            if watch.is_needed() {
                watches.insert(conn.id(), watch);
            }
            let next = match failed {
                Some(_) => NextLook::SOON,
                None => time.after(patience(policies, &noted, &clock)),
            };
            if let Some(failed) = failed {
                failing.push(Failing { conn: conn.clone(), noted, policies: own, failed });
            }
            next
        });
        self.watches = watches;
        // Out of the lock: hooks are called.
        for failing in failing {
            let policies = failing.policies.as_ref().unwrap_or(policies);
            failing.end(registry.enforcer(), policies);
        }
    }
}

impl Failing {
    fn end(&self, enforcer: &Enforcer, policies: &Policies) {
        let Self { conn, noted, failed, .. } = self;
        let policy = match *failed {
            Failed::Ends(policy) => conn.expire_if(noted.tracker, policy).then_some(policy),
            Failed::Drains(Policy::MaxAge, grace) => {
                conn.set_idle_grace(grace);
                conn.expire(Policy::MaxAge);
                Some(Policy::MaxAge)
            }
            Failed::Drains(policy, grace) => {
                conn.set_idle_grace(grace);
                conn.expire_if(noted.tracker, policy).then_some(policy)
            }
            Failed::Outlives(policy) => {
                // That its time is up has been told, unless somebody else has
                // drained it.
                let told = noted.tracker.first_cause() == Some(policy.reason())
                    || noted.tracker.closing().is_some();
                conn.close_for(policy.reason());
                (!told).then_some(policy)
            }
        };
        if let Some(policy) = policy {
            enforcer.note_expiry(conn, policies, policy);
        }
    }
}

/// Calls a user's hook.
fn guarded(conn: &Conn, what: &dyn std::fmt::Display, hook: impl FnOnce()) {
    // As for state hooks: a panic goes no further.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(hook)) {
        let _ = catch_unwind(AssertUnwindSafe(|| diagnostics::hook_panicked(conn, what)));
        std::mem::forget(panic);
    }
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};

    RandomState::new().hash_one(0)
}
