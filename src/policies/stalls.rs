//! A clock that forgives the program's own stalls.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is not a stall yet: a timer is late as a rule.
const LATE: Duration = Duration::from_millis(100);

/// Of so many the beginning is remembered; an older time-out is then forgiven
/// less than it should be.
const MOST: usize = 64;

/// When the program stood still: its runtime was blocked, or the machine slept.
#[derive(Debug, Default)]
pub(super) struct Stalls(VecDeque<Stall>);

#[derive(Clone, Copy, Debug)]
struct Stall {
    from: Instant,
    to: Instant,
}

impl Stalls {
    /// A timer that was to end at `due` was seen to have ended at `now`. `real`
    /// is by how much it was late in real time: none, where a test has moved the
    /// clock.
    pub(super) fn note(&mut self, due: Instant, now: Instant, real: Duration) {
        let late = now.saturating_duration_since(due).min(real);
        if late < LATE {
            return;
        }
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Stall { from: now - late, to: now });
    }

    /// Forgets what is older.
    pub(super) fn forget_before(&mut self, time: Option<Instant>) {
        while self.0.front().is_some_and(|stall| time.is_some_and(|time| stall.to < time)) {
            self.0.pop_front();
        }
    }

    /// How long it is since then, stalls left out.
    pub(super) fn elapsed(&self, since: Instant, now: Instant) -> Duration {
        let mut elapsed = now.saturating_duration_since(since);
        for stall in self.0.iter().rev() {
            if stall.to <= since {
                break;
            }
            let stood = stall.to.saturating_duration_since(stall.from.max(since));
            elapsed = elapsed.saturating_sub(stood);
        }
        elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn stalls_are_left_out() {
        let start = Instant::now();
        let at = |seconds| start + SECOND * seconds;
        let mut stalls = Stalls::default();
        stalls.note(at(10), at(20), 10 * SECOND);
        stalls.note(at(30), at(31), 10 * SECOND);
        assert_eq!(stalls.elapsed(at(0), at(40)), 29 * SECOND);
        assert_eq!(stalls.elapsed(at(15), at(40)), 19 * SECOND);
        assert_eq!(stalls.elapsed(at(20), at(40)), 19 * SECOND);
        assert_eq!(stalls.elapsed(at(31), at(40)), 9 * SECOND);
        stalls.forget_before(Some(at(25)));
        assert_eq!(stalls.elapsed(at(0), at(40)), 39 * SECOND);
    }

    #[test]
    fn small_delays_and_clocks_of_tests_are_none() {
        let start = Instant::now();
        let mut stalls = Stalls::default();
        stalls.note(start, start + LATE / 2, LATE / 2);
        stalls.note(start, start + 60 * SECOND, Duration::ZERO);
        assert_eq!(stalls.elapsed(start, start + 60 * SECOND), 60 * SECOND);
    }
}
