//! Errors of accepting: which of them end a server, and how often it asks.
#![cfg(any(feature = "serve", feature = "axum"))]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_connstate::{Accept, Address, InstrumentedListener, instrument_listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::{Recorder, settle, start_watchdog};

/// Has an error ready for each time that it is asked, in between connections.
struct Failing {
    error: Box<dyn Fn() -> io::Error + Send + Sync>,
    asked: Arc<AtomicUsize>,
    /// How many errors come before each connection.
    between: usize,
    incoming: mpsc::Receiver<DuplexStream>,
}

/// Whoever asks more often than that would do so for ever: with a paused clock
/// the test would, too.
const MOST: usize = 20_000;

impl Accept for Failing {
    type Io = DuplexStream;
    type Addr = Address;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Address)> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if asked >= MOST {
            std::future::pending::<()>().await;
        }
        if asked % (self.between + 1) < self.between {
            return Err((self.error)());
        }
        let stream = self.incoming.recv().await;
        Ok((stream.ok_or(io::ErrorKind::NotConnected)?, Address::Unknown))
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Unknown)
    }
}

struct Server {
    task: JoinHandle<()>,
    asked: Arc<AtomicUsize>,
    connect: mpsc::Sender<DuplexStream>,
}

type Run = fn(InstrumentedListener<Failing>) -> JoinHandle<()>;

/// The accept loops that are this crate's.
fn loops() -> Vec<Run> {
    vec![
        #[cfg(feature = "serve")]
        |listener| {
            let service = tower::service_fn(crate::support::server::handle_incoming);
            let serve = hyper_connstate::serve(listener, service);
            tokio::spawn(async { drop(serve.await) })
        },
        #[cfg(feature = "axum")]
        |listener| {
            use hyper_connstate::axum::ConnStateServiceExt;

            let service = tower::service_fn(crate::support::handler::handle);
            let app = axum::Router::new().fallback_service(service);
            let serve = axum::serve(listener, app.into_make_service_with_conn_state());
            tokio::spawn(async { drop(serve.await) })
        },
    ]
}

impl Server {
    fn start(
        run: Run,
        between: usize,
        error: impl Fn() -> io::Error + Send + Sync + 'static,
    ) -> Self {
        start_watchdog();
        let (connect, incoming) = mpsc::channel(8);
        let asked = Arc::default();
        let listener =
            Failing { error: Box::new(error), asked: Arc::clone(&asked), between, incoming };
        let task = run(instrument_listener(listener, Recorder::default()));
        Self { task, asked, connect }
    }

    async fn serves(&self) {
        let (mut client, stream) = tokio::io::duplex(1024);
        self.connect.send(stream).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
}

/// A firewall's word for one connection: the next is fine.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_connection_that_a_firewall_forbids() {
    for run in loops() {
        let server = Server::start(run, 1, || io::Error::from_raw_os_error(libc_eperm()));
        for _ in 0..50 {
            let start = tokio::time::Instant::now();
            server.serves().await;
            assert_eq!(start.elapsed(), Duration::ZERO, "nobody else has to wait for it");
        }
        assert!(!server.task.is_finished());
    }
}

#[cfg(unix)]
fn libc_eperm() -> i32 {
    // The same on every Unix.
    1
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_firewall_that_forbids_all() {
    for run in loops() {
        let error = || io::Error::from_raw_os_error(libc_eperm());
        let server = Server::start(run, usize::MAX - 1, error);
        is_asked_seldom(&server).await;
    }
}

/// A listener that always says that a connection was aborted, as a listener of
/// one's own may: it is asked again, but not all the time.
#[tokio::test(start_paused = true)]
async fn a_listener_that_always_says_the_same() {
    for run in loops() {
        for kind in [
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::Interrupted,
            io::ErrorKind::OutOfMemory,
        ] {
            let server = Server::start(run, usize::MAX - 1, move || kind.into());
            is_asked_seldom(&server).await;
        }
    }
}

async fn is_asked_seldom(server: &Server) {
    tokio::time::sleep(Duration::from_millis(500)).await;
    let asked = server.asked.load(Ordering::Relaxed);
    assert!((2..=50).contains(&asked), "{asked}");
    // Ever more seldom, but it goes on.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let more = server.asked.load(Ordering::Relaxed) - asked;
    assert!((30..=80).contains(&more), "{more}");
    assert!(!server.task.is_finished());
}

/// A burst of clients that have gone before they were accepted costs the
/// others no time.
#[tokio::test(start_paused = true)]
async fn a_burst_of_aborted_connections() {
    for run in loops() {
        let server = Server::start(run, 10, || io::ErrorKind::ConnectionAborted.into());
        for _ in 0..50 {
            let start = tokio::time::Instant::now();
            server.serves().await;
            assert_eq!(start.elapsed(), Duration::ZERO);
        }
        settle().await;
        assert!(!server.task.is_finished());
    }
}
