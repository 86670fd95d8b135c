//! The state last reported, the one before, and since when.

use std::time::Duration;

use crate::ConnState;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Two states and the time since acceptance at which the second was reported,
/// so that they are always of the same report.
pub(super) struct AtomicStateSince(AtomicU64);

/// What was last reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported {
    pub(super) state: ConnState,
    /// `None` if this is the first one.
    pub(super) previous: Option<ConnState>,
    /// Since acceptance.
    pub(super) since: Duration,
}

/// The lowest bits are the state, the next the one before (or the same, where
/// there is none); the others are nanoseconds, which lasts for nine years.
const STATE_BITS: u32 = 3;
const STATE: u64 = (1 << STATE_BITS) - 1;

impl AtomicStateSince {
    /// `New`, since acceptance.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(pack(ConnState::New, ConnState::New, Duration::ZERO)))
    }

    pub(super) fn store(&self, state: ConnState, since: Duration) {
        let previous = self.load().state;
        self.0.store(pack(state, previous, since), Ordering::Release);
    }

    pub(super) fn load(&self) -> Reported {
        let value = self.0.load(Ordering::Acquire);
        let state = ConnState::from_u8((value & STATE) as u8);
        let previous = ConnState::from_u8((value >> STATE_BITS & STATE) as u8);
        Reported {
            state,
            previous: (previous != state).then_some(previous),
            since: Duration::from_nanos(value >> (2 * STATE_BITS)),
        }
    }
}

fn pack(state: ConnState, previous: ConnState, since: Duration) -> u64 {
    let nanoseconds = since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos());
    let states = u64::from(previous.to_u8()) << STATE_BITS | u64::from(state.to_u8());
    nanoseconds << (2 * STATE_BITS) | states
}
