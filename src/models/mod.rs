//! Models of what threads do to one connection at the same time, run under
//! [loom](https://docs.rs/loom), which tries every way in which they may meet.
//!
//! ```console
//! $ RUSTFLAGS="--cfg loom_models" cargo test --release --lib --all-features models
//! ```
//!
//! The connection is the real one, with its stream; the task that would serve
//! it is played by hand, so that what wakes it can be seen. Each model ends
//! when that task would sleep for good: what is not reported by then would
//! never be.

mod ends;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::model;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::conn::{ExchangeId, RequestLength};
use crate::tracker::{Request, Response};
use crate::{Address, CloseReason, Conn, ConnIo, ConnState, Connections, Hook};

const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const PLAIN: Request = Request { has_body: false, may_persist: true };
const LENGTH: RequestLength = RequestLength { head: GET.len() as u64, spaces: 2, body: Some(0) };
const KEPT: Response = Response { may_persist: true, upgraded: false };
const SWITCHED: Response = Response { may_persist: true, upgraded: true };

// === what is played ===

/// A client that says something when it is told to, and takes everything.
#[derive(Default)]
struct Client {
    says: &'static [u8],
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.says.is_empty() {
            return Poll::Pending;
        }
        buf.put_slice(std::mem::take(&mut self.says));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Notes what is reported.
#[derive(Default)]
struct Log {
    /// Counts calls in a way that loses some unless each call comes after the
    /// one before and sees all that it did.
    calls: AtomicUsize,
    states: std::sync::Mutex<Vec<ConnState>>,
    closes_at: std::sync::Mutex<Option<ConnState>>,
}

impl Hook for Arc<Log> {
    fn on_state(&self, conn: &Conn, state: ConnState) {
        let calls = self.calls.load(Ordering::Relaxed);
        assert_eq!(conn.state(), state);
        self.states.lock().unwrap().push(state);
        if *self.closes_at.lock().unwrap() == Some(state) {
            conn.close();
        }
        self.calls.store(calls + 1, Ordering::Relaxed);
    }
}

impl Log {
    fn states(&self) -> Vec<ConnState> {
        self.states.lock().unwrap().clone()
    }

    /// Checks that the connection has come to one end, in a legal way.
    fn check(&self, conn: &Conn) {
        let states = self.states();
        assert_eq!(states[0], ConnState::New);
        assert_eq!(states.len(), self.calls.load(Ordering::Relaxed), "{states:?} at once");
        for pair in states.windows(2) {
            assert!(pair[0].may_become(pair[1]), "{states:?}");
        }
        assert!(states.last().unwrap().is_terminal(), "{states:?}");
        assert_eq!(conn.state(), *states.last().unwrap());
        assert!(conn.close_reason().is_some());
        let mut context = Context::from_waker(Waker::noop());
        assert!(std::pin::pin!(conn.closed()).poll(&mut context).is_ready());
    }
}

/// Whether a task has been woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// The task that serves a connection.
struct Task {
    io: Option<ConnIo<Client>>,
    woken: Arc<Woken>,
}

impl Task {
    fn new(log: &Arc<Log>) -> (Self, Conn) {
        let io = ConnIo::new(Client::default(), Address::Unknown, Address::Unknown, log.clone());
        let conn = io.conn().clone();
        let mut task = Self { io: Some(io), woken: Arc::new(Woken(AtomicBool::new(false))) };
        assert!(task.read().is_pending());
        (task, conn)
    }

    fn io<R>(&mut self, f: impl FnOnce(Pin<&mut ConnIo<Client>>, &mut Context<'_>) -> R) -> R {
        let waker = Waker::from(self.woken.clone());
        f(Pin::new(self.io.as_mut().unwrap()), &mut Context::from_waker(&waker))
    }

    fn read(&mut self) -> Poll<io::Result<()>> {
        self.io(|io, cx| io.poll_read(cx, &mut ReadBuf::new(&mut [0; 64])))
    }

    fn client_says(&mut self, bytes: &'static [u8]) {
        self.io.as_mut().unwrap().get_mut().says = bytes;
    }

    fn answer(&mut self) {
        let _ = self.io(|io, cx| io.poll_write(cx, ANSWER));
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.io(|io, cx| io.poll_flush(cx)) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// The task has become another one: it is polled with another waker, and
    /// whoever wakes the old one wakes nobody.
    fn moves(&mut self) {
        self.woken = Arc::new(Woken(AtomicBool::new(false)));
    }

    fn take_woken(&self) -> bool {
        self.woken.0.swap(false, Ordering::Acquire)
    }

    /// Polls, as long as something wakes, as hyper would. Returns whether the
    /// stream has ended.
    fn run(&mut self, mut ended: bool) -> bool {
        while self.take_woken() && !ended {
            let _ = self.flush();
            ended = self.read().is_ready();
        }
        ended
    }
}

/// What a connection has been through before threads meet.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Until {
    New,
    Head,
    Serving,
    PartFlushed,
    Answered,
    Flushed,
    Idle,
    HandingOver,
    Hijacked,
}

const EVERY: [Until; 9] = [
    Until::New,
    Until::Head,
    Until::Serving,
    Until::PartFlushed,
    Until::Answered,
    Until::Flushed,
    Until::Idle,
    Until::HandingOver,
    Until::Hijacked,
];

fn prepare(log: &Arc<Log>, until: Until) -> (Task, Conn, Option<ExchangeId>) {
    let (mut task, conn) = Task::new(log);
    let mut exchange = None;
    if until > Until::New {
        task.client_says(GET);
        assert!(task.read().is_ready());
    }
    if until > Until::Head {
        exchange = conn.request_began(PLAIN, LENGTH);
        assert!(task.read().is_pending());
    }
    if until > Until::Serving {
        task.answer();
    }
    if until == Until::PartFlushed {
        let _ = task.flush();
    }
    if until > Until::PartFlushed {
        let response = if until >= Until::HandingOver { SWITCHED } else { KEPT };
        ended(&conn, exchange, response);
    }
    if until > Until::Answered {
        let _ = task.flush();
    }
    if until == Until::Idle || until == Until::Hijacked {
        task.take_woken();
        assert!(task.read().is_pending());
    }
    (task, conn, exchange)
}

/// A response ends, if its request has begun.
fn ended(conn: &Conn, exchange: Option<ExchangeId>, response: Response) {
    if let Some(exchange) = exchange {
        conn.response_ended(exchange, response);
    }
}

/// What the connection's task does next.
fn next_step(task: &mut Task, conn: &Conn, exchange: Option<ExchangeId>, until: Until) -> bool {
    match until {
        Until::New | Until::Idle => {
            task.client_says(GET);
            let _ = task.read();
            // A task that has read something does not sleep on that.
            task.read().is_ready()
        }
        Until::Head => {
            conn.request_began(PLAIN, LENGTH);
            task.read().is_ready()
        }
        Until::Serving | Until::PartFlushed => {
            ended(conn, exchange, KEPT);
            task.answer();
            let _ = task.flush();
            task.read().is_ready()
        }
        Until::Answered => {
            let _ = task.flush();
            task.read().is_ready()
        }
        Until::Flushed | Until::HandingOver | Until::Hijacked => task.read().is_ready(),
    }
}

// === the models ===

/// A handler's response body ends on a thread of its own, while the
/// connection's task looks whether there is anything to flush. Nobody sleeps
/// over a connection that is idle and not reported.
#[test]
fn a_response_ends_on_another_thread() {
    for moves in [false, true] {
        model(move || {
            let log = Arc::new(Log::default());
            let (mut task, conn, exchange) = prepare(&log, Until::PartFlushed);
            let other = conn.clone();
            let handler = thread::spawn(move || ended(&other, exchange, KEPT));
            if moves {
                task.moves();
            }
            let _ = task.flush();
            assert!(task.read().is_pending());
            handler.join().unwrap();

            task.run(false);
            assert_eq!(conn.state(), ConnState::Idle);
            task.io = None;
            log.check(&conn);
        });
    }
}

/// `close()` comes while the task takes the next step, from every stage. The
/// task finds that out, in this poll or because it is woken.
#[test]
fn close_meets_every_transition() {
    for until in EVERY {
        for moves in [false, true] {
            model(move || {
                let log = Arc::new(Log::default());
                let (mut task, conn, exchange) = prepare(&log, until);
                task.take_woken();
                let other = conn.clone();
                let closer = thread::spawn(move || other.close());
                if moves {
                    task.moves();
                }
                let ended = next_step(&mut task, &conn, exchange, until);
                closer.join().unwrap();

                assert!(task.run(ended), "{until:?}: asleep, and not closed");
                task.io = None;
                log.check(&conn);
                assert_eq!(conn.close_reason(), Some(CloseReason::ClosedByProgram));
            });
        }
    }
}

/// hyper may only flush before it waits for a handler. A task that has become
/// another one is found all the same.
#[test]
fn close_meets_a_task_that_only_flushes() {
    for moves in [false, true] {
        model(move || {
            let log = Arc::new(Log::default());
            let (mut task, conn, _) = prepare(&log, Until::Serving);
            let _ = task.flush();
            task.take_woken();
            let other = conn.clone();
            let closer = thread::spawn(move || other.close());
            if moves {
                task.moves();
            }
            let ended = task.flush().is_err();
            closer.join().unwrap();

            assert!(task.run(ended), "asleep, and not closed");
            task.io = None;
            log.check(&conn);
        });
    }
}

/// Two threads cause reports at once: a layer that is called on a thread of
/// its own for the next of pipelined requests, and the connection's task. The
/// hook is not called twice at a time, and hears all of it in order.
#[test]
fn reports_come_one_after_the_other() {
    for until in [Until::Answered, Until::Flushed, Until::Idle] {
        for closes_at in [None, Some(ConnState::Active), Some(ConnState::Idle)] {
            model(move || {
                let log = Arc::new(Log::default());
                let (mut task, conn, _) = prepare(&log, until);
                *log.closes_at.lock().unwrap() = closes_at;
                let other = conn.clone();
                let layer = thread::spawn(move || other.request_began(PLAIN, LENGTH));
                let _ = task.flush();
                let _ = task.read();
                task.io = None;
                layer.join().unwrap();
                log.check(&conn);
            });
        }
    }
}

/// The stream is dropped in every stage, while another thread closes, drains
/// or ends the response. There is one end, and it is told.
#[test]
fn the_stream_is_dropped_in_every_stage() {
    for until in EVERY {
        for what in 0..3 {
            model(move || {
                let log = Arc::new(Log::default());
                let (mut task, conn, exchange) = prepare(&log, until);
                let other = conn.clone();
                let thread = thread::spawn(move || match what {
                    0 => other.close(),
                    1 => other.drain(),
                    _ => ended(&other, exchange, KEPT),
                });
                task.io = None;
                thread.join().unwrap();
                log.check(&conn);
            });
        }
    }
}

/// A connection is accepted while its registry begins to drain: one of the two
/// sees the other.
#[test]
fn a_connection_comes_while_a_drain_begins() {
    model(|| {
        let log = Arc::new(Log::default());
        let connections = Connections::default();
        let (mut task, conn) = Task::new(&log);
        let drained = connections.clone();
        let drain = thread::spawn(move || {
            drained.start_draining();
            drained.iter().for_each(|conn| conn.drain());
        });
        assert!(connections.insert(&conn));
        drain.join().unwrap();

        assert!(conn.is_draining());
        assert!(task.run(false));
        task.io = None;
        assert_eq!(conn.close_reason(), Some(CloseReason::ShutdownDrained));
        assert!(connections.is_empty());
    });
}

/// A connection ends while it is put into a registry: it is not left there.
#[test]
fn a_connection_ends_while_it_is_registered() {
    model(|| {
        let log = Arc::new(Log::default());
        let connections = Connections::default();
        let (mut task, conn) = Task::new(&log);
        let other = conn.clone();
        let registry = connections.clone();
        let registers = thread::spawn(move || registry.insert(&other));
        task.io = None;
        registers.join().unwrap();
        assert!(connections.is_empty());
        assert_eq!(connections.get(conn.id()), None);
    });
}
