//! Faults that real reports, attacks and use by new users have found: at least
//! one test for each, as a user would notice it.
//!
//! What random clients have found is in `oracles/found.rs`.

mod accepting;
mod below_tls;
mod drains;
mod hijacked;
mod reasons;
mod serve_bounds;
mod unbreakable;
mod uploads;
