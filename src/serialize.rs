//! What snapshots look like in JSON and the like (feature `serde`).

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::conn::now;
use crate::{Address, CloseReason, ConnId, ConnSnapshot, ConnState, Protocol, StateCounts};

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
