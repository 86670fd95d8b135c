//! JSON: what the page and programs read.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::Column;
use super::history::{History, Point};
use super::rows::{Page, Row};
use super::summary::{BOUNDS, Counts, Histogram, STATES, Summary};
use crate::conn::now;
use crate::connections::closed::ClosedConn;
use crate::{CloseReason, ConnId, Protocol, TlsVersion};

/// What one answer has.
pub(super) struct Document<'a> {
    pub(super) summary: Option<&'a Summary>,
    pub(super) page: Option<&'a Page>,
    pub(super) closed: Option<&'a [ClosedConn]>,
    pub(super) columns: &'a [Column],
    /// The connection of this very request.
    pub(super) own: Option<ConnId>,
    /// Whether who asks may act.
    pub(super) actions: bool,
}

pub(super) fn document(document: &Document<'_>) -> Bytes {
    let mut json = to_bytes(document);
    json.put_u8(b'\n');
    json.freeze()
}

/// A server-sent event.
pub(super) fn event(summary: &Summary, number: u64) -> Bytes {
    let mut event = BytesMut::new();
    event.extend_from_slice(format!("retry: 2000\nid: {number}\ndata: ").as_bytes());
    // On one line: control characters are escaped.
    event.unsplit(to_bytes(summary));
    event.extend_from_slice(b"\n\n");
    event.freeze()
}

pub(super) fn to_bytes(value: &impl Serialize) -> BytesMut {
    let mut json = BytesMut::new().writer();
    // Neither a buffer nor these types' maps with text for keys ever fail.
    let _ = serde_json::to_writer(&mut json, value);
    json.into_inner()
}

/// A list of fields, each with its name in JSON.
macro_rules! as_object {
    ($type:ty, $this:ident => { $($name:literal: $value:expr,)+ }) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $this = self;
                let mut object = serializer.serialize_map(None)?;
                $(object.serialize_entry($name, &$value)?;)+
                object.end()
            }
        }
    };
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        if let Some(summary) = self.summary {
            object.serialize_entry("summary", summary)?;
        }
        if let Some(page) = self.page {
            object.serialize_entry("matched", &page.matched)?;
            object.serialize_entry("next", &page.next())?;
            object.serialize_entry("columns", &Columns(self.columns))?;
            object.serialize_entry("rows", &page.rows)?;
        }
        if let Some(closed) = self.closed {
            object.serialize_entry("closed", closed)?;
        }
        object.serialize_entry("own", &self.own)?;
        object.serialize_entry("actions", &self.actions)?;
        object.end()
    }
}

as_object!(Summary, this => {
    "version": env!("CARGO_PKG_VERSION"),
    "uptime": seconds(this.uptime),
    "draining": this.draining,
    "open": this.counts.total(),
    "accepted": this.accepted,
    "closed": this.closed(),
    "requests": this.requests,
    "states": this.counts,
    "protocols": ByProtocol(&this.by_protocol),
    "listeners": Named("address", &this.listeners),
    "ages": this.ages,
    "idle": this.idle,
    "peers": Named("peer", &this.peers),
    "distinct_peers": this.distinct_peers,
    "reasons": Reasons(&this.reasons),
    "history": this.history,
});

as_object!(Row, this => {
    "id": this.id,
    "peer": this.peer,
    "local": this.local,
    "state": this.state,
    "state_for": seconds(this.state_for),
    "age": seconds(this.age),
    "protocol": this.protocol,
    "tls": this.tls.map(TlsVersion::as_str),
    "requests": this.requests,
    "bytes_received": this.bytes_received,
    "draining": this.draining,
    "more": this.more,
});

as_object!(ClosedConn, this => {
    "id": this.id,
    "peer": this.remote_addr,
    "state": this.state,
    "reason": this.reason,
    "closed_ago": seconds(now().saturating_duration_since(this.closed_at)),
    "lasted": seconds(this.closed_at.saturating_duration_since(this.accepted_at)),
    "protocol": this.protocol,
    "requests": this.requests,
});

// By the second: the last minute, or what is known of it.
as_object!(History, this => {
    "open": Series(this, |point| point.open),
    "accepted": Series(this, |point| point.accepted),
    "closed": Series(this, |point| point.closed),
});

as_object!(Histogram, this => {
    "bounds": BOUNDS,
    "counts": this.counts,
    "sum": seconds(this.sum),
});

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(STATES.map(|state| (state.as_str(), self.get(state))))
    }
}

struct Series<'a>(&'a History, fn(Point) -> u64);

impl Serialize for Series<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.points().map(self.1))
    }
}

struct ByProtocol<'a>(&'a [(Protocol, Counts)]);

impl Serialize for ByProtocol<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(protocol, counts)| (protocol, counts)))
    }
}

/// How many connections each has.
struct Named<'a, T>(&'static str, &'a [(T, usize)]);

impl<T: ToString> Serialize for Named<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.1.len()))?;
        for (name, count) in self.1 {
            list.serialize_element(&NameAndCount(self.0, name.to_string(), *count))?;
        }
        list.end()
    }
}

struct NameAndCount(&'static str, String, usize);

impl Serialize for NameAndCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(2))?;
        object.serialize_entry(self.0, &self.1)?;
        object.serialize_entry("connections", &self.2)?;
        object.end()
    }
}

struct Reasons<'a>(&'a [(CloseReason, u64)]);

impl Serialize for Reasons<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(reason, count)| ReasonAndCount(*reason, *count)))
    }
}

struct ReasonAndCount(CloseReason, u64);

as_object!(ReasonAndCount, this => {
    "reason": super::text::reason_words(this.0),
    "code": this.0.as_str(),
    "count": this.1,
});

struct Columns<'a>(&'a [Column]);

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|column| &*column.name))
    }
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}
