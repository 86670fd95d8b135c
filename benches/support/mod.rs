//! What the benchmarks share.

#![allow(dead_code, unreachable_pub)]

pub mod callgrind;
pub mod document;
pub mod environment;
pub mod frames;
pub mod go;
pub mod listeners;
pub mod nodelay;
pub mod noop;
pub mod plot;
pub mod script;
pub mod shell;
pub mod stacks;
pub mod statistics;
