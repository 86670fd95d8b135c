//! Many connections at once: clients in a process of their own, because a
//! process may not have as many files open as both sides need, and a hook that
//! checks every report and keeps nothing.
//!
//! The memory and the files that they count are the process's, so these tests
//! share one with no others, and run one after the other.

#![allow(unreachable_pub)]

#[allow(unused)]
#[path = "../it/support/mod.rs"]
mod support;

#[cfg(unix)]
mod behaviour;
#[cfg(unix)]
mod chaos;
#[cfg(unix)]
mod checker;
#[cfg(unix)]
mod clients;
#[cfg(unix)]
mod held_idle;
#[cfg(unix)]
mod process;
#[cfg(all(unix, feature = "axum"))]
mod slow_clients;
mod slowloris;

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Waits until no other test of this process runs, and keeps them waiting. A
/// test takes it before it builds its runtime, so that this is gone by then.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
