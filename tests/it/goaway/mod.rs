//! How connections come to their end: what a client is told, frame by frame,
//! and that it loses nothing by it.
//!
//! The streams are in memory and the clock is paused, so that a server's every
//! split can be held up for as long as it takes; or they are real ones, read by
//! real clients.

#![allow(unreachable_pub)]

mod clients;
mod http1;
mod limits;
mod peer;
mod pipelining;
mod policies;
mod races;
mod splits;
mod stack;
mod stream;
mod tools;
