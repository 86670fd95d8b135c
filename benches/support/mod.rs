//! What the benchmarks share: a stream that is its own client, and the stacks
//! to compare.

#![allow(dead_code, unreachable_pub)]

pub mod script;
pub mod stacks;
