//! The accept loop, ready-made.

mod connection;
mod limits;
mod make;
mod shutdown;
mod sockets;
#[cfg(feature = "tls")]
mod tls;
mod transport;

pub use make::{MakeConnService, kind};
pub use shutdown::ServeWithShutdown;
#[cfg(feature = "tls")]
pub use tls::Tls;
pub use transport::{Inspect, NoTls, Transport};

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};

use self::connection::Server;
use self::sockets::SocketOptions;
use crate::listener::Accepted;
use crate::{Accept, Conn, InstrumentedListener};

/// Serves the connections of a listener: an accept loop around hyper-util's
/// [`auto::Builder`](Builder), for HTTP/1, HTTP/2, upgrades and extended
/// CONNECT.
///
/// `service` is
///
/// - a service of `Request<Incoming>`, which each connection gets a clone of:
///   tower's or hyper's `service_fn`, say, or an axum `Router`;
/// - or a make-service: a tower service of [`Conn`](crate::Conn) whose response
///   is such a service. With the feature `axum`,
///   `app.into_make_service_with_conn_state()` is one, which gives handlers
///   `ConnectInfo<Conn>` and `ConnectInfo<SocketAddr>` and follows request
///   bodies, and so are axum's own `into_make_service()` and
///   `into_make_service_with_connect_info::<Conn>()`.
///
/// No [`ConnStateLayer`](crate::ConnStateLayer) is needed.
///
/// Transient accept errors are retried, fatal ones are returned. What a client
/// sends or a service returns can end its own connection only.
///
/// It needs a tokio runtime with I/O and timers.
///
/// # Errors
///
/// A fatal error of the listener. Without
/// [`with_graceful_shutdown`](Serve::with_graceful_shutdown) it never ends
/// otherwise.
///
/// # Example
///
/// ```no_run
/// use std::convert::Infallible;
/// use std::time::Duration;
///
/// use hyper::{Request, Response, body::Incoming};
/// use hyper_connstate::{Conn, ConnState, instrument_listener};
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:8080").await?;
/// let listener = instrument_listener(listener, |conn: &Conn, state: ConnState| {
///     println!("Client: {} - new state: {state}", conn.remote_addr());
/// });
///
/// let service = tower::service_fn(hello);
/// let drained = hyper_connstate::serve(listener, service)
///     .http(|http| {
///         http.http1().half_close(true).header_read_timeout(Duration::from_secs(10));
///         http.http2().max_concurrent_streams(100);
///     })
///     .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
///     .await?;
/// println!("{drained}");
/// # Ok(())
/// # }
///
/// async fn hello(_request: Request<Incoming>) -> Result<Response<String>, Infallible> {
///     Ok(Response::new("Hello, World!\n".to_owned()))
/// }
/// ```
pub fn serve<L, M, K>(listener: InstrumentedListener<L>, service: M) -> Serve<L, M, K>
where
    L: Accept,
    M: MakeConnService<K>,
{
    let mut http = Builder::new(TokioExecutor::new());
    // hyper's time-outs need one.
    http.http1().timer(TokioTimer::new());
    http.http2().timer(TokioTimer::new()).enable_connect_protocol();
    Serve {
        listener,
        make: service,
        http,
        transport: NoTls::new(),
        sockets: SocketOptions::default(),
        connection_spans: false,
        kind: PhantomData,
    }
}

/// A server that runs when it is awaited; see [`serve`].
#[must_use = "a server does nothing unless awaited"]
pub struct Serve<L, M, K, T = NoTls> {
    listener: InstrumentedListener<L>,
    make: M,
    http: Builder<TokioExecutor>,
    transport: T,
    sockets: SocketOptions,
    #[cfg_attr(not(feature = "tracing"), allow(dead_code))]
    connection_spans: bool,
    kind: PhantomData<fn() -> K>,
}

impl<L, M, K, T> Serve<L, M, K, T> {
    /// Configures hyper: time-outs, limits, protocols, all that
    /// [`auto::Builder`](Builder) has.
    ///
    /// A timer is installed already, so hyper's time-outs work. Extended CONNECT
    /// (RFC 8441) is on.
    ///
    /// With a timer, hyper gives a client 30 seconds for a request's head,
    /// counted from the end of the previous response. So an HTTP/1 connection
    /// that is idle for longer is closed. Set `header_read_timeout` to change
    /// that.
    ///
    /// hyper-util has no time-out until it knows the protocol. Here a client
    /// that says nothing, or half of HTTP/2's preface, gets 30 seconds. A
    /// make-service does, too.
    pub fn http(mut self, configure: impl FnOnce(&mut Builder<TokioExecutor>)) -> Self {
        configure(&mut self.http);
        self
    }

    /// Calls `inspect` with each stream, after the TLS handshake and before
    /// HTTP. Use it to keep with the connection what only the stream knows: a
    /// client certificate, SNI, ALPN, Unix credentials.
    ///
    /// ```no_run
    /// # #[cfg(feature = "tls")]
    /// # async fn example(
    /// #     listener: hyper_connstate::InstrumentedListener<tokio::net::TcpListener>,
    /// #     acceptor: tokio_rustls::TlsAcceptor,
    /// # ) -> std::io::Result<()> {
    /// # let service = tower::service_fn(async |_: hyper::Request<hyper::body::Incoming>|
    /// #     Ok::<_, std::convert::Infallible>(hyper::Response::new(String::new())));
    /// #[derive(Clone)]
    /// struct ServerName(Option<String>);
    ///
    /// hyper_connstate::serve(listener, service)
    ///     .tls(acceptor)
    ///     .inspect_stream(|conn, tls| {
    ///         let name = tls.get_ref().1.server_name();
    ///         conn.insert(ServerName(name.map(str::to_owned)));
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// It runs in the connection's task, and must not block.
    pub fn inspect_stream<F>(self, inspect: F) -> Serve<L, M, K, Inspect<T, F>>
    where
        L: Accept,
        T: Transport<L::Io>,
        F: Fn(&Conn, &T::Io) + Send + Sync + 'static,
    {
        let Self { listener, make, http, transport, sockets, connection_spans, kind } = self;
        let transport = Inspect::new(transport, inspect);
        Serve { listener, make, http, transport, sockets, connection_spans, kind }
    }

    /// Whether small writes go out at once (`TCP_NODELAY`). On by default, as in
    /// Go: a response must not wait until the client has acknowledged the one
    /// before.
    pub fn tcp_nodelay(mut self, on: bool) -> Self {
        self.sockets.nodelay = on;
        self
    }

    /// How long a TCP connection is silent before the system asks whether its
    /// client is still there, and how often it asks again (`SO_KEEPALIVE`). 15
    /// seconds by default, as in Go. `None` turns it off.
    pub fn tcp_keepalive(mut self, interval: Option<Duration>) -> Self {
        self.sockets.keepalive = interval;
        self
    }

    /// Whether each connection has a span of its own, in which its task runs.
    /// Off by default.
    ///
    /// The span is a root with the target `hyper_connstate::connection` and the
    /// fields `hyper.connection.id`, `network.peer.address` and
    /// `network.peer.port`. Events of hyper and h2 about the connection carry
    /// them. It ends when the stream is gone. [`Conn::span`] returns it, for
    /// linking requests to it. (HTTP/1 handlers run in it; those of HTTP/2 have
    /// tasks of their own.)
    #[cfg(feature = "tracing")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
    pub fn connection_spans(mut self, on: bool) -> Self {
        self.connection_spans = on;
        self
    }

    /// Shuts down when `signal` resolves: stops accepting, closes the listener,
    /// and ends the connections so that no client loses a request, as
    /// [`Connections::drain`](crate::Connections::drain) does. The result says
    /// what became of them.
    ///
    /// It takes 20 seconds at most: see
    /// [`drain_timeout`](ServeWithShutdown::drain_timeout).
    ///
    /// # Errors
    ///
    /// A fatal error of the listener. Open connections go on in their tasks;
    /// [`Connections::drain`](crate::Connections::drain) them.
    pub fn with_graceful_shutdown<F>(self, signal: F) -> ServeWithShutdown<L, M, K, T, F>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        ServeWithShutdown::new(self, signal)
    }
}

#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
impl<L, M, K> Serve<L, M, K> {
    /// Speaks TLS, with ten seconds for a handshake.
    ///
    /// Handshakes run side by side, and hold up neither accepting nor a
    /// shutdown. For HTTP/2, `acceptor`'s configuration has to offer it:
    /// `alpn_protocols` with `h2` and `http/1.1`.
    ///
    /// ```no_run
    /// # async fn example<L, S, B>(
    /// #     listener: hyper_connstate::InstrumentedListener<tokio::net::TcpListener>,
    /// #     mut config: rustls::ServerConfig,
    /// # ) -> std::io::Result<()> {
    /// # let service = tower::service_fn(async |_: hyper::Request<hyper::body::Incoming>|
    /// #     Ok::<_, std::convert::Infallible>(hyper::Response::new(String::new())));
    /// use std::sync::Arc;
    /// use tokio_rustls::TlsAcceptor;
    ///
    /// config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    /// let acceptor = TlsAcceptor::from(Arc::new(config));
    /// hyper_connstate::serve(listener, service).tls(acceptor).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls(self, acceptor: tokio_rustls::TlsAcceptor) -> Serve<L, M, K, Tls> {
        let Self { listener, make, http, transport: _, sockets, connection_spans, kind } = self;
        let transport = Tls::new(acceptor);
        Serve { listener, make, http, transport, sockets, connection_spans, kind }
    }
}

#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
impl<L, M, K> Serve<L, M, K, Tls> {
    /// How long a TLS handshake may take; ten seconds unless it is set.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.transport.set_timeout(timeout);
        self
    }
}

impl<L, M, K, T> Serve<L, M, K, T>
where
    L: Accept<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> + Send + 'static,
    L::Addr: Send,
    M: MakeConnService<K>,
    K: 'static,
    T: Transport<L::Io>,
{
    /// Accepts until `signal`, or until the listener fails.
    async fn run(
        mut self,
        signal: impl Future<Output = ()>,
    ) -> io::Result<InstrumentedListener<L>> {
        if self.listener.connections().policies().header_timeout.is_some() {
            // hyper's counts from the end of the answer before.
            self.http.http1().header_read_timeout(None);
        }
        let server = Arc::new(Server { http: self.http, transport: self.transport });
        let mut signal = pin!(signal);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut signal => return Ok(self.listener),
                accepted = crate::listener::accept_errors::accept(&mut self.listener) => accepted?,
            };
            let Accepted { stream, remote_addr, place } = accepted;
            self.sockets.set(&stream);
            let registered = self.listener.register(stream, remote_addr.into(), place);
            let Some(handshake) = registered else { continue };
            let make = self.make.for_conn(handshake.conn());
            #[cfg(feature = "tracing")]
            if self.connection_spans {
                let span = handshake.conn().open_span();
                // Boxed, so that the task is compiled once: twice, it would be
                // inlined less, and those without a span would pay for it.
                let task = Box::pin(server.clone().run(handshake, make));
                spawn_in_span(task, span);
                continue;
            }
            tokio::spawn(server.clone().run(handshake, make));
        }
    }
}

#[cfg(feature = "tracing")]
#[cold]
fn spawn_in_span(task: Pin<Box<dyn Future<Output = ()> + Send>>, span: tracing::Span) {
    tokio::spawn(tracing::Instrument::instrument(task, span));
}

impl<L, M, K, T> IntoFuture for Serve<L, M, K, T>
where
    L: Accept<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> + Send + 'static,
    L::Addr: Send,
    M: MakeConnService<K>,
    K: 'static,
    T: Transport<L::Io>,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async {
            // Without a signal it ends with an error only.
            self.run(std::future::pending()).await.map(drop)
        })
    }
}

impl<L: fmt::Debug, M, K, T> fmt::Debug for Serve<L, M, K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("listener", &self.listener).finish_non_exhaustive()
    }
}
