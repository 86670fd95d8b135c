//! What a client may send, right and wrong.

use crate::oracles::search::one_of;
use crate::support::frames::{END_HEADERS, END_STREAM, frame};

const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    Headers(Headers),
    /// The next part of the header block that is open, or nothing of any.
    Continuation {
        stream: u32,
        end: bool,
    },
    Data {
        stream: u32,
        length: usize,
        end: bool,
        padding: Padding,
    },
    Priority {
        stream: u32,
        on: u32,
    },
    Reset {
        stream: u32,
        code: u32,
    },
    /// An identifier and a value; `None` is a payload of five bytes.
    Settings(Option<(u16, u32)>),
    SettingsAck,
    Ping {
        ack: bool,
    },
    GoAway {
        last: u32,
        code: u32,
    },
    WindowUpdate {
        stream: u32,
        increment: u32,
    },
    PushPromise {
        stream: u32,
    },
    Unknown {
        kind: u8,
        flags: u8,
        stream: u32,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Headers {
    pub stream: u32,
    pub block: Block,
    pub path: &'static str,
    /// What `content-length` says.
    pub length: Option<usize>,
    pub end_stream: bool,
    /// In how many frames: see [`Headers::parts`].
    pub parts: usize,
    pub padding: Padding,
    /// The stream that it depends on, where it says so.
    pub on: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Block {
    Get,
    Post,
    Connect,
    Trailers,
    /// A name in upper case.
    UpperCase,
    /// No `:path`.
    NoPath,
    /// A field that HTTP/2 does not have.
    Connection,
    /// What HPACK cannot decode.
    Undecodable,
    /// More than the server takes.
    Huge,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Padding {
    None,
    Some,
    /// More than the frame has.
    TooMuch,
}

/// The handlers that there are: see [`super::handler`].
pub const PATHS: &[&str] = &[
    "/now",
    "/now",
    "/wait",
    "/wait",
    "/never",
    "/big",
    "/echo",
    "/early",
    "/detach",
    "/fails",
    "/panics",
    "/trailers",
    "/halts",
];

impl Headers {
    pub fn random(random: &mut fastrand::Rng, stream: u32) -> Self {
        use Block::*;
        let block = match random.u8(..40) {
            0..16 => Get,
            16..32 => Post,
            32 => Connect,
            33 => Trailers,
            34 | 35 => UpperCase,
            36 => NoPath,
            37 => Connection,
            38 if random.bool() => Undecodable,
            39 if random.bool() => Huge,
            _ => Post,
        };
        Self {
            stream,
            block,
            path: one_of(random, PATHS),
            length: (random.u8(..10) == 0).then(|| random.usize(..12)),
            end_stream: block == Trailers || random.bool(),
            parts: one_of(random, &[1, 1, 1, 1, 2, 3]),
            padding: Padding::random(random),
            on: match random.u8(..12) {
                0 => Some(0),
                1 => Some(stream),
                2 => Some(stream + 2),
                _ => Option::None,
            },
        }
    }

    /// Whether h2 resets the stream for it.
    pub fn is_malformed(&self) -> bool {
        use Block::*;
        self.on == Some(self.stream) || !matches!(self.block, Get | Post | Connect | Trailers)
    }

    /// The parts of the block: of two, each has whole fields; of more, they may
    /// be cut anywhere.
    fn parts(&self) -> Vec<Vec<u8>> {
        let fields = self.fields();
        if self.parts == 2 {
            let (start, end) = fields.split_at(fields.len() / 2);
            return vec![start.concat(), end.concat()];
        }
        let block = fields.concat();
        let length = block.len().div_ceil(self.parts).max(1);
        block.chunks(length).map(<[u8]>::to_vec).collect()
    }

    fn fields(&self) -> Vec<Vec<u8>> {
        let mut fields = Vec::new();
        let mut literal = |name: &[u8], value: &str| {
            fields.push([name, &[value.len() as u8], value.as_bytes()].concat());
        };
        if self.block == Block::Trailers {
            literal(b"\x00\x05x-sum", "1");
            return fields;
        }
        match self.block {
            Block::UpperCase => literal(b"\x00\x05X-Sum", "1"),
            Block::Connection => literal(b"\x00\x0aconnection", "close"),
            _ => {}
        }
        let method = match self.block {
            Block::Get => "GET",
            Block::Connect => "CONNECT",
            _ => "POST",
        };
        literal(b"\x02", method);
        literal(b"\x01", "test:1");
        if self.block != Block::Connect {
            literal(b"\x06", "http");
            if self.block != Block::NoPath {
                literal(b"\x04", self.path);
            }
        }
        if let Some(length) = self.length {
            literal(b"\x0f\x0d", &length.to_string());
        }
        match self.block {
            Block::Undecodable => literal(b"\x80", ""),
            Block::Huge => {
                for _ in 0..160 {
                    literal(b"\x00\x05x-big", &"x".repeat(120));
                }
            }
            _ => {}
        }
        fields
    }
}

impl Padding {
    fn random(random: &mut fastrand::Rng) -> Self {
        match random.u8(..30) {
            0..4 => Self::Some,
            4 => Self::TooMuch,
            _ => Self::None,
        }
    }

    fn put(self, flags: &mut u8, payload: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Some => {
                *flags |= PADDED;
                payload.insert(0, 3);
                payload.extend([0; 3]);
            }
            Self::TooMuch => {
                *flags |= PADDED;
                payload.insert(0, 255);
                payload.truncate(100);
            }
        }
    }
}

/// Where a client stands: what is left of an open header block.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    left: Vec<Vec<u8>>,
    open: bool,
}

impl Encoder {
    /// A header block has begun and not ended.
    pub fn is_open(&self) -> bool {
        self.open
    }

    pub fn encode(&mut self, what: &Frame) -> Vec<u8> {
        match *what {
            Frame::Headers(ref headers) => {
                let mut parts = headers.parts();
                let mut payload = parts.remove(0);
                parts.reverse();
                self.open = !parts.is_empty();
                let mut flags = 0;
                if headers.end_stream {
                    flags |= END_STREAM;
                }
                if parts.is_empty() {
                    flags |= END_HEADERS;
                }
                self.left = parts;
                if let Some(on) = headers.on {
                    flags |= PRIORITY;
                    payload.splice(..0, [&on.to_be_bytes()[..], &[16]].concat());
                }
                headers.padding.put(&mut flags, &mut payload);
                frame(0x1, flags, headers.stream, &payload)
            }
            Frame::Continuation { stream, end } => {
                let mut payload = self.left.pop().unwrap_or_default();
                if end {
                    // All that is left.
                    while let Some(part) = self.left.pop() {
                        payload.extend(part);
                    }
                    self.open = false;
                }
                frame(0x9, if end { END_HEADERS } else { 0 }, stream, &payload)
            }
            Frame::Data { stream, length, end, padding } => {
                let mut payload = vec![b'd'; length];
                let mut flags = if end { END_STREAM } else { 0 };
                padding.put(&mut flags, &mut payload);
                frame(0x0, flags, stream, &payload)
            }
            Frame::Priority { stream, on } => {
                frame(0x2, 0, stream, &[&on.to_be_bytes()[..], &[16]].concat())
            }
            Frame::Reset { stream, code } => frame(0x3, 0, stream, &code.to_be_bytes()),
            Frame::Settings(None) => frame(0x4, 0, 0, &[0; 5]),
            Frame::Settings(Some((name, value))) => {
                frame(0x4, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            }
            Frame::SettingsAck => frame(0x4, 0x1, 0, &[]),
            Frame::Ping { ack } => frame(0x6, u8::from(ack), 0, &[7; 8]),
            Frame::GoAway { last, code } => {
                frame(0x7, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
            }
            Frame::WindowUpdate { stream, increment } => {
                frame(0x8, 0, stream, &increment.to_be_bytes())
            }
            Frame::PushPromise { stream } => frame(0x5, END_HEADERS, stream, &[0, 0, 0, 2]),
            Frame::Unknown { kind, flags, stream } => frame(kind, flags, stream, b"unknown"),
        }
    }
}

impl Frame {
    pub fn random_data(random: &mut fastrand::Rng, stream: u32, wild: bool) -> Self {
        let padding = match Padding::random(random) {
            Padding::TooMuch if !wild => Padding::None,
            padding => padding,
        };
        Self::Data {
            stream,
            length: one_of(random, &[0, 1, 5, 5, 10, 3_000]),
            end: random.bool(),
            padding,
        }
    }
}
