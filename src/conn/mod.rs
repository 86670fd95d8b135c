//! The handle to one connection.

mod counting;
mod ending;
mod facts;
mod handshake;
mod id;
mod noted;
mod policies;
mod request_end;
mod settings;
mod socket;
mod state_since;
mod values;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

pub(crate) use self::ending::IDLE_GRACE;
pub(crate) use self::facts::{ExchangeId, Place};
use self::handshake::AtomicTlsVersion;
pub(crate) use self::handshake::HandshakeRun;
pub use self::handshake::{HandshakeOutcome, TlsVersion};
pub use self::id::ConnId;
pub(crate) use self::noted::Noted;
use self::noted::Notes;
use self::request_end::AtomicRequestEnd;
pub(crate) use self::request_end::{BytesRead, RequestLength};
pub(crate) use self::settings::Settings;
pub(crate) use self::socket::{Socket, send_buffer};
use self::state_since::AtomicStateSince;
use self::values::Values;
use crate::policies::enforcer::Admission;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use crate::tracker::Tracker;
use crate::{Address, ConnState, Policies, Policy, Protocol};

/// A handle to one connection: who it is, and what it is doing.
///
/// Cheap to clone. You get one from
/// [`InstrumentedListener::accept`](crate::InstrumentedListener::accept), in
/// every [`Hook`](crate::Hook) call and, through the layer, in handlers. It
/// stays valid after the connection is gone, and then says `Closed` or
/// `Hijacked`.
///
/// Two handles are equal if they are of the same connection.
///
/// # Values of your own
///
/// A connection carries typed values that hooks and handlers both see (Go calls
/// it `ConnContext`). You get clones, so put an `Arc` around what is large or
/// shared.
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
    /// The [`Place`] of the layer that counts HTTP/2 requests.
    counting: AtomicU8,
    tls_version: AtomicTlsVersion,
    /// How many requests do not count as use.
    discounted: AtomicU64,
    accepted_at: Instant,
    settings: Arc<Settings>,
    id: ConnId,
    remote_addr: Address,
    // Boxed, because few connections have one.
    late_remote_addr: OnceLock<Box<Address>>,
    local_addr: Address,
    /// In HTTP/1: what the client has sent, and how much of it is requests.
    bytes_read: AtomicU64,
    request_end: AtomicRequestEnd,
    notes: Notes,
    /// Whose it is, once somebody has asked for the limit on one client's
    /// connections.
    ip_key: AtomicU64,
    /// It has a place among those that were let in, to be given back.
    has_place: AtomicBool,
    /// How long a drain waits for the next request, in nanoseconds.
    idle_grace: AtomicU64,
    values: Values,
    /// The kind of the first error of the stream.
    failure: OnceLock<io::ErrorKind>,
    goaway_code: OnceLock<u32>,
    /// Of a connection that was hijacked.
    socket: Mutex<Option<Socket>>,
    /// Of the tasks that read and write: one and the same until the
    /// connection is hijacked.
    wakers: Mutex<[Option<Waker>; 2]>,
    /// Set when the stream is gone and that has been reported.
    done: AtomicBool,
    /// Notified when `done` is set, when the connection is hijacked and when
    /// it is to be drained.
    changed: Notify,
    observer: OnceLock<Arc<dyn ConnObserver>>,
}

/// Who follows a connection from outside: the registry that it is in. A
/// connection knows no more of it than this.
pub(crate) trait ConnObserver: Send + Sync + 'static {
    /// The connection has come.
    fn added(&self, conn: &Conn);

    /// The connection, which is about to be gone, had work until then.
    fn had_work_until(&self, end: Instant);

    /// The connection is gone; may be called twice.
    fn removed(&self, conn: &Conn);

    /// The policies of its connections.
    fn policies(&self) -> Arc<Policies>;

    /// Its policies ask who waits for a body.
    #[cfg(feature = "axum")]
    fn limits_bodies(&self) -> bool;

    /// For the header `Keep-Alive: timeout=`, where its policies want it.
    fn keep_alive_seconds(&self) -> Option<u64>;

    /// These policies of a connection's own have to be looked after.
    fn look_after(&self, conn: &Conn, policies: &Policies);

    /// A policy has run out for the connection.
    fn expired(&self, conn: &Conn, policy: Policy);
    /// A TLS handshake of the connection begins.
    fn handshake_began(&self, conn: &Conn);

    /// That handshake is over.
    fn handshake_ended(&self, conn: &Conn, completed: bool);
}

/// The side of a stream that a task waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Read = 0,
    Write = 1,
}

impl Conn {
    /// Tracks a connection that was just accepted, and reports it as `New`.
    pub(crate) fn new(
        remote_addr: Address,
        local_addr: Address,
        settings: Arc<Settings>,
        observer: Option<Arc<dyn ConnObserver>>,
        admission: Admission,
    ) -> Self {
        let mut tracker = Tracker::new();
        let report = tracker.start_report();
        let conn = Self(Arc::new(Inner {
            tracker: AtomicU64::new(tracker.to_u64()),
            state: AtomicStateSince::new(),
            requests: AtomicU64::new(0),
            counting: AtomicU8::new(0),
            tls_version: AtomicTlsVersion::default(),
            discounted: AtomicU64::new(0),
            accepted_at: now(),
            settings,
            id: ConnId::next(),
            remote_addr,
            late_remote_addr: OnceLock::new(),
            local_addr,
            bytes_read: AtomicU64::new(0),
            request_end: AtomicRequestEnd::new(),
            notes: Notes::new(),
            ip_key: AtomicU64::new(0),
            has_place: AtomicBool::new(false),
            idle_grace: AtomicU64::new(0),
            values: Values::default(),
            failure: OnceLock::new(),
            goaway_code: OnceLock::new(),
            socket: Mutex::new(None),
            wakers: Mutex::new([None, None]),
            done: AtomicBool::new(false),
            changed: Notify::new(),
            observer: OnceLock::new(),
        }));
        conn.admit(admission);
        if let Some(observer) = observer {
            conn.set_observer(observer);
        }
        report.into_iter().for_each(|state| conn.report(state));
        conn
    }

    /// Adds the connection to whom its end has to be said. `false`, and
    /// nothing else, if there is somebody already.
    pub(crate) fn set_observer(&self, observer: Arc<dyn ConnObserver>) -> bool {
        if self.0.observer.set(observer.clone()).is_err() {
            return false;
        }
        observer.added(self);
        // It may have ended in between. Of two threads that each write one
        // thing and look at the other's, one has to see it: the fence here and
        // that in `finish` see to that.
        fence(Ordering::SeqCst);
        if self.is_done() {
            observer.removed(self);
        }
        true
    }

    pub(crate) fn observer(&self) -> Option<&Arc<dyn ConnObserver>> {
        self.0.observer.get()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// A number that no other connection of this process has.
    pub fn id(&self) -> ConnId {
        self.0.id
    }

    /// The client's address; prints as in Go, for example `127.0.0.1:39778`.
    pub fn remote_addr(&self) -> &Address {
        self.0.late_remote_addr.get().map_or(&self.0.remote_addr, |address| address)
    }

    /// Sets who the client really is, where that is learnt after the connection
    /// was accepted: from a load balancer's PROXY protocol header, say (see the
    /// [guide](crate::guide::how_do_i#take-the-clients-address-from-the-proxy-protocol)).
    /// It works once: the second time it returns `false` and changes nothing.
    pub fn set_remote_addr(&self, address: impl Into<Address>) -> bool {
        self.0.late_remote_addr.set(Box::new(address.into())).is_ok()
    }

    /// The address that the client connected to.
    pub fn local_addr(&self) -> &Address {
        &self.0.local_addr
    }

    /// The state last reported. Inside a hook, it is the state being reported.
    pub fn state(&self) -> ConnState {
        self.0.state.load().state
    }

    /// The state before this one. At [`Closed`](ConnState::Closed), it is what
    /// the connection was doing when it ended. `None` while it is New.
    pub fn previous_state(&self) -> Option<ConnState> {
        self.0.state.load().previous
    }

    /// When the connection came into its [`state`](Self::state).
    pub fn state_since(&self) -> Instant {
        self.0.accepted_at + self.0.state.load().since
    }

    /// [`state`](Self::state) and [`state_since`](Self::state_since), of the
    /// same report.
    pub(crate) fn state_and_since(&self) -> (ConnState, Instant) {
        let reported = self.0.state.load();
        (reported.state, self.0.accepted_at + reported.since)
    }

    /// The protocol, as far as the bytes have told.
    ///
    /// HTTP/2 is known when the client's preface has been read and answered. So
    /// the first `Active` may still be [`Protocol::Unknown`].
    pub fn protocol(&self) -> Protocol {
        self.tracker().protocol()
    }

    /// When the connection was accepted.
    pub fn accepted_at(&self) -> Instant {
        self.0.accepted_at
    }

    /// How long ago the connection was accepted: in
    /// [`Hook::on_end`](crate::Hook::on_end), how long it has lived.
    pub fn age(&self) -> Duration {
        now().saturating_duration_since(self.0.accepted_at)
    }

    /// How many requests of this connection have reached the layer, including
    /// those being served.
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// How many bytes of HTTP the client has sent; `None` of one that was
    /// hijacked, whose bytes are nobody's to count.
    #[cfg(feature = "status")]
    pub(crate) fn bytes_received(&self) -> Option<u64> {
        let read = BytesRead::from_u64(self.0.bytes_read.load(Ordering::Relaxed));
        (self.state() != ConnState::Hijacked).then_some(read.get())
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
