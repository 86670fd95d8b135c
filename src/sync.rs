//! What threads share connections with: the standard library's, or loom's in a
//! model, which tries all the ways in which threads may meet. (`OnceLock` and
//! tokio's `Notify` are the real ones in models too: loom does not look into
//! them.)

#[cfg(all(test, loom_models))]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(all(test, loom_models)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};
