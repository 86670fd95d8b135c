//! Random clients whose oracle is hyper itself.
//!
//! - [`http1`]: Idle is right exactly if the connection is then kept, that is
//!   if a further request on it is answered.
//! - [`http2`]: a graceful shutdown of hyper's says whether streams are open.
//!
//! Both are seeded. `ORACLE_SEED` says where to begin (a failure prints the
//! seed of its own script), `ORACLE_EXCHANGES` how many exchanges (HTTP/1) or
//! pauses (HTTP/2) there are to be, and `ORACLE_ALL=1` goes on after a fault
//! and prints every distinct one:
//!
//! ```text
//! ORACLE_SEED=17 ORACLE_EXCHANGES=100000 ORACLE_ALL=1 \
//!     cargo test --all-features --test it oracles -- --nocapture
//! ```
//!
//! A script that fails is made smaller before it is printed. What was found
//! that way stays as a test with a name, in [`found`].

#![allow(unreachable_pub)]

mod found;
mod http1;
mod http2;
mod search;
pub mod stack;
mod watch;
pub mod wire;
