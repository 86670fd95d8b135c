//! What happens to the servers while they are loaded.
//!
//! # Rolling restarts
//!
//! Every so many milliseconds a new server is started, and when it is ready
//! the old one gets SIGTERM and shuts down gracefully. Each is a process, and
//! all have the same listening socket, which this process opens and passes on.
//! So there is one queue of connections that wait to be accepted, it is there
//! from before the first server until after the last, and no connection is
//! refused or lost in it, whoever accepts. (With `SO_REUSEPORT` each server
//! would have a queue of its own, and what waits in it when that server closes
//! its socket would be reset by the system. That would be counted as the
//! server's failure, and is none.) So systemd and other supervisors do it.
//!
//! # Rotation
//!
//! One server, whose hook ends each connection at every tenth time that it is
//! idle: what is done to spread clients anew over servers behind a balancer.
//! Or policies do it, after a number of requests or at an age.

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::choice::Choice;
use crate::outcome::Outcome;
use crate::process::{LoadProcess, ServerProcess};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How often a connection is idle, or how many requests it carries, before
/// rotation ends it.
pub const ROTATE: u64 = 10;

/// How old connections become that end for their age.
pub const AGE: Duration = Duration::from_millis(300);

/// A client that takes longer than this for its requests has failed.
const LIMIT: Duration = Duration::from_secs(180);

/// How often processes are looked after.
const TICK: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scenario {
    Restart,
    Rotation,
    MaxRequests,
    MaxAge,
}

impl Choice for Scenario {
    const ALL: &'static [Self] = &[Self::Restart, Self::Rotation, Self::MaxRequests, Self::MaxAge];

    fn argument(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Rotation => "rotation",
            Self::MaxRequests => "max-requests",
            Self::MaxAge => "max-age",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Restart => "Rolling restarts",
            Self::Rotation => "Rotation",
            Self::MaxRequests => "Rotation by `max_requests`",
            Self::MaxAge => "Rotation by `max_age`",
        }
    }
}

/// What came of a client's requests, and how many restarts it saw.
pub struct Played {
    pub outcome: Outcome,
    pub restarts: usize,
}

/// The listening socket of all the servers that a client sees.
pub fn listen() -> Result<TcpListener> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
}

impl Scenario {
    /// Loads the servers that `server` starts with the client that `client`
    /// starts, until that has sent its requests.
    pub fn play(
        self,
        socket: &TcpListener,
        mut server: Command,
        mut client: Command,
        interval: Duration,
    ) -> Result<Played> {
        match self {
            Self::Restart => {}
            Self::Rotation => drop(server.args(["--rotate", &ROTATE.to_string()])),
            Self::MaxRequests => drop(server.args(["--max-requests", &ROTATE.to_string()])),
            Self::MaxAge => drop(server.args(["--max-age", &AGE.as_millis().to_string()])),
        }
        let mut serving = ServerProcess::start(&mut server, socket)?;
        let mut load = LoadProcess::start(&mut client)?;
        let mut ending: Vec<ServerProcess> = Vec::new();
        let (begin, mut restarted, mut restarts) = (Instant::now(), Instant::now(), 0);
        while load.is_running()? {
            std::thread::sleep(TICK);
            if begin.elapsed() > LIMIT {
                return Err(format!("no end after {LIMIT:?}").into());
            }
            ending.retain_mut(ServerProcess::is_running);
            if self == Self::Restart && restarted.elapsed() >= interval {
                let next = ServerProcess::start(&mut server, socket)?;
                restarted = Instant::now();
                restarts += 1;
                let old = std::mem::replace(&mut serving, next);
                old.terminate()?;
                ending.push(old);
            }
            if !serving.is_running() {
                return Err("a server has ended by itself".into());
            }
        }
        Ok(Played { outcome: load.outcome()?, restarts })
    }
}
