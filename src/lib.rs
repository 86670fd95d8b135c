//! What every connection of a [hyper] server is doing.
//!
//! Go's `http.Server` has had a `ConnState` callback since 1.3: it is told
//! that a client connection is now new, active, idle, hijacked or closed, and
//! people build graceful drains, idle time-outs, per-client limits, gauges and
//! scale-to-zero on it. This crate brings that to any server on hyper 1.x, be
//! it plain hyper, hyper-util or axum, with the states that Go's server would
//! report and at the moments at which it would report them.
//!
//! # Example
//!
//! A listener is wrapped, and a hook is told what its connections do:
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::{Arc, Mutex};
//!
//! use hyper::service::service_fn;
//! use hyper::{Request, Response, body::Incoming};
//! use hyper_connstate::{Conn, ConnState, ConnStateLayer, instrument_listener};
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::server::conn::auto;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
//!     Ok(Response::new("Hello, World!\n".to_owned()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let states = Arc::new(Mutex::new(Vec::new()));
//! let hook = {
//!     let states = states.clone();
//!     move |_: &Conn, state: ConnState| states.lock().unwrap().push(state.to_string())
//! };
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let mut listener = instrument_listener(listener, hook);
//!
//! let mut client = TcpStream::connect(listener.get_ref().local_addr()?).await?;
//! let (io, conn) = listener.accept().await?;
//! let service = ConnStateLayer::for_conn(&conn).layer(service_fn(hello));
//! let server = tokio::spawn(async move {
//!     auto::Builder::new(TokioExecutor::new())
//!         .serve_connection_with_upgrades(TokioIo::new(io), service)
//!         .await
//! });
//!
//! client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
//! let mut answer = [0; 1024];
//! client.read(&mut answer).await?;
//! tokio::task::yield_now().await;
//! assert_eq!(*states.lock().unwrap(), ["new", "active", "idle"]);
//!
//! drop(client);
//! server.await?.unwrap();
//! assert_eq!(*states.lock().unwrap(), ["new", "active", "idle", "closed"]);
//! # Ok(())
//! # }
//! ```
//!
//! # The states
//!
//! ```text
//! New ──▶ Active ──▶ Idle ──▶ Active …
//!  │        ├──▶ Hijacked            (terminal)
//!  └────────┴──▶ Closed ◀── Idle     (terminal)
//! ```
//!
//! | state | reported when |
//! |---|---|
//! | [`New`](ConnState::New) | the socket has been accepted, before anyone else gets it |
//! | [`Active`](ConnState::Active) | HTTP/1: the first byte of a request has been read. HTTP/2: the client's preface has been read (then Idle at once), and whenever the number of open streams goes from zero to one |
//! | [`Idle`](ConnState::Idle) | every request begun has been answered in full, the answer's bytes are in the socket, and the connection is kept for another |
//! | [`Hijacked`](ConnState::Hijacked) | the answer that hands the stream over is in the socket: a 101 to an upgrade, a 2xx to CONNECT over HTTP/1. What becomes of the stream is its new owner's affair |
//! | [`Closed`](ConnState::Closed) | the connection is over and its socket closed |
//!
//! Always true:
//!
//! - Every connection gets `New` first and exactly one terminal state last,
//!   whatever happens to it: a reset, a failed TLS handshake, a handler's or a
//!   hook's panic, an aborted task, the end of the runtime.
//! - The reports of one connection never overlap and come in order; two
//!   connections never wait for each other.
//! - No report is late. When a client pauses, all that is true of that moment
//!   has been reported; nothing waits for the next byte.
//! - Idle means on the wire: a connection that is closed the moment it is
//!   reported as idle has not cut a response short.
//!
//! # How to adopt it
//!
//! **hyper and hyper-util**: wrap the listener in [`instrument_listener`], and
//! each connection's service, be it hyper's or tower's, in
//! [`ConnStateLayer::for_conn`], as above. Streams that were accepted
//! elsewhere go into [`ConnIo::new`].
//!
//! **axum** (feature `axum`): wrap the listener, and serve the router with
#![cfg_attr(
    feature = "axum",
    doc = "[`into_make_service_with_conn_state`](crate::axum::ConnStateServiceExt::into_make_service_with_conn_state):"
)]
#![cfg_attr(not(feature = "axum"), doc = "`into_make_service_with_conn_state`:")]
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use hyper_connstate::axum::ConnStateServiceExt;
//! # use hyper_connstate::{Conn, ConnState, instrument_listener};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! # let hook = |_: &Conn, _: ConnState| {};
//! # let app = axum::Router::new();
//!
//! let listener = instrument_listener(listener, hook);
//! axum::serve(listener, app.into_make_service_with_conn_state()).await
//! # }
//! ```
//!
//! **From scratch**:
#![cfg_attr(feature = "serve", doc = "[`serve`](fn@crate::serve)")]
#![cfg_attr(not(feature = "serve"), doc = "`serve` (feature `serve`)")]
//! is the accept loop ready-made, with hyper's settings within reach, TLS and
//! a graceful shutdown. Since it owns the connections' futures, it knows
//! sooner that a connection is kept, and that it is not while draining.
//!
//! **TLS**: accept with [`accept_handshake`]; the connection is `New`, and
//! its stream cannot be served until [`Handshake::complete`] has run the
//! handshake. It works with any TLS library.
//!
//! [`accept_handshake`]: InstrumentedListener::accept_handshake
//!
//! # What to do with it
//!
//! - [`Conn::drain`] ends a connection so that its client loses no request:
//!   HTTP/1 answers say `Connection: close`, HTTP/2 clients get a GOAWAY, and
//!   what is under way is served. [`Conn::close`] ends it now; from the Idle
//!   hook it never cuts an answer short.
//! - [`Conn::closed`] waits for the end, of hijacked connections too, and
//!   [`Conn::close_reason`] says why it came.
//! - [`Connections`], from
//!   [`InstrumentedListener::connections`], counts and lists what is there,
//!   and [drains](Connections::drain) all of it for a shutdown, within a time:
//!   in one line under `axum::serve` ([`Drain::run`]).
//! - [`Policies`] ends connections that are slow, idle or old, and limits how many
//!   there are, in any accept loop: see the [guide](guide::policies).
//! - [`Connections::stats`] says what has become of all of them, in numbers,
//!   and the features `metrics` and `opentelemetry` export these.
//! - [`Conn::insert`] and [`Conn::get`] keep values of your own with a
//!   connection.
//! - [`StatusPage`](https://docs.rs/hyper-connstate/latest/hyper_connstate/struct.StatusPage.html)
//!   (feature `status`) shows all of it live, to a browser, curl and programs.
//!
//! # What it can't see, and why
//!
//! - **HTTP/1 without the layer is never idle.** Only the response body knows
//!   when it ends; the layer watches it. (HTTP/2 is followed on the wire, and
//!   needs the layer only for [`Conn::requests`].) The feature `tracing` logs a
//!   warning.
//! - **Make the layer the outermost one**; it can't see what middleware outside
//!   it does: see [`ConnStateLayer`].
//! - **A request body that outlives its response** keeps hyper busy. In axum
//!   with `into_make_service_with_conn_state` the body is watched too.
//!   Elsewhere its bytes are counted: exactly where it has a `Content-Length`.
//!   Of a chunked one the end is taken to be where a read ends in an empty
//!   line; one with trailers that come late, or chunks that end so, may be
//!   reported as idle too early.
//! - **Answers that hyper holds back**: with hyper's `pipeline_flush(true)`
//!   the answers to pipelined requests are flushed together, and they are one
//!   Active and one Idle.
//! - **TLS above the instrumented stream** hides everything: the connection
//!   stays New until it is Closed, and the feature `tracing` logs a warning.
//!   Instrument the stream that comes out of the handshake, as above.
//! - **A graceful shutdown in the middle of a request** may be reported as
//!   Idle and then Closed, as Go does, or as Closed alone.
//!
//! # Where it differs from Go, on purpose
//!
//! - *Active comes with the first byte*, as Go's documentation says; Go's code
//!   waits for a whole request head, so that half a head is `new, closed`
//!   there and `new, active, closed` here.
//! - *A connection that breaks with requests in flight was not idle.* Go
//!   reports Idle just before Closed when an HTTP/2 connection breaks with
//!   open streams. Here Idle always means: served.
//! - *What hyper does differently on the wire stays so*: the states tell what
//!   happened.
//!
//! The repository compares some nine hundred client scripts with Go's server;
//! `tests/it/conformance/differences.txt` lists every one that differs, by rule
//! and with its reason.
//!
//! # Features
//!
//! Turning one on changes nothing else. A feature that integrates a crate which
//! is not at 1.0 stands for one version of it, named in the table, for as long
//! as this crate's own major version lasts. A later version of that crate gets
//! a feature and a module of its own, with the version in its name (`axum_09`),
//! and both can be on at once.
//!
//! | feature | what it adds |
//! |---|---|
//! | `serve` (default) | [`serve`](https://docs.rs/hyper-connstate/latest/hyper_connstate/fn.serve.html), and with it hyper-util |
//! | `tls` | TLS for `serve`, with tokio-rustls 0.26 |
//! | `axum` | the integration with axum 0.8 |
//! | `serde` | `Serialize` for snapshots, statistics and what is in them |
//! | `metrics` | [`metrics`](https://docs.rs/hyper-connstate/latest/hyper_connstate/metrics/): gauges, counters and histograms by the facade `metrics` 0.24, for Prometheus and others |
//! | `opentelemetry` | [`opentelemetry`](https://docs.rs/hyper-connstate/latest/hyper_connstate/opentelemetry/): the same by the API of `opentelemetry` 0.33 |
//! | `status` | [`StatusPage`](https://docs.rs/hyper-connstate/latest/hyper_connstate/struct.StatusPage.html), a page that shows what every connection is doing, live; it turns `serde` on |
//! | `tracing` (default) | `tracing` 0.1 events for what is set up wrong, for hooks that panic, and one at the end of each connection: see [tracing](#tracing) |
//!
//! # Tracing
//!
//! When a connection is really gone there is one event, with the target
//! `hyper_connstate::connection`: DEBUG where it ended in good order, INFO where
//! not. It has the fields `hyper.connection.id`, `network.peer.address`,
//! `network.peer.port`, `network.protocol.version`, `http.connection.state`
//! before the end, `hyper.connection.requests`, `hyper.connection.duration` in
//! seconds, `hyper.connection.close_reason` ([`CloseReason::as_str`]) and
//! `error.type` ([`Conn::error_type`]). There is none when a state changes, and
//! none per request. `serve` gives each connection a span where it is told to,
//! by `Serve::connection_spans`.
//!
//! [hyper]: https://docs.rs/hyper/1

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod address;
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod axum;
mod close_reason;
mod conn;
mod connections;
mod diagnostics;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod guide;
mod hook;
mod io;
mod layer;
mod listener;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub mod metrics;
#[cfg(all(test, loom_models))]
mod models;
#[cfg(feature = "opentelemetry")]
#[cfg_attr(docsrs, doc(cfg(feature = "opentelemetry")))]
pub mod opentelemetry;
mod policies;
#[cfg(feature = "serde")]
mod serialize;
#[cfg(feature = "serve")]
mod serve;
mod state;
#[cfg(feature = "status")]
mod status;
mod sync;
#[cfg(any(feature = "metrics", feature = "opentelemetry"))]
mod telemetry;
#[cfg(feature = "tracing")]
mod trace;
mod tracker;

#[cfg(feature = "serve")]
#[doc(no_inline)]
pub use hyper_util;
#[cfg(feature = "tls")]
#[doc(no_inline)]
pub use tokio_rustls;

pub use address::Address;
pub use close_reason::CloseReason;
pub use conn::{Conn, ConnId, HandshakeOutcome, TlsVersion};
pub use connections::drain::{Drain, Drained};
pub use connections::{
    AcceptErrorCounts, ClosedCounts, ConnSnapshot, ConnStats, Connections, HandshakeCounts,
    LiveCounts, StateCounts, WeakConnections,
};
pub use connections::{ExpiredCounts, RefusedCounts};
pub use hook::Hook;
pub use io::ConnIo;
pub use layer::ConnStateLayer;
pub use layer::body::ConnStateBody;
pub use layer::future::ConnStateFuture;
pub use layer::service::ConnStateService;
pub use listener::handshake::{Handshake, HandshakeError};
pub use listener::{Accept, InstrumentedListener, instrument_listener};
pub use policies::{Limit, Policies, Policy, Refusal};
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use serve::Tls;
#[cfg(feature = "serve")]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
pub use serve::{
    Inspect, MakeConnService, NoTls, Serve, ServeWithShutdown, Transport, kind, serve,
};
pub use state::{ConnState, Protocol};
#[cfg(feature = "status")]
#[cfg_attr(docsrs, doc(cfg(feature = "status")))]
pub use status::{StatusBody, StatusFuture, StatusPage};

/// The README's examples.
#[cfg(all(doctest, feature = "axum", feature = "serve"))]
#[doc = include_str!("../README.md")]
struct Readme;
