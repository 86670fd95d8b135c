//! What a connection notes of itself for policies: instants and numbers, most of
//! them where something is in the way anyway.

use std::time::{Duration, Instant};

use super::{Conn, now};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::tracker::{Fact, Tracker};
use crate::{ConnId, ConnState, Protocol};

/// The connection's own notes.
pub(super) struct Notes {
    /// When its stream began to speak HTTP, if that was not at once.
    ready: AtomicSince,
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
    /// What has been read of requests' bodies: by the server in HTTP/2, by
    /// handlers in HTTP/1.
    data_read: AtomicU64,
    /// How many handlers wait for a body, and since when nobody has got anything.
    body_waits: AtomicU32,
    body_waits_since: AtomicSince,
    /// The number of its last request.
    max_requests: AtomicU32,
    /// It has policies of its own.
    pub(super) has_policies: AtomicBool,
}

/// An instant, counted in nanoseconds from when the connection was accepted,
/// and none as zero.
struct AtomicSince(AtomicU64);

impl AtomicSince {
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn set(&self, conn: &Conn) {
        let since = now().saturating_duration_since(conn.0.accepted_at).as_nanos();
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
            head: AtomicSince::new(),
            write_blocked: AtomicSince::new(),
            windows_shut: AtomicSince::new(),
            data_sent: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            data_read: AtomicU64::new(0),
            body_waits: AtomicU32::new(0),
            body_waits_since: AtomicSince::new(),
            max_requests: AtomicU32::new(u32::MAX),
            has_policies: AtomicBool::new(false),
        }
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
    /// Of bodies, without what they are framed by.
    pub(crate) body_read: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    /// HTTP/2: what had been sent of answers' bodies when the windows were last
    /// shut.
    pub(crate) data_sent: u64,
}

impl Conn {
    pub(crate) fn noted(&self) -> Noted {
        let notes = &self.0.notes;
        let accepted_at = self.0.accepted_at;
        let tracker = self.tracker();
        let (state, since) = self.state_and_since();
        let is_http2 = tracker.protocol() == Protocol::Http2;
        let bytes_read = self.bytes_read().get();
        Noted {
            id: self.id(),
            tracker,
            state: (tracker.settled_state() == Some(state)).then_some((state, since)),
            accepted_at,
            ready_at: notes.ready.get(accepted_at).unwrap_or(accepted_at),
            head_since: if is_http2 { notes.head.get(accepted_at) } else { Some(since) },
            write_blocked_since: notes.write_blocked.get(accepted_at),
            windows_shut_since: notes.windows_shut.get(accepted_at),
            body_waits_since: match notes.body_waits.load(Ordering::Relaxed) {
                0 => None,
                _ => notes.body_waits_since.get(accepted_at),
            },
            body_read: notes.data_read.load(Ordering::Relaxed),
            bytes_read,
            bytes_written: notes.bytes_written.load(Ordering::Relaxed),
            data_sent: notes.data_sent.load(Ordering::Relaxed),
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
        self.0.notes.head.set(self);
    }

    #[cold]
    pub(super) fn data_read(&self, total: u64) {
        self.0.notes.data_read.store(total, Ordering::Relaxed);
    }

    /// There are bytes to be written, and the socket takes none. From now on
    /// what is written is counted.
    #[cold]
    pub(crate) fn write_blocked(&self) {
        let blocked = &self.0.notes.write_blocked;
        if !blocked.is_set() {
            blocked.set(self);
            self.record(Fact::Watched);
        }
    }

    /// The client's windows have let so much through by now (it wraps) and are
    /// shut, or are open.
    #[cold]
    pub(crate) fn windows_are_shut(&self, shut: Option<u32>) {
        let notes = &self.0.notes;
        if let Some(sent) = shut {
            let before = notes.data_sent.load(Ordering::Relaxed);
            let more = sent.wrapping_sub(before as u32);
            notes.data_sent.store(before.wrapping_add(more.into()), Ordering::Relaxed);
            notes.windows_shut.set(self);
            self.record(Fact::Watched);
        } else {
            notes.windows_shut.clear();
        }
    }

    /// The stream took so many bytes, or has none to take.
    #[cold]
    pub(crate) fn write_goes_on(&self, bytes: usize) {
        let notes = &self.0.notes;
        notes.write_blocked.clear();
        let written = notes.bytes_written.load(Ordering::Relaxed);
        notes.bytes_written.store(written.wrapping_add(bytes as u64), Ordering::Relaxed);
    }

    /// A handler waits for a body, or does not any more.
    #[cfg(feature = "axum")]
    pub(crate) fn waits_for_body(&self, waits: bool) {
        let notes = &self.0.notes;
        if !waits {
            notes.body_waits.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        // Where others wait already, another one has brought no byte. Noted
        // before it can be seen, and again if the last of the others has stopped
        // in between.
        let first = notes.body_waits.load(Ordering::Relaxed) == 0;
        if first {
            notes.body_waits_since.set(self);
        }
        if notes.body_waits.fetch_add(1, Ordering::Relaxed) == 0 && !first {
            notes.body_waits_since.set(self);
        }
    }

    /// A handler has got something of a body: so many bytes, if nobody has
    /// counted them yet.
    #[cfg(feature = "axum")]
    pub(crate) fn body_goes_on(&self, bytes: usize) {
        let notes = &self.0.notes;
        if bytes > 0 {
            let read = notes.data_read.load(Ordering::Relaxed);
            notes.data_read.store(read.wrapping_add(bytes as u64), Ordering::Relaxed);
        }
        if notes.body_waits.load(Ordering::Relaxed) > 0 {
            notes.body_waits_since.set(self);
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
