//! The connections that are there.

pub(crate) mod drain;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use self::drain::Drain;
use crate::conn::now;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::{Address, Conn, ConnId, ConnState, Protocol};

/// The live connections of a listener, hijacked ones included.
///
/// [`InstrumentedListener::connections`](crate::InstrumentedListener::connections)
/// hands it out; clones are of the same registry. Connections are added when
/// they are accepted and leave when their stream is gone, and nothing here is
/// touched in between: what they are doing is read from themselves.
///
/// Numbers and snapshots are taken while connections go on, so they are of one
/// moment only as far as that can be had without stopping them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use hyper_connstate::instrument_listener;
/// use tokio::net::{TcpListener, TcpStream};
///
/// let mut listener = instrument_listener(TcpListener::bind("127.0.0.1:0").await?, ());
/// let connections = listener.connections();
/// let _client = TcpStream::connect(listener.get_ref().local_addr()?).await?;
/// let (io, conn) = listener.accept().await?;
///
/// assert_eq!(connections.len(), 1);
/// assert_eq!(connections.counts().new, 1);
/// assert_eq!(connections.get(conn.id()), Some(conn));
/// drop(io);
/// assert!(connections.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Connections(Arc<Registry>);

/// How many connections are in which state: [`Connections::counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateCounts {
    /// Accepted, and nothing was read yet.
    pub new: usize,
    /// With a request under way.
    pub active: usize,
    /// Waiting for a request.
    pub idle: usize,
    /// Passed to someone else, whose stream is still there.
    pub hijacked: usize,
}

impl StateCounts {
    /// All of them.
    pub const fn total(&self) -> usize {
        self.new + self.active + self.idle + self.hijacked
    }
}

/// What a connection was doing at one moment: [`Connections::snapshot`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnSnapshot {
    /// [`Conn::id`].
    pub id: ConnId,
    /// [`Conn::remote_addr`].
    pub remote_addr: Address,
    /// [`Conn::local_addr`].
    pub local_addr: Address,
    /// [`Conn::state`].
    pub state: ConnState,
    /// [`Conn::state_since`].
    pub since: Instant,
    /// [`Conn::protocol`].
    pub protocol: Protocol,
    /// [`Conn::requests`].
    pub requests: u64,
}

impl Connections {
    /// A registry for connections that come from no instrumented listener;
    /// they are added with [`insert`](Self::insert).
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a connection that was accepted elsewhere, with
    /// [`ConnIo::accepted`](crate::ConnIo::accepted). It leaves by itself.
    ///
    /// Returns `false`, and does nothing, if the connection is in a registry
    /// already: those of an instrumented listener are.
    pub fn insert(&self, conn: &Conn) -> bool {
        conn.register(&self.0)
    }

    /// How many there are, hijacked ones included.
    pub fn len(&self) -> usize {
        self.0.len.load(Ordering::Acquire)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are in which state. Looks at each connection.
    pub fn counts(&self) -> StateCounts {
        let mut counts = StateCounts::default();
        self.for_each(|conn| match conn.state() {
            ConnState::New => counts.new += 1,
            ConnState::Active => counts.active += 1,
            ConnState::Idle => counts.idle += 1,
            ConnState::Hijacked => counts.hijacked += 1,
            ConnState::Closed => {}
        });
        counts
    }

    /// What each connection is doing, in no particular order.
    pub fn snapshot(&self) -> Vec<ConnSnapshot> {
        let mut snapshot = Vec::with_capacity(self.len());
        self.for_each(|conn| {
            let (state, since) = conn.state_and_since();
            snapshot.push(ConnSnapshot {
                id: conn.id(),
                remote_addr: conn.remote_addr().clone(),
                local_addr: conn.local_addr().clone(),
                state,
                since,
                protocol: conn.protocol(),
                requests: conn.requests(),
            });
        });
        snapshot
    }

    /// The connection with this id, while it lives.
    pub fn get(&self, id: ConnId) -> Option<Conn> {
        self.0.shard(id).get(&id).cloned()
    }

    /// The connections, in no particular order. Those that come while it is
    /// iterated may be missing.
    pub fn iter(&self) -> impl Iterator<Item = Conn> + Send + use<> {
        let registry = self.0.clone();
        (0..SHARDS).flat_map(move |index| {
            registry.lock(index).values().cloned().collect::<Vec<_>>().into_iter()
        })
    }

    /// Closes the connections that are idle: [`Conn::close`]. Returns how many.
    pub fn close_idle(&self) -> usize {
        self.iter().filter(Conn::close_if_idle).count()
    }

    /// Closes all connections, hijacked ones included: [`Conn::close`].
    /// Returns how many.
    pub fn close_all(&self) -> usize {
        self.iter().map(|conn| conn.close()).count()
    }

    /// Lets the connections come to an end, for at most as long as `deadline`.
    ///
    /// - Those that have sent nothing yet and those that are idle are closed
    ///   at once, those that come later too.
    /// - Those that are active finish what they are at, and are then closed.
    ///   An HTTP/2 connection is told with GOAWAY where this crate runs the
    ///   loop ([`serve`](fn@crate::serve)); elsewhere it is closed when its
    ///   last open stream ends.
    /// - Hijacked ones are told ([`Conn::draining`]) and left to their owners,
    ///   or waited for: [`Drain::wait_for_hijacked`].
    /// - At the deadline, those that are left are closed by force, but for
    ///   hijacked ones.
    ///
    /// Stop accepting first. A client that keeps sending requests cannot hold
    /// it up beyond the deadline, nor one that never reads.
    ///
    /// It begins when the returned value is awaited, and takes a tokio
    /// runtime with a timer.
    ///
    /// ```no_run
    /// # async fn example(connections: hyper_connstate::Connections) {
    /// use std::time::Duration;
    ///
    /// let drained = connections.drain(Duration::from_secs(20)).await;
    /// println!("{drained}");
    /// # }
    /// ```
    pub fn drain(&self, deadline: Duration) -> Drain {
        Drain::new(self.clone(), deadline)
    }

    /// Resolves when no connection has had work for `duration`: neither a
    /// request under way nor a new owner. For daemons that exit when unused.
    ///
    /// Connections that are new or idle have no work. The time before the
    /// first one counts from when the registry was made. Needs a tokio runtime
    /// with a timer.
    pub async fn idle_for(&self, duration: Duration) {
        loop {
            let now = now();
            let mut last_work = None;
            self.for_each(|conn| match conn.state_and_since() {
                // A connection with work at this moment keeps this from
                // resolving before `duration` has passed from now.
                (ConnState::Active | ConnState::Hijacked, _) => last_work = Some(now),
                (ConnState::Idle, since) => last_work = last_work.max(Some(since)),
                (ConnState::New | ConnState::Closed, _) => {}
            });
            // Read after them: one that is closed meanwhile has told by then.
            let last_work = self.0.last_work().max(last_work.unwrap_or(self.0.created_at));
            let Some(until) = last_work.checked_add(duration) else {
                return std::future::pending().await;
            };
            if until <= now {
                return;
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.0
    }

    /// From now on connections are drained as they come.
    pub(crate) fn start_draining(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// Resolves when a connection is gone after this was called.
    #[cfg(any(feature = "serve", feature = "axum"))]
    pub(crate) fn one_gone(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.gone.notified()
    }

    /// `f` runs under a lock: it must not call user code.
    fn for_each(&self, mut f: impl FnMut(&Conn)) {
        for index in 0..SHARDS {
            self.0.lock(index).values().for_each(&mut f);
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// In parts, so that connections which come and go on different threads seldom
/// meet.
// (Which part a connection is in depends on its id, and a model has to do the
// same thing each time.)
const SHARDS: usize = if cfg!(loom_models) { 1 } else { 16 };

type Shard = HashMap<ConnId, Conn>;

pub(crate) struct Registry {
    shards: [Mutex<Shard>; SHARDS],
    len: AtomicUsize,
    draining: AtomicBool,
    created_at: Instant,
    /// When the last of the connections that are gone had work, in nanoseconds
    /// from `created_at`.
    last_work: AtomicU64,
    gone: Notify,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            shards: Default::default(),
            len: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            created_at: now(),
            last_work: AtomicU64::new(0),
            gone: Notify::new(),
        }
    }
}

impl Registry {
    pub(crate) fn insert(&self, conn: &Conn) {
        let mut shard = self.shard(conn.id());
        shard.insert(conn.id(), conn.clone());
        self.len.fetch_add(1, Ordering::AcqRel);
        drop(shard);
        // Either this sees that draining has started, or the drain, which
        // looks at the connections after that, sees this one.
        if self.draining.load(Ordering::SeqCst) {
            conn.drain();
        }
    }

    /// The connection is gone; may be called twice.
    pub(crate) fn remove(&self, conn: &Conn) {
        let mut shard = self.shard(conn.id());
        let removed = shard.remove(&conn.id());
        if removed.is_some() {
            self.len.fetch_sub(1, Ordering::AcqRel);
        }
        drop(shard);
        drop(removed);
        self.gone.notify_waiters();
    }

    /// A connection that is about to be gone had work until then.
    pub(crate) fn had_work_until(&self, end: Instant) {
        let since = end.saturating_duration_since(self.created_at);
        let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.last_work.fetch_max(nanoseconds, Ordering::AcqRel);
    }

    fn last_work(&self) -> Instant {
        self.created_at + Duration::from_nanos(self.last_work.load(Ordering::Acquire))
    }

    fn shard(&self, id: ConnId) -> MutexGuard<'_, Shard> {
        self.lock(id.get() as usize % SHARDS)
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
