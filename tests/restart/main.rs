//! Rolling restarts under load lose no request.
//!
//! 1. A server answers POSTs whose client sends each of them once.
//! 2. A new server begins to accept from the same socket.
//! 3. The old one drains. Some of its connections are new, some have a request
//!    under way, and some are idle, with a request on its way to them.
//! 4. When its drain is over its runtime ends, and with it all that is left,
//!    as with a process.
//! 5. And so on, until all requests are sent. Each must have been answered.
//!
//! `benches/restart` counts the same with other clients and other servers.

#![allow(unreachable_pub)]

// Only a part of it is used here.
#[allow(unused)]
#[path = "../it/support/mod.rs"]
mod support;

mod client;
mod rollout;
mod stack;

use client::Protocol;
use stack::Stack;

#[test]
fn a_loop_of_ones_own() {
    loses_nothing(Stack::Loop);
}

#[test]
fn a_loop_of_ones_own_over_tls() {
    loses_nothing(Stack::LoopTls);
}

#[cfg(feature = "serve")]
#[test]
fn serve() {
    loses_nothing(Stack::Serve);
}

#[cfg(feature = "tls")]
#[test]
fn serve_over_tls() {
    loses_nothing(Stack::ServeTls);
}

#[cfg(all(feature = "serve", feature = "axum"))]
#[test]
fn serve_with_a_router() {
    loses_nothing(Stack::ServeRouter);
}

#[cfg(feature = "axum")]
#[test]
fn axum_serve() {
    loses_nothing(Stack::Axum);
}

fn loses_nothing(stack: Stack) {
    support::start_watchdog();
    let mut failures = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let sent = rollout::run(stack, protocol);
        assert!(sent.answered > 0, "{stack:?}, {protocol:?}: no request was answered");
        let total = sent.answered + sent.failed.len();
        for failure in sent.failed {
            failures.push(format!("{protocol:?}, one of {total}: {failure}"));
        }
    }
    assert!(failures.is_empty(), "{stack:?}: failed requests: {failures:#?}");
}
