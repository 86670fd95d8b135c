//! What may be reported for a fact, what must be, and which facts mean
//! nothing.

use crate::tracker::{Effect, Exchange, Fact};
use crate::{ConnState, Protocol};

/// What the facts so far have said.
#[derive(Debug)]
pub(super) struct Expected {
    protocol: Protocol,
    newest: Exchange,
    /// The request that has not been followed by Idle.
    serving: Option<Serving>,
    /// There is no next request to be idle for.
    ending: bool,
    below_tls: bool,
    gone: bool,
    state: ConnState,
}

/// A request that began.
#[derive(Debug, Default)]
struct Serving {
    answered: bool,
    body_open: bool,
    upgraded: bool,
    /// Bytes were flushed.
    begun: bool,
    /// A flush came after the answer was.
    answer_flushed: bool,
    /// A flush came after all else was over.
    flushed: bool,
    /// How often a read found nothing after that.
    pending: u32,
    /// Bytes were read or written after that.
    read: bool,
}

impl Serving {
    fn is_over(&self) -> bool {
        self.answered && !self.body_open
    }
}

impl Expected {
    pub(super) fn new() -> Self {
        Self {
            protocol: Protocol::Unknown,
            newest: 0,
            serving: None,
            ending: false,
            below_tls: false,
            gone: false,
            state: ConnState::New,
        }
    }

    pub(super) fn newest(&self) -> Exchange {
        self.newest
    }

    /// Whether the fact is out of place: it has to change nothing.
    pub(super) fn is_out_of_place(&self, fact: Fact) -> bool {
        use Fact::*;
        let http2 = self.protocol == Protocol::Http2;
        let over = self.gone || self.state.is_terminal() || self.below_tls;
        match fact {
            StreamsOpened | StreamsClosed | HeaderBlock { .. } | SettingsReceived => !http2 || over,
            Http2Began => self.protocol != Protocol::Unknown || over,
            ResponseEnded { exchange, .. } => {
                let open = self.serving.as_ref().is_some_and(|serving| !serving.answered);
                http2 || over || exchange != self.newest || !open
            }
            RequestBodyEnded { exchange, .. } => {
                let open = self.serving.as_ref().is_some_and(|serving| serving.body_open);
                http2 || over || exchange != self.newest || !open
            }
            Http1Began
            | Read
            | ReadPending
            | Answering { .. }
            | Written
            | Flushed { .. }
            | HeadRead
            | RequestBegan(_)
            | RequestBodyFollowed
            | PollEnded => http2 || over,
            ReadBody | DataRead { .. } => true,
            TlsBegan => over,
            // For those who wait for a stream that is gone already.
            Drain { .. } => false,
            GoAwayReceived { .. }
            | TimedOut
            | Expired(_)
            | Refused
            | Watched
            | KeepAlive { .. }
            | DrainCancelled
            | GraceOver
            | ReadClosed
            | ReadFailed(_)
            | WriteFailed(_)
            | ShutDown
            | HandlerPanicked
            | ProtocolError
            | HandshakeBegan
            | HandshakeDone
            | Managed
            | Close(_)
            | CloseIfIdle
            | Detached
            | Dropped => self.gone,
        }
    }

    /// Takes a fact and what it led to, and panics if that is not right.
    pub(super) fn take(&mut self, fact: Fact, effect: Effect, states: &[ConnState]) {
        // Which one began first counts; the stream may be gone, but then
        // nothing else does.
        self.protocol = match (self.protocol, fact) {
            (Protocol::Unknown, Fact::Http1Began) => Protocol::Http1,
            (Protocol::Unknown, Fact::Http2Began) => Protocol::Http2,
            (protocol, _) => protocol,
        };
        for state in states {
            self.check_cause(fact, *state);
            self.state = *state;
        }
        self.note(fact, effect);
        self.check_missing(fact, effect);
    }

    /// Whether this state may be reported for this fact.
    fn check_cause(&mut self, fact: Fact, state: ConnState) {
        let http2 = self.protocol == Protocol::Http2;
        let caused = match (state, fact) {
            (ConnState::Active, Fact::StreamsOpened | Fact::Http2Began) => http2,
            (ConnState::Active, Fact::Read | Fact::RequestBegan(_)) => !http2,
            (ConnState::Idle, Fact::StreamsClosed | Fact::Http2Began) => http2,
            // hyper went on to a request that was in its buffer.
            (ConnState::Idle, Fact::RequestBegan(_)) => {
                !http2 && self.serving.take().is_some_and(|serving| serving.answer_flushed)
            }
            (
                ConnState::Idle,
                Fact::Flushed { .. }
                | Fact::ReadPending
                | Fact::Read
                | Fact::Written
                | Fact::PollEnded
                // They found a connection that was kept.
                | Fact::ReadClosed
                | Fact::ReadFailed(_),
            ) => {
                let now = matches!(fact, Fact::Flushed { .. });
                let served = self.serving.take().is_some_and(|serving| {
                    let begun = serving.begun || fact == Fact::Flushed { bytes: true };
                    serving.is_over() && begun && (serving.flushed || now) && !serving.upgraded
                });
                !http2 && served && !self.ending
            }
            (ConnState::Hijacked, Fact::Flushed { bytes }) => {
                self.serving.take().is_some_and(|serving| {
                    serving.answered && serving.upgraded && (serving.begun || bytes)
                })
            }
            (ConnState::Active | ConnState::Hijacked, Fact::Detached) => true,
            (ConnState::Closed, Fact::Dropped) => true,
            _ => false,
        };
        assert!(caused, "{state} for {fact:?}, after {self:?}");
    }

    fn note(&mut self, fact: Fact, effect: Effect) {
        use Fact::*;
        match fact {
            TlsBegan => self.below_tls |= effect == Effect::BelowTls,
            ReadClosed | ReadFailed(_) | WriteFailed(_) | ShutDown => self.ending = true,
            Dropped | Detached => self.gone = true,
            _ => {}
        }
        match (fact, effect) {
            (RequestBegan(_), Effect::Begun(exchange)) => {
                assert_eq!(exchange, self.newest.wrapping_add(1));
                self.newest = exchange;
                self.serving = Some(Serving::default());
            }
            (RequestBodyFollowed, Effect::Begun(exchange)) => {
                assert_eq!(exchange, self.newest);
                self.serving.as_mut().expect("a request").body_open = true;
            }
            (_, Effect::Begun(_)) => panic!("{effect:?} for {fact:?}"),
            _ => {}
        }
        if self.protocol == Protocol::Http2 {
            // Its requests are told by their streams.
            self.serving = None;
        }
        let newest = self.newest;
        let Some(serving) = &mut self.serving else { return };
        match fact {
            ResponseEnded { exchange, response } if exchange == newest && !serving.answered => {
                serving.answered = true;
                serving.upgraded = response.upgraded;
            }
            RequestBodyEnded { exchange, .. } if exchange == newest => serving.body_open = false,
            Flushed { bytes } => {
                serving.begun |= bytes;
                serving.answer_flushed |= serving.begun && serving.answered;
                serving.flushed |= serving.begun && serving.is_over();
            }
            ReadPending => serving.pending += u32::from(serving.flushed),
            Read | Written => serving.read |= serving.flushed,
            _ => {}
        }
    }

    /// Whether what the fact has to lead to was reported.
    fn check_missing(&self, fact: Fact, effect: Effect) {
        if self.gone {
            assert!(self.state.is_terminal(), "{fact:?} ends a connection: {self:?}");
            return;
        }
        if self.state.is_terminal() {
            return;
        }
        if self.below_tls {
            return;
        }
        match (fact, effect) {
            (Fact::StreamsOpened, _) if self.protocol == Protocol::Http2 => {
                assert_eq!(self.state, ConnState::Active);
            }
            (Fact::StreamsClosed, _) if self.protocol == Protocol::Http2 => {
                assert!(self.state != ConnState::Active);
            }
            (Fact::RequestBegan(_), Effect::Begun(_)) => assert_eq!(self.state, ConnState::Active),
            (Fact::Read, _) if self.protocol != Protocol::Http2 => {
                assert_eq!(self.state, ConnState::Active);
            }
            // One read may be for the rest of a request's body.
            (Fact::ReadPending, _) => {
                let late = self.serving.as_ref().is_some_and(|serving| {
                    serving.pending >= 2 && !serving.read && !serving.upgraded
                });
                assert!(!late || self.ending, "late: {self:?}");
            }
            _ => {}
        }
    }
}
