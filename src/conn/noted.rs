//! What a connection notes of itself for policies: instants and numbers, most of
//! them where something is in the way anyway.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::{Conn, now};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::tracker::{Fact, Tracker};
use crate::{ConnId, ConnState, Protocol};

/// The connection's own notes.
pub(super) struct Notes {
    /// When its stream began to speak HTTP, if that was not at once.
    ready: AtomicSince,
    /// The number of its last request.
    max_requests: AtomicU32,
    /// It has policies of its own.
    pub(super) has_policies: AtomicBool,
    /// There once somebody has been waited for: most connections are not larger
    /// for it.
    waits: OnceLock<Box<Waits>>,
}

/// Who is waited for.
struct Waits {
    /// HTTP/2: when the head began that is under way.
    head: AtomicSince,
    /// Since when the socket takes nothing of what there is to be written.
    write_blocked: AtomicSince,
    /// HTTP/2: since when the client's windows let nothing more through, and what
    /// they had let through by then.
    windows_shut: AtomicSince,
    data_sent: AtomicU64,
    /// What has been written since the socket first took nothing.
    bytes_written: AtomicU64,
    /// How much the socket may have had in its buffer when it last took nothing.
    socket_holds: AtomicU64,
    /// What of requests' bodies has been read since there is this: by the server
    /// in HTTP/2, by handlers in HTTP/1.
    data_read: AtomicU64,
    /// How many handlers wait for a body, and since when nobody has got anything.
    bodies: AtomicU32,
    bodies_since: AtomicSince,
    /// The longest that a handler has waited, in nanoseconds, when it was told to
    /// look again: it may wait on from there.
    bodies_waited: AtomicU64,
}

/// An instant, counted in nanoseconds from when the connection was accepted,
/// and none as zero.
struct AtomicSince(AtomicU64);

impl AtomicSince {
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn set(&self, conn: &Conn) {
        self.set_before(conn, Duration::ZERO);
    }

    /// So long ago.
    fn set_before(&self, conn: &Conn, before: Duration) {
        let since = now().saturating_duration_since(conn.0.accepted_at);
        let since = since.saturating_sub(before).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX).max(1);
        self.0.store(since, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    fn get(&self, accepted_at: Instant) -> Option<Instant> {
        let since = self.0.load(Ordering::Relaxed);
        (since != 0).then(|| accepted_at + Duration::from_nanos(since))
    }
}

impl Notes {
    pub(super) fn new() -> Self {
        Self {
            ready: AtomicSince::new(),
            max_requests: AtomicU32::new(u32::MAX),
            has_policies: AtomicBool::new(false),
            waits: OnceLock::new(),
        }
    }

    fn waits(&self) -> &Waits {
        self.waits.get_or_init(|| {
            Box::new(Waits {
                head: AtomicSince::new(),
                write_blocked: AtomicSince::new(),
                windows_shut: AtomicSince::new(),
                data_sent: AtomicU64::new(0),
                bytes_written: AtomicU64::new(0),
                socket_holds: AtomicU64::new(0),
                data_read: AtomicU64::new(0),
                bodies: AtomicU32::new(0),
                bodies_since: AtomicSince::new(),
                bodies_waited: AtomicU64::new(0),
            })
        })
    }
}

/// What there is to know of a connection at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    pub(crate) id: ConnId,
    pub(crate) tracker: Tracker,
    /// The state and since when; `None` while it is being reported.
    pub(crate) state: Option<(ConnState, Instant)>,
    pub(crate) accepted_at: Instant,
    pub(crate) ready_at: Instant,
    pub(crate) head_since: Option<Instant>,
    pub(crate) write_blocked_since: Option<Instant>,
    /// HTTP/2: since when the client's windows let nothing more through.
    pub(crate) windows_shut_since: Option<Instant>,
    /// Since when handlers wait for a body, and none has got anything.
    pub(crate) body_waits_since: Option<Instant>,
    /// How long a handler that does not wait now may have waited before, if it
    /// comes to wait on.
    pub(crate) body_waited: Duration,
    /// Of bodies, without what they are framed by.
    pub(crate) body_read: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    /// How much of it the client may have taken or not.
    pub(crate) socket_holds: u64,
    /// HTTP/2: what had been sent of answers' bodies when the windows were last
    /// shut.
    pub(crate) data_sent: u64,
}

impl Conn {
    pub(crate) fn noted(&self) -> Noted {
        let notes = &self.0.notes;
        let accepted_at = self.0.accepted_at;
        let tracker = self.tracker();
        let (state, state_since) = self.state_and_since();
        let is_http2 = tracker.protocol() == Protocol::Http2;
        let bytes_read = self.bytes_read().get();
        let waits = notes.waits.get();
        let since = |of: fn(&Waits) -> &AtomicSince| of(waits?).get(accepted_at);
        let number = |of: fn(&Waits) -> &AtomicU64| {
            waits.map_or(0, |waits| of(waits).load(Ordering::Relaxed))
        };
        let bodies = waits.map_or(0, |waits| waits.bodies.load(Ordering::Relaxed));
        Noted {
            id: self.id(),
            tracker,
            state: (tracker.settled_state() == Some(state)).then_some((state, state_since)),
            accepted_at,
            ready_at: notes.ready.get(accepted_at).unwrap_or(accepted_at),
            head_since: if is_http2 { since(|waits| &waits.head) } else { Some(state_since) },
            write_blocked_since: since(|waits| &waits.write_blocked),
            windows_shut_since: since(|waits| &waits.windows_shut),
            body_waits_since: if bodies > 0 { since(|waits| &waits.bodies_since) } else { None },
            body_waited: Duration::from_nanos(number(|waits| &waits.bodies_waited)),
            body_read: number(|waits| &waits.data_read),
            bytes_read,
            bytes_written: number(|waits| &waits.bytes_written),
            socket_holds: number(|waits| &waits.socket_holds),
            data_sent: number(|waits| &waits.data_sent),
        }
    }

    /// Takes a fact, unless the connection is not any more as it was seen.
    pub(crate) fn apply_if(&self, seen: Tracker, fact: Fact) -> bool {
        let mut tracker = seen;
        let _ = tracker.on(fact);
        let word = &self.0.tracker;
        let (before, after) = (seen.to_u64(), tracker.to_u64());
        before != after
            && word.compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The stream speaks HTTP from now on.
    pub(crate) fn set_ready(&self) {
        self.0.notes.ready.set(self);
    }

    #[cold]
    pub(super) fn head_began(&self) {
        self.0.notes.waits().head.set(self);
    }

    /// So much of requests' bodies has been read.
    #[cold]
    pub(super) fn data_read(&self, length: u32) {
        // Nobody asks for what came before anybody was waited for.
        if let Some(waits) = self.0.notes.waits.get() {
            waits.data_read.fetch_add(length.into(), Ordering::Relaxed);
        }
    }

    /// There are bytes to be written, and the socket takes none; it has so many
    /// in its buffer at most. From now on what is written is counted.
    #[cold]
    pub(crate) fn write_blocked(&self, socket_holds: impl FnOnce() -> usize) {
        let waits = self.0.notes.waits();
        if !waits.write_blocked.is_set() {
            waits.socket_holds.store(socket_holds() as u64, Ordering::Relaxed);
            waits.write_blocked.set(self);
            self.record(Fact::Watched);
        }
    }

    /// The client's windows have let so much through by now (it wraps) and are
    /// shut, or are open.
    #[cold]
    pub(crate) fn windows_are_shut(&self, shut: Option<u32>) {
        if let Some(sent) = shut {
            let waits = self.0.notes.waits();
            waits.data_sent.fetch_add(sent.into(), Ordering::Relaxed);
            waits.windows_shut.set(self);
            self.record(Fact::Watched);
        } else if let Some(waits) = self.0.notes.waits.get() {
            waits.windows_shut.clear();
        }
    }

    /// Of a stream that is watched: it took so many bytes, or has none to take.
    #[cold]
    pub(crate) fn write_goes_on(&self, bytes: usize) {
        let waits = self.0.notes.waits();
        waits.write_blocked.clear();
        waits.bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A handler waits for a body, and has waited for so long before.
    #[cfg(feature = "axum")]
    pub(crate) fn waits_for_body(&self, before: Duration) {
        let waits = self.0.notes.waits();
        // Where others wait already, another one has brought no byte. Noted
        // before it can be seen, and again if the last of the others has stopped
        // in between.
        let first = waits.bodies.load(Ordering::Relaxed) == 0;
        if first {
            waits.bodies_since.set_before(self, before);
        }
        if waits.bodies.fetch_add(1, Ordering::Relaxed) == 0 && !first {
            waits.bodies_since.set_before(self, before);
        }
    }

    /// A handler does not wait for a body any more, having waited for so long.
    #[cfg(feature = "axum")]
    pub(crate) fn waits_for_body_no_more(&self, waited: Duration) {
        let waits = self.0.notes.waits();
        let waited = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        waits.bodies_waited.fetch_max(waited, Ordering::Relaxed);
        waits.bodies.fetch_sub(1, Ordering::Relaxed);
    }

    /// A handler has got something of a body: so many bytes, if nobody has
    /// counted them yet.
    #[cfg(feature = "axum")]
    pub(crate) fn body_goes_on(&self, bytes: usize) {
        // Nobody asks for what came before anybody was waited for.
        let Some(waits) = self.0.notes.waits.get() else { return };
        waits.data_read.fetch_add(bytes as u64, Ordering::Relaxed);
        if waits.bodies.load(Ordering::Relaxed) > 0 {
            waits.bodies_since.set(self);
        }
    }

    /// After so many requests it ends.
    pub(crate) fn set_max_requests(&self, requests: Option<u64>) {
        let requests = requests.and_then(|requests| u32::try_from(requests).ok());
        let requests = requests.unwrap_or(u32::MAX);
        self.0.notes.max_requests.store(requests, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn max_requests(&self) -> u64 {
        match self.0.notes.max_requests.load(Ordering::Relaxed) {
            u32::MAX => u64::MAX,
            requests => requests.into(),
        }
    }
}
