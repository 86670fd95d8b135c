//! Seeing that a socket takes something of what a stream above it holds.
//!
//! A TLS stream that waits for its socket says nothing of how much of its bytes
//! are out. But it is woken for writing when the socket has room again, and for
//! nothing else: so a waker of its own tells.

use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Wakes the task of a stream, and remembers that it did.
#[derive(Clone)]
pub(super) struct WriteWaker(Arc<Shared>);

struct Shared {
    woken: AtomicBool,
    task: Mutex<Waker>,
}

impl WriteWaker {
    pub(super) fn new(cx: &Context<'_>) -> Self {
        let (woken, task) = (AtomicBool::new(false), Mutex::new(cx.waker().clone()));
        Self(Arc::new(Shared { woken, task }))
    }

    /// Polls the stream for writing. Returns whether it had been woken for that.
    pub(super) fn poll<T>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> (Poll<T>, bool) {
        let woken = self.0.woken.swap(false, Ordering::AcqRel);
        let mut task = self.0.task.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = std::mem::replace(&mut *task, cx.waker().clone());
        drop(task);
        drop(previous);
        let waker = Waker::from(self.0.clone());
        (poll(&mut Context::from_waker(&waker)), woken)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        task.wake();
    }
}
