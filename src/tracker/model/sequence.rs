//! Which states may follow one another.

use crate::ConnState;

/// The states that were reported for one connection: `New (Active Idle)*`, then
/// `Closed`, or `Active` and `Closed`, or `Active` and `Hijacked`.
#[derive(Debug, Default)]
pub struct Sequence(Vec<ConnState>);

impl Sequence {
    /// Adds a state, and panics if it must not come now.
    pub fn push(&mut self, state: ConnState) {
        assert!(!self.is_over(), "{state} after {:?}", self.0);
        // All that may come is given by the place, but for the end.
        let expected = match self.0.len() {
            0 => ConnState::New,
            place if place % 2 == 1 => ConnState::Active,
            _ => ConnState::Idle,
        };
        let is_end = match state {
            ConnState::Closed => expected != ConnState::New,
            ConnState::Hijacked => expected == ConnState::Idle,
            _ => false,
        };
        assert!(state == expected || is_end, "{state} after {:?}", self.0);
        self.0.push(state);
    }

    /// All that was reported.
    pub fn states(&self) -> &[ConnState] {
        &self.0
    }

    /// What was reported last.
    pub fn last(&self) -> Option<ConnState> {
        self.0.last().copied()
    }

    /// The one terminal state has been reported.
    pub fn is_over(&self) -> bool {
        matches!(self.last(), Some(ConnState::Closed | ConnState::Hijacked))
    }
}
