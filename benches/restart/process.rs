//! The processes of servers and clients. Whatever happens here, none outlives
//! the value that stands for it.

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::outcome::Outcome;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

pub struct ServerProcess(Process);

impl ServerProcess {
    /// Starts a server with a socket that listens, and waits until it accepts.
    pub fn start(command: &mut Command, socket: &TcpListener) -> Result<Self> {
        let socket = OwnedFd::from(socket.try_clone()?);
        let mut process = Process(command.stdin(socket).stdout(Stdio::piped()).spawn()?);
        let stdout = process.0.stdout.take().ok_or("no standard output")?;
        if BufReader::new(stdout).read_line(&mut String::new())? == 0 {
            return Err("a server has not started".into());
        }
        Ok(Self(process))
    }

    /// Tells it to shut down gracefully.
    pub fn terminate(&self) -> Result {
        let id = Pid::from_raw(self.0.0.id().try_into()?);
        Ok(kill(id, Signal::SIGTERM)?)
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.0.0.try_wait(), Ok(None))
    }
}

pub struct LoadProcess(Process);

impl LoadProcess {
    pub fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(Process(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)))
    }

    pub fn is_running(&mut self) -> Result<bool> {
        // What it prints is far less than a pipe holds.
        Ok(self.0.0.try_wait()?.is_none())
    }

    /// What it has printed, once it has ended.
    pub fn outcome(mut self) -> Result<Outcome> {
        let status = self.0.0.wait()?;
        if !status.success() {
            return Err(format!("the client has failed: {status}").into());
        }
        let mut printed = String::new();
        let mut stdout = self.0.0.stdout.take().ok_or("no standard output")?;
        stdout.read_to_string(&mut printed)?;
        Ok(printed.parse()?)
    }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // There is nobody to tell if it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
