//! The clients. Each runs in a process of its own, sends POSTs that it cannot
//! send twice, and prints what became of them.
//!
//! All take the same command line and load a server in the same way: so many
//! workers each wait a random time and then send a request, until there have
//! been enough. The workers share a few clients of their library's, each with
//! its own connections; in HTTP/2 a client has one at a time.

mod dial;
mod hyper;

use std::error::Error;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lexopt::prelude::*;

use crate::choice::Choice;
use crate::protocol::Protocol;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    Go,
    Node,
    Hyper,
}

impl Choice for Client {
    const ALL: &'static [Self] = &[Self::Go, Self::Node, Self::Hyper];

    fn argument(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Node => "node",
            Self::Hyper => "hyper",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Go => "Go",
            Self::Node => "Node",
            Self::Hyper => "hyper",
        }
    }
}

impl Client {
    /// The command that starts it. `None` for Go's where there is no Go.
    pub fn command(self, go: Option<&Path>, load: &Load) -> Option<Command> {
        let mut command = match self {
            Self::Go => {
                let mut command = Command::new(go?);
                command.arg("load");
                command
            }
            Self::Node => {
                let program = Path::new(env!("CARGO_MANIFEST_DIR"));
                let mut command = Command::new("node");
                command.arg(program.join("restart/clients/node.mjs"));
                command
            }
            Self::Hyper => {
                let mut command = Command::new(std::env::current_exe().ok()?);
                command.arg("--load");
                command
            }
        };
        command.args(load.args());
        Some(command)
    }
}

/// The version of Node that is here, or why it can't be used.
pub fn node() -> Result<String, String> {
    let output = Command::new("node").arg("--version").output();
    let output = output.map_err(|error| format!("node: {error}"))?;
    let version = String::from_utf8_lossy(&output.stdout);
    let version = version.trim().strip_prefix('v').ok_or("node tells no version")?;
    Ok(format!("Node {version}"))
}

/// What a client is to send, and where.
#[derive(Clone, Debug)]
pub struct Load {
    pub addr: SocketAddr,
    pub protocol: Protocol,
    /// Speak TLS, and trust this certificate.
    pub certificate: Option<PathBuf>,
    pub requests: usize,
    pub workers: usize,
    /// How many of the library's clients the workers share.
    pub clients: usize,
    /// How long a worker waits at most between an answer and its next request.
    pub think: Duration,
    /// How long to wait for an answer.
    pub timeout: Duration,
}

impl Load {
    fn args(&self) -> Vec<OsString> {
        let options = [
            ("--addr", self.addr.to_string()),
            ("--protocol", self.protocol.argument().to_owned()),
            ("--requests", self.requests.to_string()),
            ("--workers", self.workers.to_string()),
            ("--clients", self.clients.to_string()),
            ("--think", self.think.as_millis().to_string()),
            ("--timeout", self.timeout.as_millis().to_string()),
        ];
        let mut args: Vec<OsString> = Vec::new();
        for (name, value) in options {
            args.extend([name.into(), value.into()]);
        }
        if let Some(certificate) = &self.certificate {
            args.extend(["--certificate".into(), certificate.into()]);
        }
        args
    }

    /// What [`args`](Self::args) has written.
    pub fn read(args: &mut lexopt::Parser) -> Result<Self, Box<dyn Error>> {
        let mut load = Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            protocol: Protocol::Http1,
            certificate: None,
            requests: 0,
            workers: 1,
            clients: 1,
            think: Duration::ZERO,
            timeout: Duration::MAX,
        };
        while let Some(arg) = args.next()? {
            match arg {
                Long("addr") => load.addr = args.value()?.parse()?,
                Long("protocol") => {
                    load.protocol = Protocol::from_argument(&args.value()?.string()?)?;
                }
                Long("certificate") => load.certificate = Some(args.value()?.into()),
                Long("requests") => load.requests = args.value()?.parse()?,
                Long("workers") => load.workers = args.value()?.parse()?,
                Long("clients") => load.clients = args.value()?.parse()?,
                Long("think") => load.think = Duration::from_millis(args.value()?.parse()?),
                Long("timeout") => load.timeout = Duration::from_millis(args.value()?.parse()?),
                _ => return Err(arg.unexpected().into()),
            }
        }
        Ok(load)
    }

    /// Loads a server with hyper's client, and prints what came of it.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        print!("{}", hyper::run(self)?);
        Ok(())
    }
}
