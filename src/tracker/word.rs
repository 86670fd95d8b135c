//! How a tracker fits into one word.
//!
//! All that is known of a connection is one `u64`, so that threads can share
//! it without a lock: a fact is taken by reading the word, applying the rules
//! to the copy and putting the result in the place of what was read.

use crate::close_reason::Reason;
use crate::state::{ConnState, Protocol};

/// A tracker's fields, packed. It knows no rules.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

/// A range of bits.
#[derive(Clone, Copy)]
struct Field {
    at: u32,
    width: u32,
}

impl Field {
    const fn max(self) -> u64 {
        (1 << self.width) - 1
    }

    const fn after(self, width: u32) -> Self {
        Self { at: self.at + self.width, width }
    }
}

const STATE: Field = Field { at: 0, width: 3 };
const PROTOCOL: Field = STATE.after(2);
const STAGE: Field = PROTOCOL.after(2);
const CLOSING: Field = STAGE.after(2);
const REASON: Field = CLOSING.after(5);
const UNREPORTED: Field = REASON.after(6);
const EXCHANGE: Field = UNREPORTED.after(16);
const FLAGS: Field = EXCHANGE.after(Flag::ALL.len() as u32);

const _: () = assert!(FLAGS.at + FLAGS.width <= u64::BITS);
const _: () = assert!(Flag::ResponseFlushed as u32 + 1 == FLAGS.width);

/// Something that is so or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// This connection was kept after an answer, so the server keeps
    /// connections.
    KeptAlive,
    /// The end of file was read, or the server shut down: there is no next
    /// request to be idle for.
    NoNextRequest,
    /// Nothing more comes from the client.
    ReadEnded,
    /// A layer was called at least once.
    LayerCalled,
    /// The server writes something before any layer was called for what was
    /// read: hyper's own answer to a request that it does not take.
    RejectedByHyper,
    /// The stream carries TLS: what passes says nothing.
    BelowTls,
    Handshaking,
    /// `serve` polls the connection's future.
    Managed,
    /// This connection is drained by itself.
    Draining,
    /// All connections of its registry are drained.
    DrainingWithAll,
    /// The stream is gone, or out of sight.
    StreamGone,
    /// Someone is reporting.
    Reporting,
    /// HTTP/2: a frame header or a header block has begun and is not complete.
    HeaderBlockOpen,
    /// HTTP/2: the client has sent its first SETTINGS.
    SettingsReceived,
    /// HTTP/1: a whole head has been read, of a request that no layer has been
    /// called for yet.
    HeadRead,
    /// It is told that there is no room for it.
    Refused,
    /// What passes through the stream is counted.
    Watched,
    /// HTTP/1: answers say how long the connection is kept.
    SaysKeepAlive,

    // Of the request that was last begun.
    ResponseOpen,
    RequestBodyOpen,
    /// The request has a body of which nobody said that it was read to its
    /// end, and hyper has not looked for what is left of it.
    BodyMaybeUnread,
    /// The request has a body whose end nobody will record.
    BodyNotFollowed,
    /// The request had a body that was followed, and dropped before its end.
    BodyDropped,
    MayPersist,
    Upgraded,
    /// Bytes of the answer have been flushed.
    AnswerFlushed,
    /// All of the answer has been flushed.
    ResponseFlushed,
}

impl Flag {
    const ALL: [Self; 27] = [
        Self::KeptAlive,
        Self::NoNextRequest,
        Self::ReadEnded,
        Self::LayerCalled,
        Self::RejectedByHyper,
        Self::BelowTls,
        Self::Handshaking,
        Self::Managed,
        Self::Draining,
        Self::DrainingWithAll,
        Self::StreamGone,
        Self::Reporting,
        Self::HeaderBlockOpen,
        Self::SettingsReceived,
        Self::HeadRead,
        Self::Refused,
        Self::Watched,
        Self::SaysKeepAlive,
        Self::ResponseOpen,
        Self::RequestBodyOpen,
        Self::BodyMaybeUnread,
        Self::BodyNotFollowed,
        Self::BodyDropped,
        Self::MayPersist,
        Self::Upgraded,
        Self::AnswerFlushed,
        Self::ResponseFlushed,
    ];

    const fn bit(self) -> u64 {
        1 << (FLAGS.at + self as u32)
    }
}

/// Where an HTTP/1 connection is: drawn at the head of [the tracker](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No request is with the handler.
    BetweenRequests,
    /// The layer was called, and the answer is not all in the socket.
    Serving,
    /// The answer is in the socket; a read, the next request or the end of the
    /// poll will show that the connection is kept. If the request may be
    /// unread, the next read may be for the rest of it.
    Answered,
}

/// How a stream that the program closes has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Nothing that was reported as served is cut short: the client is told,
    /// and what has been written reaches it.
    Graceful,
    /// Everything fails.
    Abort,
}

impl Word {
    /// New, and nothing reported.
    pub(super) const fn new() -> Self {
        Self(0)
    }

    pub(super) const fn to_u64(self) -> u64 {
        self.0
    }

    pub(super) const fn from_u64(word: u64) -> Self {
        Self(word)
    }

    #[inline(always)]
    const fn get(self, field: Field) -> u64 {
        (self.0 >> field.at) & field.max()
    }

    #[inline(always)]
    fn set(&mut self, field: Field, value: u64) {
        debug_assert!(value <= field.max());
        self.0 = self.0 & !(field.max() << field.at) | value << field.at;
    }

    #[inline(always)]
    pub(super) fn has(self, flag: Flag) -> bool {
        self.0 & flag.bit() != 0
    }

    #[inline(always)]
    pub(super) fn put(&mut self, flag: Flag, value: bool) {
        self.0 = self.0 & !flag.bit() | u64::from(value) << (FLAGS.at + flag as u32);
    }

    #[inline(always)]
    pub(super) fn state(self) -> ConnState {
        ConnState::from_u8(self.get(STATE) as u8)
    }

    #[inline(always)]
    pub(super) fn is(self, state: ConnState) -> bool {
        self.get(STATE) as u8 == state.to_u8()
    }

    #[inline(always)]
    pub(super) fn is_terminal(self) -> bool {
        self.get(STATE) as u8 & ConnState::TERMINAL != 0
    }

    #[inline(always)]
    pub(super) fn set_state(&mut self, state: ConnState) {
        self.set(STATE, state.to_u8().into());
    }

    #[inline(always)]
    pub(super) fn protocol(self) -> Protocol {
        Protocol::from_u8(self.get(PROTOCOL) as u8)
    }

    #[inline(always)]
    pub(super) fn is_http2(self) -> bool {
        self.get(PROTOCOL) as u8 & Protocol::Http2.to_u8() != 0
    }

    pub(super) fn set_protocol(&mut self, protocol: Protocol) {
        self.set(PROTOCOL, protocol.to_u8().into());
    }

    #[inline(always)]
    pub(super) fn at(self, stage: Stage) -> bool {
        self.get(STAGE) == stage as u64
    }

    #[inline(always)]
    pub(super) fn stage(self) -> Stage {
        match self.get(STAGE) {
            0 => Stage::BetweenRequests,
            1 => Stage::Serving,
            _ => Stage::Answered,
        }
    }

    #[inline(always)]
    pub(super) fn set_stage(&mut self, stage: Stage) {
        self.set(STAGE, stage as u64);
    }

    #[inline(always)]
    pub(super) fn closing(self) -> Option<Closing> {
        match self.get(CLOSING) {
            0 => None,
            1 => Some(Closing::Graceful),
            _ => Some(Closing::Abort),
        }
    }

    #[inline(always)]
    pub(super) fn is_draining(self) -> bool {
        self.0 & (Flag::Draining.bit() | Flag::DrainingWithAll.bit()) != 0
    }

    /// The connection is neither drained nor closed, nor watched.
    #[inline(always)]
    pub(super) fn is_undisturbed(self) -> bool {
        const DISTURBED: u64 = CLOSING.max() << CLOSING.at
            | Flag::Draining.bit()
            | Flag::DrainingWithAll.bit()
            | Flag::Watched.bit();
        self.0 & DISTURBED == 0
    }

    /// Nothing has to be done to an answer's head.
    #[inline(always)]
    pub(super) fn leaves_answers_alone(self) -> bool {
        const TOUCHED: u64 =
            Flag::Draining.bit() | Flag::DrainingWithAll.bit() | Flag::SaysKeepAlive.bit();
        self.0 & TOUCHED == 0
    }

    #[inline(always)]
    pub(super) fn is_closing(self) -> bool {
        self.get(CLOSING) != 0
    }

    #[inline(always)]
    pub(super) fn has_reason(self) -> bool {
        self.get(REASON) != 0
    }

    pub(super) fn set_closing(&mut self, closing: Option<Closing>) {
        let closing = match closing {
            None => 0,
            Some(Closing::Graceful) => 1,
            Some(Closing::Abort) => 2,
        };
        self.set(CLOSING, closing);
    }

    #[inline(always)]
    pub(super) fn reason(self) -> Option<Reason> {
        Reason::from_u8(self.get(REASON) as u8)
    }

    #[inline(always)]
    pub(super) fn set_reason(&mut self, reason: Option<Reason>) {
        self.set(REASON, reason.map_or(0, |reason| reason as u64));
    }

    /// How many states lie between the one last taken for reporting and the
    /// one that the connection is in.
    #[inline(always)]
    pub(super) fn unreported(self) -> u64 {
        self.get(UNREPORTED)
    }

    /// One more, as far as there is room. Beyond that, pairs of states are
    /// lost, and where the way leads is not.
    #[cold]
    pub(super) fn add_unreported(&mut self) {
        let unreported = self.unreported();
        let room = unreported < UNREPORTED.max();
        self.set(UNREPORTED, if room { unreported + 1 } else { unreported - 1 });
    }

    #[inline(always)]
    pub(super) fn take_unreported(&mut self) {
        self.set(UNREPORTED, self.unreported() - 1);
    }

    /// The number of the request that is being served.
    #[inline(always)]
    pub(super) fn exchange(self) -> u16 {
        self.get(EXCHANGE) as u16
    }

    #[inline(always)]
    pub(super) fn next_exchange(&mut self) -> u16 {
        let exchange = self.exchange().wrapping_add(1);
        self.set(EXCHANGE, exchange.into());
        exchange
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flags: Vec<_> = Flag::ALL.into_iter().filter(|flag| self.has(*flag)).collect();
        f.debug_struct("Word")
            .field("state", &self.state())
            .field("unreported", &self.unreported())
            .field("protocol", &self.protocol())
            .field("stage", &self.stage())
            .field("exchange", &self.exchange())
            .field("closing", &self.closing())
            .field("reason", &self.reason())
            .field("flags", &flags)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch_each_other() {
        let mut word = Word::new();
        word.set_state(ConnState::Closed);
        word.set_protocol(Protocol::Http2);
        word.set_stage(Stage::Answered);
        word.set_closing(Some(Closing::Abort));
        word.set_reason(Some(Reason::Io));
        word.add_unreported();
        word.next_exchange();
        for flag in Flag::ALL {
            assert!(!word.has(flag));
            word.put(flag, true);
        }
        assert_eq!(word.state(), ConnState::Closed);
        assert_eq!(word.protocol(), Protocol::Http2);
        assert_eq!(word.stage(), Stage::Answered);
        assert_eq!(word.closing(), Some(Closing::Abort));
        assert_eq!(word.reason(), Some(Reason::Io));
        assert_eq!(word.unreported(), 1);
        assert_eq!(word.exchange(), 1);
        for flag in Flag::ALL {
            assert!(word.has(flag));
            word.put(flag, false);
        }
        assert_eq!(Word::from_u64(word.to_u64()), word);
    }

    #[test]
    fn exchanges_wrap() {
        let mut word = Word::new();
        for _ in 0..=u16::MAX {
            word.next_exchange();
        }
        assert_eq!(word.exchange(), 0);
        assert_eq!(word, Word::new());
    }

    /// A hook that falls behind for thousands of states loses pairs of them,
    /// and never the direction.
    #[test]
    fn unreported_states_saturate() {
        let mut word = Word::new();
        for _ in 0..10_001 {
            word.add_unreported();
        }
        assert_eq!(word.unreported() % 2, 1);
        assert!(word.unreported() >= UNREPORTED.max() - 1);
    }
}
