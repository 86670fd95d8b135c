//! What has become of all connections, in numbers.

use std::ops::AddAssign;

#[cfg(feature = "status")]
use super::registry::SHARDS;
use super::{Connections, StateCounts};
use crate::{CloseReason, Conn, ConnState, Limit, Policy, Protocol};

/// The connections of a registry in numbers, since it was made:
/// [`Connections::stats`].
///
/// All numbers are of one moment, so `accepted` is always the sum of `live` and
/// `closed`. Everything but `live` and [`HandshakeCounts::under_way`] begins at
/// zero and only grows, as counters do.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use hyper_connstate::{CloseReason, instrument_listener};
/// use tokio::net::{TcpListener, TcpStream};
///
/// let mut listener = instrument_listener(TcpListener::bind("127.0.0.1:0").await?, ());
/// let connections = listener.connections();
/// let _one = TcpStream::connect(listener.local_addr()?).await?;
/// let (_io, _) = listener.accept().await?;
/// let _other = TcpStream::connect(listener.local_addr()?).await?;
/// let (io, _) = listener.accept().await?;
/// drop(io);
///
/// let stats = connections.stats();
/// assert_eq!(stats.accepted, 2);
/// assert_eq!(stats.live.by_state().new, 1);
/// assert_eq!(stats.closed.of(CloseReason::Aborted), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnStats {
    /// How many connections have come, including those that are gone.
    pub accepted: u64,
    /// How many connections are there now.
    pub live: LiveCounts,
    /// How many are gone, and why. A hijacked connection is gone when its new
    /// owner drops the stream.
    pub closed: ClosedCounts,
    /// How many requests have reached the layer, on all connections, including
    /// those being served ([`Conn::requests`]).
    pub requests: u64,
    /// How often accepting has failed.
    pub accept_errors: AcceptErrorCounts,
    /// What has become of TLS handshakes.
    pub handshakes: HandshakeCounts,
    /// How many connections have been refused, and for which limit.
    pub refused: RefusedCounts,
    /// How often a policy has run out for a connection.
    pub expired: ExpiredCounts,
}

impl ConnStats {
    /// A connection has come.
    pub(super) fn add_accepted(&mut self) {
        self.accepted += 1;
    }

    /// A connection goes, and is looked at for the last time.
    pub(super) fn add_closed(&mut self, conn: &Conn) {
        // It always has a reason by then.
        let reason = conn.close_reason().unwrap_or(CloseReason::Aborted);
        self.closed.add(reason, conn.state_before_end());
        self.requests += conn.requests();
    }

    /// A connection is there. It may be closed and about to leave, and then it
    /// is counted as it will be when it has.
    fn add_present(&mut self, conn: &Conn) {
        match conn.state() {
            ConnState::Closed => self.add_closed(conn),
            state => {
                self.live.add(state, conn.protocol());
                self.requests += conn.requests();
            }
        }
    }
}

impl AddAssign<&Self> for ConnStats {
    fn add_assign(&mut self, other: &Self) {
        let Self { accepted, live: _, closed, requests, accept_errors, handshakes, .. } = other;
        self.accepted += accepted;
        for (sum, counts) in self.closed.0.iter_mut().zip(closed.0) {
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        self.requests += requests;
        self.accept_errors.lost += accept_errors.lost;
        self.accept_errors.exhausted += accept_errors.exhausted;
        self.accept_errors.fatal += accept_errors.fatal;
        self.handshakes.under_way += handshakes.under_way;
        self.handshakes.completed += handshakes.completed;
        self.handshakes.failed += handshakes.failed;
    }
}

/// The states that a connection can be in while it is there, and before its
/// end.
const STATES: [ConnState; 4] =
    [ConnState::New, ConnState::Active, ConnState::Idle, ConnState::Hijacked];

const PROTOCOLS: [Protocol; 3] = [Protocol::Unknown, Protocol::Http1, Protocol::Http2];

/// Where it stands in [`STATES`]; a connection that is closed is in none.
const fn index_of(state: ConnState) -> Option<usize> {
    match state {
        ConnState::New => Some(0),
        ConnState::Active => Some(1),
        ConnState::Idle => Some(2),
        ConnState::Hijacked => Some(3),
        ConnState::Closed => None,
    }
}

/// What `count` says of each of [`STATES`].
fn state_counts(count: impl Fn(usize) -> u64) -> StateCounts {
    let of = |state| usize::try_from(count(state)).unwrap_or(usize::MAX);
    StateCounts { new: of(0), active: of(1), idle: of(2), hijacked: of(3) }
}

/// How many connections are there: [`ConnStats::live`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveCounts([[u64; PROTOCOLS.len()]; STATES.len()]);

impl LiveCounts {
    fn add(&mut self, state: ConnState, protocol: Protocol) {
        if let Some(state) = index_of(state) {
            self.0[state][protocol as usize] += 1;
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().flatten().sum()
    }

    /// How many are in which state.
    pub fn by_state(&self) -> StateCounts {
        state_counts(|state| self.0[state].iter().sum())
    }

    /// How many are in this state and speak this protocol.
    pub fn of(&self, state: ConnState, protocol: Protocol) -> u64 {
        index_of(state).map_or(0, |state| self.0[state][protocol as usize])
    }

    /// How many are in which state and speak which protocol: every state but
    /// Closed with every protocol, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (ConnState, Protocol, u64)> + use<> {
        let counts = *self;
        STATES.into_iter().flat_map(move |state| {
            PROTOCOLS.into_iter().map(move |protocol| (state, protocol, counts.of(state, protocol)))
        })
    }
}

/// How many connections have gone, and why: [`ConnStats::closed`].
///
/// I/O errors of all kinds are counted as one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedCounts([[u64; STATES.len()]; CloseReason::ALL.len()]);

impl Default for ClosedCounts {
    fn default() -> Self {
        Self([[0; STATES.len()]; CloseReason::ALL.len()])
    }
}

impl ClosedCounts {
    fn add(&mut self, reason: CloseReason, before: ConnState) {
        if let Some(before) = index_of(before) {
            self.0[reason.index()][before] += 1;
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().flatten().sum()
    }

    /// How many have gone for this reason.
    pub fn of(&self, reason: CloseReason) -> u64 {
        self.0[reason.index()].iter().sum()
    }

    /// How many have gone for this reason when they were in the state `before`.
    pub fn of_in(&self, reason: CloseReason, before: ConnState) -> u64 {
        index_of(before).map_or(0, |before| self.0[reason.index()][before])
    }

    /// How many have gone for this reason in which state.
    pub fn by_state(&self, reason: CloseReason) -> StateCounts {
        state_counts(|state| self.0[reason.index()][state])
    }

    /// How many have gone for which reason: all of [`CloseReason::ALL`], zeros
    /// included.
    pub fn by_reason(&self) -> impl Iterator<Item = (CloseReason, u64)> + '_ {
        CloseReason::ALL.iter().map(|&reason| (reason, self.of(reason)))
    }

    /// How many have gone for which reason in which state: all reasons with all
    /// states but Closed. A connection that was never reported as anything else
    /// was New.
    pub fn iter(&self) -> impl Iterator<Item = (CloseReason, ConnState, u64)> + '_ {
        CloseReason::ALL.iter().flat_map(move |&reason| {
            STATES.into_iter().map(move |before| (reason, before, self.of_in(reason, before)))
        })
    }
}

/// How often accepting has failed: [`ConnStats::accept_errors`].
///
/// [`serve`](fn@crate::serve) and the listener in `axum::serve` count here. A
/// loop of your own gets the errors itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptErrorCounts {
    /// A connection was lost before it was accepted: its client was gone by
    /// then, or a firewall forbade it. Accepting goes on.
    pub lost: u64,
    /// File descriptors, buffers or memory had run out. Accepting goes on after a
    /// pause.
    pub exhausted: u64,
    /// The listener failed for good.
    pub fatal: u64,
}

impl AcceptErrorCounts {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.lost + self.exhausted + self.fatal
    }
}

/// What has become of TLS handshakes: [`ConnStats::handshakes`].
///
/// The handshakes that [`Handshake::complete`](crate::Handshake::complete) runs
/// are counted, and so those of `serve`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeCounts {
    /// Begun, and not over.
    pub under_way: u64,
    /// Completed.
    pub completed: u64,
    /// Failed, or given up: a time-out, a shutdown.
    pub failed: u64,
}

impl HandshakeCounts {
    /// All that have begun.
    pub const fn total(&self) -> u64 {
        self.under_way + self.completed + self.failed
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident of $of:ident;)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            pub struct $name([u64; $of::ALL.len()]);

            impl $name {
                pub(super) fn new(count: impl Fn($of) -> u64) -> Self {
                    Self(std::array::from_fn(|index| count($of::ALL[index])))
                }

                /// All of them.
                pub fn total(&self) -> u64 {
                    self.0.iter().sum()
                }

                /// How many there are of this one.
                pub fn of(&self, of: $of) -> u64 {
                    self.0[of as usize]
                }

                /// How many there are of each, zeros included.
                pub fn iter(&self) -> impl Iterator<Item = ($of, u64)> + use<> {
                    $of::ALL.iter().copied().zip(self.0)
                }
            }
        )+
    };
}

counts! {
    /// How many connections have been refused: [`ConnStats::refused`].
    RefusedCounts of Limit;

    /// How often policies have run out: [`ConnStats::expired`]. One connection may
    /// be counted under several.
    ExpiredCounts of Policy;
}

impl Connections {
    /// What has become of those that are gone, without a look at the others.
    #[cfg(feature = "status")]
    pub(crate) fn stats_of_gone(&self) -> ConnStats {
        let mut stats = ConnStats::default();
        for index in 0..SHARDS {
            stats += &self.0.lock(index).stats;
        }
        stats
    }

    /// The connections in numbers, all of one moment.
    ///
    /// It looks at each connection, and keeps connections from coming and going
    /// meanwhile. Requests do not wait for it. Made for exporters that ask every
    /// few seconds.
    pub fn stats(&self) -> ConnStats {
        // All shards at once: one after the other they would be of different
        // moments, and there could seem to be more connections than there ever
        // were.
        let shards = self.0.lock_all();
        let mut stats = ConnStats::default();
        let enforcer = self.enforcer();
        stats.refused = RefusedCounts::new(|limit| enforcer.refused(limit));
        stats.expired = ExpiredCounts::new(|policy| enforcer.expired(policy));
        for shard in &shards {
            stats += &shard.stats;
            shard.conns.values().for_each(|kept| stats.add_present(&kept.conn));
        }
        stats
    }
}
