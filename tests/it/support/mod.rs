//! What the tests share: servers of every kind with one set of handlers
//! behind them, a hook that records, and a peer that sends what it is told and
//! checks what has been reported whenever it pauses.
//!
//! Tests run in a single-threaded runtime with a paused clock. There a sleep
//! ends when nothing else is left to do, so "the client pauses" is exact: all
//! that the server would do without further input has been done.

pub mod frames;
pub mod handler;
pub mod owners;
pub mod peer;
pub mod raw;
pub mod recorder;
pub mod server;
pub mod tls;

pub use peer::{Answer, Peer};
pub use recorder::Recorder;
pub use server::{Kind, Server};

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::task::Wake;
use std::thread::{Thread, ThreadId};
use std::time::{Duration, Instant};

/// Waits until the runtime has nothing left to do.
pub async fn settle() {
    // What a task sends takes a turn of the runtime to arrive, and an exchange
    // has several of these.
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// How long a test may go on after it has started its last server. Enough for
/// the longest on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(600);

/// A test's thread, and when it is taken to hang.
struct Watched {
    thread: Thread,
    deadline: Instant,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// Ends the process if the test of this thread hangs: with a paused clock no
/// time-out of the test's own could. Called again, it gives the test its time
/// anew; when the thread ends it watches no more.
pub fn start_watchdog() {
    static WATCHDOG: Once = Once::new();
    thread_local! {
        static UNWATCH: Unwatch = Unwatch(std::thread::current().id());
    }
    WATCHDOG.call_once(|| drop(std::thread::spawn(watch)));
    UNWATCH.with(|unwatch| {
        unwatch.now();
        let watched =
            Watched { thread: std::thread::current(), deadline: Instant::now() + PATIENCE };
        WATCHED.lock().unwrap().push(watched);
    });
}

struct Unwatch(ThreadId);

impl Unwatch {
    fn now(&self) {
        WATCHED.lock().unwrap().retain(|watched| watched.thread.id() != self.0);
    }
}

impl Drop for Unwatch {
    fn drop(&mut self) {
        self.now();
    }
}

fn watch() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let watched = WATCHED.lock().unwrap();
        if let Some(hangs) = watched.iter().find(|watched| watched.deadline < Instant::now()) {
            // Not with `eprintln!`, which the test harness would keep to itself.
            let name = hangs.thread.name().unwrap_or("a test");
            let _ = writeln!(std::io::stderr(), "\n{name} hangs");
            std::process::exit(1);
        }
    }
}

/// Keeps handlers' panics that are wanted from being printed, thousands of
/// times.
pub fn quiet_panics() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let message = info.payload().downcast_ref::<&str>();
            if !message.is_some_and(|message| message.ends_with("(wanted)")) {
                print(info);
            }
        }));
    });
}

/// A waker's task, which notes that it was woken.
#[derive(Default)]
pub struct Woken(AtomicBool);

impl Woken {
    pub fn is_woken(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs a scenario against a server of every kind, each with its own peer.
///
/// ```ignore
/// everywhere!(async |mut peer: Peer| { … });
/// everywhere!("h2", async |mut peer: Peer| { … });
/// ```
macro_rules! everywhere {
    ($scenario:expr) => {
        $crate::support::everywhere!("http/1.1", $scenario)
    };
    ($alpn:literal, $scenario:expr) => {
        for kind in $crate::support::Kind::all() {
            let server = $crate::support::Server::start(kind).await;
            let peer = server.connect_alpn($alpn).await;
            ($scenario)(peer).await;
        }
    };
}

pub(crate) use everywhere;
