//! What the tests share: servers of every kind with one set of handlers
//! behind them, a hook that records, and a peer that sends what it is told and
//! checks what has been reported whenever it pauses.
//!
//! Tests run in a single-threaded runtime with a paused clock. There a sleep
//! ends when nothing else is left to do, so "the client pauses" is exact: all
//! that the server would do without further input has been done.

#![allow(dead_code, unreachable_pub)]

pub mod frames;
pub mod handler;
pub mod peer;
pub mod raw;
pub mod recorder;
pub mod server;
pub mod tls;

pub use peer::Peer;
pub use recorder::Recorder;
pub use server::{Kind, Server};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::task::Wake;
use std::time::Duration;

/// Waits until the runtime has nothing left to do.
pub async fn settle() {
    // What a task sends takes a turn of the runtime to arrive, and an exchange
    // has several of these.
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Ends the process if a test hangs: with a paused clock no time-out of the
/// test's own could.
pub fn start_watchdog() {
    static WATCHDOG: Once = Once::new();
    WATCHDOG.call_once(|| {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(300));
            eprintln!("a test hangs");
            std::process::exit(1);
        });
    });
}

/// Keeps handlers' panics that are wanted from being printed, thousands of
/// times.
pub fn quiet_panics() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.to_string().contains("(wanted)") {
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
#[macro_export]
macro_rules! everywhere {
    ($scenario:expr) => {
        $crate::everywhere!("http/1.1", $scenario)
    };
    ($alpn:literal, $scenario:expr) => {
        for kind in $crate::support::Kind::all() {
            let server = $crate::support::Server::start(kind).await;
            let peer = server.connect_alpn($alpn).await;
            ($scenario)(peer).await;
        }
    };
}
