//! The accept loop with a graceful shutdown.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{MakeConnService, Serve, Transport};
use crate::{Accept, Drain, Drained};

/// How long a graceful shutdown takes at most, unless it is set: short of the
/// 30 seconds after which Kubernetes kills.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// A server that shuts down gracefully; see [`Serve::with_graceful_shutdown`].
#[must_use = "a server does nothing unless awaited"]
pub struct ServeWithShutdown<L, M, K, T, F> {
    serve: Serve<L, M, K, T>,
    signal: F,
    drain: Drain,
}

impl<L, M, K, T, F> ServeWithShutdown<L, M, K, T, F> {
    pub(super) fn new(serve: Serve<L, M, K, T>, signal: F) -> Self {
        let drain = serve.listener.connections().drain(DRAIN_TIMEOUT);
        Self { serve, signal, drain }
    }

    /// How long the connections may take to come to an end before they are
    /// closed by force; 20 seconds unless it is set.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain = self.drain.timeout(timeout);
        self
    }

    /// How long a connection that is New or Idle waits for a request that may
    /// be under way; see [`Drain::idle_grace`].
    pub fn idle_grace(mut self, grace: Duration) -> Self {
        self.drain = self.drain.idle_grace(grace);
        self
    }

    /// Waits for hijacked connections too, until the time is up; see
    /// [`Drain::wait_for_hijacked`].
    pub fn wait_for_hijacked(mut self, wait: bool) -> Self {
        self.drain = self.drain.wait_for_hijacked(wait);
        self
    }

    /// Waits for hijacked connections too, and closes them when the time is up;
    /// see [`Drain::force_hijacked`].
    pub fn force_hijacked(mut self, force: bool) -> Self {
        self.drain = self.drain.force_hijacked(force);
        self
    }
}

impl<L, M, K, T, F> IntoFuture for ServeWithShutdown<L, M, K, T, F>
where
    L: Accept<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> + Send + 'static,
    L::Addr: Send,
    M: MakeConnService<K>,
    K: 'static,
    T: Transport<L::Io>,
    F: Future<Output = ()> + Send + 'static,
{
    type Output = io::Result<Drained>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { serve, signal, drain } = self;
        Box::pin(async move {
            let listener = serve.run(signal).await?;
            drop(listener);
            Ok(drain.await)
        })
    }
}

impl<L: fmt::Debug, M, K, T, F> fmt::Debug for ServeWithShutdown<L, M, K, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeWithShutdown")
            .field("serve", &self.serve)
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}
