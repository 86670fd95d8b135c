//! Looks at the connections once a second, for all viewers together, while
//! there are any.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{StatusCode, header};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::events::{Events, Seat, Viewer};
use super::history::{History, Point, SECONDS};
use super::reply::Refusal;
use super::summary::Summary;
use super::{json, off_thread};
use crate::{Conn, Connections};

/// How many may look at once.
pub(super) const MOST_VIEWERS: usize = 8;

/// Who has missed as many events in a row reads no more, and makes place for
/// somebody who does.
const MOST_MISSED: u64 = 30;

const PERIOD: Duration = Duration::from_secs(1);

/// To look takes no more than a tenth of one core, however many connections
/// there are: where it takes long it is done less often.
const SHARE: u32 = 10;

/// What all viewers are sent.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Counted from one.
    pub(super) number: u64,
    pub(super) event: Bytes,
    pub(super) draining: bool,
}

pub(super) struct Sampler {
    connections: Connections,
    state: Mutex<State>,
    feed: watch::Sender<Option<Sample>>,
}

#[derive(Default)]
struct State {
    seats: Vec<Arc<Seat>>,
    /// Whether the task runs.
    running: bool,
    /// What it has seen.
    history: Option<History>,
    /// The number of the last sample.
    number: u64,
}

impl Sampler {
    pub(super) fn new(connections: Connections) -> Self {
        Self { connections, state: Mutex::default(), feed: watch::Sender::new(None) }
    }

    /// A stream of events for one more viewer. The first is sent at once.
    pub(super) fn subscribe(self: &Arc<Self>, conn: Option<Conn>) -> Result<Events, Refusal> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "events take a tokio runtime")
        })?;
        let mut state = self.state();
        if state.seats.len() >= MOST_VIEWERS {
            let number = state.number;
            state.seats.retain(|seat| number - seat.sent.load(Ordering::Relaxed) <= MOST_MISSED);
        }
        if state.seats.len() >= MOST_VIEWERS {
            let message = format!("{MOST_VIEWERS} viewers look already; try again in a moment");
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message)
                .with_header(header::RETRY_AFTER, "5"));
        }
        let seat = Arc::new(Seat::default());
        // It has missed none.
        seat.sent.store(state.number, Ordering::Relaxed);
        state.seats.push(seat.clone());
        let starts = !std::mem::replace(&mut state.running, true);
        if starts {
            // Of the last time that somebody looked.
            self.feed.send_replace(None);
        }
        let mut feed = self.feed.subscribe();
        feed.mark_changed();
        drop(state);
        if starts {
            // A runtime that ends drops it at once.
            runtime.spawn(Running { sampler: self.clone(), ended: false }.run());
        }
        Ok(Events::new(feed, Viewer { sampler: self.clone(), seat }, conn))
    }

    /// The past as it was seen, if anybody looks.
    pub(super) fn history(&self) -> Option<History> {
        self.state().history.clone()
    }

    /// Locks who looks.
    pub(super) fn seats(&self) -> Seats<'_> {
        Seats(self.state())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who looks.
pub(super) struct Seats<'a>(MutexGuard<'a, State>);

impl std::ops::Deref for Seats<'_> {
    type Target = Vec<Arc<Seat>>;

    fn deref(&self) -> &Self::Target {
        &self.0.seats
    }
}

impl std::ops::DerefMut for Seats<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0.seats
    }
}

/// The task. When it ends, be it with its runtime, the next viewer starts
/// another one.
struct Running {
    sampler: Arc<Sampler>,
    ended: bool,
}

impl Running {
    async fn run(mut self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<(u64, u64, tokio::time::Instant)> = None;
        loop {
            ticks.tick().await;
            self.ended = self.sampler.end_if_nobody_looks();
            if self.ended {
                return;
            }
            let connections = self.sampler.connections.clone();
            let looked = off_thread(move || {
                let start = Instant::now();
                (Summary::of(&connections), start.elapsed())
            });
            let Some((summary, cost)) = looked.await else { return };
            let seen = (summary.accepted, summary.closed(), tokio::time::Instant::now());
            self.sampler.publish(summary, before.replace(seen));
            sleep((cost * SHARE).saturating_sub(PERIOD)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.sampler.state();
        *state = State { number: state.number, ..State::default() };
        drop(state);
        // The viewers, who have lost their seats, are to notice.
        self.sampler.feed.send_replace(None);
    }
}

impl Sampler {
    /// Sends a summary to all, with the past as it was seen. `before` are the
    /// numbers of accepted and closed connections the last time, and when that
    /// was.
    fn publish(&self, mut summary: Summary, before: Option<(u64, u64, tokio::time::Instant)>) {
        let mut state = self.state();
        if let (Some(mut history), Some((accepted, closed, at))) = (state.history.take(), before) {
            // Several, if this one is late: each has its part of what came.
            let seconds = (at.elapsed().as_secs_f64().round() as u64).clamp(1, SECONDS as u64);
            for _ in 0..seconds {
                history.push(Point {
                    open: summary.counts.total() as u64,
                    accepted: summary.accepted.saturating_sub(accepted).div_ceil(seconds),
                    closed: summary.closed().saturating_sub(closed).div_ceil(seconds),
                });
            }
            summary.history = history;
        }
        state.history = Some(summary.history.clone());
        state.number += 1;
        let number = state.number;
        drop(state);
        let event = json::event(&summary, number);
        self.feed.send_replace(Some(Sample { number, event, draining: summary.draining }));
    }

    /// In one step with not running any more, so that who comes then starts
    /// anew.
    fn end_if_nobody_looks(&self) -> bool {
        let mut state = self.state();
        let nobody = state.seats.is_empty();
        if nobody {
            state.running = false;
            state.history = None;
        }
        nobody
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler").field("viewers", &self.seats().len()).finish_non_exhaustive()
    }
}
