//! Letting connections come to an end.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use crate::{CloseReason, Conn, ConnState, Connections};

/// How long connections that were closed by force may take to be gone before
/// the result is given without them: their tasks block their threads.
const FORCE: Duration = Duration::from_secs(1);

/// A graceful shutdown of connections: [`Connections::drain`].
#[must_use = "a drain does nothing unless awaited"]
#[derive(Debug)]
pub struct Drain {
    connections: Connections,
    timeout: Duration,
    wait_for_hijacked: bool,
}

/// What became of the connections that were drained. Prints as one line for a
/// log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// How many came to an end by themselves or as soon as they were done.
    pub drained: usize,
    /// How many were closed by force at the timeout.
    pub forced: usize,
    /// How many hijacked ones are left.
    pub hijacked: usize,
}

impl Drain {
    pub(crate) fn new(connections: Connections, timeout: Duration) -> Self {
        Self { connections, timeout, wait_for_hijacked: false }
    }

    /// Waits for hijacked connections too, until the timeout. They are told
    /// through [`Conn::draining`], and are not closed.
    pub fn wait_for_hijacked(mut self, wait: bool) -> Self {
        self.wait_for_hijacked = wait;
        self
    }

    async fn run(self) -> Drained {
        let Self { connections, timeout, wait_for_hijacked } = self;
        connections.start_draining();

        let mut drain = Vec::new();
        let in_time = tokio::time::timeout(timeout, async {
            let mut seen = std::collections::HashSet::new();
            loop {
                let conns = connections
                    .iter()
                    .filter(|conn| seen.insert(conn.id()) || conn.state() != ConnState::Hijacked);
                let conns: Vec<_> = conns.collect();
                if conns.is_empty() {
                    break;
                }
                drain.extend(conns.iter().cloned());
                conns.iter().for_each(Conn::drain);
                for conn in conns {
                    if wait_for_hijacked {
                        conn.closed().await;
                    } else {
                        conn.done_or_hijacked().await;
                    }
                }
            }
        })
        .await;

        if in_time.is_err() {
            let late = |conn: &Conn| conn.state() != ConnState::Hijacked;
            let conns: Vec<_> = connections.iter().filter(late).collect();
            conns.iter().for_each(Conn::close_by_force);
            // Those that came in the last moment are not in there yet.
            drain.extend(conns.iter().cloned());
            let _ = tokio::time::timeout(FORCE, async {
                for conn in conns {
                    conn.done_or_hijacked().await;
                }
            })
            .await;
        }

        drain.sort_unstable_by_key(Conn::id);
        drain.dedup();
        let mut drained = Drained::default();
        for conn in drain {
            match (conn.state(), conn.close_reason()) {
                (_, Some(CloseReason::ShutdownForced)) => drained.forced += 1,
                (_, Some(_)) => drained.drained += 1,
                (ConnState::Hijacked, None) => drained.hijacked += 1,
                // Closed by force, but its task has not let go of it.
                (_, None) => drained.forced += 1,
            }
        }
        drained
    }
}

impl IntoFuture for Drain {
    type Output = Drained;
    type IntoFuture = Pin<Box<dyn Future<Output = Drained> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { drained, forced, hijacked } = self;
        write!(f, "{drained} drained, {forced} closed by force, {hijacked} hijacked left")
    }
}
