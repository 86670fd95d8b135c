//! The last minute, second by second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::connections::closed::ClosedConn;

/// How far back it goes.
pub(super) const SECONDS: usize = 60;

/// One second of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// How many were open at its end.
    pub(super) open: u64,
    /// How many came in it.
    pub(super) accepted: u64,
    /// How many went in it.
    pub(super) closed: u64,
}

/// The seconds that are known, the oldest first and the last one now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History(VecDeque<Point>);

impl History {
    /// What can be known of the past without having looked: each connection
    /// that is there says when it came, and each of the last that closed when
    /// it came and went. It goes as far back as these go.
    pub(super) fn reconstruct(
        now: Instant,
        open: usize,
        came_and_stayed: [u64; SECONDS],
        closed: &[ClosedConn],
        complete_since: Instant,
    ) -> Self {
        let second = |at: Instant| now.saturating_duration_since(at).as_secs() as usize;
        let mut accepted = came_and_stayed;
        let mut gone = [0; SECONDS];
        for conn in closed {
            accepted.get_mut(second(conn.accepted_at)).into_iter().for_each(|count| *count += 1);
            gone.get_mut(second(conn.closed_at)).into_iter().for_each(|count| *count += 1);
        }
        let mut history = Self::default();
        let mut open = open as u64;
        for back in 0..SECONDS {
            // A part of a second is better than nothing, but only now.
            let known = now.checked_sub(Duration::from_secs(back as u64 + 1));
            if back > 0 && known.is_none_or(|start| start < complete_since) {
                break;
            }
            let point = Point { open, accepted: accepted[back], closed: gone[back] };
            history.0.push_front(point);
            open = (open + point.closed).saturating_sub(point.accepted);
        }
        history
    }

    pub(super) fn push(&mut self, point: Point) {
        if self.0.len() == SECONDS {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }

    pub(super) fn points(&self) -> impl ExactSizeIterator<Item = Point> + Clone + use<'_> {
        self.0.iter().copied()
    }
}
