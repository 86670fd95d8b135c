//! What every connection of a hyper server is doing.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
#[cfg(feature = "axum")]
pub mod axum;
mod body;
mod conn;
mod diagnostics;
mod exchange;
mod future;
mod handshake;
mod hook;
mod io;
mod layer;
mod listener;
mod service;
mod state;
mod tracker;

pub use address::Address;
pub use body::ConnStateBody;
pub use conn::{Conn, ConnId};
pub use future::ConnStateFuture;
pub use handshake::Handshake;
pub use hook::Hook;
pub use io::ConnIo;
pub use layer::ConnStateLayer;
pub use listener::{Accept, InstrumentedListener, instrument_listener};
pub use service::ConnStateService;
pub use state::{ConnState, Protocol};
