//! What is measured, each case in a process of its own. It prints its numbers,
//! a line for each: a name, a value, and the ends of its interval.

use std::time::Duration;

use hyper_connstate::{Address, ConnIo, Connections};
use nix::time::ClockId;
use tokio::runtime::Runtime;

use super::client::Protocol;
use super::{Population, Stack, count, events};
use crate::ALLOCATOR;
use crate::support::statistics::Median;

/// So many requests, or more, go into a number.
const REQUESTS: usize = 1_000;
/// How often what is timed is timed.
const PASSES: usize = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Bytes and allocations of connections that are idle.
    Memory,
    /// A request on each; counted by callgrind.
    Requests,
    /// The same, timed.
    Time,
    /// [`Connections::counts`], counted by callgrind.
    Counts,
    /// [`Connections::snapshot`], counted by callgrind.
    Snapshot,
}

impl Case {
    const ALL: [Self; 5] = [Self::Memory, Self::Requests, Self::Time, Self::Counts, Self::Snapshot];

    /// What it is called on a command line.
    pub fn argument(self) -> String {
        format!("{self:?}")
    }

    pub fn from_argument(argument: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|case| case.argument() == argument)
    }

    pub fn run(self, stack: Stack, protocol: Protocol, connections: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        match self {
            Self::Memory => memory(&runtime, stack, protocol, connections),
            Self::Requests => {
                let mut population = filled(&runtime, stack, protocol, connections);
                let times = REQUESTS.div_ceil(connections);
                let before = events();
                counted(|| runtime.block_on(population.pass(times)));
                print("requests", (times * connections) as f64);
                print("events", (events() - before) as f64);
            }
            Self::Time => time(&runtime, protocol, connections),
            Self::Counts | Self::Snapshot => registry(self, connections),
        }
    }
}

/// What callgrind counts.
pub const COUNTED: &str = "*cases*counted*";

#[inline(never)]
fn counted<T>(f: impl FnOnce() -> T) -> T {
    std::hint::black_box(f())
}

fn print(name: &str, value: f64) {
    println!("{name} {value} {value} {value}");
}

fn print_median(name: &str, median: Median) {
    println!("{name} {} {} {}", median.value, median.low, median.high);
}

/// Connections that have been served a request.
fn filled(runtime: &Runtime, stack: Stack, protocol: Protocol, connections: usize) -> Population {
    runtime.block_on(async {
        let mut population = Population::new(stack, protocol, connections).await;
        population.fill().await;
        population
    })
}

fn memory(runtime: &Runtime, stack: Stack, protocol: Protocol, connections: usize) {
    let mut population = runtime.block_on(Population::new(stack, protocol, connections));
    let before = ALLOCATOR.stats();
    runtime.block_on(population.fill());
    let change = ALLOCATOR.stats() - before;
    print("bytes", change.bytes_allocated as f64 - change.bytes_deallocated as f64);
    print("allocations", change.allocations as f64 - change.deallocations as f64);
}

fn time(runtime: &Runtime, protocol: Protocol, connections: usize) {
    let times = REQUESTS.div_ceil(connections);
    let requests = (times * connections) as f64;
    let mut bare = filled(runtime, Stack::Bare, protocol, connections);
    let mut ours = filled(runtime, Stack::Foreign, protocol, connections);
    let pass = |population: &mut Population| {
        nanoseconds(|| runtime.block_on(population.pass(times))) / requests
    };
    // In turn, so that what else the machine does meets both.
    let passes: Vec<_> = (0..PASSES).map(|_| (pass(&mut bare), pass(&mut ours))).collect();
    print_median("bare", Median::of(passes.iter().map(|(bare, _)| *bare)));
    print_median("added", Median::of(passes.iter().map(|(bare, ours)| ours - bare)));

    let registry = ours.connections.as_ref().expect("a registry");
    let calls = REQUESTS.div_ceil(connections);
    let call = |f: &dyn Fn()| {
        let call = || nanoseconds(|| (0..calls).for_each(|_| f())) / calls as f64;
        Median::of((0..PASSES).map(|_| call()))
    };
    print_median(
        "counts",
        call(&|| {
            std::hint::black_box(registry.counts());
        }),
    );
    print_median("snapshot", call(&|| drop(std::hint::black_box(registry.snapshot()))));
}

/// CPU time of this thread.
fn nanoseconds(f: impl FnOnce()) -> f64 {
    let now = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("a clock");
    let begin = Duration::from(now());
    f();
    (Duration::from(now()) - begin).as_nanos() as f64
}

fn registry(case: Case, connections: usize) {
    let registry = Connections::new();
    let accept = || {
        let io = ConnIo::new(tokio::io::empty(), Address::Unknown, Address::Unknown, count);
        registry.insert(io.conn());
        io
    };
    let streams: Vec<_> = (0..connections).map(|_| accept()).collect();
    counted(|| match case {
        Case::Counts => assert_eq!(registry.counts().total(), connections),
        _ => assert_eq!(registry.snapshot().len(), connections),
    });
    drop(streams);
}
