//! Ending connections so that no client loses a request.

use std::collections::HashSet;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use super::Connections;
use crate::conn::IDLE_GRACE;
use crate::io::linger::LINGER;
use crate::{CloseReason, Conn, ConnState};

/// How long connections that were closed by force may take to be gone before
/// the result is given without them: their tasks block their threads.
const FORCE: Duration = Duration::from_secs(1);

/// A graceful shutdown of connections: [`Connections::drain`].
#[must_use = "a drain does nothing unless awaited"]
#[derive(Clone, Debug)]
pub struct Drain {
    connections: Connections,
    timeout: Duration,
    idle_grace: Duration,
    wait_for_hijacked: bool,
    force_hijacked: bool,
}

/// What became of the connections that were drained. Prints as one line for a
/// log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// How many ended in good order: after a response that said so, after their
    /// grace, or because their client or new owner was done with them.
    pub drained: usize,
    /// How many were closed by force when the time was up.
    pub forced: usize,
    /// How many were broken off while the drain ran, for another reason: a
    /// reset, a time-out, a handler's panic, a protocol error, or
    /// [`Conn::close`].
    pub broken: usize,
    /// How many hijacked ones are left.
    pub hijacked: usize,
}

impl Drain {
    pub(super) fn new(connections: Connections, timeout: Duration) -> Self {
        Self {
            connections,
            timeout,
            idle_grace: IDLE_GRACE,
            wait_for_hijacked: false,
            force_hijacked: false,
        }
    }

    #[cfg(feature = "serve")]
    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a connection that is New or Idle waits for a request that may
    /// be under way; a second unless it is set.
    ///
    /// A request that was sent before its client knew of the drain is answered
    /// if it comes within this time. So set it longer than a packet takes to a
    /// client and back. It is shortened where the drain's timeout would leave no
    /// time to close the connections in good order. With zero, quiet connections
    /// are closed at once.
    pub fn idle_grace(mut self, grace: Duration) -> Self {
        self.idle_grace = grace;
        self
    }

    /// Waits for hijacked connections too, until the time is up. Their owners
    /// learn of the drain from [`Conn::draining`]. They are not closed.
    pub fn wait_for_hijacked(mut self, wait: bool) -> Self {
        self.wait_for_hijacked = wait;
        self
    }

    /// Waits for hijacked connections too, and closes those by force that are
    /// left when the time is up: see [`Conn::close`].
    pub fn force_hijacked(mut self, force: bool) -> Self {
        self.force_hijacked = force;
        self
    }

    /// Runs a server until `signal` resolves, then drains its connections, and
    /// keeps the server alive for as long as that takes.
    ///
    /// Shut down `axum::serve` with this. Its own `with_graceful_shutdown`
    /// closes idle connections at once, and loses the requests that are on their
    /// way to them.
    ///
    /// ```no_run
    /// # async fn example<S>(
    /// #     listener: hyper_connstate::InstrumentedListener<tokio::net::TcpListener>,
    /// #     server: impl std::future::IntoFuture<Output = std::io::Result<()>>,
    /// # ) -> std::io::Result<()> {
    /// use std::time::Duration;
    ///
    /// let drain = listener.connections().drain(Duration::from_secs(20));
    /// // let server = axum::serve(listener, app.into_make_service_with_conn_state());
    /// let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
    /// let drained = drain.run(server, ctrl_c).await?;
    /// println!("{drained}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the server, if it ends before the signal.
    pub async fn run<T>(
        self,
        server: impl IntoFuture<Output = io::Result<T>>,
        signal: impl Future<Output = ()>,
    ) -> io::Result<Drained> {
        let mut server = pin!(server.into_future());
        let mut server_ended = false;
        let mut drained = pin!(async {
            signal.await;
            self.await
        });
        std::future::poll_fn(|cx| {
            if let Poll::Ready(drained) = drained.as_mut().poll(cx) {
                return Poll::Ready(Ok(drained));
            }
            if !server_ended {
                match server.as_mut().poll(cx) {
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    // Its connections may go on in their tasks.
                    Poll::Ready(Ok(_)) => server_ended = true,
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The grace, short enough for those that are closed after it to be gone in
    /// time.
    fn grace_within_timeout(&self) -> Duration {
        let latest = self.timeout.saturating_sub(2 * LINGER).max(self.timeout / 4);
        self.idle_grace.min(latest)
    }

    /// Whether this connection is still waited for.
    fn waits_for(&self, conn: &Conn) -> bool {
        let for_hijacked = self.wait_for_hijacked || self.force_hijacked;
        !conn.is_done() && (for_hijacked || conn.state() != ConnState::Hijacked)
    }

    async fn drain(self) -> Drained {
        let running = Running::begin(&self);
        let mut conns = Vec::new();
        let in_time = tokio::time::timeout(self.timeout, self.wait(&mut conns)).await.is_ok();
        if !in_time {
            self.force(&mut conns).await;
        }
        running.finish();
        Drained::of(conns)
    }

    /// Waits for all connections, those included that still come.
    async fn wait(&self, conns: &mut Vec<Conn>) {
        let mut seen = HashSet::new();
        loop {
            let come = self.connections.iter().filter(|conn| seen.insert(conn.id()));
            let come: Vec<_> = come.collect();
            if come.is_empty() && !self.connections.iter().any(|conn| self.waits_for(&conn)) {
                return;
            }
            let grace = self.grace_within_timeout();
            come.iter().for_each(|conn| conn.drain_with(grace, true));
            conns.extend(come);
            for conn in conns.iter() {
                if self.wait_for_hijacked || self.force_hijacked {
                    conn.closed().await;
                } else {
                    conn.done_or_hijacked().await;
                }
            }
        }
    }

    /// The time is up.
    async fn force(&self, conns: &mut Vec<Conn>) {
        let late = |conn: &Conn| self.force_hijacked || conn.state() != ConnState::Hijacked;
        let late: Vec<_> = self.connections.iter().filter(late).collect();
        late.iter().for_each(Conn::close_by_force);
        // Those that came in the last moment are not in there yet.
        conns.extend(late.iter().cloned());
        let gone = async {
            for conn in late {
                if self.force_hijacked {
                    conn.closed().await;
                } else {
                    conn.done_or_hijacked().await;
                }
            }
        };
        let _ = tokio::time::timeout(FORCE, gone).await;
    }
}

/// A drain that is under way, and given up if this is dropped.
struct Running {
    connections: Connections,
    finished: bool,
}

impl Running {
    fn begin(drain: &Drain) -> Self {
        drain.connections.0.begin_drain(drain.grace_within_timeout());
        Self { connections: drain.connections.clone(), finished: false }
    }

    /// The registry goes on draining what may still come: nobody is going to
    /// look after it.
    fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.finished && self.connections.0.cancel_drain() {
            self.connections.iter().for_each(|conn| conn.cancel_drain());
        }
    }
}

impl Drained {
    fn of(mut conns: Vec<Conn>) -> Self {
        conns.sort_unstable_by_key(Conn::id);
        conns.dedup();
        let mut drained = Self::default();
        for conn in conns {
            let count = match conn.close_reason() {
                None if conn.state() == ConnState::Hijacked => &mut drained.hijacked,
                // Closed by force, but its task has not let go of it.
                None | Some(CloseReason::ShutdownForced) => &mut drained.forced,
                Some(reason) if reason.is_good_order() => &mut drained.drained,
                Some(_) => &mut drained.broken,
            };
            *count += 1;
        }
        drained
    }

    /// All of them.
    pub const fn total(&self) -> usize {
        self.drained + self.forced + self.broken + self.hijacked
    }
}

impl IntoFuture for Drain {
    type Output = Drained;
    type IntoFuture = Pin<Box<dyn Future<Output = Drained> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.drain())
    }
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { drained, forced, broken, hijacked } = self;
        write!(
            f,
            "{drained} drained, {forced} closed by force, {broken} broken off, {hijacked} hijacked \
             left"
        )
    }
}
