//! Bytes in both directions, and the same bytes in pieces.

use std::fmt;

use super::streams::Streams;
use crate::tracker::http2::Http2;
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
    let mut frames = Frames { newest: 1 };
    for bytes in bytes.chunks_exact(4) {
        let [kind, details @ ..] = bytes else { continue };
        let step = match kind % 32 {
            0..=8 => Step::Read(frames.any(details)),
            9..=15 => Step::Write(frames.any(details)),
            16..=19 => Step::Flush,
            20..=22 => Step::Read(frames.for_all(details)),
            23..=25 => Step::Write(frames.for_all(details)),
            26 => Step::Read(PREFACE.to_vec()),
            27 => Step::Read(PREFACE[..usize::from(details[0]) % PREFACE.len() + 1].to_vec()),
            28 => Step::Write(frame(SETTINGS, 0, 0, &[])),
            29 => Step::Read(details.to_vec()),
            30 => Step::Write(details.to_vec()),
            _ => Step::Read(frame(HEADERS, 4 | details[0], frames.next(), &[])),
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

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// Makes up frames of streams that are likely to have been met before.
struct Frames {
    newest: u32,
}

impl Frames {
    fn next(&mut self) -> u32 {
        self.newest += 2;
        self.newest
    }

    fn stream(&mut self, details: u8) -> u32 {
        match details {
            0..64 => self.next(),
            64..192 => self.newest.saturating_sub(2 * u32::from(details % 4)),
            192..240 => self.newest.saturating_sub(u32::from(details % 32)),
            // With the reserved bit, which is no part of the number.
            240.. => self.newest | 1 << 31,
        }
    }

    fn any(&mut self, details: &[u8]) -> Vec<u8> {
        let [kind, flags, stream] = *details else { return Vec::new() };
        // END_STREAM and END_HEADERS are 1 and 4; others mean nothing here.
        let flags = [5, 4, 5, 1, 0, 5, 4, flags][usize::from(flags % 8)];
        let length = usize::from(kind / 16);
        match kind % 16 {
            0..=2 => frame(DATA, flags, self.stream(stream), &[0; 16][length..]),
            3..=7 => frame(HEADERS, flags, self.stream(stream), &[0; 16][length..]),
            8 | 9 => frame(RST_STREAM, flags, self.stream(stream), &[0; 4]),
            10 => {
                let last = self.newest.saturating_sub(u32::from(stream % 16));
                let error = [0, 0, 0, stream >> 7];
                let payload = [&last.to_be_bytes()[..], &error, b"debug"].concat();
                // Some of them too short to say anything.
                frame(GOAWAY, 0, 0, &payload[..payload.len().min(length + 6)])
            }
            11 | 12 => frame(CONTINUATION, flags, self.stream(stream), &[0; 16][length..]),
            13 => frame(SETTINGS, flags, 0, &[0; 6]),
            kind => frame(kind, flags, self.stream(stream), &[0; 16][length..]),
        }
    }

    /// Frames that end all streams, or nearly all.
    fn for_all(&mut self, details: &[u8]) -> Vec<u8> {
        let kind = [DATA, HEADERS, RST_STREAM][usize::from(details[0] % 3)];
        let first = self.newest.saturating_sub(2 * u32::from(details[1])) | 1;
        let streams = (first..=self.newest).step_by(2);
        let spared = self.newest.saturating_sub(2 * u32::from(details[2]));
        let streams = streams.filter(|stream| *stream != spared);
        streams.flat_map(|stream| frame(kind, 5, stream, &[0; 4])).collect()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, flags];
    frame.extend(stream.to_be_bytes());
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
fn crossings(script: &[Step], piece: usize) -> Vec<Vec<Fact>> {
    let mut http2 = Http2::default();
    let step = |step: &Step| {
        let mut crossings = Vec::new();
        match step {
            Step::Read(bytes) => bytes
                .chunks(piece)
                .for_each(|bytes| http2.read(bytes, |fact| crossings.extend(crossing(fact)))),
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
fn expected_crossings(script: &[Step]) -> Vec<Vec<Fact>> {
    let mut streams = Streams::default();
    let mut open = false;
    let step = |step: &Step| {
        let mut crossings = Vec::new();
        let mut look = |streams: &Streams| {
            if streams.any() != open && (!open || !streams.has_failed()) {
                open = streams.any();
                crossings.push(if open { Fact::StreamsOpened } else { Fact::StreamsClosed });
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

/// Whether a fact says that streams have opened or closed.
fn crossing(fact: Fact) -> Option<Fact> {
    matches!(fact, Fact::StreamsOpened | Fact::StreamsClosed).then_some(fact)
}

/// What a connection has come to.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// What was reported, step by step.
    states: Vec<Vec<ConnState>>,
    /// What was recorded, but for what only says that there were bytes: in more
    /// pieces it is recorded more often.
    facts: Vec<Vec<Fact>>,
    protocol: Protocol,
    reason: Option<CloseReason>,
}

fn states(script: &[Step], piece: usize) -> Outcome {
    let mut wire = Wire::new();
    let mut tracker = Tracker::new();
    let mut outcome = Outcome {
        states: Vec::new(),
        facts: Vec::new(),
        protocol: Protocol::Unknown,
        reason: None,
    };
    for step in script {
        let (mut states, mut facts) = (Vec::new(), Vec::new());
        let mut record = |fact| {
            // Why the server ends the connection is recorded once a piece; the
            // first reason counts, and is compared.
            let counts =
                !matches!(fact, Fact::Read | Fact::Written | Fact::ProtocolError | Fact::TimedOut);
            // What part of a frame there is, and how much of its data, is of
            // the pieces.
            let of_part = matches!(fact, Fact::HeaderBlock { .. } | Fact::DataRead { .. });
            if counts && !of_part {
                facts.push(fact);
            }
            let _ = tracker.on(fact);
            while let Some(state) = tracker.start_report() {
                states.push(state);
                tracker.finish_report(state);
            }
        };
        match step {
            Step::Read(bytes) => {
                bytes.chunks(piece).for_each(|bytes| wire.read(bytes, &mut record));
            }
            Step::Write(bytes) => {
                bytes.chunks(piece).for_each(|bytes| wire.written(bytes, &mut record));
            }
            Step::Flush => wire.flushed().into_iter().for_each(&mut record),
        }
        outcome.states.push(states);
        outcome.facts.push(facts);
    }
    outcome.protocol = tracker.protocol();
    let _ = tracker.on(Fact::Dropped);
    outcome.reason = tracker.reason(None);
    outcome
}
