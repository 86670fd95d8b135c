//! All connections in a few numbers.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::history::{History, SECONDS};
use crate::conn::now;
use crate::connections::closed::Closings;
use crate::{Address, CloseReason, Conn, ConnState, Connections, Protocol};

/// How many peers and listeners are named.
const MOST_NAMED: usize = 10;

/// What the connections are doing at one moment, and what has become of those
/// before.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) uptime: Duration,
    pub(super) draining: bool,
    pub(super) counts: Counts,
    pub(super) by_protocol: [(Protocol, Counts); 3],
    /// How many have come.
    pub(super) accepted: u64,
    /// How many requests they had, those that are gone included.
    pub(super) requests: u64,
    /// The addresses that clients have connected to, and how many to each.
    pub(super) listeners: Vec<(Address, usize)>,
    pub(super) ages: Histogram,
    /// Of those that are Idle: for how long.
    pub(super) idle: Histogram,
    /// Those with the most connections.
    pub(super) peers: Vec<(Peer, usize)>,
    pub(super) distinct_peers: usize,
    pub(super) reasons: Vec<(CloseReason, u64)>,
    pub(super) history: History,
}

/// Connections by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts([usize; 4]);

/// Clients by their address: all ports of it are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Ip(IpAddr),
    Other(Address),
}

/// How many lasted how long.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// One for each bound, and one for what is longer.
    pub(super) counts: [usize; BOUNDS.len() + 1],
    pub(super) sum: Duration,
}

/// In seconds: what is shorter than the first is in the first.
pub(super) const BOUNDS: [u32; 9] = [1, 5, 15, 60, 300, 900, 3600, 14400, 86400];

pub(super) const STATES: [ConnState; 4] =
    [ConnState::New, ConnState::Active, ConnState::Idle, ConnState::Hijacked];

impl Summary {
    /// Looks at each connection: some seventy milliseconds for 100,000, most of it
    /// waiting for memory.
    pub(super) fn of(connections: &Connections) -> Self {
        let now = now();
        let accepted = connections.accepted();
        let Closings { last, complete_since } = connections.closings();
        let so_far = connections.stats_of_gone();
        let mut reasons: Vec<_> =
            so_far.closed.by_reason().filter(|(_, count)| *count > 0).collect();
        reasons.sort_by_key(|(_, count)| Reverse(*count));
        let mut summary = Self {
            uptime: now.saturating_duration_since(connections.created_at()),
            draining: connections.is_draining(),
            counts: Counts::default(),
            by_protocol: [Protocol::Http1, Protocol::Http2, Protocol::Unknown]
                .map(|protocol| (protocol, Counts::default())),
            accepted,
            requests: so_far.requests,
            listeners: Vec::new(),
            ages: Histogram::default(),
            idle: Histogram::default(),
            peers: Vec::new(),
            distinct_peers: 0,
            reasons,
            history: History::default(),
        };
        let mut listeners = Tally::default();
        // Counted later: others wait for the lock under which this runs.
        let mut ips = Vec::with_capacity(connections.len());
        let mut others = Tally::default();
        let mut came = [0; SECONDS];
        connections.for_each(|conn| {
            summary.add(conn, now, &mut came);
            listeners.add(conn.local_addr());
            match conn.remote_addr().ip() {
                Some(ip) => ips.push(ip.to_canonical()),
                None => others.add(conn.remote_addr()),
            }
        });
        // Most are of different addresses: to sort takes less than to hash.
        ips.sort_unstable();
        let of_one = ips.chunk_by(|one, other| one == other);
        let ips = of_one.filter_map(|same| Some((Peer::Ip(*same.first()?), same.len())));
        let others = others.0.into_iter().map(|(other, count)| (Peer::Other(other), count));
        let peers: Vec<_> = ips.chain(others).collect();
        summary.distinct_peers = peers.len();
        summary.listeners = most(listeners.0.into_iter().collect(), MOST_NAMED);
        summary.peers = most(peers, MOST_NAMED);
        summary.history =
            History::reconstruct(now, summary.counts.total(), came, &last, complete_since);
        summary
    }

    fn add(&mut self, conn: &Conn, now: Instant, came: &mut [u64; SECONDS]) {
        let (state, since) = conn.state_and_since();
        let protocol = conn.protocol();
        self.counts.add(state);
        for (of, counts) in &mut self.by_protocol {
            if *of == protocol {
                counts.add(state);
            }
        }
        self.requests += conn.requests();
        let age = now.saturating_duration_since(conn.accepted_at());
        self.ages.add(age);
        if state == ConnState::Idle {
            self.idle.add(now.saturating_duration_since(since));
        }
        if let Some(came) = came.get_mut(age.as_secs() as usize) {
            *came += 1;
        }
    }

    /// How many are gone.
    pub(super) fn closed(&self) -> u64 {
        self.accepted.saturating_sub(self.counts.total() as u64)
    }
}

impl Counts {
    /// One that is Closed is about to leave, and counts no more.
    fn add(&mut self, state: ConnState) {
        if let Some(index) = STATES.iter().position(|known| *known == state) {
            self.0[index] += 1;
        }
    }

    pub(super) fn get(self, state: ConnState) -> usize {
        STATES.iter().position(|known| *known == state).map_or(0, |index| self.0[index])
    }

    pub(super) fn total(self) -> usize {
        self.0.iter().sum()
    }
}

impl Histogram {
    fn add(&mut self, time: Duration) {
        let bucket = BOUNDS.partition_point(|bound| Duration::from_secs((*bound).into()) < time);
        self.counts[bucket] += 1;
        self.sum = self.sum.saturating_add(time);
    }

    pub(super) fn total(&self) -> usize {
        self.counts.iter().sum()
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Other(address) => address.fmt(f),
        }
    }
}

/// How often each has been seen: for few that are seen often.
struct Tally<T>(HashMap<T, usize>);

impl<T> Default for Tally<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone + Eq + Hash> Tally<T> {
    fn add(&mut self, key: &T) {
        match self.0.get_mut(key) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(key.clone(), 1)),
        }
    }
}

/// The most frequent, in an order that does not change by itself.
fn most<T: ToString>(mut all: Vec<(T, usize)>, most: usize) -> Vec<(T, usize)> {
    if all.len() > most {
        all.select_nth_unstable_by_key(most - 1, |(_, count)| Reverse(*count));
        let least = all[most - 1].1;
        all.retain(|(_, count)| *count >= least);
        let (more, mut ties): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, count)| *count > least);
        // Names take long to make: of very many that are alike, any will do.
        ties.truncate(1000);
        ties.sort_by_cached_key(|(key, _)| key.to_string());
        ties.truncate(most - more.len());
        all = more;
        all.append(&mut ties);
    }
    all.sort_by_cached_key(|(key, count)| (Reverse(*count), key.to_string()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_the_bucket_of_the_first_bound_that_they_do_not_pass() {
        let mut histogram = Histogram::default();
        for seconds in [0, 1, 2, 86400, 86401, u64::MAX] {
            histogram.add(Duration::from_secs(seconds));
        }
        assert_eq!(histogram.counts, [2, 1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(histogram.total(), 6);
    }

    #[test]
    fn the_most_frequent() {
        let all = vec![(5, 1), (2, 2), (4, 1), (3, 3), (1, 1)];
        assert_eq!(most(all.clone(), 3), [(3, 3), (2, 2), (1, 1)]);
        assert_eq!(most(all, 9), [(3, 3), (2, 2), (1, 1), (4, 1), (5, 1)]);
    }
}
