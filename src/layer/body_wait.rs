//! How long a handler has waited for a request's body.

use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::Conn;
use crate::conn::now;
use crate::sync::{Mutex, MutexGuard};

/// Notes with a connection while a handler waits for its client: from when there
/// is nothing to be read until there is something, whether the handler comes for
/// it or not. A handler that has other things to do keeps its client waiting, and
/// not the other way round.
#[derive(Debug)]
pub(super) struct BodyWait(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    conn: Conn,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    task: Option<Waker>,
    /// The body has told that it is to be polled.
    woken: bool,
    since: Option<Instant>,
    /// How long it had been waited for when it last told, if no byte came of that.
    waited: Duration,
}

impl BodyWait {
    pub(super) fn new(conn: &Conn) -> Self {
        Self(Arc::new(Shared { conn: conn.clone(), state: Mutex::default() }))
    }

    /// Polls the body, in a way that shows when there is more of it.
    pub(super) fn poll<T>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let mut state = self.0.state();
        let previous = state.task.replace(cx.waker().clone());
        state.woken = false;
        drop(state);
        drop(previous);
        let result = poll(&mut Context::from_waker(&Waker::from(self.0.clone())));
        let mut state = self.0.state();
        if result.is_ready() {
            self.0.stop(&mut state);
        } else if !state.woken && state.since.is_none() {
            state.since = Some(now());
            self.0.conn.waits_for_body(state.waited);
        }
        drop(state);
        result
    }

    /// The handler has got some bytes.
    pub(super) fn goes_on(&self) {
        self.0.state().waited = Duration::ZERO;
    }

    /// The handler does not want the rest.
    pub(super) fn stop(&self) {
        self.0.stop(&mut self.0.state());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, state: &mut State) {
        if let Some(since) = state.since.take() {
            state.waited += now().saturating_duration_since(since);
            self.conn.waits_for_body_no_more(state.waited);
        }
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.state();
        state.woken = true;
        self.stop(&mut state);
        let task = state.task.clone();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(all(test, not(loom_models)))]
mod tests {
    use super::*;
    use crate::{Address, ConnIo};

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks of the handler's, and what the connection notes of them.
    #[tokio::test(start_paused = true)]
    async fn a_wait_goes_on_where_it_was_if_no_byte_came() {
        let io = ConnIo::new(tokio::io::empty(), Address::Unknown, Address::Unknown, ());
        let conn = io.conn().clone();
        tokio::time::advance(SECOND).await;
        let waits_for = || Some(now() - conn.noted().body_waits_since?);
        let wait = BodyWait::new(&conn);
        let cx = &Context::from_waker(Waker::noop());
        let mut body = None;
        let mut look = || {
            let poll = |cx: &mut Context<'_>| {
                body = Some(cx.waker().clone());
                Poll::<()>::Pending
            };
            assert!(wait.poll(cx, poll).is_pending());
            body.clone().unwrap()
        };

        let waker = look();
        tokio::time::advance(3 * SECOND).await;
        assert_eq!(waits_for(), Some(3 * SECOND));
        // The handler has looked in between.
        look();
        tokio::time::advance(SECOND).await;
        assert_eq!(waits_for(), Some(4 * SECOND));

        // There is something, and the handler does not come for it at once.
        waker.wake();
        tokio::time::advance(50 * SECOND).await;
        assert_eq!((waits_for(), conn.noted().body_waited), (None, 4 * SECOND));
        // It was nothing.
        look();
        tokio::time::advance(SECOND).await;
        assert_eq!(waits_for(), Some(5 * SECOND));

        look().wake();
        wait.goes_on();
        look();
        assert_eq!(waits_for(), Some(Duration::ZERO));
        wait.stop();
        assert_eq!(waits_for(), None);
    }
}
