//! What many connections cost: memory per connection, cost per event, and
//! counts and snapshots of them all, at 1, 1,000 and 100,000 connections.
//!
//! ```console
//! $ cargo run --release --manifest-path benches/Cargo.toml --bin scale
//! ```
//!
//! The streams are in memory, so no system's limit on sockets matters.
//! `--connections 1,1000` takes other numbers; with `--write` the tables and
//! the plot go into BENCHMARKS.md.

mod population;
mod support;

use std::alloc::System;
use std::collections::HashMap;
use std::error::Error;
use std::process::{Command, ExitCode};

use lexopt::prelude::*;
use population::Stack;
use population::cases::{COUNTED, Case};
use population::client::Protocol;
use population::report;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::callgrind;
use support::statistics::Median;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// What a case has printed.
pub type Numbers = HashMap<String, Median>;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result {
    let mut write = false;
    let mut connections = vec![1, 1_000, 100_000];
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("write") => write = true,
            Long("connections") => connections = numbers(&args.value()?.string()?)?,
            // How it runs itself: a case, a stack, a protocol, how many.
            Long("case") => {
                let case = Case::from_argument(&args.value()?.string()?);
                let mut number = || args.value()?.parse::<usize>();
                let (stack, protocol) = (Stack::ALL[number()?], Protocol::ALL[number()?]);
                case.ok_or("there is no such case")?.run(stack, protocol, number()?);
                return Ok(());
            }
            _ => return Err(arg.unexpected().into()),
        }
    }
    let valgrind = callgrind::version();
    if let Err(missing) = &valgrind {
        eprintln!("{missing}: instructions are left out");
    }
    let valgrind = valgrind.ok();
    report::report(&measure(&connections, valgrind.is_some())?, valgrind.as_deref(), write)
}

fn numbers(list: &str) -> Result<Vec<usize>> {
    let numbers: Option<Vec<_>> =
        list.split(',').map(|text| text.parse().ok().filter(|number| *number > 0)).collect();
    let mut numbers = numbers.ok_or("--connections: numbers above 0, with commas between")?;
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// What was measured at one number of connections.
pub struct AtScale {
    pub connections: usize,
    pub by_protocol: Vec<ByProtocol>,
    /// Instructions of `counts` and of `snapshot`.
    pub registry_instructions: Option<[f64; 2]>,
}

pub struct ByProtocol {
    pub protocol: Protocol,
    /// Of each stack.
    pub memory: Vec<Numbers>,
    pub time: Numbers,
    /// Instructions that are added to a request, and the events that it
    /// reports.
    pub requests: Option<(f64, f64)>,
}

fn measure(scales: &[usize], count: bool) -> Result<Vec<AtScale>> {
    let mut measured = Vec::new();
    for &connections in scales {
        let mut by_protocol = Vec::new();
        for protocol in Protocol::ALL {
            eprintln!("{connections} connections, {}", protocol.name());
            let memory = |stack| run(Case::Memory, stack, protocol, connections);
            let memory = Stack::ALL.into_iter().map(memory).collect::<Result<_>>()?;
            let time = run(Case::Time, Stack::Foreign, protocol, connections)?;
            let requests = count.then(|| added_to_request(protocol, connections)).transpose()?;
            by_protocol.push(ByProtocol { protocol, memory, time, requests });
        }
        let registry_instructions = count.then(|| registry(connections)).transpose()?;
        measured.push(AtScale { connections, by_protocol, registry_instructions });
    }
    Ok(measured)
}

fn added_to_request(protocol: Protocol, connections: usize) -> Result<(f64, f64)> {
    // Hash tables with random seeds make HTTP/2 differ a little each time, the
    // less the more connections there are.
    let times = if protocol == Protocol::Http2 && connections <= 1_000 { 5 } else { 1 };
    let mut added = Vec::new();
    let mut events = 0.0;
    for _ in 0..times {
        let (bare, _) = run_counted(Case::Requests, Stack::Bare, protocol, connections)?;
        let (ours, numbers) = run_counted(Case::Requests, Stack::Foreign, protocol, connections)?;
        let requests = number(&numbers, "requests")?;
        added.push((ours - bare) / requests);
        events = number(&numbers, "events")? / requests;
    }
    Ok((Median::of(added).value, events))
}

fn registry(connections: usize) -> Result<[f64; 2]> {
    let call = |case| run_counted(case, Stack::Foreign, Protocol::Http1, connections);
    Ok([call(Case::Counts)?.0, call(Case::Snapshot)?.0])
}

pub fn number(numbers: &Numbers, name: &str) -> Result<f64> {
    let number = numbers.get(name).ok_or_else(|| format!("a case has not printed {name}"))?;
    Ok(number.value)
}

fn arguments(case: Case, stack: Stack, protocol: Protocol, connections: usize) -> Vec<String> {
    let numbers = [stack as usize, protocol as usize, connections].map(|it| it.to_string());
    ["--case".to_owned(), case.argument()].into_iter().chain(numbers).collect()
}

/// Runs a case in a process of its own.
fn run(case: Case, stack: Stack, protocol: Protocol, connections: usize) -> Result<Numbers> {
    let args = arguments(case, stack, protocol, connections);
    let output = Command::new(std::env::current_exe()?).args(&args).output()?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the case {args:?} failed ({}):\n{stderr}", output.status).into());
    }
    parse(&String::from_utf8(output.stdout)?)
}

/// The same under callgrind; how many instructions it took, and what it
/// printed.
fn run_counted(
    case: Case,
    stack: Stack,
    protocol: Protocol,
    connections: usize,
) -> Result<(f64, Numbers)> {
    let args = arguments(case, stack, protocol, connections);
    let counted = callgrind::count(&args, Some(COUNTED))?;
    if counted.instructions == 0 {
        return Err(format!("the case {args:?} has counted nothing").into());
    }
    Ok((counted.instructions as f64, parse(&counted.stdout)?))
}

fn parse(stdout: &str) -> Result<Numbers> {
    let mut numbers = Numbers::new();
    for line in stdout.lines() {
        let (name, values) = line.split_once(' ').ok_or("a case has printed no number")?;
        let values = values.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let [value, low, high] = values[..] else {
            return Err("a case has not printed three numbers".into());
        };
        numbers.insert(name.to_owned(), Median { value, low, high });
    }
    Ok(numbers)
}
