//! Timers that a runtime may not have.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

/// Runs for a time, or not at all where there is no tokio runtime with a timer.
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    pub(crate) fn new(duration: Duration) -> Self {
        if duration.is_zero() || tokio::runtime::Handle::try_current().is_err() {
            return Self(None);
        }
        // There is no other way to ask a runtime whether it has a timer.
        let sleep = catch_unwind(AssertUnwindSafe(|| Box::pin(tokio::time::sleep(duration))));
        Self(sleep.ok())
    }

    /// Whether it takes any time.
    pub(crate) fn runs(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}
