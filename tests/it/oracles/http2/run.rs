//! Runs a script, and asks hyper at each pause.

use std::time::Duration;

use hyper_connstate::ConnState;

use super::bare::{Answer, Bare};
use super::frame::{Encoder, Frame};
use super::handler::Desk;
use super::script::{Script, Step};
use crate::oracles::search::Fault;
use crate::oracles::stack;
use crate::oracles::watch::Watch;
use crate::oracles::wire::{self, Client};
use crate::support::frames::{PREFACE, settings};

/// # Errors
///
/// What was reported otherwise than hyper says.
pub fn run(script: &Script) -> Result<(), Fault> {
    let (states, watch) = stack::run(observe(script));
    let mut log = String::new();
    let pauses = script.steps.iter().enumerate().filter(|(_, step)| **step == Step::Pause);
    for ((index, _), state) in pauses.zip(states) {
        let answer = stack::run(ask(script, index));
        log += &format!("[{state}: {answer:?}] ");
        let fault = |rule| {
            let what = format!("at step {index}\n  reported in all: {}\n  {log}", watch.words());
            Err(Fault::new(rule, what))
        };
        match (state, answer) {
            (ConnState::Closed, Answer::Ended) => break,
            (ConnState::Active, Answer::Open)
            | (ConnState::Idle, Answer::Quiet)
            // What counts is the wire, where h2 has lost count.
            | (ConnState::Active | ConnState::Idle, Answer::Miscounted)
            | (ConnState::Active | ConnState::Idle, Answer::NotAsked) => {}
            (ConnState::Active, Answer::Quiet) => return fault("Active without open streams"),
            (ConnState::Idle, Answer::Open) => return fault("Idle with open streams"),
            (_, Answer::Ended) => return fault("not Closed though hyper has ended it"),
            (ConnState::Closed, _) => return fault("Closed though hyper has not ended it"),
            _ => return fault("no state of HTTP/2's"),
        }
    }
    watch.check_order()?;
    if watch.state() != ConnState::Closed {
        return Err(Fault::new("the end is not reported", watch.words()));
    }
    Ok(())
}

/// The state at each pause.
async fn observe(script: &Script) -> (Vec<ConnState>, Watch) {
    let (near, far) = wire::wire();
    let watch = Watch::new(&far, None);
    let desk = Desk::new();
    let service = stack::service(desk.clone(), Desk::handle);
    stack::serve(script.kind, near, watch.clone(), service);
    let mut client = Client::new(far, script.kind.is_tls().then_some("h2")).await;
    let mut states = Vec::new();
    play(script, script.steps.iter(), &desk, &mut client, || states.push(watch.state())).await;
    client.close();
    tokio::time::sleep(Duration::from_secs(2)).await;
    (states, watch)
}

/// What hyper says at this pause of the same script.
async fn ask(script: &Script, pause: usize) -> Answer {
    let steps = &script.steps[..pause];
    let open = open_block(steps);
    if open < pause && has_ended(script, steps).await {
        return Answer::Ended;
    }
    if open < pause && resets_at_first_part(steps, open) {
        return Answer::NotAsked;
    }
    // Without a header block that is open there.
    let (steps, rest) = steps.split_at(open);
    let steps = steps.iter().chain(rest.iter().filter(|step| !is_of_block(step)));
    let (bare, mut client) = play_bare(script, steps).await;
    bare.ask(&mut client).await
}

/// Whether hyper has ended the connection by then.
async fn has_ended(script: &Script, steps: &[Step]) -> bool {
    let (bare, mut client) = play_bare(script, steps.iter()).await;
    client.read_all().await;
    bare.has_ended()
}

async fn play_bare<'a>(script: &Script, steps: impl Iterator<Item = &'a Step>) -> (Bare, Client) {
    let (near, far) = wire::wire();
    let desk = Desk::new();
    let bare = Bare::serve(near, desk.clone());
    let mut client = Client::new(far, None).await;
    play(script, steps, &desk, &mut client, || {}).await;
    (bare, client)
}

/// The client's part, of which these are the steps.
async fn play<'a>(
    script: &Script,
    steps: impl Iterator<Item = &'a Step>,
    desk: &Desk,
    client: &mut Client,
    mut pause: impl FnMut(),
) {
    client.send(PREFACE);
    if script.settings {
        client.send(&settings());
    }
    let mut encoder = Encoder::default();
    for step in steps {
        match step {
            Step::Send(frame) => client.send(&encoder.encode(frame)),
            Step::Release => desk.release(),
            Step::Pause => {
                client.read_to_the_end().await;
                pause();
            }
        }
    }
}

/// Where a header block begins that is open at the end; else the end. It opens
/// no stream, and what is asked of hyper could not be sent inside of it.
fn open_block(steps: &[Step]) -> usize {
    let mut encoder = Encoder::default();
    let mut begun = steps.len();
    for (index, step) in steps.iter().enumerate() {
        let Step::Send(frame) = step else { continue };
        // What else is sent inside of a block is an error of its own.
        if encoder.is_open() && !matches!(frame, Frame::Continuation { .. }) {
            return steps.len();
        }
        encoder.encode(frame);
        if matches!(frame, Frame::Headers(_)) {
            begun = index;
        }
    }
    if encoder.is_open() { begun } else { steps.len() }
}

/// Whether h2 may have reset a stream that was open at the first frame of this
/// header block, without waiting for the rest.
fn resets_at_first_part(steps: &[Step], block: usize) -> bool {
    let headers = |step: &Step| match step {
        Step::Send(Frame::Headers(headers)) => Some(headers.clone()),
        _ => None,
    };
    headers(&steps[block]).is_some_and(|wrong| {
        let opened = steps[..block].iter().filter_map(headers);
        wrong.is_malformed() && opened.map(|opened| opened.stream).any(|id| id == wrong.stream)
    })
}

fn is_of_block(step: &Step) -> bool {
    matches!(step, Step::Send(Frame::Headers(_) | Frame::Continuation { .. }))
}
