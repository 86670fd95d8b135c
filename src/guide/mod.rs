//! Guides: how it is done, and which values to choose.
//!
//! - [`how_do_i`]: short answers, each with code.
//! - [`policies`]: time-outs, ages and limits, how other servers call them, and
//!   which values to choose.

#[doc = include_str!("how_do_i.md")]
pub mod how_do_i {}

#[doc = include_str!("policies.md")]
pub mod policies {}
