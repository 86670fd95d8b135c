//! The handle to one connection.

mod facts;
mod state_since;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::pin::pin;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Instant;

use tokio::sync::Notify;

use self::state_since::AtomicStateSince;
use crate::connections::Registry;
use crate::hook::Hook;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::sync::{Mutex, MutexGuard};
use crate::tracker::{Fact, Tracker};
use crate::{Address, CloseReason, ConnState, Protocol};

/// A handle to one connection: who it is, and what it is doing.
///
/// Cheap to clone. Handles are given out by
/// [`InstrumentedListener::accept`](crate::InstrumentedListener::accept), to
/// every [`Hook`] call and, through the layer, to handlers; they stay valid
/// after the connection is gone and then say `Closed` or `Hijacked`.
///
/// Two handles are equal if they are of the same connection.
///
/// # Values of your own
///
/// A connection carries typed values that hooks and handlers both see: Go's
/// `ConnContext`. Values are cloned out, so put an `Arc` around what is large
/// or shared.
///
/// ```
/// use hyper_connstate::{Conn, ConnState};
///
/// #[derive(Clone)]
/// struct Tenant(&'static str);
///
/// let hook = |conn: &Conn, state: ConnState| match state {
///     ConnState::New => {
///         conn.insert(Tenant("acme"));
///     }
///     _ => {
///         let Tenant(name) = conn.get::<Tenant>().expect("inserted at New");
///         println!("{name}: {state}");
///     }
/// };
/// # fn assert_hook(_: impl hyper_connstate::Hook) {}
/// # assert_hook(hook);
/// ```
#[derive(Clone)]
pub struct Conn(Arc<Inner>);

struct Inner {
    /// The whole [`Tracker`]: where facts from all threads meet.
    tracker: AtomicU64,
    /// The state last reported, and since when.
    state: AtomicStateSince,
    requests: AtomicU64,
    accepted_at: Instant,
    hook: Arc<dyn Hook>,
    id: ConnId,
    remote_addr: Address,
    local_addr: Address,
    values: Mutex<http::Extensions>,
    /// The kind of the first error of the stream.
    failure: OnceLock<io::ErrorKind>,
    /// Of the tasks that read and write: one and the same until the
    /// connection is hijacked.
    wakers: Mutex<[Option<Waker>; 2]>,
    /// Set when the stream is gone and that has been reported.
    done: AtomicBool,
    /// Notified when `done` is set, when the connection is hijacked and when
    /// it is to be drained.
    turned: Notify,
    registry: OnceLock<Arc<Registry>>,
}

/// The side of a stream that a task waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Read = 0,
    Write = 1,
}

impl Conn {
    /// Registers a connection, and reports it as `New`.
    pub(crate) fn accepted(
        remote_addr: Address,
        local_addr: Address,
        hook: Arc<dyn Hook>,
        registry: Option<&Arc<Registry>>,
    ) -> Self {
        let mut tracker = Tracker::new();
        let report = tracker.start_report();
        let conn = Self(Arc::new(Inner {
            tracker: AtomicU64::new(tracker.to_u64()),
            state: AtomicStateSince::new(),
            requests: AtomicU64::new(0),
            accepted_at: now(),
            hook,
            id: ConnId::next(),
            remote_addr,
            local_addr,
            values: Mutex::new(http::Extensions::new()),
            failure: OnceLock::new(),
            wakers: Mutex::new([None, None]),
            done: AtomicBool::new(false),
            turned: Notify::new(),
            registry: OnceLock::new(),
        }));
        if let Some(registry) = registry {
            conn.register(registry);
        }
        report.into_iter().for_each(|state| conn.report(state));
        conn
    }

    /// Adds the connection to a registry, which it leaves by itself. `false`
    /// if it is in another one already.
    pub(crate) fn register(&self, registry: &Arc<Registry>) -> bool {
        if self.0.registry.set(registry.clone()).is_err() {
            return false;
        }
        registry.insert(self);
        // It may have ended in between. Of two threads that each write one
        // thing and look at the other's, one has to see it: the fence here and
        // that in `finish` see to that.
        fence(Ordering::SeqCst);
        if self.is_done() {
            registry.remove(self);
        }
        true
    }

    /// A number that no other connection of this process has.
    pub fn id(&self) -> ConnId {
        self.0.id
    }

    /// The client's address; prints as in Go, for example `127.0.0.1:39778`.
    pub fn remote_addr(&self) -> &Address {
        &self.0.remote_addr
    }

    /// The address that the client connected to.
    pub fn local_addr(&self) -> &Address {
        &self.0.local_addr
    }

    /// The state last reported. Inside a hook, the state being reported.
    pub fn state(&self) -> ConnState {
        self.0.state.load().0
    }

    /// When the connection came into its [`state`](Self::state).
    pub fn state_since(&self) -> Instant {
        self.0.accepted_at + self.0.state.load().1
    }

    /// [`state`](Self::state) and [`state_since`](Self::state_since), of the
    /// same report.
    pub(crate) fn state_and_since(&self) -> (ConnState, Instant) {
        let (state, since) = self.0.state.load();
        (state, self.0.accepted_at + since)
    }

    /// The protocol, as far as the bytes have told.
    ///
    /// For HTTP/2 it is known when the client's preface has been read and
    /// answered: the first `Active` may still be [`Protocol::Unknown`].
    pub fn protocol(&self) -> Protocol {
        self.tracker().protocol()
    }

    /// When the connection was accepted.
    pub fn accepted_at(&self) -> Instant {
        self.0.accepted_at
    }

    /// How many requests of this connection have reached the layer, those
    /// being served included.
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Keeps a value with the connection, and returns the value of this type
    /// that it replaces.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        self.values().insert(value)
    }

    /// A clone of the value of this type.
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.values().get::<T>().cloned()
    }

    /// Takes the value of this type away.
    pub fn remove<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.values().remove::<T>()
    }

    fn values(&self) -> MutexGuard<'_, http::Extensions> {
        // What a value's own clone or drop leaves behind is its own business.
        self.0.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === ending ===

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
        self.tell_from_anywhere(Fact::Close(reason));
        self.0.turned.notify_waiters();
    }

    /// Closes the connection if it is idle. Returns whether it was.
    pub(crate) fn close_if_idle(&self) -> bool {
        self.tell_from_anywhere(Fact::CloseIfIdle)
    }

    /// Resolves when the program closes the connection.
    #[cfg(feature = "serve")]
    pub(crate) async fn until_closing(&self) {
        self.turned_until(|| self.closing().is_some()).await;
    }

    /// Closes the connection at the deadline of a graceful shutdown.
    pub(crate) fn close_by_force(&self) {
        self.close_for(CloseReason::ShutdownForced);
    }

    /// Closes the connection as soon as it has nothing to do.
    pub(crate) fn drain(&self) {
        self.tell_from_anywhere(Fact::Drain);
        self.0.turned.notify_waiters();
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
        self.turned_until(|| self.is_done()).await;
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
        self.turned_until(|| self.is_draining()).await;
    }

    /// Whether the connection is to be drained; see [`draining`](Self::draining).
    pub fn is_draining(&self) -> bool {
        self.tracker().is_draining()
    }

    /// Resolves when there is nothing to wait for in a graceful shutdown.
    pub(crate) async fn done_or_hijacked(&self) {
        self.turned_until(|| self.is_done() || self.state() == ConnState::Hijacked).await;
    }

    async fn turned_until(&self, condition: impl Fn() -> bool) {
        let mut turned = pin!(self.0.turned.notified());
        loop {
            // Enlisted before the condition is looked at, so that a turn in
            // between is not missed.
            turned.as_mut().enable();
            if condition() {
                return;
            }
            turned.as_mut().await;
            turned.set(self.0.turned.notified());
        }
    }

    fn is_done(&self) -> bool {
        self.0.done.load(Ordering::Acquire)
    }
}

impl PartialEq for Conn {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Conn {}

impl Hash for Conn {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.id().hash(hasher);
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("id", &self.id())
            .field("remote_addr", self.remote_addr())
            .field("local_addr", self.local_addr())
            .field("state", &self.state())
            .field("protocol", &self.protocol())
            .field("requests", &self.requests())
            .field("close_reason", &self.close_reason())
            .finish_non_exhaustive()
    }
}

/// A clock that tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A number that no other connection of this process has, counted from 1 in
/// the order in which connections were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    fn next() -> Self {
        // Taken once a connection, never on the way of a request.
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
