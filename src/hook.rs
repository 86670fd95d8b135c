//! The callback that is told of every change of state.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::{CloseReason, Conn, ConnState, HandshakeOutcome, diagnostics};

/// Told whenever a connection changes state; the counterpart of Go's
/// `http.Server.ConnState` field.
///
/// Closures `Fn(&Conn, ConnState)` are hooks, and so are `Arc<H>`, `Option<H>`
/// (`None` does nothing) and tuples of up to six hooks, which are called from
/// left to right.
///
/// # What a hook may rely on
///
/// - The calls for one connection never overlap and come in order: `New`
///   first, then as [`ConnState`] draws it, and exactly one terminal state.
/// - [`conn.state()`](Conn::state) is the state being reported.
/// - Connections do not wait for each other: hooks of different connections
///   run at the same time, so a hook that counts needs atomics.
///
/// # What a hook should not do
///
/// Block. It runs inside the connection's task, in the middle of a read or
/// write. Send to a channel, count, or spawn a task.
///
/// # Panics
///
/// A panic in a hook is caught. The connection goes on, and the next state is
/// reported as usual. The process's panic handler prints the panic, and the
/// feature `tracing` logs an error.
///
/// # Example
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicI64, Ordering};
/// use hyper_connstate::{Conn, ConnState, Hook};
///
/// #[derive(Default)]
/// struct OpenConnections(AtomicI64);
///
/// impl Hook for OpenConnections {
///     fn on_state(&self, _conn: &Conn, state: ConnState) {
///         match state {
///             ConnState::New => self.0.fetch_add(1, Ordering::Relaxed),
///             state if state.is_terminal() => self.0.fetch_sub(1, Ordering::Relaxed),
///             _ => return,
///         };
///     }
/// }
///
/// let open = Arc::new(OpenConnections::default());
/// let log = |conn: &Conn, state: ConnState| println!("{}: {state}", conn.remote_addr());
/// let hook = (open.clone(), log);
/// # fn assert_hook(_: impl Hook) {}
/// # assert_hook(hook);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connection state hook",
    note = "a closure is one if it says the types of its parameters: \
            `|conn: &Conn, state: ConnState| …`, and if it is `Fn`, `Send`, `Sync` and `'static`",
    note = "for no hook at all, pass `()`"
)]
pub trait Hook: Send + Sync + 'static {
    /// `conn` is now in `state`.
    fn on_state(&self, conn: &Conn, state: ConnState);

    /// The stream of `conn` is really gone, for this reason. Called once for
    /// every connection, after its terminal state: for a hijacked one when its
    /// new owner has dropped the stream, for others right after
    /// [`Closed`](ConnState::Closed). By default it does nothing.
    fn on_end(&self, conn: &Conn, reason: CloseReason) {
        let _ = (conn, reason);
    }

    /// A TLS handshake that
    /// [`Handshake::complete`](crate::Handshake::complete) ran is over. Called
    /// once for each, between `New` and the next state. By default it does
    /// nothing.
    fn on_handshake(&self, conn: &Conn, outcome: HandshakeOutcome) {
        let _ = (conn, outcome);
    }
}

impl<F> Hook for F
where
    F: Fn(&Conn, ConnState) + Send + Sync + 'static,
{
    fn on_state(&self, conn: &Conn, state: ConnState) {
        self(conn, state);
    }
}

impl<H: Hook + ?Sized> Hook for Arc<H> {
    fn on_state(&self, conn: &Conn, state: ConnState) {
        (**self).on_state(conn, state);
    }

    fn on_end(&self, conn: &Conn, reason: CloseReason) {
        (**self).on_end(conn, reason);
    }

    fn on_handshake(&self, conn: &Conn, outcome: HandshakeOutcome) {
        (**self).on_handshake(conn, outcome);
    }
}

impl<H: Hook> Hook for Option<H> {
    fn on_state(&self, conn: &Conn, state: ConnState) {
        if let Some(hook) = self {
            hook.on_state(conn, state);
        }
    }

    fn on_end(&self, conn: &Conn, reason: CloseReason) {
        if let Some(hook) = self {
            hook.on_end(conn, reason);
        }
    }

    fn on_handshake(&self, conn: &Conn, outcome: HandshakeOutcome) {
        if let Some(hook) = self {
            hook.on_handshake(conn, outcome);
        }
    }
}

/// The hook that does nothing, for when only the [`Conn`] handles are of
/// interest.
impl Hook for () {
    fn on_state(&self, _conn: &Conn, _state: ConnState) {}
}

macro_rules! tuple_hooks {
    ($($name:ident),+) => {
        impl<$($name: Hook),+> Hook for ($($name,)+) {
            #[allow(non_snake_case)]
            fn on_state(&self, conn: &Conn, state: ConnState) {
                let ($($name,)+) = self;
                // A panic of one hook does not keep the state from the others.
                $(report_state($name, conn, state);)+
            }

            #[allow(non_snake_case)]
            fn on_end(&self, conn: &Conn, reason: CloseReason) {
                let ($($name,)+) = self;
                $(report_end($name, conn, reason);)+
            }

            #[allow(non_snake_case)]
            fn on_handshake(&self, conn: &Conn, outcome: HandshakeOutcome) {
                let ($($name,)+) = self;
                $(report_handshake($name, conn, outcome);)+
            }
        }
    };
}

tuple_hooks!(A);
tuple_hooks!(A, B);
tuple_hooks!(A, B, C);
tuple_hooks!(A, B, C, D);
tuple_hooks!(A, B, C, D, E);
tuple_hooks!(A, B, C, D, E, F);

/// Tells a hook of a state.
pub(crate) fn report_state<H: Hook + ?Sized>(hook: &H, conn: &Conn, state: ConnState) {
    call(|| hook.on_state(conn, state), || diagnostics::hook_panicked(conn, &state));
}

/// Tells a hook that a connection is gone.
pub(crate) fn report_end<H: Hook + ?Sized>(hook: &H, conn: &Conn, reason: CloseReason) {
    call(|| hook.on_end(conn, reason), || diagnostics::hook_panicked(conn, &reason));
}

/// Tells a hook that a handshake is over.
pub(crate) fn report_handshake<H: Hook + ?Sized>(hook: &H, conn: &Conn, outcome: HandshakeOutcome) {
    let panicked = || diagnostics::hook_panicked(conn, &"handshake");
    call(|| hook.on_handshake(conn, outcome), panicked);
}

/// Calls a hook and keeps its panic from going on into the connection's task,
/// where it would take the connection down, or into a drop while another panic
/// unwinds, where it would abort the process.
fn call(hook: impl FnOnce(), panicked: impl FnOnce()) {
    // A hook that panicked is called again for the next state; what it left
    // half done is its own business, as in any server that survives a panic.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(hook)) {
        // A subscriber to `tracing` may panic, and a payload's own drop.
        contain(panicked);
        contain(|| drop(panic));
    }
}

/// Lets no panic through. What it carries is not dropped, since that might
/// panic again, and again.
pub(crate) fn contain(f: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(f)) {
        std::mem::forget(panic);
    }
}
