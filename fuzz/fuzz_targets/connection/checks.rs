//! What has to be true of a connection, whatever its client does.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper_connstate::fuzzing::Sequence;
use hyper_connstate::{Conn, ConnState, Hook, Protocol};

use crate::script::HookDoes;
use crate::service::{Handlers, WANTED};
use crate::transport::Wire;

/// What the checks look at.
pub struct Watched {
    pub wire: Wire,
    pub handlers: Arc<Handlers>,
    pub sequence: Mutex<Sequence>,
    /// The program has broken the connection off: what passes through the
    /// stream from then on is for nobody.
    pub broken_off: AtomicBool,
    pub layered: bool,
    pub pipeline_flush: bool,
    pub hook: HookDoes,
}

/// The hook.
#[derive(Clone)]
pub struct Watcher(pub Arc<Watched>);

impl Hook for Watcher {
    fn on_state(&self, conn: &Conn, state: ConnState) {
        assert_eq!(conn.state(), state, "the state inside the hook is the one reported");
        self.0.sequence.lock().unwrap().push(state);
        self.0.check_report(conn, state);
        match (self.0.hook, state) {
            (HookDoes::ClosesWhenIdle, ConnState::Idle)
            | (HookDoes::ClosesWhenActive, ConnState::Active) => {
                self.0.broken_off.store(true, Ordering::Relaxed);
                self.0.wire.state().ending = true;
                conn.close();
            }
            (HookDoes::Panics, _) => panic!("{WANTED}: a hook"),
            _ => {}
        }
    }
}

impl Watched {
    fn check_report(&self, conn: &Conn, state: ConnState) {
        let mut wire = self.wire.state();
        match state {
            ConnState::New => assert_eq!(wire.bytes_read, 0),
            ConnState::Active => (wire.too_early, wire.kept) = (false, false),
            ConnState::Idle if conn.protocol() == Protocol::Http1 => {
                assert!(self.layered, "without a layer nothing tells when an answer is over");
                // (What is not out may be hyper's own answer to a bad request.)
                let ended = self.handlers.ended.load(Ordering::Relaxed);
                assert!(!wire.unflushed || wire.ended_at_flush == ended, "an answer is not out");
                // (A client may have gone by the time that hyper looks again.)
                wire.too_early = wire.shut_down;
                // (Where answers are held back, the refusal of the next request
                // is flushed with them.)
                wire.kept = !wire.unflushed && !self.pipeline_flush;
            }
            ConnState::Idle => {}
            ConnState::Hijacked => {
                assert!(!wire.dropped && self.handlers.upgraded.load(Ordering::Relaxed));
                assert!(!wire.unflushed);
            }
            ConnState::Closed => {
                assert!(wire.dropped, "closed before the socket was");
                drop(wire);
                assert!(conn.close_reason().is_some());
            }
        }
    }

    /// Everything has come to rest: what is true now has been reported.
    pub fn check_pause(&self, conn: &Conn) {
        let sequence = self.sequence.lock().unwrap();
        let state = conn.state();
        assert_eq!(sequence.last(), Some(state));
        let wire = self.wire.state();
        assert!(!wire.too_early);
        if state.is_terminal() {
            return;
        }
        assert!(!wire.dropped, "the end was not reported");
        if self.broken_off.load(Ordering::Relaxed) {
            return;
        }
        match conn.protocol() {
            Protocol::Http1 => {
                drop(wire);
                self.check_http1(state, conn.requests());
            }
            Protocol::Http2 => {
                let expected = if wire.streams.any() { ConnState::Active } else { ConnState::Idle };
                // What an error of the client's ends was not served.
                let not_served = wire.streams.has_failed() && state == ConnState::Active;
                assert!(state == expected || not_served, "{state} instead of {expected}");
            }
            _ => {
                let read = wire.bytes_read > 0 && !wire.looks_like_tls;
                assert_eq!(state, if read { ConnState::Active } else { ConnState::New });
            }
        }
    }

    fn check_http1(&self, state: ConnState, called: u64) {
        let begun = self.handlers.begun.load(Ordering::Relaxed);
        let ended = self.handlers.ended.load(Ordering::Relaxed);
        let wire = self.wire.state();
        assert_ne!(state, ConnState::New);
        if state == ConnState::Idle {
            assert_eq!(begun, ended, "a request is being answered");
            // But for hyper's own, to what was in its buffer already.
            assert!(!wire.unflushed || !wire.kept, "an answer is not out");
        }
        // hyper has nothing to do, has answered all that it was asked, and
        // goes on.
        let served = begun > 0
            && begun == ended
            // hyper may have a handler's future that it has not polled yet.
            && begun as u64 == called
            && !wire.unflushed
            && !wire.waiting
            && !wire.read_since_flush
            // That the chunks have ended was not seen, and is of no interest:
            // the next request has begun.
            && !wire.begun_behind_chunks
            && wire.incoming.is_empty();
        let goes_on = !wire.end_read && !wire.write_failed && !wire.shut_down && !wire.ending;
        let given_away = self.handlers.upgraded.load(Ordering::Relaxed);
        let handed_over = self.handlers.handed_over.load(Ordering::Relaxed);
        // (hyper does not write the answer at all where it holds answers back
        // and has more of what was read.)
        let answered = begun == ended && begun as u64 == called && !self.pipeline_flush;
        if self.layered && handed_over && answered {
            assert!(wire.unflushed || wire.waiting || !goes_on, "Hijacked is late");
        }
        if self.layered && served && goes_on && !given_away {
            assert_eq!(state, ConnState::Idle, "Idle is late");
        }
    }
}
