//! What snapshots look like in JSON and the like (feature `serde`).

use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

use crate::conn::now;
use crate::{
    AcceptErrorCounts, Address, CloseReason, ClosedCounts, ConnId, ConnSnapshot, ConnState,
    ConnStats, ExpiredCounts, HandshakeCounts, LiveCounts, Protocol, RefusedCounts, StateCounts,
};

/// As a number.
impl Serialize for ConnId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.get())
    }
}

/// As they print.
macro_rules! as_text {
    ($($name:ty),+) => {
        $(
            /// As it prints.
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }
        )+
    };
}

as_text!(Address, CloseReason, ConnState, Protocol);

impl Serialize for StateCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut counts = serializer.serialize_struct("StateCounts", 4)?;
        counts.serialize_field("new", &self.new)?;
        counts.serialize_field("active", &self.active)?;
        counts.serialize_field("idle", &self.idle)?;
        counts.serialize_field("hijacked", &self.hijacked)?;
        counts.end()
    }
}

/// Times as seconds until now: `age_seconds` and `state_seconds`.
impl Serialize for ConnSnapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let state_seconds = now().saturating_duration_since(self.state_since).as_secs_f64();
        let mut snapshot = serializer.serialize_struct("ConnSnapshot", 8)?;
        snapshot.serialize_field("id", &self.id)?;
        snapshot.serialize_field("remote_addr", &self.remote_addr)?;
        snapshot.serialize_field("local_addr", &self.local_addr)?;
        snapshot.serialize_field("state", &self.state)?;
        snapshot.serialize_field("state_seconds", &state_seconds)?;
        snapshot.serialize_field("age_seconds", &self.age().as_secs_f64())?;
        snapshot.serialize_field("protocol", &self.protocol)?;
        snapshot.serialize_field("requests", &self.requests)?;
        snapshot.end()
    }
}

impl Serialize for ConnStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut stats = serializer.serialize_struct("ConnStats", 8)?;
        stats.serialize_field("accepted", &self.accepted)?;
        stats.serialize_field("live", &self.live)?;
        stats.serialize_field("closed", &self.closed)?;
        stats.serialize_field("requests", &self.requests)?;
        stats.serialize_field("accept_errors", &self.accept_errors)?;
        stats.serialize_field("handshakes", &self.handshakes)?;
        stats.serialize_field("refused", &self.refused)?;
        stats.serialize_field("expired", &self.expired)?;
        stats.end()
    }
}

/// A map from [`Limit::as_str`](crate::Limit::as_str).
impl Serialize for RefusedCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(limit, count)| (limit.as_str(), count)))
    }
}

/// A map from [`Policy::as_str`](crate::Policy::as_str).
impl Serialize for ExpiredCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(policy, count)| (policy.as_str(), count)))
    }
}

/// By state.
impl Serialize for LiveCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_state().serialize(serializer)
    }
}

/// A map from [`CloseReason::as_str`] to the states before the end.
impl Serialize for ClosedCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut counts = serializer.serialize_map(Some(CloseReason::ALL.len()))?;
        for reason in CloseReason::ALL {
            counts.serialize_entry(reason.as_str(), &self.by_state(*reason))?;
        }
        counts.end()
    }
}

impl Serialize for AcceptErrorCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut counts = serializer.serialize_struct("AcceptErrorCounts", 3)?;
        counts.serialize_field("lost", &self.lost)?;
        counts.serialize_field("exhausted", &self.exhausted)?;
        counts.serialize_field("fatal", &self.fatal)?;
        counts.end()
    }
}

impl Serialize for HandshakeCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut counts = serializer.serialize_struct("HandshakeCounts", 3)?;
        counts.serialize_field("under_way", &self.under_way)?;
        counts.serialize_field("completed", &self.completed)?;
        counts.serialize_field("failed", &self.failed)?;
        counts.end()
    }
}
