//! The connections one by one: filtered, sorted, in pages.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::Column;
use super::query::{Filter, Query, Sort, SortBy};
use super::reply::Refusal;
use crate::conn::now;
use crate::{Address, Conn, ConnId, ConnState, Connections, Protocol, TlsVersion};

/// Some of the connections, of all those that match.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    /// How many match, on this page or another.
    pub(super) matched: usize,
    /// Whether there are more behind these.
    pub(super) more: bool,
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: ConnId,
    pub(super) peer: Address,
    pub(super) local: Address,
    pub(super) state: ConnState,
    pub(super) state_for: Duration,
    pub(super) age: Duration,
    pub(super) protocol: Protocol,
    pub(super) tls: Option<TlsVersion>,
    pub(super) requests: u64,
    pub(super) bytes_received: Option<u64>,
    pub(super) draining: bool,
    /// The program's own columns.
    pub(super) more: Vec<Option<String>>,
}

impl Page {
    /// Keeps no more of the connections than fit on the page, however many
    /// there are.
    pub(super) fn select(
        connections: &Connections,
        query: &Query,
        columns: &[Column],
    ) -> Result<Self, Refusal> {
        let now = now();
        let after = query.after.map(|id| place(connections, id, query.sort, now)).transpose()?;
        let mut matched = 0;
        let mut first = BinaryHeap::with_capacity(query.limit + 2);
        let mut more = false;
        connections.for_each(|conn| {
            let seen = Seen::of(conn, now);
            if !seen.matches(&query.filter) {
                return;
            }
            matched += 1;
            let place = seen.place(query.sort);
            if after.as_ref().is_some_and(|after| place <= *after) {
                return;
            }
            if first.len() == query.limit {
                more = true;
                if first.peek().is_some_and(|(last, _): &(Place, Kept)| *last <= place) {
                    return;
                }
                first.pop();
            }
            first.push((place, Kept(conn.clone())));
        });
        let kept = first.into_sorted_vec().into_iter();
        // Columns run the program's code, and that under no lock.
        let rows = kept.map(|(_, Kept(conn))| Row::of(&conn, now, columns)).collect();
        Ok(Self { rows, matched, more })
    }

    pub(super) fn next(&self) -> Option<ConnId> {
        self.rows.last().filter(|_| self.more).map(|row| row.id)
    }
}

/// Where the last row of the page before is now. If it has closed since, where
/// it would be.
fn place(
    connections: &Connections,
    id: ConnId,
    sort: Sort,
    now: Instant,
) -> Result<Place, Refusal> {
    if sort.by == SortBy::Id {
        return Ok(Place { key: Key::Number(id.get()), id, descending: sort.descending });
    }
    if let Some(conn) = connections.get(id) {
        return Ok(Seen::of(&conn, now).place(sort));
    }
    let closed = connections.closings().last.into_iter().find(|closed| closed.id == id);
    let closed = closed.ok_or_else(|| {
        Refusal::new(
            StatusCode::GONE,
            format!("connection {id} has gone, and the place of its row with it; begin again"),
        )
    })?;
    let seen = Seen {
        id,
        peer: &closed.remote_addr,
        state: closed.state,
        state_for: now.saturating_duration_since(closed.closed_at),
        age: now.saturating_duration_since(closed.accepted_at),
        protocol: closed.protocol,
        requests: closed.requests,
        bytes_received: None,
    };
    Ok(seen.place(sort))
}

/// What connections are chosen and sorted by.
struct Seen<'a> {
    id: ConnId,
    peer: &'a Address,
    state: ConnState,
    state_for: Duration,
    age: Duration,
    protocol: Protocol,
    requests: u64,
    bytes_received: Option<u64>,
}

impl<'a> Seen<'a> {
    fn of(conn: &'a Conn, now: Instant) -> Self {
        let (state, since) = conn.state_and_since();
        Self {
            id: conn.id(),
            peer: conn.remote_addr(),
            state,
            state_for: now.saturating_duration_since(since),
            age: now.saturating_duration_since(conn.accepted_at()),
            protocol: conn.protocol(),
            requests: conn.requests(),
            bytes_received: conn.bytes_received(),
        }
    }

    fn matches(&self, filter: &Filter) -> bool {
        let Filter { states, protocols, peer, min_age, idle_for } = filter;
        // It is about to leave.
        self.state != ConnState::Closed
            && (states.is_empty() || states.contains(&self.state))
            && (protocols.is_empty() || protocols.contains(&self.protocol))
            && peer.is_none_or(|peer| self.peer.ip().is_some_and(|ip| peer.contains(ip)))
            && min_age.is_none_or(|min_age| self.age >= min_age)
            && idle_for.is_none_or(|time| self.state == ConnState::Idle && self.state_for >= time)
    }

    fn place(&self, sort: Sort) -> Place {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let key = match sort.by {
            SortBy::Id => Key::Number(self.id.get()),
            SortBy::Peer => match self.peer {
                Address::Ip(address) => Key::Ip(address.ip().to_canonical(), address.port()),
                other => Key::Text(other.to_string()),
            },
            SortBy::State => Key::Number(self.state as u64),
            SortBy::StateFor => Key::Number(nanoseconds(self.state_for)),
            SortBy::Age => Key::Number(nanoseconds(self.age)),
            SortBy::Protocol => Key::Number(self.protocol as u64),
            SortBy::Requests => Key::Number(self.requests),
            SortBy::BytesReceived => Key::Number(self.bytes_received.unwrap_or(0)),
        };
        Place { key, id: self.id, descending: sort.descending }
    }
}

/// Where a row stands. Rows that are alike stand by id, so that each has one
/// place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    key: Key,
    id: ConnId,
    descending: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(u64),
    Ip(IpAddr, u16),
    Text(String),
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = self.key.cmp(&other.key);
        let by_key = if self.descending { by_key.reverse() } else { by_key };
        by_key.then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Goes with its place, and has no order of its own.
struct Kept(Conn);

impl Ord for Kept {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Kept {}

impl Row {
    fn of(conn: &Conn, now: Instant, columns: &[Column]) -> Self {
        let Seen { id, peer, state, state_for, age, protocol, requests, bytes_received } =
            Seen::of(conn, now);
        Self {
            id,
            peer: peer.clone(),
            local: conn.local_addr().clone(),
            state,
            state_for,
            age,
            protocol,
            tls: conn.tls_version(),
            requests,
            bytes_received,
            draining: conn.is_draining(),
            more: columns.iter().map(|column| (column.value)(conn)).collect(),
        }
    }
}
