//! The tower layer that tells when requests begin and responses end.

pub(crate) mod body;
#[cfg(feature = "axum")]
mod body_wait;
pub(crate) mod future;
pub(crate) mod guard;
mod head;
#[cfg(feature = "axum")]
pub(crate) mod request_body;
pub(crate) mod service;
pub(crate) mod unwinding;

use self::service::ConnStateService;
use crate::Conn;

/// Tells a connection when its requests begin and when their responses are
/// over.
///
/// An HTTP/1 connection needs it to be reported as
/// [`Idle`](crate::ConnState::Idle): only the response body knows when it ends,
/// and the layer watches it. HTTP/2 connections are followed on the wire, and
/// the layer only counts their requests.
///
/// Make it the **outermost** layer: it can't see what middleware outside it
/// does. A layer outside it moves the moment at which a request begins or ends
/// if it answers by itself, waits before it passes a request on, or collects a
/// response and sends it later. A second `ConnStateLayer` around the same
/// request does nothing. (But two that were made with
/// [`for_conn`](Self::for_conn) count an HTTP/2 request twice.)
///
/// # Plain hyper and hyper-util
///
/// [`for_conn`](Self::for_conn) makes a layer for one connection. It wraps
/// tower services and hyper services alike.
///
/// ```no_run
/// # async fn hello(_: hyper::Request<hyper::body::Incoming>)
/// #     -> Result<hyper::Response<String>, std::convert::Infallible> { unimplemented!() }
/// # async fn example() -> std::io::Result<()> {
/// use hyper::service::service_fn;
/// use hyper_connstate::{ConnStateLayer, instrument_listener};
/// use hyper_util::rt::{TokioExecutor, TokioIo};
/// use hyper_util::server::conn::auto;
/// use tokio::net::TcpListener;
///
/// # let hook = ();
/// let mut listener = instrument_listener(TcpListener::bind("127.0.0.1:8080").await?, hook);
/// loop {
///     let (io, conn) = listener.accept().await?;
///     let service = ConnStateLayer::for_conn(&conn).layer(service_fn(hello));
///     tokio::spawn(async move {
///         auto::Builder::new(TokioExecutor::new())
///             .serve_connection_with_upgrades(TokioIo::new(io), service)
///             .await
///     });
/// }
/// # }
/// ```
///
/// # axum
///
/// Prefer
#[cfg_attr(
    feature = "axum",
    doc = "[`into_make_service_with_conn_state`](crate::axum::ConnStateServiceExt::into_make_service_with_conn_state),"
)]
#[cfg_attr(not(feature = "axum"), doc = "`into_make_service_with_conn_state` (feature `axum`),")]
/// which puts the layer outermost by itself and takes care of request bodies
/// too. [`new`](Self::new) fits into a `Router` that is served with
/// `into_make_service_with_connect_info::<Conn>()`.
///
/// # Request bodies
///
/// The layer watches the response. But hyper keeps a connection busy until the
/// request's body has been read, too, and a handler may move that body into a
/// task that outlives the response. So the bytes that the client sends are
/// counted, and the connection is `Active` until they are read. Some cannot be
/// counted: a head with two lengths, or with a length beside chunks; and a
/// request that begins in the same read as the last chunk before it. Then `Idle`
/// may come while the task still reads, or only with the next request.
#[derive(Clone, Debug, Default)]
pub struct ConnStateLayer {
    conn: Option<Conn>,
}

impl ConnStateLayer {
    /// A layer that finds the connection in each request's extensions: a
    /// [`Conn`], or with the feature `axum` a `ConnectInfo<Conn>`.
    ///
    /// A request that has neither passes untouched. With the feature `tracing`
    /// the first such request logs a warning that says what to do.
    pub fn new() -> Self {
        Self { conn: None }
    }

    /// A layer for the requests of this connection.
    pub fn for_conn(conn: &Conn) -> Self {
        Self { conn: Some(conn.clone()) }
    }

    /// Wraps a service: as [`tower_layer::Layer::layer`], which need not be
    /// imported.
    pub fn layer<S>(&self, inner: S) -> ConnStateService<S> {
        ConnStateService::new(inner, self.conn.clone())
    }
}

impl<S> tower_layer::Layer<S> for ConnStateLayer {
    type Service = ConnStateService<S>;

    fn layer(&self, inner: S) -> ConnStateService<S> {
        Self::layer(self, inner)
    }
}
