//! Streams that take a byte at a time, are pending whenever they can be, fail
//! at every operation and hold back what they have taken: the states are those
//! of a well-behaved stream, Idle comes when the transport has the answer, and
//! no byte is other than without this crate.

use std::io::ErrorKind;

use crate::hostile::conversation::{self, Conversation};
use crate::hostile::plan::{ALL, Fault, Pending, Plan};
use crate::hostile::run::{answer_ends, check, run_bare};
use crate::hostile::stack::Stack;
use crate::hostile::stuck::check_stuck;
use crate::support::{quiet_panics, start_watchdog};

/// All conversations, and those that can be had so in one go.
fn conversations() -> Vec<(Conversation, Option<Conversation>)> {
    let in_one_go = |conversation: Conversation| {
        let joined = (conversation.parts.len() > 1).then(|| conversation.in_one_go());
        (conversation, joined)
    };
    let mut all: Vec<_> = conversation::http1().into_iter().map(in_one_go).collect();
    let others = [conversation::http1_with_pauses(), conversation::http2()].concat();
    all.extend(others.into_iter().map(|conversation| (conversation, None)));
    all
}

/// Which stacks have a conversation over a stream.
#[derive(Clone, Copy)]
enum With {
    Every,
    /// The next in turn: for plans that differ in a number only.
    Next,
}

/// Has every conversation over the streams that `plans` gives for it.
async fn check_all(plans: impl AsyncFn(&Conversation) -> Vec<(With, Plan)>) {
    start_watchdog();
    quiet_panics();
    let mut checked = 0;
    for (conversation, in_one_go) in conversations() {
        let mut ends = Vec::new();
        for stack in Stack::ALL {
            ends.push((*stack, answer_ends(*stack, &conversation).await));
        }
        for conversation in [Some(&conversation), in_one_go.as_ref()].into_iter().flatten() {
            let plans = plans(conversation).await;
            // Those that move megabytes are had over some of the streams.
            let step = if conversation.large { plans.len().div_ceil(20).max(1) } else { 1 };
            for (index, (with, plan)) in plans.into_iter().enumerate().step_by(step) {
                for (turn, (stack, ends)) in ends.iter().enumerate() {
                    if matches!(with, With::Every) || turn == index % Stack::ALL.len() {
                        check(*stack, conversation, plan, ends).await;
                        checked += 1;
                    }
                }
            }
        }
    }
    println!("{checked} conversations");
}

/// How many operations a conversation takes over such a stream.
async fn operations(conversation: &Conversation, plan: Plan) -> usize {
    run_bare(Stack::Tower, conversation, plan).await.done.len()
}

/// A byte at a time, where there are not too many.
fn crumbs(conversation: &Conversation) -> Plan {
    if conversation.large {
        Plan { reads: &[1], writes: &[5000, 1, 20_001], ..Plan::PLAIN }
    } else {
        Plan::CRUMBS
    }
}

#[tokio::test(start_paused = true)]
async fn pieces_pauses_and_buffers_of_every_size() {
    check_all(async |conversation| {
        let all: &[usize] = &[ALL];
        let crumbs = crumbs(conversation);
        let reads = [crumbs.reads, &[1, 2, 3, 5, 8, 13, 21], all];
        let writes = match conversation.large {
            true => [crumbs.writes, &[1, 70_000], all],
            false => [crumbs.writes, &[3], all],
        };
        let pending = [Pending::Never, Pending::Each];
        let buffered = match conversation.large {
            true => [None, Some(10_000), Some(ALL)],
            false => [None, Some(1), Some(ALL)],
        };
        let mut plans = Vec::new();
        for (reads, writes) in reads.into_iter().flat_map(|reads| writes.map(|to| (reads, to))) {
            for (pending, buffered) in
                pending.iter().flat_map(|pend| buffered.map(|to| (*pend, to)))
            {
                // Each of the other two in turn.
                let vectored = plans.len() % 2 == 0;
                let wakes_late = plans.len() / 2 % 2 == 0;
                let plan = Plan { reads, writes, pending, buffered, ..Plan::PLAIN };
                plans.push((With::Every, Plan { vectored, wakes_late, ..plan }));
            }
        }
        plans
    })
    .await;
}

/// The bytes in two parts, wherever they can be split.
#[tokio::test(start_paused = true)]
async fn every_split() {
    check_all(async |conversation| {
        let answer = run_bare(Stack::Tower, conversation, Plan::PLAIN).await.wire.len();
        let input = conversation.length();
        let splits = (1..input).map(|at| (at, ALL)).chain((1..answer.min(600)).map(|at| (ALL, at)));
        let plan = |(index, first)| {
            let buffered = [None, Some(ALL)][index / 2 % 2];
            let pending = Pending::Each;
            let vectored = index % 3 == 0;
            (With::Next, Plan { first: Some(first), vectored, pending, buffered, ..Plan::PLAIN })
        };
        splits.enumerate().map(plan).collect()
    })
    .await;
}

/// One operation is pending, each in turn.
#[tokio::test(start_paused = true)]
async fn pending_at_each_operation() {
    check_all(async |conversation| {
        let mut plans = Vec::new();
        for (with, plan) in [(With::Every, Plan::PLAIN), (With::Next, crumbs(conversation))] {
            for at in 0..operations(conversation, plan).await {
                plans.push((with, Plan { pending: Pending::Once(at), ..plan }));
            }
        }
        plans
    })
    .await;
}

const KINDS: [ErrorKind; 6] = [
    ErrorKind::ConnectionReset,
    ErrorKind::BrokenPipe,
    ErrorKind::TimedOut,
    ErrorKind::Other,
    ErrorKind::UnexpectedEof,
    ErrorKind::PermissionDenied,
];

/// One operation fails, each in turn, in every way.
#[tokio::test(start_paused = true)]
async fn an_error_at_each_operation() {
    check_all(async |conversation| {
        let mut plans = Vec::new();
        for at in 0..operations(conversation, Plan::PLAIN).await {
            let reset = Fault::Lasting(ErrorKind::ConnectionReset);
            plans.push((With::Every, Plan { fault: Some((at, reset)), ..Plan::PLAIN }));
            let errors = KINDS.map(Fault::Once).into_iter().chain(KINDS.map(Fault::Lasting));
            for fault in errors.chain([Fault::TakesNothing]) {
                plans.push((With::Next, Plan { fault: Some((at, fault)), ..Plan::PLAIN }));
            }
        }
        // A byte at a time, there is far more that can fail: one kind each.
        let buffered = Plan { buffered: Some(ALL), ..crumbs(conversation) };
        for plan in [crumbs(conversation), buffered] {
            for at in 0..operations(conversation, plan).await {
                let kind = KINDS[at % KINDS.len()];
                let lasting = at / KINDS.len() % 2 == 0;
                let fault = if lasting { Fault::Lasting(kind) } else { Fault::Once(kind) };
                plans.push((With::Next, Plan { fault: Some((at, fault)), ..plan }));
            }
        }
        plans
    })
    .await;
}

/// An operation is pending for ever, each in turn: nothing is polled to no
/// purpose, and the program can close the connection, or drop it.
#[tokio::test(start_paused = true)]
async fn stuck_at_each_operation() {
    start_watchdog();
    quiet_panics();
    for (conversation, _) in conversations() {
        for plan in [Plan::PLAIN, Plan { buffered: Some(ALL), ..Plan::PLAIN }] {
            for at in 0..operations(&conversation, plan).await.min(30) {
                let plan = Plan { pending: Pending::From(at), ..plan };
                for stack in Stack::ALL {
                    check_stuck(*stack, &conversation, plan).await;
                }
            }
        }
    }
}
