//! The servers to compare. Each runs in a process of its own.

use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use hyper_connstate::axum::ConnStateServiceExt;
use hyper_connstate::{Accept, Conn, ConnState, ConnStateLayer, instrument_listener};
use tokio::net::TcpListener;
use tower::service_fn;

use crate::support::nodelay::NoDelay;
use crate::support::stacks::{hello, router, spawn};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    Bare,
    /// The same once more, to see what is noise.
    BareAgain,
    Foreign,
    Serve,
    BareAxum,
    Axum,
    Go,
    GoHook,
}

impl Server {
    pub const ALL: [Self; 8] = [
        Self::Bare,
        Self::BareAgain,
        Self::Foreign,
        Self::Serve,
        Self::BareAxum,
        Self::Axum,
        Self::Go,
        Self::GoHook,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper-util",
            Self::BareAgain => "bare hyper-util, again",
            Self::Foreign => "hyper-connstate, a loop of one's own",
            Self::Serve => "hyper-connstate, `serve`",
            Self::BareAxum => "bare `axum::serve`",
            Self::Axum => "hyper-connstate, `axum::serve`",
            Self::Go => "Go's net/http",
            Self::GoHook => "Go's net/http with ConnState",
        }
    }

    /// What it is compared with, if it is not itself what others are compared
    /// with.
    pub fn base(self) -> Option<Self> {
        match self {
            Self::Bare | Self::BareAxum | Self::Go => None,
            Self::BareAgain | Self::Foreign | Self::Serve => Some(Self::Bare),
            Self::Axum => Some(Self::BareAxum),
            Self::GoHook => Some(Self::Go),
        }
    }

    pub fn is_ours(self) -> bool {
        matches!(self, Self::Foreign | Self::Serve | Self::Axum)
    }

    pub fn is_go(self) -> bool {
        matches!(self, Self::Go | Self::GoHook)
    }

    /// What it is called on a command line.
    pub fn argument(self) -> String {
        format!("{self:?}")
    }

    pub fn from_argument(argument: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|server| server.argument() == argument)
    }

    /// Serves until the standard input ends; prints the port, and for each
    /// line that comes in how many events the hook has counted.
    pub fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = NoDelay(TcpListener::bind("127.0.0.1:0").await?);
            println!("{}", listener.0.local_addr()?.port());
            std::thread::spawn(answer_and_exit);
            self.serve(listener).await
        })
    }

    async fn serve(self, mut listener: NoDelay) -> io::Result<()> {
        match self {
            Self::Bare | Self::BareAgain => loop {
                let (io, _) = Accept::accept(&mut listener).await?;
                spawn(io, service_fn(hello));
            },
            Self::Foreign => {
                let mut listener = instrument_listener(listener, count);
                loop {
                    let (io, conn) = listener.accept().await?;
                    spawn(io, ConnStateLayer::for_conn(&conn).layer(service_fn(hello)));
                }
            }
            Self::Serve => {
                let listener = instrument_listener(listener, count);
                let serve = hyper_connstate::serve(listener, service_fn(hello)).http(|http| {
                    // A timer switches on a time-out of hyper's, which the
                    // bare loop does not have.
                    http.http1().header_read_timeout(None);
                });
                serve.await
            }
            Self::BareAxum => axum::serve(listener, router()).await,
            Self::Axum => {
                let listener = instrument_listener(listener, count);
                axum::serve(listener, router().into_make_service_with_conn_state()).await
            }
            Self::Go | Self::GoHook => Err(io::Error::other("Go's servers are not run by Rust")),
        }
    }
}

static EVENTS: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];

fn count(_: &Conn, state: ConnState) {
    EVENTS[state as usize].fetch_add(1, Ordering::Relaxed);
}

fn answer_and_exit() {
    for _ in io::stdin().lock().lines().map_while(Result::ok) {
        let events: u64 = EVENTS.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        println!("{events}");
        if io::stdout().flush().is_err() {
            break;
        }
    }
    std::process::exit(0);
}
