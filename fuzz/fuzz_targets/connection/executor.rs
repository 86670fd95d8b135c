//! Polls tasks that were woken, and no others, until none is left: what a
//! client's pause is to a server. No threads, no clock, no order but one.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// More polls than any script can ask for: something wakes itself for ever.
const TOO_MANY: usize = 200_000;

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes tasks from anywhere.
#[derive(Clone, Default)]
pub struct Spawner(Arc<Mutex<Vec<BoxFuture>>>);

impl Spawner {
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.lock().unwrap().push(Box::pin(future));
    }
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn(future);
    }
}

struct Task {
    future: BoxFuture,
    woken: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Default)]
pub struct Executor {
    spawner: Spawner,
    tasks: Vec<Task>,
}

impl Executor {
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Runs until nothing is left to do.
    pub fn run(&mut self) {
        for _ in 0..TOO_MANY {
            for future in std::mem::take(&mut *self.spawner.0.lock().unwrap()) {
                self.tasks.push(Task { future, woken: Arc::new(Flag(AtomicBool::new(true))) });
            }
            let mut idle = true;
            self.tasks.retain_mut(|task| {
                if !task.woken.0.swap(false, Ordering::Relaxed) {
                    return true;
                }
                idle = false;
                let waker = Waker::from(task.woken.clone());
                let poll = || task.future.as_mut().poll(&mut Context::from_waker(&waker));
                // A task that panics is dropped, as in tokio.
                matches!(catch_unwind(AssertUnwindSafe(poll)), Ok(Poll::Pending))
            });
            if idle && self.spawner.0.lock().unwrap().is_empty() {
                return;
            }
        }
        panic!("the tasks do not come to rest");
    }

    /// Drops all tasks, as a runtime does that ends.
    pub fn shut_down(&mut self) {
        while !self.tasks.is_empty() || !self.spawner.0.lock().unwrap().is_empty() {
            self.tasks.clear();
            let spawned = std::mem::take(&mut *self.spawner.0.lock().unwrap());
            drop(spawned);
        }
    }
}
