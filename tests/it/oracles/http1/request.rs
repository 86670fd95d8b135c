//! What the client asks.

use std::fmt::Write;

use crate::oracles::search::one_of;

/// A request's head and body.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub method: &'static str,
    pub http10: bool,
    pub connection: Option<&'static str>,
    pub framing: Framing,
    pub body: usize,
    pub expect: Expect,
    pub upgrade: bool,
}

/// What is said of the body's length, and what comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Framing {
    None,
    Length,
    Chunked,
    ChunkedTrailers,
    LengthAndChunked,
    LengthTwice,
    /// Two lengths that differ.
    Conflicting,
    /// A coding that is not `chunked`.
    UnknownCoding,
    /// A chunk whose size is none, after the first.
    BadChunk,
    /// The length says more than what comes.
    TooShort,
    /// More comes, in one go with it, and that is no request.
    TooLong,
    /// No last chunk.
    NoEnd,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expect {
    No,
    /// The body comes all the same.
    Impatient,
    /// The body comes if it is asked for.
    Patient,
}

/// How much of a body is missing that is too short. More than clients may leave
/// out of its head (the spaces behind colons), which are not told from that.
const MISSING: usize = 1_000;

impl Request {
    pub const GET: Self = Self {
        method: "GET",
        http10: false,
        connection: None,
        framing: Framing::None,
        body: 0,
        expect: Expect::No,
        upgrade: false,
    };

    pub fn random(random: &mut fastrand::Rng) -> Self {
        use Framing::*;
        let method = one_of(random, &["GET", "GET", "HEAD", "POST", "POST", "POST", "PUT"]);
        let with_body = method == "POST" || method == "PUT" || random.u8(..10) == 0;
        let framing = match random.u8(..40) {
            _ if !with_body => None,
            0..14 => Length,
            14..26 => Chunked,
            26..28 => ChunkedTrailers,
            28..32 => LengthAndChunked,
            32 => LengthTwice,
            33 => Conflicting,
            34 => UnknownCoding,
            35 => BadChunk,
            36 => TooShort,
            37 => TooLong,
            38 => NoEnd,
            _ => None,
        };
        let body = match framing {
            None => 0,
            _ => one_of(random, &[0, 1, 5, 5, 300, 5_000, 100_000]),
        };
        let expect = match random.u8(..8) {
            0 if with_body => Expect::Impatient,
            1 if with_body => Expect::Patient,
            _ => Expect::No,
        };
        Self {
            method: if random.u8(..25) == 0 { "CONNECT" } else { method },
            http10: random.u8(..12) == 0,
            connection: match random.u8(..16) {
                0 => Some("close"),
                1 | 2 => Some("keep-alive"),
                _ => Option::None,
            },
            framing,
            body,
            expect,
            upgrade: random.u8(..12) == 0,
        }
    }

    /// Whether hyper still waits for bytes when all that the client has are
    /// sent.
    pub fn is_short(&self) -> bool {
        matches!(self.framing, Framing::TooShort | Framing::NoEnd)
    }

    /// Whether hyper hands it to a handler.
    pub fn is_well_formed(&self) -> bool {
        use Framing::*;
        match self.framing {
            Conflicting | UnknownCoding => false,
            None | Length | LengthTwice | TooLong | TooShort => true,
            Chunked | ChunkedTrailers | LengthAndChunked | BadChunk | NoEnd => !self.http10,
        }
    }

    /// Whether there is a body for a handler to read.
    pub fn has_body(&self) -> bool {
        match self.framing {
            Framing::None => false,
            Framing::Length | Framing::LengthTwice | Framing::TooLong => self.body > 0,
            _ => true,
        }
    }

    pub fn head(&self, index: usize) -> Vec<u8> {
        let version = if self.http10 { "1.0" } else { "1.1" };
        let target =
            if self.method == "CONNECT" { format!("e{index}:443") } else { format!("/e{index}") };
        let mut head = format!("{} {target} HTTP/{version}\r\nhost: test\r\n", self.method);
        let mut header = |name: &str, value: &dyn std::fmt::Display| {
            write!(head, "{name}: {value}\r\n").unwrap();
        };
        let length = self.body;
        match self.framing {
            Framing::None => {}
            Framing::LengthTwice => {
                header("content-length", &length);
                header("content-length", &length);
            }
            Framing::Conflicting => {
                header("content-length", &length);
                header("content-length", &(length + 1));
            }
            Framing::TooShort => header("content-length", &(length + MISSING)),
            Framing::Length | Framing::TooLong => header("content-length", &length),
            Framing::LengthAndChunked => {
                header("content-length", &length);
                header("transfer-encoding", &"chunked");
            }
            Framing::UnknownCoding => header("transfer-encoding", &"odd"),
            Framing::Chunked | Framing::BadChunk | Framing::NoEnd => {
                header("transfer-encoding", &"chunked");
            }
            Framing::ChunkedTrailers => {
                header("trailer", &"x-sum");
                header("transfer-encoding", &"chunked");
            }
        }
        if self.expect != Expect::No {
            header("expect", &"100-continue");
        }
        let connection = self.connection.into_iter().chain(self.upgrade.then_some("upgrade"));
        let connection: Vec<_> = connection.collect();
        if !connection.is_empty() {
            header("connection", &connection.join(", "));
        }
        if self.upgrade {
            header("upgrade", &"echo");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    pub fn body(&self) -> Vec<u8> {
        let plain = vec![b'b'; self.body];
        match self.framing {
            Framing::None => Vec::new(),
            Framing::Length | Framing::LengthTwice | Framing::Conflicting | Framing::TooShort => {
                plain
            }
            Framing::UnknownCoding => plain,
            Framing::TooLong => [&plain[..], b"!\r\n\r\n"].concat(),
            Framing::Chunked | Framing::LengthAndChunked => {
                [&chunks(&plain), &b"0\r\n\r\n"[..]].concat()
            }
            Framing::ChunkedTrailers => [&chunks(&plain), &b"0\r\nx-sum: 1\r\n\r\n"[..]].concat(),
            Framing::BadChunk => [&chunks(&plain), &b"none\r\n"[..]].concat(),
            Framing::NoEnd => chunks(&plain),
        }
    }

    pub fn smaller(&self) -> Vec<Self> {
        let plain = Self::GET;
        let mut all = Vec::new();
        let mut add = |smaller: Self| {
            if smaller != *self {
                all.push(smaller);
            }
        };
        add(plain);
        add(Self { method: if self.has_body() { "POST" } else { "GET" }, ..self.clone() });
        add(Self { http10: false, ..self.clone() });
        add(Self { connection: None, ..self.clone() });
        add(Self { framing: Framing::None, body: 0, ..self.clone() });
        if self.framing != Framing::None {
            add(Self { framing: Framing::Length, ..self.clone() });
        }
        if self.body > 5 {
            add(Self { body: 5, ..self.clone() });
        }
        add(Self { expect: Expect::No, ..self.clone() });
        add(Self { upgrade: false, ..self.clone() });
        all
    }
}

fn chunks(body: &[u8]) -> Vec<u8> {
    let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    body.chunks(body.len().div_ceil(2).max(1)).flat_map(chunk).collect()
}
