//! The tests that share a process, one behaviour a file.

#![allow(unreachable_pub)]

mod support;

mod axum;
mod bodies;
mod close;
mod close_reasons;
mod conformance;
mod connections;
mod drain;
mod drops;
mod examples;
mod face;
mod faults;
mod goaway;
mod hello_example;
mod hostile;
mod hostile_io;
mod hostile_tls;
mod http1;
mod http2_agrees;
mod http2_clients;
mod http2_frames;
mod layers;
mod listeners;
mod observe;
mod oracles;
mod panics;
mod policies;
mod serve;
#[cfg(feature = "serve")]
mod services;
mod settings;
#[cfg(feature = "status")]
mod status;
mod tls;
mod upgrades;
