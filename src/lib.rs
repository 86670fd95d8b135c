//! Know what every connection of a [hyper] 1.x server is doing, and end
//! connections without losing a request.
//!
//! A hook is told whenever a connection becomes new, active, idle, hijacked (an
//! upgrade took the socket over) or closed. These are the states of
//! `http.Server.ConnState` in Go's standard library, reported when Go reports
//! them. The crate builds on them what servers need: graceful drains,
//! time-outs, limits, metrics, traces and a live status page. It works with
//! plain hyper, hyper-util and axum, over HTTP/1 and HTTP/2, with and without
//! TLS.
//!
//! # Example
//!
//! Wrap the listener, and the service of each connection:
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
//! # Where to go from here
//!
//! - [Adopt it](#how-to-adopt-it) in axum, hyper-util or from scratch.
//! - [What to do with it](#what-to-do-with-it): the types, one line each.
//! - [How do I …](guide::how_do_i): a recipe for each question.
//! - [Which time-outs to set](guide::policies), and what other servers call
//!   them.
//! - [What it can't see](#what-it-cant-see-and-why), and
//!   [where it differs from Go](#where-it-differs-from-go-on-purpose).
//! - [Features](#features) and [logs](#tracing).
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
//! | [`Active`](ConnState::Active) | HTTP/1: the first byte of a request has been read. HTTP/2: the client's preface has been read (Idle follows at once), and whenever the number of open streams goes from zero to one |
//! | [`Idle`](ConnState::Idle) | every request has been answered in full, the bytes are in the socket, and the connection is kept for another request |
//! | [`Hijacked`](ConnState::Hijacked) | the response that hands the stream over is in the socket: a 101 to an upgrade, or a 2xx to CONNECT over HTTP/1. The stream belongs to a new owner now |
//! | [`Closed`](ConnState::Closed) | the connection is over and its socket closed |
//!
//! Always true:
//!
//! - Every connection is `New` first and gets exactly one terminal state last,
//!   whatever happens to it: a reset, a failed TLS handshake, a panic in a
//!   handler or a hook, an aborted task, the end of the runtime.
//! - The reports of one connection come in order and never overlap. Two
//!   connections never wait for each other.
//! - No report is late: every transition is reported before the connection
//!   waits for more input.
//! - Idle means that the response is in the socket. A hook that closes a
//!   connection at Idle does not cut a response short.
//!
//! # How to adopt it
//!
//! **hyper and hyper-util**: wrap the listener in [`instrument_listener`], and
//! each connection's service in [`ConnStateLayer::for_conn`], as above. The
//! service may be hyper's or tower's. A stream that was accepted elsewhere goes
//! into [`ConnIo::new`].
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
//! **From scratch**: use
#![cfg_attr(feature = "serve", doc = "[`serve`](fn@crate::serve),")]
#![cfg_attr(not(feature = "serve"), doc = "`serve` (feature `serve`),")]
//! the accept loop ready-made. It has hyper's settings, TLS and a graceful
//! shutdown. It owns the connections' futures. So it knows sooner that a
//! connection is kept, and that it is not kept while the server drains.
//!
//! **TLS**: accept with [`accept_handshake`]. The connection is `New`, and its
//! stream cannot be served until [`Handshake::complete`] has run the handshake.
//! This works with any TLS library.
//!
//! [`accept_handshake`]: InstrumentedListener::accept_handshake
//!
//! # What to do with it
//!
//! - End one connection: [`Conn::drain`] ends it so that its client loses no
//!   request. HTTP/1 responses say `Connection: close`, HTTP/2 clients get a
//!   GOAWAY, and requests under way are served. [`Conn::close`] ends it now.
//! - Wait for its end, hijacked or not: [`Conn::closed`].
//!   [`Conn::close_reason`] says why it came.
//! - Shut down: [`Connections::drain`] drains all connections of a listener
//!   within a time. [`Drain::run`] does it in one line under `axum::serve`.
//! - Count and list: [`Connections`], from [`InstrumentedListener::connections`].
//! - Set time-outs and limits, in any accept loop: [`Policies`].
//! - Export numbers: [`Connections::stats`], or the features `metrics` and
//!   `opentelemetry`.
//! - Keep values of your own with a connection: [`Conn::insert`] and
//!   [`Conn::get`].
//! - See all of it live:
//!   [`StatusPage`](https://docs.rs/hyper-connstate/latest/hyper_connstate/struct.StatusPage.html)
//!   (feature `status`), for browsers, curl and programs.
//!
//! # What it can't see, and why
//!
//! - **HTTP/1 without the layer is never idle.** Only the response body knows
//!   when it ends; the layer watches it. (HTTP/2 is followed on the wire, and
//!   needs the layer only for [`Conn::requests`].) The feature `tracing` logs a
//!   warning.
//! - **Make the layer the outermost one.** It can't see what middleware outside
//!   it does: see [`ConnStateLayer`].
//! - **A request body that outlives its response** keeps hyper busy. In axum
//!   with `into_make_service_with_conn_state` the body is watched too.
//!   Elsewhere its bytes are counted, exactly if it has a `Content-Length`. A
//!   chunked body is taken to end where a read ends in an empty line. Such a
//!   connection may be reported as idle too early if the body has trailers that
//!   come late, or a chunk that ends in an empty line.
//! - **Responses that hyper holds back**: with hyper's `pipeline_flush(true)`
//!   the responses to pipelined requests are flushed together. They are one
//!   Active and one Idle.
//! - **TLS above the instrumented stream** hides everything. The connection
//!   stays New until it is Closed, and the feature `tracing` logs a warning.
//!   Instrument the stream that comes out of the handshake, as above.
//! - **A graceful shutdown in the middle of a request** may be reported as
//!   Idle and then Closed, as Go does, or as Closed alone.
//!
//! # Where it differs from Go, on purpose
//!
//! - *Active comes with the first byte*, as Go's documentation says. Go's code
//!   waits for a whole request head. So a client that sends half a head and
//!   leaves is `new, closed` there and `new, active, closed` here.
//! - *A connection that breaks with requests in flight was not idle.* Go
//!   reports Idle just before Closed when an HTTP/2 connection breaks with
//!   open streams. Here Idle always means: served.
//! - *Where hyper behaves differently from Go on the wire, the states follow
//!   hyper.*
//!
//! The repository compares some nine hundred client scripts with Go's server.
//! `tests/it/conformance/differences.txt` lists each one that differs, by rule
//! and with its reason.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `serve` (default) | [`serve`](https://docs.rs/hyper-connstate/latest/hyper_connstate/fn.serve.html), and with it hyper-util |
//! | `tls` | TLS for `serve`, with tokio-rustls 0.26 |
//! | `axum` | the integration with axum 0.8 |
//! | `serde` | `Serialize` for snapshots, statistics and what is in them |
//! | `metrics` | [`metrics`](https://docs.rs/hyper-connstate/latest/hyper_connstate/metrics/): gauges, counters and histograms by the facade `metrics` 0.24, for Prometheus and others |
//! | `opentelemetry` | [`opentelemetry`](https://docs.rs/hyper-connstate/latest/hyper_connstate/opentelemetry/): the same by the API of `opentelemetry` 0.33 |
//! | `status` | [`StatusPage`](https://docs.rs/hyper-connstate/latest/hyper_connstate/struct.StatusPage.html), a live page of all connections; turns `serde` on |
//! | `tracing` (default) | `tracing` 0.1 events, listed [below](#tracing) |
//!
//! Turning a feature on changes nothing else. A feature for a crate that is not
//! at 1.0 stands for one version of that crate, named in the table, as long as
//! this crate's major version lasts. A later version gets a feature and a module
//! of its own, with the version in its name (`axum_09`). Both can be on at once.
//!
//! # Tracing
//!
//! With the feature `tracing` (on by default) these events are logged. There is
//! none when a state changes, and none per request.
//!
//! **When a connection is gone**, one event with the target
//! `hyper_connstate::connection` and the message `connection closed`. It is
//! DEBUG if the connection ended in good order, else INFO:
//!
//! | field | value |
//! |---|---|
//! | `hyper.connection.id` | [`Conn::id`] |
//! | `network.peer.address`, `network.peer.port` | [`Conn::remote_addr`]; absent if unknown, and no port for a Unix socket |
//! | `network.protocol.version` | `1.1` or `2`; absent if unknown |
//! | `http.connection.state` | the state before the end |
//! | `hyper.connection.requests` | [`Conn::requests`] |
//! | `hyper.connection.duration` | seconds since it was accepted |
//! | `hyper.connection.close_reason` | [`CloseReason::as_str`] |
//! | `error.type` | [`Conn::error_type`]; absent if it ended in good order |
//!
//! **When something is wrong**, with targets that begin with
//! `hyper_connstate::diagnostics`. Those of one connection have its id in `conn`
//! and its client in `remote_addr`:
//!
//! | level | when | what to do |
//! |---|---|---|
//! | ERROR | a hook, `on_expiry` or `on_refusal` panicked (`report`: what it was told) | mend the hook; the connection goes on |
//! | ERROR | accepting failed and is retried after `pause` (`serve` and `axum::serve`) | if file descriptors have run out, raise the limit, or set [`Policies::max_connections`] below it |
//! | ERROR | a make-service failed (`serve`); the connection is closed | mend the make-service |
//! | WARN, once per process | an HTTP/1 request was answered without the layer | wrap the service, as the message says |
//! | WARN, once per process | the instrumented stream carries TLS | instrument what comes out of the handshake |
//! | WARN, once per process | [`ConnStateLayer::new`] found no connection in a request | serve with connect info, as the message says |
//! | DEBUG | a policy has run out for a connection (`policy`), or a limit refused it (`limit`) | nothing |
//! | DEBUG | a TLS handshake did not complete, or hyper ended a connection with an error (`error`; `serve`) | nothing, unless there are many |
//!
//! `Serve::connection_spans` runs each connection in a span of its own.
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
#[cfg(all(doctest, feature = "axum", feature = "serve", feature = "status"))]
#[doc = include_str!("../README.md")]
struct Readme;
