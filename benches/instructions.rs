//! Instructions and allocations per request, counted and not timed: the same
//! numbers whatever else the machine is doing.
//!
//! ```console
//! $ cargo run --release --manifest-path benches/Cargo.toml --bin instructions
//! ```
//!
//! It runs itself under `valgrind --tool=callgrind` (Debian: `valgrind`), each
//! case with two numbers of requests. Their difference has neither the start
//! of the process nor that of the connection in it. With `--write` the tables
//! and the plot go into BENCHMARKS.md.

mod support;

use std::alloc::System;
use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;

use lexopt::prelude::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::document::{Section, plot_path, signed};
use support::plot::bars::{self, Bar, Panel};
use support::script::{Script, Workload};
use support::stacks::Stack;
use support::statistics::Median;
use support::{callgrind, environment};

const FEW: usize = 320;
const MANY: usize = 1_600;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Box<dyn Error>> {
    let mut write = false;
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("write") => write = true,
            // How it runs itself: a workload, a stack, a number of requests.
            Long("case") => {
                let mut number = || args.value()?.parse::<usize>();
                let (workload, stack) = (Workload::ALL[number()?], Stack::ALL[number()?]);
                run(workload, stack, number()?);
                return Ok(());
            }
            _ => return Err(arg.unexpected().into()),
        }
    }
    match callgrind::version() {
        Ok(valgrind) => report(&valgrind, write),
        Err(missing) => {
            println!("{missing}: nothing is counted");
            Ok(())
        }
    }
}

/// One case, in a process of its own.
fn run(workload: Workload, stack: Stack, requests: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(stack.run(Script::new(workload, requests)));
    let stats = ALLOCATOR.stats();
    println!("allocations {}", stats.allocations + stats.reallocations);
}

#[derive(Clone, Copy, Debug)]
struct Count {
    instructions: f64,
    allocations: f64,
}

type Counts = HashMap<Stack, Count>;

/// What a stack adds to what it is compared with.
fn added(counts: &Counts, stack: Stack) -> Count {
    let (count, base) = (counts[&stack], counts[&stack.base()]);
    Count {
        instructions: count.instructions - base.instructions,
        allocations: count.allocations - base.allocations,
    }
}

/// How many instructions the project wants to add to a request at most.
fn target(workload: Workload, stack: Stack) -> Option<f64> {
    match (workload, stack) {
        (Workload::Get, Stack::Foreign | Stack::Serve) => Some(450.0),
        (Workload::Post, Stack::Foreign) => Some(1_800.0),
        (Workload::Post, Stack::Serve) => Some(700.0),
        (Workload::Http2(16), Stack::Foreign | Stack::Serve) => Some(600.0),
        (Workload::Http2(1), Stack::Foreign | Stack::Serve) => Some(800.0),
        _ => None,
    }
}

fn report(valgrind: &str, write: bool) -> Result<(), Box<dyn Error>> {
    let mut counted = Vec::new();
    for (w, workload) in Workload::ALL.into_iter().enumerate() {
        eprintln!("{}", workload.name());
        let mut counts = Counts::new();
        for (s, stack) in Stack::ALL.into_iter().enumerate() {
            // Hash tables with random seeds make HTTP/2 differ a little each time.
            let times = if let Workload::Http2(_) = workload { 3 } else { 1 };
            let measured = (0..times).map(|_| measure(w, s));
            let measured = measured.collect::<Result<Vec<_>, _>>()?;
            let median = |of: fn(&Count) -> f64| Median::of(measured.iter().map(of)).value;
            let instructions = median(|count| count.instructions);
            let allocations = median(|count| count.allocations);
            counts.insert(stack, Count { instructions, allocations });
        }
        counted.push((workload, counts));
    }

    let mut section = Section::new("instructions");
    let machine = environment::machine();
    section.line(format!("{machine}; {valgrind}; {}.\n", environment::versions()));
    targets(&mut section, &counted);
    if write {
        section.plot("instructions.svg", "Instructions added to a request, by stack and workload");
    }
    for (workload, counts) in &counted {
        table(&mut section, *workload, counts);
    }
    if write {
        plot(&counted)?;
        section.write()?;
    }
    Ok(())
}

/// Instructions and allocations per request of one case.
fn measure(workload: usize, stack: usize) -> Result<Count, Box<dyn Error>> {
    let run = |requests: usize| -> Result<(f64, f64), Box<dyn Error>> {
        let numbers = [workload, stack, requests].map(|number| number.to_string());
        let args: Vec<_> = ["--case".to_owned()].into_iter().chain(numbers).collect();
        let counted = callgrind::count(&args, None)?;
        let allocations = counted.stdout.trim().strip_prefix("allocations ");
        let allocations = allocations.ok_or("the case has printed no allocations")?.parse()?;
        Ok((counted.instructions as f64, allocations))
    };
    let (few, many) = (run(FEW)?, run(MANY)?);
    let requests = (MANY - FEW) as f64;
    Ok(Count {
        instructions: (many.0 - few.0) / requests,
        allocations: (many.1 - few.1) / requests,
    })
}

fn targets(section: &mut Section, counted: &[(Workload, Counts)]) {
    section.line("Added to a request by this crate, all in all, beside the project's targets:\n");
    section.table_head(&["", "instructions", "target", "", "allocations", "target"]);
    for (workload, counts) in counted {
        for stack in [Stack::Foreign, Stack::Serve] {
            let added = added(counts, stack);
            let target = target(*workload, stack);
            section.row(&[
                format!("{}: {}", workload.name(), stack.name().replace("hyper-connstate, ", "")),
                signed(added.instructions, 0),
                target.map_or("–".to_owned(), |target| format!("{target:.0}")),
                target.map_or("", |target| verdict(added.instructions <= target)).to_owned(),
                signed(added.allocations, 2),
                "0".to_owned(),
            ]);
        }
    }
    section.line("");
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "missed" }
}

fn table(section: &mut Section, workload: Workload, counts: &Counts) {
    section.line(format!("### {}\n", workload.name()));
    section.table_head(&["stack", "instructions", "added", "allocations", "added"]);
    let mut stacks = Stack::ALL;
    stacks.sort_by_key(|stack| stack.base() != Stack::Bare);
    for stack in stacks {
        let (count, added) = (counts[&stack], added(counts, stack));
        section.row(&[
            stack.name().to_owned(),
            format!("{:.0}", count.instructions),
            signed(added.instructions, 0),
            format!("{:.2}", count.allocations),
            signed(added.allocations, 2),
        ]);
    }
    section.line("");
}

fn plot(counted: &[(Workload, Counts)]) -> Result<(), Box<dyn Error>> {
    let stacks = [
        Stack::Noop,
        Stack::InFlight,
        Stack::Trace,
        Stack::Foreign,
        Stack::Serve,
        Stack::Axum,
        Stack::ServeAxum,
    ];
    let panels = counted.iter().map(|(workload, counts)| Panel {
        title: workload.name(),
        bars: stacks
            .into_iter()
            .map(|stack| Bar {
                label: stack.name().replace('`', ""),
                value: added(counts, stack).instructions,
                ours: stack.is_ours(),
                target: target(*workload, stack),
            })
            .collect(),
    });
    bars::draw(
        &plot_path("instructions.svg"),
        "Instructions added to a request",
        "Fewer is better. Red: the target. Compared with bare hyper-util, or bare axum::serve.",
        &panels.collect::<Vec<_>>(),
    )
}
