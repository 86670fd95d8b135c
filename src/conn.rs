//! The handle to one connection, and the place where its facts meet.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::diagnostics;
use crate::hook::Hook;
use crate::tracker::{Effect, Exchange, Fact, Request, Response, Tracker};
use crate::{Address, ConnState, Protocol};

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
    id: ConnId,
    remote_addr: Address,
    local_addr: Address,
    accepted_at: Instant,
    hook: Arc<dyn Hook>,
    values: Mutex<http::Extensions>,
    requests: AtomicU64,
    /// The state last reported. Written by whoever reports, just before.
    state: AtomicU8,
    protocol: AtomicU8,
    /// [`Tracker::interest`] as of the last fact.
    ///
    /// The I/O side reads it without the lock. It may be stale only for a fact
    /// that a thread other than the connection's tells at this moment; the
    /// tracker then asks for the task to be woken, and the wake-up brings the
    /// new value along.
    interest: AtomicU8,
    guarded: Mutex<Guarded>,
}

struct Guarded {
    tracker: Tracker,
    /// Of the task that drives the connection.
    waker: Option<Waker>,
}

impl Conn {
    /// Registers a connection, and reports it as `New`.
    pub(crate) fn accepted(remote_addr: Address, local_addr: Address, hook: Arc<dyn Hook>) -> Self {
        let tracker = Tracker::new();
        let conn = Self(Arc::new(Inner {
            id: ConnId::next(),
            remote_addr,
            local_addr,
            accepted_at: tokio::time::Instant::now().into_std(),
            hook,
            values: Mutex::new(http::Extensions::new()),
            requests: AtomicU64::new(0),
            state: AtomicU8::new(ConnState::New.to_u8()),
            protocol: AtomicU8::new(Protocol::Unknown.to_u8()),
            interest: AtomicU8::new(tracker.interest()),
            guarded: Mutex::new(Guarded { tracker, waker: None }),
        }));
        conn.report(conn.lock());
        conn
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
        ConnState::from_u8(self.0.state.load(Ordering::Acquire))
    }

    /// The protocol, as far as the bytes have told.
    ///
    /// For HTTP/2 it is known when the client's preface has been read and
    /// answered: the first `Active` may still be [`Protocol::Unknown`].
    pub fn protocol(&self) -> Protocol {
        Protocol::from_u8(self.0.protocol.load(Ordering::Acquire))
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
        self.0.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === facts ===

impl Conn {
    /// Which facts would change anything now, as bits of
    /// [`Interest`](crate::tracker::Interest).
    #[inline]
    pub(crate) fn interest(&self) -> u8 {
        self.0.interest.load(Ordering::Acquire)
    }

    /// Takes a fact from the connection's own task. Returns whether that task
    /// is to be polled once more.
    pub(crate) fn tell(&self, fact: Fact) -> bool {
        match self.take(fact) {
            Effect::Wake => true,
            Effect::LayerMissing => {
                diagnostics::layer_missing(self);
                false
            }
            Effect::None | Effect::Begun(_) => false,
        }
    }

    /// The layer was called for an HTTP/1 request. `None` if another layer was
    /// called for it before, or the connection is over.
    pub(crate) fn request_began(&self, request: Request) -> Option<Exchange> {
        match self.take(Fact::RequestBegan(request)) {
            Effect::Begun(exchange) => {
                self.count_request();
                Some(exchange)
            }
            _ => None,
        }
    }

    /// A request reached the layer.
    pub(crate) fn count_request(&self) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn response_ended(&self, exchange: Exchange, response: Response) {
        self.part_ended(Fact::ResponseEnded { exchange, response });
    }

    #[cfg(feature = "axum")]
    pub(crate) fn request_body_ended(&self, exchange: Exchange, read_to_end: bool) {
        self.part_ended(Fact::RequestBodyEnded { exchange, read_to_end });
    }

    /// Takes a fact that may come from any thread.
    fn part_ended(&self, fact: Fact) {
        if self.take(fact) == Effect::Wake {
            let waker = self.lock().waker.clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Remembers how to wake the task that drives the connection.
    pub(crate) fn set_waker(&self, waker: Waker) {
        let previous = self.lock().waker.replace(waker);
        drop(previous);
    }

    /// The stream is gone or has been taken away. From here on nothing keeps
    /// the connection's task alive.
    pub(crate) fn leave(&self, fact: Fact) {
        let effect = self.take(fact);
        debug_assert_eq!(effect, Effect::None);
        let waker = self.lock().waker.take();
        drop(waker);
    }

    fn take(&self, fact: Fact) -> Effect {
        let mut guarded = self.lock();
        let effect = guarded.tracker.on(fact);
        self.0.interest.store(guarded.tracker.interest(), Ordering::Release);
        self.0.protocol.store(guarded.tracker.protocol().to_u8(), Ordering::Release);
        self.report(guarded);
        effect
    }

    /// Reports what there is to report, unless someone is at it already: a
    /// hook that causes a fact of its own connection, or another thread. They
    /// find it when their hook returns.
    fn report<'a>(&'a self, mut guarded: MutexGuard<'a, Guarded>) {
        while let Some(state) = guarded.tracker.start_report() {
            drop(guarded);
            self.0.state.store(state.to_u8(), Ordering::Release);
            call_hook(&*self.0.hook, self, state);
            guarded = self.lock();
            guarded.tracker.finish_report();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Guarded> {
        // No user code runs under this lock, so there is nothing half done.
        self.0.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls a hook and keeps its panic from going on into the connection's task,
/// where it would take the connection down, or into a drop while another panic
/// unwinds, where it would abort the process.
pub(crate) fn call_hook<H: Hook + ?Sized>(hook: &H, conn: &Conn, state: ConnState) {
    // A hook that panicked is called again for the next state; what it left
    // half done is its own business, as in any server that survives a panic.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook.on_state(conn, state))) {
        diagnostics::hook_panicked(conn, state);
        // A payload's own drop may panic too.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
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
            .finish_non_exhaustive()
    }
}

/// A number that no other connection of this process has, counted from 1 in
/// the order in which connections were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    fn next() -> Self {
        // Taken once a connection, never on the way of a request.
        static NEXT: AtomicU64 = AtomicU64::new(1);
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
