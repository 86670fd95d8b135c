//! HTTP/2: a graceful shutdown of hyper's says whether streams are open.
//!
//! A [`Script`](script::Script) says what a client sends, valid or not, and
//! when handlers go on. At each of its pauses hyper is asked: the same script
//! is played to a server without this crate up to that pause, and that one is
//! told to shut down gracefully. It ends at once exactly if no stream is open.

mod bare;
pub mod frame;
pub mod handler;
pub mod run;
pub mod script;

use super::search::{Settings, search};

#[test]
fn active_exactly_if_streams_are_open() {
    search::<script::Script>(&Settings::of_environment(4_000));
}
