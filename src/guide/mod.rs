//! Guides: which values to choose, and how it is done.
//!
//! - [`policies`]: time-outs, ages and limits, how other servers call them, and
//!   which values to choose.

#[doc = include_str!("policies.md")]
pub mod policies {}
