//! The servers to compare. Each runs in a process of its own, and ends as its
//! documentation says that a server should.
//!
//! A server's standard input is the listening socket. It prints a line when it
//! accepts, and shuts down gracefully at SIGTERM.

mod axum;
mod connstate;
mod handler;
mod hyper_util;
mod setup;
mod tls;

pub use setup::Options;

use std::error::Error;
use std::path::Path;
use std::process::Command;

use self::setup::Setup;
use crate::choice::Choice;
use crate::identity::Identity;
use crate::protocol::Transport;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    Go,
    Axum,
    HyperUtil,
    Serve,
    ServeRouter,
    Loop,
    AxumDrain,
}

impl Choice for Server {
    const ALL: &'static [Self] = &[
        Self::Go,
        Self::Axum,
        Self::HyperUtil,
        Self::Serve,
        Self::ServeRouter,
        Self::Loop,
        Self::AxumDrain,
    ];

    fn argument(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Axum => "axum",
            Self::HyperUtil => "hyper-util",
            Self::Serve => "serve",
            Self::ServeRouter => "serve-router",
            Self::Loop => "loop",
            Self::AxumDrain => "axum-drain",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Go => "Go's `Server.Shutdown`",
            Self::Axum => "`axum::serve`, `with_graceful_shutdown`",
            Self::HyperUtil => "hyper-util's `GracefulShutdown`",
            Self::Serve => "hyper-connstate, `serve`",
            Self::ServeRouter => "hyper-connstate, `serve` with a router",
            Self::Loop => "hyper-connstate, a loop of one's own",
            Self::AxumDrain => "hyper-connstate, `axum::serve`",
        }
    }
}

impl Server {
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Serve | Self::ServeRouter | Self::Loop | Self::AxumDrain)
    }

    /// The command that starts it, but for its standard input. `None` for Go's
    /// server where there is no Go.
    pub fn command(
        self,
        go: Option<&Path>,
        transport: Transport,
        identity: &Identity,
    ) -> Option<Command> {
        let mut command = if self == Self::Go {
            let mut command = Command::new(go?);
            command.arg("serve");
            command
        } else {
            let mut command = Command::new(std::env::current_exe().ok()?);
            command.args(["--serve", self.argument()]);
            command
        };
        if transport == Transport::Tls {
            command.arg("--certificate").arg(identity.certificate());
            command.arg("--key").arg(identity.key());
        }
        Some(command)
    }

    /// Serves until SIGTERM, and then until the connections have come to an
    /// end.
    pub fn run(self, options: &Options) -> Result<(), Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let setup = Setup::new(options)?;
            match self {
                Self::Go => return Err("Go's server is not run by Rust".into()),
                Self::Axum => axum::serve(setup).await?,
                Self::HyperUtil => hyper_util::serve(setup).await?,
                Self::Serve => connstate::serve(setup).await?,
                Self::ServeRouter => connstate::serve_router(setup).await?,
                Self::Loop => connstate::accept_loop(setup).await?,
                Self::AxumDrain => connstate::axum(setup).await?,
            }
            Ok(())
        })
    }
}
