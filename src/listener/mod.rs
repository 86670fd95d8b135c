//! Listeners whose connections are tracked.

#[cfg(any(feature = "serve", feature = "axum"))]
pub(crate) mod accept_errors;
pub(crate) mod handshake;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::{HeaderMap, Method, Uri};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use crate::conn::Settings;
use crate::hook::Hook;
use crate::io::ConnIo;
use crate::policies::enforcer::Admission;
use crate::policies::limits::Permit;
use crate::sync::atomic::Ordering;
use crate::{Address, Conn, Connections, Handshake, Policies};

/// Wraps a listener so that `hook` is told what each of its connections is
/// doing.
///
/// `listener` is a [`TcpListener`], a [`UnixListener`] or anything else that
/// implements [`Accept`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use hyper_connstate::{Conn, ConnState, instrument_listener};
/// use tokio::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let mut listener = instrument_listener(listener, |conn: &Conn, state: ConnState| {
///     println!("Client: {} - new state: {state}", conn.remote_addr());
/// });
///
/// let client = TcpStream::connect(listener.get_ref().local_addr()?).await?;
/// let (io, conn) = listener.accept().await?;
/// assert_eq!(conn.remote_addr().to_string(), client.local_addr()?.to_string());
/// assert_eq!(conn.state(), ConnState::New);
/// # drop(io);
/// # Ok(())
/// # }
/// ```
pub fn instrument_listener<L>(listener: L, hook: impl Hook) -> InstrumentedListener<L> {
    InstrumentedListener {
        listener: Some(listener),
        settings: Settings::new(hook),
        connections: Connections::new(),
    }
}

/// Something that accepts connections: what [`instrument_listener`] can wrap.
///
/// Implemented for tokio's listeners. Implement it to take connections from
/// elsewhere:
///
/// ```
/// use std::io;
/// use hyper_connstate::{Accept, Address, instrument_listener};
/// use tokio::io::DuplexStream;
/// use tokio::sync::mpsc;
///
/// struct InMemory(mpsc::Receiver<DuplexStream>);
///
/// impl Accept for InMemory {
///     type Io = DuplexStream;
///     type Addr = Address;
///
///     async fn accept(&mut self) -> io::Result<(DuplexStream, Address)> {
///         let stream = self.0.recv().await;
///         stream.map(|stream| (stream, Address::Unknown)).ok_or_else(|| io::ErrorKind::NotConnected.into())
///     }
///
///     fn local_addr(&self) -> io::Result<Address> {
///         Ok(Address::Unknown)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> io::Result<()> {
/// let (clients, server) = mpsc::channel(1);
/// let mut listener = instrument_listener(InMemory(server), ());
/// clients.send(tokio::io::duplex(1024).0).await.unwrap();
/// let (_io, conn) = listener.accept().await?;
/// assert_eq!(conn.remote_addr().to_string(), "unknown");
/// # Ok(())
/// # }
/// ```
pub trait Accept {
    /// The streams that come in.
    type Io;

    /// The address of one end of a connection.
    type Addr: Into<Address>;

    /// Waits for the next connection: its stream and the client's address.
    ///
    /// Dropping the future must not lose a connection: servers accept inside
    /// `select!`.
    ///
    /// # Errors
    ///
    /// Whatever keeps the next connection from being accepted. Most such
    /// errors pass, and the caller tries again.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Self::Addr)>> + Send;

    /// The address that is listened on.
    ///
    /// # Errors
    ///
    /// If the system does not tell.
    fn local_addr(&self) -> io::Result<Self::Addr>;

    /// The address that this connection's client connected to.
    ///
    /// By default the address that is listened on, which may be a wildcard
    /// such as `0.0.0.0:80`.
    ///
    /// # Errors
    ///
    /// If the system does not tell; [`Conn::local_addr`] is then
    /// [`Address::Unknown`].
    fn connection_local_addr(&self, io: &Self::Io) -> io::Result<Self::Addr> {
        let _ = io;
        self.local_addr()
    }
}

impl Accept for TcpListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        Self::accept(self).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }

    fn connection_local_addr(&self, io: &TcpStream) -> io::Result<SocketAddr> {
        io.local_addr()
    }
}

#[cfg(unix)]
impl Accept for UnixListener {
    type Io = UnixStream;
    type Addr = Address;

    async fn accept(&mut self) -> io::Result<(UnixStream, Address)> {
        let (stream, address) = Self::accept(self).await?;
        Ok((stream, address.into()))
    }

    fn local_addr(&self) -> io::Result<Address> {
        Self::local_addr(self).map(Address::from)
    }

    fn connection_local_addr(&self, io: &UnixStream) -> io::Result<Address> {
        io.local_addr().map(Address::from)
    }
}

/// A listener whose connections are tracked; see [`instrument_listener`].
///
/// With the feature `axum` it is an `axum::serve::Listener` too.
pub struct InstrumentedListener<L> {
    /// `None` when a drain has closed it.
    listener: Option<L>,
    settings: Arc<Settings>,
    connections: Connections,
}

impl<L: Accept> InstrumentedListener<L> {
    /// The address that is listened on.
    ///
    /// # Errors
    ///
    /// If the system does not say, or a drain has closed the listener.
    pub fn local_addr(&self) -> io::Result<L::Addr> {
        let closed = || io::Error::new(io::ErrorKind::NotConnected, CLOSED);
        self.listener.as_ref().ok_or_else(closed)?.local_addr()
    }

    /// Waits for the next connection, and reports it as
    /// [`New`](crate::ConnState::New).
    ///
    /// Dropping this future (in a `select!`, say) never loses a connection that
    /// was reported: it returns right after the report.
    ///
    /// When [its connections](Self::connections) are drained, this closes the
    /// listener inside and never resolves. So the system refuses new clients,
    /// which would wait for nobody.
    ///
    /// # Errors
    ///
    /// Those of the listener inside. Most are transient, and you can go on
    /// accepting: see [`tokio::net::TcpListener::accept`].
    pub async fn accept(&mut self) -> io::Result<(ConnIo<L::Io>, Conn)> {
        let io = self.accept_handshake().await?.into_io();
        let conn = io.conn().clone();
        Ok((io, conn))
    }

    /// Waits for the next connection, reports it as
    /// [`New`](crate::ConnState::New), and leaves its stream uninstrumented
    /// until the TLS handshake is done: see [`Handshake`].
    ///
    /// # Errors
    ///
    /// As for [`accept`](Self::accept).
    pub async fn accept_handshake(&mut self) -> io::Result<Handshake<L::Io>> {
        loop {
            let accepted = self.accept_stream().await?;
            let Accepted { stream, remote_addr, place } = accepted;
            if let Some(handshake) = self.register(stream, remote_addr.into(), place) {
                return Ok(handshake);
            }
        }
    }

    /// Waits for the next connection, of which nobody knows yet.
    pub(crate) async fn accept_stream(&mut self) -> io::Result<Accepted<L>> {
        if let Some(listener) = &mut self.listener {
            let enforcer = self.connections.enforcer();
            let mut accept = pin!(async {
                let ((stream, remote_addr), place) = enforcer.accept(listener.accept()).await?;
                Ok(Accepted { stream, remote_addr, place })
            });
            let mut drained = pin!(self.connections.until_draining());
            let accepted = poll_fn(|cx| match drained.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => accept.as_mut().poll(cx).map(Some),
            });
            if let Some(accepted) = accepted.await {
                return accepted;
            }
        }
        self.listener = None;
        std::future::pending().await
    }

    /// Reports a connection as New. `None` if it was refused, and closed
    /// without a word.
    pub(crate) fn register(
        &self,
        stream: L::Io,
        remote_addr: Address,
        place: Option<Permit>,
    ) -> Option<Handshake<L::Io>> {
        let listener = self.listener.as_ref();
        let local_addr = listener.and_then(|listener| listener.connection_local_addr(&stream).ok());
        let local_addr = local_addr.map_or(Address::Unknown, Into::into);
        let enforcer = self.connections.enforcer();
        let admitted = enforcer.admit(place, &remote_addr);
        let (admission, refused) = match admitted {
            Ok(admission) => (admission, None),
            Err(limit) => (Admission::Refused, Some(limit)),
        };
        let settings = self.settings.clone();
        let observer = Some(self.connections.observer());
        let conn = Conn::new(remote_addr, local_addr, settings, observer, admission);
        let is_told = refused.is_none_or(|limit| enforcer.refuse(&conn, limit));
        let handshake = Handshake::begin(stream, conn);
        is_told.then_some(handshake)
    }
}

/// A connection that was accepted.
pub(crate) struct Accepted<L: Accept> {
    pub(crate) stream: L::Io,
    pub(crate) remote_addr: L::Addr,
    /// Of the limit on connections, where clients wait for one.
    pub(crate) place: Option<Permit>,
}

impl<L> InstrumentedListener<L> {
    /// The connections of this listener: how many there are, what they are
    /// doing, and how to close or drain them.
    pub fn connections(&self) -> Connections {
        self.connections.clone()
    }

    /// Keeps the connections of this listener in an existing registry: that of
    /// another listener, say, to count and drain both together.
    ///
    /// ```
    /// # async fn example(a: tokio::net::TcpListener, b: tokio::net::TcpListener) {
    /// use hyper_connstate::instrument_listener;
    ///
    /// let http = instrument_listener(a, ());
    /// let https = instrument_listener(b, ()).with_connections(http.connections());
    /// # drop(https);
    /// # }
    /// ```
    ///
    /// The registry's [policies](Self::policies) hold. If it has none, it takes
    /// those of this listener.
    pub fn with_connections(mut self, connections: Connections) -> Self {
        let own = self.connections.enforcer().policies_if_any();
        if let Some(own) = own.filter(|_| connections.enforcer().policies_if_any().is_none()) {
            connections.set_policies(Arc::unwrap_or_clone(own));
        }
        self.connections = connections;
        self
    }

    /// Sets time-outs, ages and limits for the connections of this listener. The
    /// same as [`set_policies`](Connections::set_policies) of [its
    /// connections](Self::connections): it holds for all listeners that share
    /// the registry.
    ///
    /// ```
    /// # async fn example(listener: tokio::net::TcpListener) {
    /// use hyper_connstate::{Policies, instrument_listener};
    ///
    /// let listener = instrument_listener(listener, ()).policies(Policies::internet());
    /// # drop(listener);
    /// # }
    /// ```
    pub fn policies(self, policies: Policies) -> Self {
        self.connections.set_policies(policies);
        self
    }

    /// Whether a client that may still be sending gets up to half a second after
    /// the server has closed its side. On by default. nginx has it under this
    /// name.
    ///
    /// A server that answers while the client still uploads (`413`, `401`, a
    /// redirect) closes the connection with bytes unread. The system then sends
    /// a reset, which overtakes the answer. So only the server's side is closed
    /// at first, and what still comes is read and thrown away: 16 MiB of each
    /// connection at most, and of 1,024 connections at once.
    pub fn lingering_close(self, on: bool) -> Self {
        self.settings.lingering_close.store(on, Ordering::Relaxed);
        self
    }

    /// Puts each request's [`Conn`] into its extensions. Handlers find it with
    /// `request.extensions().get::<Conn>()`, in any stack that has the layer.
    /// Off by default, because it allocates for each request. (In axum, extract
    /// `Conn` instead.)
    pub fn conn_in_requests(self, on: bool) -> Self {
        self.settings.conn_in_requests.store(on, Ordering::Relaxed);
        self
    }

    /// Chooses requests that do not count as use for [`Connections::idle_for`],
    /// by their heads: health checks and metrics.
    ///
    /// ```
    /// # async fn example(listener: tokio::net::TcpListener) {
    /// use hyper_connstate::instrument_listener;
    ///
    /// let listener = instrument_listener(listener, ())
    ///     .discount_requests(|_method, uri, _headers| uri.path() == "/healthz");
    /// # drop(listener);
    /// # }
    /// ```
    pub fn discount_requests(
        self,
        discount: impl Fn(&Method, &Uri, &HeaderMap) -> bool + Send + Sync + 'static,
    ) -> Self {
        // Of several the first counts.
        let _ = self.settings.discount.set(Box::new(discount));
        self
    }

    /// The listener inside.
    ///
    /// # Panics
    ///
    /// If a drain has closed it: see [`accept`](Self::accept).
    pub fn get_ref(&self) -> &L {
        self.listener.as_ref().expect(CLOSED)
    }

    /// The listener inside. What is accepted from it directly is not tracked.
    ///
    /// # Panics
    ///
    /// If a drain has closed it: see [`accept`](Self::accept).
    pub fn get_mut(&mut self) -> &mut L {
        self.listener.as_mut().expect(CLOSED)
    }

    /// Takes the listener out; connections it has accepted go on being tracked.
    ///
    /// # Panics
    ///
    /// If a drain has closed it: see [`accept`](Self::accept).
    pub fn into_inner(self) -> L {
        self.listener.expect(CLOSED)
    }
}

const CLOSED: &str = "a drain has closed this listener; bind a new one to go on accepting";

impl<L: fmt::Debug> fmt::Debug for InstrumentedListener<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstrumentedListener")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}
