//! Conversations over planned streams, with this crate and without it.

use std::sync::{Arc, Mutex};

use hyper_connstate::CloseReason::*;
use hyper_connstate::{CloseReason, Conn, ConnState, Hook};

use super::conversation::{Conversation, Protocol};
use super::plan::{Fault, Plan};
use super::stack::Stack;
use super::stream::{Control, Done, Hostile, Operation};

/// How it stands when the client pauses.
#[derive(Clone, Debug)]
pub struct Pause {
    /// How many states have been reported.
    pub states: usize,
    /// How many bytes the transport has taken.
    pub wire: usize,
    /// The stream is gone.
    pub over: bool,
}

/// What came of a conversation.
pub struct Outcome {
    pub pauses: Vec<Pause>,
    pub wire: Vec<u8>,
    pub done: Vec<Done>,
    pub polls: usize,
    pub polls_behind_end: usize,
    pub over: bool,
}

/// What has been reported, and what stood on the wire when Idle was.
#[derive(Clone)]
pub struct Observer {
    control: Control,
    reports: Arc<Mutex<Reports>>,
}

#[derive(Default)]
pub struct Reports {
    pub states: Vec<ConnState>,
    /// The bytes that the transport had taken at each Idle.
    pub wire_at_idle: Vec<usize>,
    pub reason: Option<CloseReason>,
    pub conn: Option<Conn>,
}

impl Observer {
    pub fn new(control: &Control) -> Self {
        Self { control: control.clone(), reports: Arc::default() }
    }

    pub fn reports(&self) -> std::sync::MutexGuard<'_, Reports> {
        self.reports.lock().unwrap()
    }

    pub fn conn(&self) -> Conn {
        self.reports().conn.clone().unwrap()
    }
}

impl Hook for Observer {
    fn on_state(&self, conn: &Conn, state: ConnState) {
        // A panic would be caught: what is wrong is kept as what was reported.
        let stream = self.control.lock();
        let mut reports = self.reports();
        reports.states.push(state);
        reports.conn = Some(conn.clone());
        match state {
            ConnState::Idle => reports.wire_at_idle.push(stream.wire.len()),
            // Reported once the stream is gone, never before.
            ConnState::Closed if stream.dropped => reports.reason = conn.close_reason(),
            _ => {}
        }
    }
}

/// The client has its part of the conversation.
pub async fn converse(
    control: &Control,
    conversation: &Conversation,
    states: impl Fn() -> usize,
) -> Outcome {
    let mut pauses = Vec::new();
    let mut pause = async || {
        control.pause().await;
        let stream = control.lock();
        pauses.push(Pause { states: states(), wire: stream.wire.len(), over: stream.dropped });
    };
    for part in &conversation.parts {
        control.send(&part.bytes);
        pause().await;
    }
    control.send_end_of_file();
    pause().await;

    let stream = control.lock();
    Outcome {
        pauses,
        wire: stream.wire.clone(),
        done: stream.done.clone(),
        polls: stream.polls,
        polls_behind_end: stream.polls_behind_end,
        over: stream.dropped,
    }
}

pub async fn run_bare(stack: Stack, conversation: &Conversation, plan: Plan) -> Outcome {
    let (stream, control) = Hostile::new(plan);
    let task = stack.serve_bare(stream);
    let outcome = converse(&control, conversation, || 0).await;
    task.abort();
    outcome
}

pub async fn run(stack: Stack, conversation: &Conversation, plan: Plan) -> (Outcome, Observer) {
    let (stream, control) = Hostile::new(plan);
    let observer = Observer::new(&control);
    let task = stack.serve(stream, observer.clone());
    let outcome = converse(&control, conversation, || observer.reports().states.len()).await;
    task.abort();
    (outcome, observer)
}

/// Has the conversation with a bare server and with an instrumented one, and
/// checks all that has to hold.
pub async fn check(stack: Stack, conversation: &Conversation, plan: Plan, ends: &[usize]) {
    let bare = run_bare(stack, conversation, plan).await;
    let (outcome, observer) = run(stack, conversation, plan).await;
    let reports = observer.reports();
    let context = format!("{stack:?}, {:?}, {plan:?}", conversation.name);

    // The peer can't tell the two apart.
    assert!(outcome.wire == bare.wire, "{context}: other bytes on the wire");
    let (done, read_behind_end) = split_at_end(&outcome.done);
    assert_eq!(done, split_at_end(&bare.done).0, "{context}");
    assert!(
        read_behind_end
            .iter()
            .all(|done| matches!(done, Done::Read(_) | Done::Failed(Operation::Read, _))),
        "{context}: {read_behind_end:?} behind the end"
    );
    for (pause, bare) in outcome.pauses.iter().zip(&bare.pauses) {
        assert_eq!((pause.wire, pause.over), (bare.wire, bare.over), "{context}");
    }
    // A wake-up after an answer or two, and no more.
    let requests = conversation.parts.len() + reports.wire_at_idle.len();
    let polls = outcome.polls - outcome.polls_behind_end;
    let bare_polls = bare.polls - bare.polls_behind_end;
    assert!(
        polls <= bare_polls + 6 * requests,
        "{context}: polled {polls} times, {bare_polls} without the crate"
    );
    // Each read behind the end may have been pending, whoever woke, and the time
    // runs out.
    assert!(
        outcome.polls_behind_end <= bare.polls_behind_end + 4 * read_behind_end.len() + 6,
        "{context}: polled {} times behind the end, for {read_behind_end:?}",
        outcome.polls_behind_end
    );

    // What is reported, at each pause.
    let words: Vec<_> = reports.states.iter().map(ToString::to_string).collect();
    let expected = expected(conversation, &bare, ends);
    if plan.fault.is_none() {
        assert_eq!(words, expected.words, "{context}");
        for (pause, end) in outcome.pauses.iter().zip(expected.at_pauses) {
            assert_eq!(pause.states, end, "{context}: at a pause, of {words:?}");
        }
    } else {
        check_cut_short(&words, &expected.words, &context);
    }
    if words.last().is_some_and(|word| word == "closed") {
        check_reason(reports.reason, conversation, &outcome.done, plan, &context);
    }
    assert!(outcome.over, "{context}: the stream is still there");

    // Idle is on the wire.
    for (index, length) in reports.wire_at_idle.iter().enumerate() {
        let wire = &outcome.wire[..*length];
        match conversation.protocol {
            Protocol::Http1 => assert!(
                wire.len() >= ends[index],
                "{context}: Idle {index} after {} bytes of {}",
                wire.len(),
                ends[index]
            ),
            Protocol::Http2(answered) => assert!(
                streams_ended(wire) >= answered[index],
                "{context}: Idle {index} with {} streams ended",
                streams_ended(wire)
            ),
        }
    }
}

/// What was done until the server shut the stream down, and then. This crate
/// reads on for a while.
fn split_at_end(done: &[Done]) -> (&[Done], &[Done]) {
    let end = done.iter().position(|done| *done == Done::ShutDown);
    done.split_at(end.map_or(done.len(), |position| position + 1))
}

/// What is to be reported.
pub struct Expected {
    pub words: Vec<String>,
    /// How many of them have been reported at each pause.
    pub at_pauses: Vec<usize>,
}

pub fn expected(conversation: &Conversation, bare: &Outcome, answers: &[usize]) -> Expected {
    let mut words = vec!["new".to_owned()];
    let mut at_pauses = Vec::new();
    let parts = conversation.parts.iter().map(|part| part.states.as_str());
    for (states, pause) in parts.chain([conversation.end]).zip(&bare.pauses) {
        if words.last().is_some_and(|last| last != "closed") {
            let depends = if pause.over { "closed" } else { "idle" };
            let active =
                if reads_refused_late(conversation, bare, answers) { "active" } else { "" };
            let states = states.replace('*', depends).replace("active?", active);
            words.extend(states.split_whitespace().map(str::to_owned));
        }
        at_pauses.push(words.len());
    }
    Expected { words, at_pauses }
}

/// Whether the server reads of what it refuses when all before it has been
/// answered. Read together with a request before, it begins nothing.
fn reads_refused_late(conversation: &Conversation, bare: &Outcome, answers: &[usize]) -> bool {
    let sent: Vec<u8> = conversation.parts.iter().flat_map(|part| part.bytes.clone()).collect();
    let refused = sent.windows(5).position(|bytes| bytes == b"BOGUS").unwrap_or(0);
    let answered = answers.iter().rev().nth(1).copied().unwrap_or(0);
    let (mut read, mut written, mut flushed) = (0, 0, 0);
    for done in &bare.done {
        match done {
            Done::Read(length) => {
                read += length;
                if read > refused && *length > 0 && flushed >= answered {
                    return true;
                }
            }
            Done::Written(length) => written += length,
            Done::Flushed => flushed = written,
            Done::ShutDown | Done::Failed(..) => {}
        }
    }
    false
}

/// A connection that broke: as far as it came, and then closed.
pub fn check_cut_short(words: &[String], expected: &[String], context: &str) {
    let (last, start) = words.split_last().unwrap();
    let prefix = start == &expected[..start.len().min(expected.len())];
    let as_expected = words == expected || (prefix && last == "closed");
    assert!(as_expected, "{context}: {words:?} is no start of {expected:?}");
}

/// The first cause is the reason.
fn check_reason(
    reason: Option<CloseReason>,
    conversation: &Conversation,
    done: &[Done],
    plan: Plan,
    context: &str,
) {
    let Some(reason) = reason else {
        panic!("{context}: Closed was reported before the stream was dropped");
    };
    if matches!(plan.fault, Some((_, Fault::TakesNothing))) {
        return;
    }
    let mut read = 0;
    let first = done.iter().find_map(|done| match done {
        Done::Read(0) => Some(PeerClosed),
        // A client that says so.
        Done::Read(length) => {
            read += length;
            conversation.goaway().filter(|end| read >= *end).map(|_| PeerClosed)
        }
        // A server that shuts down is done, whatever comes of it.
        Done::ShutDown | Done::Failed(Operation::ShutDown, _) => Some(ServerClosed),
        Done::Failed(_, kind) => Some(super::reason_of(*kind)),
        _ => None,
    });
    // What the server knows of its own, it tells before it ends the stream.
    let of_server = match conversation.name {
        name if name.starts_with("no HTTP") || name.contains("protocol error") => ProtocolError,
        name if name.contains("panics") && conversation.protocol == Protocol::Http1 => {
            HandlerPanicked
        }
        name if name.contains("fails") => Aborted,
        _ => first.unwrap_or(Aborted),
    };
    let expected = match first {
        None | Some(ServerClosed) => of_server,
        Some(first) => first,
    };
    // In HTTP/2 an error is said in a frame, which may be cut short.
    let said = conversation.name.contains("protocol error") && reason == ProtocolError;
    assert!(reason == expected || said, "{context}: {reason:?}, not {expected:?}");
}

/// How many streams the server has ended, in whole frames.
pub fn streams_ended(mut wire: &[u8]) -> usize {
    let mut ended = 0;
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = wire {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some(rest) = rest.get(length..) else { break };
        ended += usize::from(*kind == 0x3 || (*kind <= 0x1 && flags & 0x1 != 0));
        wire = rest;
    }
    ended
}

/// Where each answer ends: the bytes that a bare server has sent when the
/// client pauses.
pub async fn answer_ends(stack: Stack, conversation: &Conversation) -> Vec<usize> {
    let bare = run_bare(stack, conversation, Plan::PLAIN).await;
    let parts = conversation.parts.iter().zip(&bare.pauses);
    let answered = parts.filter(|(part, _)| part.states.contains(['i', '*']));
    answered.map(|(_, pause)| pause.wire).collect()
}
