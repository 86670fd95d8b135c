//! The connections that are there.

#[cfg(feature = "status")]
pub(crate) mod closed;
pub(crate) mod drain;

mod idle;
mod policies;
mod registry;
mod snapshot;
mod stats;
mod weak;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use self::drain::Drain;
use self::registry::{Registry, SHARDS};
pub use self::snapshot::{ConnSnapshot, StateCounts};
pub use self::stats::{
    AcceptErrorCounts, ClosedCounts, ConnStats, ExpiredCounts, HandshakeCounts, LiveCounts,
    RefusedCounts,
};
pub use self::weak::WeakConnections;
use crate::conn::ConnObserver;
use crate::sync::atomic::Ordering;
use crate::{Conn, ConnId};

/// The live connections of a listener, hijacked ones included.
///
/// You get it from
/// [`InstrumentedListener::connections`](crate::InstrumentedListener::connections).
/// Clones are the same registry. A connection is in it from when it is accepted
/// until its stream is gone. State changes don't touch the registry; counts read
/// each connection.
///
/// [`counts`](Self::counts) and [`snapshot`](Self::snapshot) stop nobody.
/// Connections come, go and change while they look, so what they say is not
/// exactly of one moment. [`stats`](Self::stats) lets no connection come or go
/// while it looks, so its numbers add up.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use hyper_connstate::instrument_listener;
/// use tokio::net::{TcpListener, TcpStream};
///
/// let mut listener = instrument_listener(TcpListener::bind("127.0.0.1:0").await?, ());
/// let connections = listener.connections();
/// let _client = TcpStream::connect(listener.get_ref().local_addr()?).await?;
/// let (io, conn) = listener.accept().await?;
///
/// assert_eq!(connections.len(), 1);
/// assert_eq!(connections.counts().new, 1);
/// assert_eq!(connections.get(conn.id()), Some(conn));
/// drop(io);
/// assert!(connections.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connections(Arc<Registry>);

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

impl Connections {
    /// A registry for connections that come from no instrumented listener. Add
    /// them with [`insert`](Self::insert).
    pub fn new() -> Self {
        Self(Registry::new())
    }

    /// Adds a connection that was accepted elsewhere, with
    /// [`ConnIo::new`](crate::ConnIo::new). It leaves by itself.
    ///
    /// Returns `false`, and does nothing, if the connection is in a registry
    /// already. Those of an instrumented listener are.
    pub fn insert(&self, conn: &Conn) -> bool {
        conn.set_observer(self.0.clone())
    }

    /// How many there are, hijacked ones included.
    pub fn len(&self) -> usize {
        self.0.len.load(Ordering::Acquire)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connection with this id, while it lives.
    pub fn get(&self, id: ConnId) -> Option<Conn> {
        self.0.shard(id).conns.get(&id).map(|kept| kept.conn.clone())
    }

    /// The connections, in no particular order. It may miss those that come
    /// while you iterate.
    pub fn iter(&self) -> impl Iterator<Item = Conn> + Send + use<> {
        let registry = self.0.clone();
        (0..SHARDS).flat_map(move |index| {
            registry
                .lock(index)
                .conns
                .values()
                .map(|kept| kept.conn.clone())
                .collect::<Vec<_>>()
                .into_iter()
        })
    }

    /// Resolves when there is no connection, hijacked ones included; at once if
    /// there is none.
    ///
    /// Stop accepting first if it is to stay so: new connections may come at any
    /// time.
    pub async fn wait_empty(&self) {
        let mut gone = pin!(self.one_gone());
        loop {
            // Enlisted before the look, so that none is missed in between.
            gone.as_mut().enable();
            if self.is_empty() {
                return;
            }
            gone.as_mut().await;
            gone.set(self.one_gone());
        }
    }

    /// Closes the connections that are idle: [`Conn::close`]. Returns how many.
    pub fn close_idle(&self) -> usize {
        self.iter().filter(Conn::close_if_idle).count()
    }

    /// Closes all connections, hijacked ones included: [`Conn::close`].
    /// Returns how many.
    pub fn close_all(&self) -> usize {
        self.iter().map(|conn| conn.close()).count()
    }

    /// Ends all connections so that no client loses a request, within `timeout`.
    ///
    /// Keep the server running until the drain is over: a server that is told to
    /// shut down, or is dropped, closes its idle connections at once, and loses
    /// the requests that are on their way to them. [`Drain::run`] takes care of
    /// it.
    ///
    /// - **The listener** is closed as soon as the server asks it for the next
    ///   connection. `axum::serve` and [`serve`](fn@crate::serve) always do.
    /// - **HTTP/1**: responses say `Connection: close` from now on. New and Idle
    ///   connections stay open for one more second ([`Drain::idle_grace`]),
    ///   since a request may be under way; if one comes it is answered.
    /// - **HTTP/2**: clients are told to send no more requests (GOAWAY). Those
    ///   that they have sent are answered.
    /// - **Hijacked** connections are told ([`Conn::draining`]) and left to
    ///   their owners. They can be waited for ([`Drain::wait_for_hijacked`]), or
    ///   closed in the end ([`Drain::force_hijacked`]).
    /// - When the time is up, connections that are left are closed by force.
    ///
    /// The drain begins when you await it. It needs a tokio runtime with a
    /// timer. If you drop it before its end, connections are no longer drained,
    /// but a closed listener stays closed. Several drains may run at once:
    /// connections are drained as long as one of them runs.
    ///
    /// ```no_run
    /// # async fn example(connections: hyper_connstate::Connections) {
    /// use std::time::Duration;
    ///
    /// let drained = connections.drain(Duration::from_secs(20)).await;
    /// println!("{drained}");
    /// # }
    /// ```
    pub fn drain(&self, timeout: Duration) -> Drain {
        Drain::new(self.clone(), timeout)
    }

    /// A drain begins, of which nobody waits for the end.
    #[cfg(all(test, loom_models))]
    pub(crate) fn start_draining(&self) {
        self.0.begin_drain(Duration::ZERO);
    }

    /// Resolves when a drain has begun.
    pub(crate) async fn until_draining(&self) {
        let mut began = pin!(self.0.drain_began());
        loop {
            // Enlisted before the look, so that none is missed in between.
            began.as_mut().enable();
            if self.0.is_draining() {
                return;
            }
            began.as_mut().await;
            began.set(self.0.drain_began());
        }
    }

    /// Accepting failed.
    #[cfg(any(feature = "serve", feature = "axum"))]
    pub(crate) fn accept_failed(&self, count: impl FnOnce(&mut AcceptErrorCounts)) {
        self.0.accept_failed(count);
    }

    /// Whom connections have to say that they come and go.
    pub(crate) fn observer(&self) -> Arc<dyn ConnObserver> {
        self.0.clone()
    }

    /// Resolves when a connection is gone after this was called.
    pub(crate) fn one_gone(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.gone.notified()
    }

    /// `f` runs under a lock: it must not call user code.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Conn)) {
        for index in 0..SHARDS {
            self.0.lock(index).conns.values().for_each(|kept| f(&kept.conn));
        }
    }
}

/// The connections, as [`Connections::iter`] gives them.
impl IntoIterator for &Connections {
    type Item = Conn;
    type IntoIter = Box<dyn Iterator<Item = Conn> + Send>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
