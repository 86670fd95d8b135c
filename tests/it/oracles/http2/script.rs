//! What happens on one connection.

use std::fmt;

use super::frame::{Block, Frame, Headers, Padding};
use crate::oracles::search::{self, one_of};
use crate::support::Kind;

#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    pub kind: Kind,
    /// The preface is followed by SETTINGS.
    pub settings: bool,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Send(Frame),
    /// Lets the handler go on that has waited the longest.
    Release,
    Pause,
}

/// Which ids a client has used, and so which it may name.
struct Ids {
    used: Vec<u32>,
    /// Those whose request has not been sent to its end.
    open: Vec<u32>,
    next: u32,
    /// It does what ends a connection at once, too.
    wild: bool,
}

impl Ids {
    /// Mostly the next one, at times one that may not be used.
    fn new_one(&mut self, random: &mut fastrand::Rng) -> u32 {
        let stream = match random.u8(..20) {
            0 => self.next + 4,
            1 if self.wild => self.next.saturating_sub(2).max(1),
            2 if self.wild => self.next + 1,
            3 if self.wild => 0,
            _ => self.next,
        };
        self.used.push(stream);
        self.next = self.next.max(stream + 1) | 1;
        stream
    }

    /// Mostly one of the last that were used.
    fn old_one(&self, random: &mut fastrand::Rng) -> u32 {
        match random.u8(..16) {
            0 if self.wild => self.next,
            1 if self.wild => 0,
            _ if self.used.is_empty() => self.next,
            _ => self.used[self.used.len() - 1 - random.usize(..self.used.len().min(4))],
        }
    }

    /// One whose request goes on.
    fn open_one(&self, random: &mut fastrand::Rng) -> Option<u32> {
        if self.wild && random.u8(..4) == 0 {
            return Some(self.old_one(random));
        }
        (!self.open.is_empty()).then(|| one_of(random, &self.open))
    }

    fn ended(&mut self, stream: u32, end: bool) {
        if end {
            self.open.retain(|open| *open != stream);
        }
    }

    fn headers(&mut self, random: &mut fastrand::Rng, stream: u32) -> Headers {
        let mut headers = Headers::random(random, stream);
        if !self.wild {
            headers.block = one_of(random, &[Block::Get, headers.block]);
            if matches!(headers.block, Block::Undecodable | Block::Huge) {
                headers.block = Block::Post;
            }
            if headers.padding == Padding::TooMuch {
                headers.padding = Padding::None;
            }
        }
        if !headers.end_stream {
            self.open.push(stream);
        }
        headers
    }
}

/// The headers, and most of the time all that belongs to them.
fn push_headers(random: &mut fastrand::Rng, ids: &Ids, headers: Headers, steps: &mut Vec<Step>) {
    let (stream, parts) = (headers.stream, headers.parts);
    steps.push(Step::Send(Frame::Headers(headers)));
    for part in 1..parts {
        match random.u8(..24) {
            0 | 1 => steps.push(Step::Pause),
            2 if ids.wild => steps.push(Step::Send(Frame::Ping { ack: false })),
            3 if ids.wild => return,
            _ => {}
        }
        let stream = if ids.wild && random.u8(..30) == 0 { stream + 2 } else { stream };
        let end = part + 1 == parts;
        steps.push(Step::Send(Frame::Continuation { stream, end }));
    }
}

/// A stream that h2 resets before it opens, and what may come for it then.
fn push_reset_before_open(random: &mut fastrand::Rng, ids: &mut Ids, steps: &mut Vec<Step>) {
    let stream = ids.new_one(random);
    let mut headers = ids.headers(random, stream);
    headers.parts = 2;
    match random.u8(..4) {
        0 => steps.push(Step::Send(Frame::Priority { stream, on: stream })),
        // Without its other part.
        1 => {
            headers.on = Some(stream);
            steps.push(Step::Send(Frame::Headers(headers)));
        }
        2 => {
            headers.block = Block::Connection;
            steps.push(Step::Send(Frame::Headers(headers)));
        }
        _ => {
            headers.on = Some(stream);
            headers.parts = 1;
            push_headers(random, ids, headers, steps);
        }
    }
    if random.u8(..4) > 0 {
        steps.push(Step::Pause);
    }
    if random.bool() {
        steps.push(Step::Send(Frame::Reset { stream, code: 8 }));
        if random.bool() {
            steps.push(Step::Pause);
        }
    }
    if random.u8(..4) > 0 {
        let headers = ids.headers(random, stream);
        push_headers(random, ids, headers, steps);
    }
}

fn push_random(random: &mut fastrand::Rng, ids: &mut Ids, steps: &mut Vec<Step>) {
    let old = ids.old_one(random);
    let wild = ids.wild;
    let frame = match random.u8(..64) {
        0..14 => {
            let stream = ids.new_one(random);
            let headers = ids.headers(random, stream);
            return push_headers(random, ids, headers, steps);
        }
        14..24 => return steps.push(Step::Pause),
        24..31 => return steps.push(Step::Release),
        31..39 => {
            let Some(stream) = ids.open_one(random) else { return };
            let frame = Frame::random_data(random, stream, wild);
            ids.ended(stream, matches!(frame, Frame::Data { end: true, .. }));
            frame
        }
        39..42 => {
            let Some(stream) = ids.open_one(random) else { return };
            let end_stream = !wild || random.u8(..6) > 0;
            let headers =
                Headers { block: Block::Trailers, end_stream, ..ids.headers(random, stream) };
            ids.ended(stream, true);
            return push_headers(random, ids, headers, steps);
        }
        42..48 if wild || !ids.used.is_empty() => {
            ids.ended(old, true);
            Frame::Reset { stream: old, code: one_of(random, &[0, 1, 5, 8]) }
        }
        // Of one that is open, of one that is not; and on itself.
        48..51 => {
            let stream = one_of(random, &[old, ids.next]);
            Frame::Priority { stream, on: one_of(random, &[0, stream, 1]) }
        }
        51 => Frame::Settings(match random.u8(..6) {
            0 => Some((0x3, 0)),
            1 | 2 => Some((0x4, one_of(random, &[0, 10, 70_000]))),
            3 => Some((0x2, 0)),
            4 => Some((0x99, 7)),
            _ if wild => None,
            _ => Some((0x5, 20_000)),
        }),
        52 if wild => Frame::SettingsAck,
        53 => Frame::Ping { ack: random.u8(..4) == 0 },
        54 if random.u8(..4) == 0 => Frame::GoAway { last: 0, code: one_of(random, &[0, 0, 1]) },
        55..58 if wild => Frame::WindowUpdate {
            stream: one_of(random, &[0, old, old]),
            increment: one_of(random, &[0, 1, 70_000, 200_000, 0x7fff_ffff]),
        },
        55..58 if !ids.used.is_empty() => Frame::WindowUpdate {
            stream: one_of(random, &[0, old]),
            increment: one_of(random, &[1, 70_000, 200_000]),
        },
        58 if wild => Frame::PushPromise { stream: old },
        59 => Frame::Unknown { kind: 0xbe, flags: random.u8(..), stream: old },
        60 if wild => Frame::Continuation { stream: old, end: random.bool() },
        61 => return push_reset_before_open(random, ids, steps),
        _ => return,
    };
    steps.push(Step::Send(frame));
}

impl search::Script for Script {
    fn random(random: &mut fastrand::Rng) -> Self {
        let kinds = Kind::all();
        let mut kind = one_of(random, &kinds);
        if kind.is_tls() && random.u8(..3) > 0 {
            kind = Kind::Tower;
        }
        let wild = random.u8(..4) == 0;
        let mut ids = Ids { used: Vec::new(), open: Vec::new(), next: 1, wild };
        let mut steps = Vec::new();
        let count = random.usize(4..30);
        while steps.len() < count {
            push_random(random, &mut ids, &mut steps);
        }
        steps.push(Step::Pause);
        Self { kind, settings: random.u8(..10) > 0, steps }
    }

    fn len(&self) -> usize {
        self.steps.iter().filter(|step| **step == Step::Pause).count()
    }

    fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        // Without the second half, and without each step.
        let half = self.steps[..self.steps.len() / 2].iter().cloned().chain([Step::Pause]);
        all.push(Self { steps: half.collect(), ..self.clone() });
        for index in 0..self.steps.len() {
            let mut steps = self.steps.clone();
            steps.remove(index);
            all.push(Self { steps, ..self.clone() });
        }
        all.push(Self { kind: Kind::Tower, ..self.clone() });
        all.push(Self { settings: true, ..self.clone() });
        for (index, step) in self.steps.iter().enumerate() {
            for step in smaller(step) {
                let mut steps = self.steps.clone();
                steps[index] = step;
                all.push(Self { steps, ..self.clone() });
            }
        }
        all.retain(|smaller| smaller != self);
        all
    }

    fn run(&self) -> Result<(), search::Fault> {
        super::run::run(self)
    }
}

fn smaller(step: &Step) -> Vec<Step> {
    match step {
        Step::Send(Frame::Headers(headers)) => {
            let this = || headers.clone();
            let all = [
                Headers { path: "/now", ..this() },
                Headers { length: None, ..this() },
                Headers { padding: Padding::None, ..this() },
                Headers { on: None, ..this() },
                Headers { parts: 1, ..this() },
                Headers { block: Block::Get, ..this() },
                Headers { end_stream: true, ..this() },
            ];
            all.into_iter().map(|headers| Step::Send(Frame::Headers(headers))).collect()
        }
        Step::Send(Frame::Data { stream, length, end, padding }) => {
            let data = |length, padding| {
                Step::Send(Frame::Data { stream: *stream, length, end: *end, padding })
            };
            vec![data(0, *padding), data(*length, Padding::None)]
        }
        _ => Vec::new(),
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = if self.settings { " SETTINGS" } else { "" };
        writeln!(f, "  {:?}: preface{settings}", self.kind)?;
        for step in &self.steps {
            match step {
                Step::Send(Frame::Headers(headers)) => {
                    let plain = Headers {
                        stream: headers.stream,
                        block: headers.block,
                        path: headers.path,
                        length: None,
                        end_stream: headers.end_stream,
                        parts: 1,
                        padding: Padding::None,
                        on: None,
                    };
                    let Headers { stream, block, path, end_stream, .. } = headers;
                    let end = if *end_stream { " END_STREAM" } else { "" };
                    write!(f, "  HEADERS({stream}) {block:?} {path}{end}")?;
                    if *headers != plain {
                        let Headers { length, parts, padding, on, .. } = headers;
                        write!(
                            f,
                            " length {length:?} parts {parts} padding {padding:?} on {on:?}"
                        )?;
                    }
                    writeln!(f)?;
                }
                Step::Send(frame) => writeln!(f, "  {frame:?}")?,
                Step::Release | Step::Pause => writeln!(f, "  {step:?}")?,
            }
        }
        Ok(())
    }
}
