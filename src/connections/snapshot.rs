//! What the connections are doing at one moment.

use std::time::{Duration, Instant};

use super::Connections;
use crate::conn::now;
use crate::{Address, ConnId, ConnState, Protocol};

/// How many connections are in which state: [`Connections::counts`](crate::Connections::counts).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateCounts {
    /// Accepted, and nothing has been read yet.
    pub new: usize,
    /// With a request under way.
    pub active: usize,
    /// Waiting for a request.
    pub idle: usize,
    /// Passed to a new owner, whose stream is still there.
    pub hijacked: usize,
}

impl StateCounts {
    /// All of them.
    pub const fn total(&self) -> usize {
        self.new + self.active + self.idle + self.hijacked
    }
}

/// What a connection was doing at one moment: [`Connections::snapshot`](crate::Connections::snapshot).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnSnapshot {
    /// [`Conn::id`](crate::Conn::id).
    pub id: ConnId,
    /// [`Conn::remote_addr`](crate::Conn::remote_addr).
    pub remote_addr: Address,
    /// [`Conn::local_addr`](crate::Conn::local_addr).
    pub local_addr: Address,
    /// [`Conn::state`](crate::Conn::state).
    pub state: ConnState,
    /// [`Conn::accepted_at`](crate::Conn::accepted_at).
    pub accepted_at: Instant,
    /// [`Conn::state_since`](crate::Conn::state_since).
    pub state_since: Instant,
    /// [`Conn::protocol`](crate::Conn::protocol).
    pub protocol: Protocol,
    /// [`Conn::requests`](crate::Conn::requests).
    pub requests: u64,
}

impl ConnSnapshot {
    /// How long ago the connection was accepted.
    pub fn age(&self) -> Duration {
        now().saturating_duration_since(self.accepted_at)
    }
}

impl Connections {
    /// How many connections are in which state. Looks at each connection.
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
            let (state, state_since) = conn.state_and_since();
            snapshot.push(ConnSnapshot {
                id: conn.id(),
                remote_addr: conn.remote_addr().clone(),
                local_addr: conn.local_addr().clone(),
                state,
                accepted_at: conn.accepted_at(),
                state_since,
                protocol: conn.protocol(),
                requests: conn.requests(),
            });
        });
        snapshot
    }
}
