//! What came of it: tables.

use std::collections::HashMap;
use std::error::Error;

use crate::choice::Choice;
use crate::clients::Client;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::protocol::{Protocol, Transport};
use crate::scenario::{AGE, ROTATE, Scenario};
use crate::servers::Server;
use crate::support::document::Section;
use crate::support::environment;

/// One cell of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    pub scenario: Scenario,
    pub transport: Transport,
    pub server: Server,
    pub protocol: Protocol,
    pub client: Client,
}

/// The requests of all runs.
pub type Results = HashMap<Cell, Outcome>;

/// Where it was measured, and with what.
pub struct Environment {
    pub machine: String,
    pub go: Option<String>,
    pub node: Option<String>,
}

pub fn report(
    options: &Options,
    environment: &Environment,
    results: &Results,
) -> Result<(), Box<dyn Error>> {
    let mut section = Section::new("restart");
    let Environment { machine, go, node } = environment;
    let others: Vec<_> =
        [go, node].into_iter().flatten().map(|version| format!("{version}, ")).collect();
    section.line(format!("{machine}; {}{}.\n", others.concat(), environment::versions()));
    let Options { requests, ours, runs, workers, .. } = options;
    section.line(format!(
        "Each number is of {} POSTs: {runs} times {requests}, by {workers} workers that wait for up to {} ms before each.",
        runs * requests,
        options.think.as_millis(),
    ));
    if *ours > 1 {
        let requests = requests * ours;
        let all = runs * requests;
        section.line(format!("For this crate's servers it is of {all}: {runs} times {requests}."));
    }
    for scenario in &options.scenarios {
        section.line(format!("\n### {}\n", scenario.name()));
        section.line(match scenario {
            Scenario::Restart => {
                format!("Every {} ms a new server takes over.", options.interval.as_millis())
            }
            Scenario::Rotation => format!(
                "Each connection is ended from the hook at every {ROTATE}th time that it is idle."
            ),
            Scenario::MaxRequests => format!("Each connection carries {ROTATE} requests."),
            Scenario::MaxAge => {
                format!("Each connection is ended when it is {} ms old.", AGE.as_millis())
            }
        });
        for transport in &options.transports {
            table(&mut section, options, results, *scenario, *transport);
        }
    }
    if options.write { section.write() } else { Ok(()) }
}

fn table(
    section: &mut Section,
    options: &Options,
    results: &Results,
    scenario: Scenario,
    transport: Transport,
) {
    let columns: Vec<_> = options
        .protocols
        .iter()
        .flat_map(|protocol| options.clients.iter().map(|client| (*protocol, *client)))
        .collect();
    section.line("");
    let mut head = vec![format!("failed requests, {}", transport.name())];
    head.extend(
        columns.iter().map(|(protocol, client)| format!("{}: {}", protocol.name(), client.name())),
    );
    section.table_head(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for server in &options.servers {
        let cells = columns.iter().map(|&(protocol, client)| {
            let cell = Cell { scenario, transport, server: *server, protocol, client };
            (server, results.get(&cell))
        });
        let cells: Vec<_> = cells.collect();
        if cells.iter().any(|(_, outcome)| outcome.is_some()) {
            let numbers = cells
                .into_iter()
                .map(|(server, outcome)| number(runs_of(options, *server), outcome));
            section.row(&[server.name().to_owned()].into_iter().chain(numbers).collect::<Vec<_>>());
        }
    }
}

/// How many requests all runs have for this server.
fn runs_of(options: &Options, server: Server) -> usize {
    options.runs * options.requests_for(server)
}

/// How many failed, and in brackets how many were not sent; of how many, if it
/// is not what the text says.
fn number(expected: usize, outcome: Option<&Outcome>) -> String {
    let Some(outcome) = outcome else {
        return "–".to_owned();
    };
    let mut number = outcome.failed_requests().to_string();
    if outcome.unsent() > 0 {
        number.push_str(&format!(" ({})", outcome.unsent()));
    }
    if outcome.total() != expected {
        number.push_str(&format!(" of {}", outcome.total()));
    }
    number
}
