//! axum 0.8 (feature `axum`).
//!
//! An [`InstrumentedListener`] goes into
//! `axum::serve`, and a `Router` becomes a make-service that tracks every
//! connection with
//! [`into_make_service_with_conn_state`](ConnStateServiceExt::into_make_service_with_conn_state):
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use hyper_connstate::axum::ConnStateServiceExt;
//! use hyper_connstate::{Conn, ConnState, instrument_listener};
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:8080").await?;
//! let listener = instrument_listener(listener, |conn: &Conn, state: ConnState| {
//!     println!("Client: {} - new state: {state}", conn.remote_addr());
//! });
//!
//! let app = Router::new().route("/", get(hello));
//! axum::serve(listener, app.into_make_service_with_conn_state()).await
//! # }
//!
//! async fn hello(conn: Conn) -> String {
//!     format!("request {} of connection {}\n", conn.requests(), conn.id())
//! }
//! ```
//!
//! # Shutting down
//!
//! Use [`Drain::run`](crate::Drain::run). axum's own `with_graceful_shutdown`
//! closes idle connections at once, and loses the requests that are on their way
//! to them.
//!
//! ```no_run
//! # use hyper_connstate::axum::ConnStateServiceExt;
//! # use std::time::Duration;
//! # async fn example(
//! #     listener: hyper_connstate::InstrumentedListener<tokio::net::TcpListener>,
//! #     app: axum::Router,
//! # ) -> std::io::Result<()> {
//! let drain = listener.connections().drain(Duration::from_secs(20));
//! let server = axum::serve(listener, app.into_make_service_with_conn_state());
//! let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
//! let drained = drain.run(server, ctrl_c).await?;
//! println!("{drained}");
//! # Ok(())
//! # }
//! ```
//!
//! # What handlers can extract
//!
//! - [`Conn`]: the connection. Also as `ConnectInfo<Conn>`.
//! - `ConnectInfo<SocketAddr>`: the client's address, as with a plain
//!   `TcpListener`. axum alone does not give it for a listener of another
//!   type; here handlers that extract it go on working.
//!
//! # axum's own idiom
//!
//! `into_make_service_with_connect_info::<Conn>()` works as well, together
//! with [`ConnStateLayer::new`](crate::ConnStateLayer::new) as the router's
//! outermost layer. But it is easier to get wrong: the layer misses routes and
//! fallbacks that are added after it, and request bodies are not followed.

mod extract;
mod listener;
mod make_service;

pub use crate::layer::request_body::RequestBody;
pub use extract::ConnRejection;
pub use listener::AxumListener;
pub use make_service::{
    ConnStateServiceExt, IntoMakeServiceWithConnState, RouterFuture, RouterService,
};

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use http::Request;

use crate::{Conn, InstrumentedListener};

impl<L> Connected<IncomingStream<'_, InstrumentedListener<L>>> for Conn
where
    InstrumentedListener<L>: Listener<Io: AsRef<Conn>>,
{
    fn connect_info(stream: IncomingStream<'_, InstrumentedListener<L>>) -> Self {
        stream.io().as_ref().clone()
    }
}

/// For `into_make_service_with_connect_info::<Conn>()` in
/// [`serve`](fn@crate::serve).
impl Connected<Conn> for Conn {
    fn connect_info(conn: Conn) -> Self {
        conn
    }
}

/// Lets handlers go on extracting `ConnectInfo<SocketAddr>`.
pub(crate) fn provide_socket_addr<B>(conn: &Conn, request: &mut Request<B>) {
    let extensions = request.extensions_mut();
    if let Some(address) = conn.remote_addr().socket_addr() {
        if extensions.get::<ConnectInfo<SocketAddr>>().is_none() {
            extensions.insert(ConnectInfo(address));
        }
    }
}
