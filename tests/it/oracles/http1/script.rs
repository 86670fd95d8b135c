//! What happens on one connection.

use std::fmt;

use super::answer::{Answer, Body, Length, Reading};
use super::request::{Expect, Framing, Request};
use crate::oracles::search::{self, one_of};
use crate::support::Kind;

#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    pub kind: Kind,
    pub exchanges: Vec<Exchange>,
    /// The program closes the connection at this Idle, counted from 1.
    pub close_at: Option<usize>,
    pub end: End,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    pub request: Request,
    pub answer: Answer,
    /// The client pauses in the head.
    pub cut_head: bool,
    /// In how many pieces the body comes, with a pause before each; 0 if it
    /// comes with the head.
    pub pieces: usize,
    /// What the handler waits for comes before the rest of the body.
    pub early: bool,
    /// The client reads nothing until all has been sent, then slowly.
    pub slow: bool,
    pub next: Next,
    /// A plain GET is sent behind it, to see if it is answered. The last one of
    /// a script is always followed by one.
    pub probe: bool,
}

/// When the next request comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// When all is over.
    After,
    /// In one go with what is sent last.
    Glued,
    /// When all is sent, but what the handler waits for has not come.
    Meanwhile,
}

/// How the client leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Closes,
    HalfCloses,
}

impl Exchange {
    pub const PLAIN: Self = Self {
        request: Request::GET,
        answer: Answer::PLAIN,
        cut_head: false,
        pieces: 0,
        early: false,
        slow: false,
        next: Next::After,
        probe: false,
    };

    /// Some are near to what was once reported wrongly.
    fn random(random: &mut fastrand::Rng) -> Self {
        let mut exchange = Self::any(random);
        let Self { request, answer, pieces, slow, next, .. } = &mut exchange;
        match random.u8(..12) {
            // What hyper refuses to encode, with or without a 100 before.
            0 => {
                (request.method, request.framing) = ("POST", Framing::Length);
                request.expect = one_of(random, &[Expect::No, Expect::Patient, Expect::Patient]);
                (answer.body, answer.length) = (Body::Unknown, Length::Conflicting);
                (answer.status, answer.reading, *pieces) = (200, Reading::All, 1);
            }
            // An answer that waits for a client which reads late.
            1 => {
                (request.method, request.framing) = ("POST", Framing::Length);
                (answer.body, answer.size) = (Body::Full, 200_000);
                answer.reading = one_of(random, &[Reading::Detached, Reading::Not, Reading::All]);
                (*pieces, *slow, *next) = (1, true, Next::Glued);
            }
            _ => {}
        }
        *answer = answer.clone().consistent();
        exchange
    }

    fn any(random: &mut fastrand::Rng) -> Self {
        Self {
            request: Request::random(random),
            answer: Answer::random(random),
            cut_head: random.u8(..16) == 0,
            pieces: one_of(random, &[0, 0, 1, 1, 2]),
            early: random.bool(),
            slow: random.u8(..5) == 0,
            next: one_of(random, &[Next::After, Next::After, Next::Glued, Next::Meanwhile]),
            probe: random.bool(),
        }
    }

    /// Whether a task has the body, and waits.
    pub fn holds_body(&self) -> bool {
        matches!(self.answer.reading, Reading::DetachedLater | Reading::HeldAndDropped)
            && self.request.has_body()
    }

    /// What is sent, with a pause behind each.
    pub fn parts(&self, index: usize) -> Vec<Vec<u8>> {
        let head = self.request.head(index);
        let body = self.request.body();
        let mut parts = if self.cut_head {
            let (start, end) = head.split_at(head.len() / 2);
            vec![start.to_vec(), end.to_vec()]
        } else {
            vec![head]
        };
        let pieces = match self.request.expect {
            _ if self.request.framing == Framing::TooLong => 0,
            Expect::Patient => self.pieces.max(1),
            _ => self.pieces,
        };
        if body.is_empty() {
            return parts;
        }
        if pieces == 0 {
            parts.last_mut().unwrap().extend(body);
        } else {
            parts.extend(body.chunks(body.len().div_ceil(pieces)).map(<[u8]>::to_vec));
        }
        parts
    }

    /// How many of these belong to the head.
    pub fn head_parts(&self) -> usize {
        1 + usize::from(self.cut_head)
    }

    fn smaller(&self) -> Vec<Self> {
        let requests = self.request.smaller().into_iter();
        let mut all: Vec<_> = requests.map(|request| Self { request, ..self.clone() }).collect();
        let answers = self.answer.smaller().into_iter();
        all.extend(answers.map(|answer| Self { answer, ..self.clone() }));
        all.extend([
            Self::PLAIN,
            Self { cut_head: false, ..self.clone() },
            Self { pieces: 0, ..self.clone() },
            Self { pieces: self.pieces.min(1), ..self.clone() },
            Self { early: false, ..self.clone() },
            Self { slow: false, ..self.clone() },
            Self { next: Next::After, ..self.clone() },
            Self { probe: false, ..self.clone() },
        ]);
        all.retain(|smaller| smaller != self);
        all
    }
}

impl search::Script for Script {
    fn random(random: &mut fastrand::Rng) -> Self {
        let kinds = Kind::all();
        let mut kind = one_of(random, &kinds);
        // Cryptography takes its time where nothing is optimised.
        if kind.is_tls() && random.u8(..3) > 0 {
            kind = Kind::Tower;
        }
        let count = random.usize(1..=4);
        Self {
            kind,
            exchanges: (0..count).map(|_| Exchange::random(random)).collect(),
            close_at: (random.u8(..6) == 0).then(|| random.usize(1..=count)),
            end: if random.bool() { End::Closes } else { End::HalfCloses },
        }
    }

    fn len(&self) -> usize {
        self.exchanges.len()
    }

    fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for index in 0..self.exchanges.len() {
            if self.exchanges.len() > 1 {
                let mut exchanges = self.exchanges.clone();
                exchanges.remove(index);
                all.push(Self { exchanges, ..self.clone() });
            }
        }
        all.push(Self { kind: Kind::Tower, ..self.clone() });
        all.push(Self { close_at: None, ..self.clone() });
        all.push(Self { end: End::Closes, ..self.clone() });
        for (index, exchange) in self.exchanges.iter().enumerate() {
            for smaller in exchange.smaller() {
                let mut exchanges = self.exchanges.clone();
                exchanges[index] = smaller;
                all.push(Self { exchanges, ..self.clone() });
            }
        }
        all.retain(|smaller| smaller != self);
        all
    }

    fn run(&self) -> Result<(), search::Fault> {
        super::run::run(self)
    }
}

/// What is not as in [`Exchange::PLAIN`].
impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:?}", self.kind)?;
        if let Some(number) = self.close_at {
            write!(f, ", closed by the program at Idle {number}")?;
        }
        writeln!(f, ", the client {:?} at the end", self.end)?;
        for (index, exchange) in self.exchanges.iter().enumerate() {
            let plain = differences(&format!("{:?}", Exchange::PLAIN), &format!("{exchange:?}"));
            writeln!(f, "  e{index}: {plain}")?;
            for part in exchange.parts(index) {
                writeln!(f, "      sends {}", excerpt(&part))?;
            }
        }
        Ok(())
    }
}

/// Of two values printed in the same way, the fields that differ.
fn differences(plain: &str, other: &str) -> String {
    let fields = |text: &str| -> Vec<String> {
        text.split([',', '{', '}']).map(|field| field.trim().to_owned()).collect()
    };
    let (plain, other) = (fields(plain), fields(other));
    let different: Vec<_> = other
        .into_iter()
        .filter(|field| field.contains(':') && !field.ends_with(':') && !plain.contains(field))
        .collect();
    if different.is_empty() { "plain".to_owned() } else { different.join(", ") }
}

fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= 400 {
        return format!("{text:?}");
    }
    format!("{:?}… ({} bytes) …{:?}", &text[..300], bytes.len(), &text[text.len() - 20..])
}
