//! What threads share connections with: the standard library's, or loom's in a
//! model, which tries all the ways in which threads may meet.

#[cfg(all(test, loom))]
pub(crate) use loom::sync::{Mutex, atomic};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::{Mutex, atomic};
