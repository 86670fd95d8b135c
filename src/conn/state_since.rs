//! The state last reported, and since when.

use std::time::Duration;

use crate::ConnState;
use crate::sync::atomic::{AtomicU64, Ordering};

/// A state and the time since acceptance at which it was reported, so that the
/// two are always of the same report.
pub(super) struct AtomicStateSince(AtomicU64);

impl AtomicStateSince {
    /// `New`, since acceptance.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The lowest bits are the state; the others are nanoseconds, which lasts
    /// for 73 years.
    const STATE_BITS: u32 = 3;

    pub(super) fn store(&self, state: ConnState, since: Duration) {
        let nanoseconds = since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos());
        let value = nanoseconds << Self::STATE_BITS | u64::from(state.to_u8());
        self.0.store(value, Ordering::Release);
    }

    pub(super) fn load(&self) -> (ConnState, Duration) {
        let value = self.0.load(Ordering::Acquire);
        let state = ConnState::from_u8((value & ((1 << Self::STATE_BITS) - 1)) as u8);
        (state, Duration::from_nanos(value >> Self::STATE_BITS))
    }
}
