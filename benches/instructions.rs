//! Instructions and allocations per request, counted and not timed: the same
//! numbers whatever else the machine is doing.
//!
//! ```console
//! $ cargo run --release --manifest-path benches/Cargo.toml --bin instructions
//! ```
//!
//! It runs itself under `valgrind --tool=callgrind` (Debian: `valgrind`), each
//! case with two numbers of requests. Their difference has neither the start
//! of the process nor that of the connection in it.

mod support;

use std::alloc::System;
use std::collections::HashMap;
use std::process::Command;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::script::{Script, Workload};
use support::stacks::Stack;

const FEW: usize = 320;
const MANY: usize = 1_600;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let args: Vec<_> = std::env::args().collect();
    if let Some(position) = args.iter().position(|arg| arg == "--case") {
        let number = |index: usize| args[position + index].parse::<usize>().unwrap();
        return run(Workload::ALL[number(1)], Stack::ALL[number(2)], number(3));
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: nothing is counted");
        return;
    }
    report();
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

fn report() {
    println!("Instructions per request (allocations per request), and what is added to bare.\n");
    for (w, workload) in Workload::ALL.into_iter().enumerate() {
        println!("### {}\n", workload.name());
        println!("| stack | instructions | added | allocations | added |");
        println!("|---|---:|---:|---:|---:|");
        let mut counts: HashMap<&str, Count> = HashMap::new();
        let mut stacks: Vec<_> = Stack::ALL.into_iter().enumerate().collect();
        stacks.sort_by_key(|(_, stack)| stack.base() != Stack::Bare);
        for (s, stack) in stacks {
            let (few, many) = (measure(w, s, FEW), measure(w, s, MANY));
            let per_request =
                |few: u64, many: u64| (many as f64 - few as f64) / (MANY - FEW) as f64;
            let count = Count {
                instructions: per_request(few.0, many.0),
                allocations: per_request(few.1, many.1),
            };
            counts.insert(stack.name(), count);
            let base = counts[stack.base().name()];
            println!(
                "| {} | {:.0} | {:+.0} | {:.2} | {:+.2} |",
                stack.name(),
                count.instructions,
                count.instructions - base.instructions,
                count.allocations,
                count.allocations - base.allocations,
            );
        }
        println!();
    }
}

/// Instructions and allocations of one case.
fn measure(workload: usize, stack: usize, requests: usize) -> (u64, u64) {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--case".to_owned(), workload.to_string(), stack.to_string(), requests.to_string()])
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let number = |text: &str, word: &str, index: usize| {
        let line = text.lines().find(|line| line.contains(word)).unwrap();
        let words = line.split_whitespace();
        words.filter_map(|word| word.parse::<u64>().ok()).nth(index).unwrap()
    };
    (number(&stderr, "Collected", 0), number(&stdout, "allocations", 0))
}
