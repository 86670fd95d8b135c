//! Requests that fail when servers are restarted, or their connections
//! rotated, under load.
//!
//! ```console
//! $ cargo run --release --manifest-path benches/Cargo.toml --bin restart
//! ```
//!
//! The clients are those of Go, Node and hyper, and send POSTs that they
//! cannot send twice; each that gets no complete answer is counted.
//! `--scenarios restart,rotation,max-requests,max-age`, `--servers`, `--clients go,node,hyper`,
//! `--protocols h1,h2` and `--transports plain,tls` choose some; `--requests`
//! says how many a client sends in each run, `--ours` how many times as many
//! to this crate's servers, and `--runs` how many runs there are. `--workers`, `--think` (ms) and `--interval` (ms) change the load and
//! the restarts. Kinds of failures go to standard error, with a message of
//! each; with `--write` the tables go into BENCHMARKS.md.

mod choice;
mod clients;
mod identity;
mod options;
mod outcome;
mod process;
mod protocol;
mod report;
mod scenario;
mod servers;
#[path = "../support/mod.rs"]
mod support;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use choice::Choice;
use clients::{Client, Load};
use identity::Identity;
use options::{Command, Options};
use protocol::Transport;
use report::{Cell, Environment, Results};
use scenario::{Played, Scenario};
use support::go::Go;
use support::{environment, go};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// A server that takes longer to answer than this has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many workers share one of a library's clients.
const SHARE: usize = 4;

fn main() -> ExitCode {
    let result = options::read().and_then(|command| match command {
        Command::Measure(options) => measure(&options),
        Command::Serve(server, options) => server.run(&options),
        Command::Load(load) => load.run(),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("restart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result {
    let go = go::build("restart").inspect_err(|why| eprintln!("Go is left out: {why}")).ok();
    let node = clients::node().inspect_err(|why| eprintln!("Node is left out: {why}")).ok();
    let bench = Bench { options, go, has_node: node.is_some(), identity: Identity::generate()? };
    let mut results = Results::new();
    for run in 1..=options.runs {
        for cell in cells(options) {
            // One that cannot be measured keeps none of the others from it.
            match bench.play(cell) {
                Ok(None) => {}
                Ok(Some(played)) => {
                    diagnose(run, cell, &played);
                    results.entry(cell).or_default().add(&played.outcome);
                }
                Err(error) => eprintln!("run {run}, {}: {error}", describe(cell)),
            }
        }
    }
    let go = bench.go.map(|go| go.version);
    report::report(options, &Environment { machine: environment::machine(), go, node }, &results)
}

fn cells(options: &Options) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &scenario in &options.scenarios {
        for &transport in &options.transports {
            for &server in &options.servers {
                if scenario != Scenario::Restart && !server.is_ours() {
                    continue;
                }
                for &protocol in &options.protocols {
                    for &client in &options.clients {
                        cells.push(Cell { scenario, transport, server, protocol, client });
                    }
                }
            }
        }
    }
    cells
}

struct Bench<'a> {
    options: &'a Options,
    go: Option<Go>,
    has_node: bool,
    identity: Identity,
}

impl Bench<'_> {
    /// `None` if something is missing that this needs.
    fn play(&self, cell: Cell) -> Result<Option<Played>> {
        let Cell { scenario, transport, server, protocol, client } = cell;
        if client == Client::Node && !self.has_node {
            return Ok(None);
        }
        let socket = scenario::listen()?;
        let load = Load {
            addr: socket.local_addr()?,
            protocol,
            certificate: (transport == Transport::Tls).then(|| self.identity.certificate()),
            requests: self.options.requests_for(server),
            workers: self.options.workers,
            clients: self.options.workers.div_ceil(SHARE),
            think: self.options.think,
            timeout: PATIENCE,
        };
        let go = self.go.as_ref().map(|go| go.program.as_path());
        let commands = server.command(go, transport, &self.identity).zip(client.command(go, &load));
        let Some((server, client)) = commands else {
            return Ok(None);
        };
        scenario.play(&socket, server, client, self.options.interval).map(Some)
    }
}

fn diagnose(run: usize, cell: Cell, played: &Played) {
    let Played { outcome, restarts } = played;
    eprintln!(
        "run {run}, {}: {} of {} failed, {restarts} restarts{}",
        describe(cell),
        outcome.failed_requests(),
        outcome.total(),
        outcome.diagnosis(),
    );
}

fn describe(cell: Cell) -> String {
    let Cell { scenario, transport, server, protocol, client } = cell;
    format!(
        "{}, {}, {} {}, {}",
        scenario.argument(),
        server.argument(),
        protocol.argument(),
        transport.name(),
        client.name(),
    )
}
