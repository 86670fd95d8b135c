//! Bytes in both directions, and the same bytes in pieces.

use std::fmt;

use super::streams::Streams;
use crate::tracker::http2::{Crossing, Http2};
use crate::tracker::wire::Wire;
use crate::tracker::{Fact, Tracker};
use crate::{CloseReason, ConnState, Protocol};

/// What passes through a stream.
#[derive(Clone)]
pub(crate) enum Step {
    Read(Vec<u8>),
    Write(Vec<u8>),
    Flush,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(bytes) => write!(f, "Read({:?})", bytes.escape_ascii().to_string()),
            Self::Write(bytes) => write!(f, "Write({:?})", bytes.escape_ascii().to_string()),
            Self::Flush => f.write_str("Flush"),
        }
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A script from any bytes, four a step.
pub(crate) fn script(bytes: &[u8]) -> Vec<Step> {
    let mut script: Vec<Step> = Vec::new();
    for bytes in bytes.chunks_exact(4) {
        let [kind, details @ ..] = bytes else { continue };
        let step = match kind % 16 {
            0..=4 => Step::Read(frame(details)),
            5..=8 => Step::Write(frame(details)),
            9..=10 => Step::Flush,
            11 => Step::Read(PREFACE.to_vec()),
            12 => Step::Read(PREFACE[..usize::from(details[0]) % PREFACE.len() + 1].to_vec()),
            13 => Step::Write(vec![0, 0, 0, 4, 0, 0, 0, 0, 0]),
            14 => Step::Read(details.to_vec()),
            _ => Step::Write(details.to_vec()),
        };
        // What comes in a row comes in one piece.
        match (script.last_mut(), step) {
            (Some(Step::Read(before)), Step::Read(bytes)) => before.extend(bytes),
            (Some(Step::Write(before)), Step::Write(bytes)) => before.extend(bytes),
            (_, step) => script.push(step),
        }
    }
    script
}

/// A whole frame of a stream that is likely to be met again.
fn frame(details: &[u8]) -> Vec<u8> {
    let [kind, flags, stream] = *details else { return Vec::new() };
    // DATA, HEADERS, RST_STREAM, GOAWAY and CONTINUATION matter; others come.
    let (kind, length) = match kind % 16 {
        0..=2 => (0, kind / 16),
        3..=7 => (1, kind / 16),
        8 | 9 => (3, 4),
        10 if kind < 200 => (7, 8 + kind / 32),
        10 => (7, 4),
        11..=12 => (9, kind / 64),
        13 => (4, 6),
        14 => (2, 5),
        _ => (kind, kind / 16),
    };
    // END_STREAM and END_HEADERS are 1 and 4; others mean nothing here.
    let flags = [5, 4, 5, 1, 0, 5, 4, flags][usize::from(flags % 8)];
    let reserved = if stream >= 0xf0 { 1 << 31 } else { 0 };
    let id = u32::from(stream % 32) | reserved;
    let mut frame = vec![0, 0, length, kind, flags];
    // Every GOAWAY is on stream 0, and names one in its payload.
    frame.extend(if kind == 7 { [0; 4] } else { id.to_be_bytes() });
    let mut payload = id.to_be_bytes().to_vec();
    payload.extend([0, 0, 0, stream >> 7]);
    payload.resize(usize::from(length), 0x5a);
    frame.extend(payload);
    frame
}

/// Runs a script in one piece a step, in single bytes and in other pieces, and
/// panics if these do not come to the same, or not to what the model says.
pub(crate) fn check(script: &[Step]) {
    let whole = crossings(script, usize::MAX);
    assert_eq!(whole, expected_crossings(script), "{script:?}");
    for piece in [1, 2, 3, 8, 9, 10, 23] {
        assert_eq!(crossings(script, piece), whole, "in pieces of {piece}: {script:?}");
    }
    let whole = states(script, usize::MAX);
    for piece in [1, 2, 3, 8, 9, 10, 23] {
        assert_eq!(states(script, piece), whole, "in pieces of {piece}: {script:?}");
    }
}

/// The crossings of each step.
fn crossings(script: &[Step], piece: usize) -> Vec<Vec<Crossing>> {
    let mut http2 = Http2::new();
    let step = |step: &Step| {
        let mut crossings = Vec::new();
        match step {
            Step::Read(bytes) => bytes
                .chunks(piece)
                .for_each(|bytes| http2.read(bytes, |crossing| crossings.push(crossing))),
            Step::Write(bytes) => bytes.chunks(piece).for_each(|bytes| {
                http2.written(bytes);
            }),
            Step::Flush => crossings.extend(http2.flushed()),
        }
        crossings
    };
    script.iter().map(step).collect()
}

/// The same by the model. What a server writes takes effect when it is
/// flushed, so there writing alone changes nothing.
fn expected_crossings(script: &[Step]) -> Vec<Vec<Crossing>> {
    let mut streams = Streams::default();
    let mut open = false;
    let step = |step: &Step| {
        let mut crossings = Vec::new();
        let mut look = |streams: &Streams| {
            if streams.any() != open {
                open = streams.any();
                crossings.push(if open { Crossing::Opened } else { Crossing::Closed });
            }
        };
        match step {
            Step::Read(bytes) => {
                for byte in bytes {
                    streams.read(*byte);
                    look(&streams);
                }
            }
            Step::Write(bytes) => {
                for byte in bytes {
                    streams.write(*byte);
                    look(&streams);
                }
                assert!(crossings.is_empty());
            }
            Step::Flush => {
                streams.flush();
                look(&streams);
            }
        }
        crossings
    };
    script.iter().map(step).collect()
}

/// What a connection has come to.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// What was reported, step by step.
    states: Vec<Vec<ConnState>>,
    /// What was told, but for what only says that there were bytes: in more
    /// pieces it is told more often.
    facts: Vec<Vec<Fact>>,
    protocol: Protocol,
    has_written: bool,
    reason: Option<CloseReason>,
}

fn states(script: &[Step], piece: usize) -> Outcome {
    let mut wire = Wire::new();
    let mut tracker = Tracker::new();
    let mut outcome = Outcome {
        states: Vec::new(),
        facts: Vec::new(),
        protocol: Protocol::Unknown,
        has_written: false,
        reason: None,
    };
    for step in script {
        let (mut states, mut facts) = (Vec::new(), Vec::new());
        let mut tell = |fact| {
            // An error in the same piece as another is told once.
            let again = fact == Fact::ProtocolError && facts.last() == Some(&fact);
            if !matches!(fact, Fact::Read | Fact::Written) && !again {
                facts.push(fact);
            }
            let _ = tracker.on(fact);
            while let Some(state) = tracker.start_report() {
                states.push(state);
                tracker.finish_report();
            }
        };
        match step {
            Step::Read(bytes) => {
                bytes.chunks(piece).for_each(|bytes| wire.read(bytes, u16::MAX, &mut tell));
            }
            Step::Write(bytes) => {
                bytes.chunks(piece).for_each(|bytes| wire.written(bytes, u16::MAX, &mut tell));
            }
            Step::Flush => wire.flushed(u16::MAX, &mut tell),
        }
        outcome.states.push(states);
        outcome.facts.push(facts);
    }
    outcome.protocol = tracker.protocol();
    outcome.has_written = wire.has_written();
    let _ = tracker.on(Fact::Gone);
    outcome.reason = tracker.reason();
    outcome
}
