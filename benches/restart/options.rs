//! The command line.

use std::error::Error;
use std::time::Duration;

use lexopt::prelude::*;

use crate::choice::Choice;
use crate::clients::{self, Client, Load};
use crate::protocol::{Protocol, Transport};
use crate::scenario::Scenario;
use crate::servers::{self, Server};

/// What this process is to do.
pub enum Command {
    /// To run the others, and to count.
    Measure(Options),
    /// To be a server that is measured.
    Serve(Server, servers::Options),
    /// To be hyper's client.
    Load(Load),
}

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    pub scenarios: Vec<Scenario>,
    pub servers: Vec<Server>,
    pub clients: Vec<Client>,
    pub protocols: Vec<Protocol>,
    pub transports: Vec<Transport>,
    /// For each server and client, in each run.
    pub requests: usize,
    /// So many times as many for this crate's servers: a zero says the more.
    pub ours: usize,
    pub runs: usize,
    pub workers: usize,
    pub think: Duration,
    pub interval: Duration,
    /// Whether the tables go into BENCHMARKS.md.
    pub write: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scenarios: Scenario::ALL.to_vec(),
            servers: Server::ALL.to_vec(),
            clients: Client::ALL.to_vec(),
            protocols: Protocol::ALL.to_vec(),
            transports: Transport::ALL.to_vec(),
            requests: 1000,
            ours: 1,
            runs: 1,
            workers: 16,
            think: Duration::from_millis(8),
            interval: Duration::from_millis(200),
            write: false,
        }
    }
}

impl Options {
    /// How many requests a client sends to this server in each run.
    pub fn requests_for(&self, server: Server) -> usize {
        self.requests * if server.is_ours() { self.ours } else { 1 }
    }
}

/// Reads the command line.
pub fn read() -> Result<Command, Box<dyn Error>> {
    let mut options = Options::default();
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("scenarios") => options.scenarios = some(&mut args)?,
            Long("servers") => options.servers = some(&mut args)?,
            Long("clients") => options.clients = some(&mut args)?,
            Long("protocols") => options.protocols = some(&mut args)?,
            Long("transports") => options.transports = some(&mut args)?,
            Long("requests") => options.requests = number(&mut args, 100_000)?,
            Long("ours") => options.ours = number(&mut args, 100)?,
            Long("runs") => options.runs = number(&mut args, 100)?,
            Long("workers") => options.workers = number(&mut args, 256)?,
            Long("think") => options.think = milliseconds(&mut args)?,
            Long("interval") => options.interval = milliseconds(&mut args)?,
            Long("write") => options.write = true,
            // How it runs itself.
            Long("serve") => {
                let server = Server::from_argument(&args.value()?.string()?)?;
                return Ok(Command::Serve(server, servers::Options::read(&mut args)?));
            }
            Long("load") => return Ok(Command::Load(clients::Load::read(&mut args)?)),
            _ => return Err(arg.unexpected().into()),
        }
    }
    Ok(Command::Measure(options))
}

fn some<T: Choice>(args: &mut lexopt::Parser) -> Result<Vec<T>, Box<dyn Error>> {
    Ok(T::some_from_argument(&args.value()?.string()?)?)
}

fn number(args: &mut lexopt::Parser, max: usize) -> Result<usize, Box<dyn Error>> {
    let number = args.value()?.parse()?;
    if !(1..=max).contains(&number) {
        return Err(format!("{number}: not a number from 1 to {max}").into());
    }
    Ok(number)
}

fn milliseconds(args: &mut lexopt::Parser) -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::from_millis(number(args, 60_000)?.try_into()?))
}
