//! Many connections at once: clients in a process of their own, because a
//! process may not have as many files open as both sides need, and a hook that
//! checks every report and keeps nothing.

#![allow(dead_code, unreachable_pub)]

pub mod behaviour;
pub mod checker;
pub mod clients;
pub mod process;
