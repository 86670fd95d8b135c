//! What the input says: a set-up, then what the client sends, with orders to
//! the client, the handlers and the program in between.

use crate::service::NewOwner;

/// Stands before an order; hardly ever found in HTTP.
const ESCAPE: u8 = 0xf7;

pub struct Script<'a> {
    pub protocols: Protocols,
    pub half_close: bool,
    pub pipeline_flush: bool,
    pub keep_alive: bool,
    pub vectored: bool,
    pub layered: bool,
    pub few_streams: bool,
    pub hook: HookDoes,
    pub owner: NewOwner,
    /// How many bytes the server reads at once.
    pub piece: usize,
    rest: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    Both,
    Http1,
    Http2,
}

/// What the hook does besides checking.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum HookDoes {
    Nothing,
    ClosesWhenIdle,
    Panics,
    ClosesWhenActive,
}

pub enum Step {
    /// The client sends a byte.
    Send(u8),
    /// What was sent before and what follows is read in two reads.
    Cut,
    /// The client waits for all to come to rest.
    Pause,
    Eof,
    Reset,
    WritesFail,
    /// The client reads so many bytes, and no more for now.
    Room(usize),
    /// The server's writes are taken in pieces.
    Pieces(usize),
    FlushWaits(bool),
    /// A handler that waits goes on, or so many.
    OpenGate(usize),
    /// The connection's task is dropped.
    Abort,
    /// The program closes the connection.
    Close,
    /// hyper is told to finish.
    ShutDownGracefully,
}

impl<'a> Script<'a> {
    pub fn new(input: &'a [u8]) -> Option<Self> {
        let ([server, more, rest @ ..], true) = (input, input.len() <= 4096) else { return None };
        let bit = |place: u8| server >> place & 1 == 1;
        Some(Self {
            protocols: match server & 3 {
                0 | 1 => Protocols::Both,
                2 => Protocols::Http1,
                _ => Protocols::Http2,
            },
            half_close: bit(2),
            pipeline_flush: bit(3),
            keep_alive: !bit(4),
            vectored: bit(5),
            layered: !bit(6),
            few_streams: bit(7),
            hook: match more & 7 {
                1 => HookDoes::ClosesWhenIdle,
                2 => HookDoes::Panics,
                3 => HookDoes::ClosesWhenActive,
                _ => HookDoes::Nothing,
            },
            owner: match more >> 3 & 3 {
                0 => NewOwner::Echoes,
                1 => NewOwner::Keeps,
                2 => NewOwner::Drops,
                _ => NewOwner::Nobody,
            },
            piece: match more >> 5 {
                0..=4 => usize::MAX,
                5 => 1,
                6 => 7,
                _ => 100,
            },
            rest,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }
}

impl Iterator for Script<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let byte = self.byte()?;
        if byte != ESCAPE {
            return Some(Step::Send(byte));
        }
        Some(match self.byte().unwrap_or(0) {
            0 => Step::Pause,
            1 => Step::Cut,
            2 => Step::Eof,
            3 => Step::Reset,
            4 => Step::WritesFail,
            5 => Step::Room(usize::from(self.byte().unwrap_or(0)) * 16),
            6 => Step::Room(usize::MAX),
            7 => Step::Pieces(usize::from(self.byte().unwrap_or(0)) * 8 + 8),
            8 => Step::FlushWaits(true),
            9 => Step::FlushWaits(false),
            10 => Step::OpenGate(1),
            11 => Step::OpenGate(1000),
            12 => Step::Abort,
            13 => Step::Close,
            14 => Step::ShutDownGracefully,
            byte => Step::Send(byte),
        })
    }
}
