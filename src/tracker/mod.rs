//! The rules: which facts move a connection from which state to which.
//!
//! Everything that decides lives in this folder, and nothing here does I/O,
//! reads a clock or knows who calls it. The shells ([`crate::ConnIo`] and the
//! tower layer) say what happened, as [`Fact`]s; [`Tracker::on`] answers with
//! what is to be done at once, and queues the states that are to be reported.
//!
//! - This file holds the states themselves and HTTP/1, whose requests are
//!   told by the layer and whose bytes are told by the I/O.
//! - [`wire`] finds out which protocol the bytes are, and makes facts of them.
//! - [`http2`] follows HTTP/2 frames and the streams they open and close.
//!
//! # When an HTTP/1 connection becomes idle
//!
//! The hard question is whether hyper keeps a connection once an answer has
//! been written, because hyper tells nobody. Two things are known of it:
//!
//! 1. A connection that is not kept is shut down in the very poll that flushed
//!    the answer, if the request's body had been read to its end by then.
//!    If it had not, hyper makes one attempt to read what is left, and shuts
//!    down in that poll where this is not enough.
//! 2. hyper does not read again after an answer until its task is woken: it
//!    has already been told, while the handler ran, that there is nothing to
//!    read. Waiting for its next read would report Idle when the client's next
//!    byte arrives, which is too late.
//!
//! So after the flush the task is woken once ([`Effect::Wake`]), and a read
//! that is asked for after it shows that the connection has been kept
//! ([`Stage::Settling`]). Where the request's body may have been left unread
//! that first read may be the attempt to drain it, and it takes one more.
//!
//! Once a connection has been kept, it is known that the server keeps
//! connections, and for a plain request (no body, HTTP/1.1, no `Connection:
//! close` on either side, no end of file) the flush alone is enough.

pub(crate) mod http2;
pub(crate) mod wire;

use std::io;

use crate::close::CloseReason;
use crate::state::{ConnState, Protocol};

/// Something that happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// The bytes read are not HTTP/2's preface, or were not answered as such.
    Http1Began,
    /// The client's whole preface has been read and the server has written its
    /// SETTINGS (RFC 9113, section 3.4).
    Http2Began,

    /// HTTP/1: bytes were read.
    Read,
    /// HTTP/1: a read was asked for, and there was nothing.
    ReadPending,
    /// The client has closed its side.
    ReadClosed,
    /// Reading or writing failed.
    Failed(io::ErrorKind),
    /// The server shuts the stream down.
    ShutDown,
    /// HTTP/1: the first bytes of an answer were written, `by_handler` if they
    /// cannot be an error answer of hyper's own.
    Answering { by_handler: bool },
    /// HTTP/1: bytes were written.
    Written,
    /// HTTP/1: all that was written is in the socket; `bytes` if anything was
    /// written since the flush before.
    Flushed { bytes: bool },
    /// The stream is about to be read, written, flushed or shut down.
    Used,

    /// HTTP/1: the layer was called.
    RequestBegan(Request),
    /// HTTP/1: the body of the request being served is followed: its end will
    /// be told.
    #[cfg_attr(not(feature = "axum"), allow(dead_code))]
    RequestBodyFollowed,
    /// HTTP/1: the followed body of a request ended or was dropped.
    #[cfg_attr(not(feature = "axum"), allow(dead_code))]
    RequestBodyEnded { exchange: Exchange, read_to_end: bool },
    /// HTTP/1: the response body ended or was dropped, or the response future
    /// was.
    ResponseEnded { exchange: Exchange, response: Response },

    /// HTTP/1: a handler or its response body panicked.
    HandlerPanicked,

    /// HTTP/2: the number of open streams went from zero to one.
    StreamsOpened,
    /// HTTP/2: the number of open streams went from one to zero.
    StreamsClosed,

    /// HTTP/2: the server said GOAWAY with an error code.
    ProtocolError,
    /// The stream's TLS handshake is under way.
    HandshakeBegan,
    /// It is done.
    HandshakeDone,
    /// The connection's future belongs to this crate, which will tell when it
    /// waits ([`Fact::Waiting`]).
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    Owned,
    /// The connection's future was polled, and waits.
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    Waiting,

    /// The program wants the connection closed.
    Close(CloseReason),
    /// The program wants the connection closed if it is idle.
    CloseIfIdle,
    /// The program wants the connection closed when it has nothing to do.
    Drain,

    /// The stream was taken out of the instrumentation.
    Taken,
    /// The stream was dropped.
    Gone,
}

/// What the layer knows of a request when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The request has a body that has not been read to its end.
    pub(crate) has_body: bool,
    /// HTTP/1.1 without `Connection: close`.
    pub(crate) may_persist: bool,
}

/// What the layer knows of a response when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// There was no `Connection: close`.
    pub(crate) may_persist: bool,
    /// It hands the stream over: a 101 or a 2xx to CONNECT, to a request that
    /// could be upgraded.
    pub(crate) upgraded: bool,
}

/// Which request of its connection a fact is about. The number wraps.
pub(crate) type Exchange = u32;

/// What the shell that told a fact has to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// Wake the connection's tasks.
    Wake,
    /// The request is counted under this number; its end has to be told. Not
    /// given to a second layer around the same request.
    Begun(Exchange),
    /// A handler answers, and no layer was ever called.
    LayerMissing,
}

/// The facts about reading and writing that would change anything now, and
/// what the shells have to do differently.
///
/// The shells ask before they take the connection's lock: in the middle of a
/// request nearly everything that passes is of no interest. Facts that are
/// rare are always welcome.
pub(crate) struct Interest;

impl Interest {
    pub(crate) const READ: u16 = 1 << 0;
    pub(crate) const READ_PENDING: u16 = 1 << 1;
    /// A flush that carried bytes.
    pub(crate) const FLUSHED_BYTES: u16 = 1 << 2;
    /// Any flush.
    pub(crate) const FLUSHED: u16 = 1 << 3;
    pub(crate) const USED: u16 = 1 << 4;
    pub(crate) const WRITTEN: u16 = 1 << 8;
    pub(crate) const WAITING: u16 = 1 << 5;
    /// The stream has to end: see [`Closing`].
    pub(crate) const CLOSING: u16 = 1 << 6;
    /// The connection has to end when it has nothing to do.
    pub(crate) const DRAINING: u16 = 1 << 7;
}

/// How a stream that the program closes has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Nothing is under way: reads are at their end, and what has been written
    /// reaches the client.
    Gently,
    /// Everything fails.
    Abruptly,
}

/// Where an HTTP/1 connection is between two reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No request is with the handler.
    Between,
    /// The layer was called, and the answer is not all in the socket.
    Serving(Serving),
    /// The answer is in the socket; a read will show that the connection is
    /// kept. `drains` if the next read may be for the rest of the request.
    Settling { drains: bool },
    /// The answer to an upgrade is in the socket; whoever uses the stream now
    /// is its new owner.
    HandOver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Serving {
    exchange: Exchange,
    response_open: bool,
    request_body_open: bool,
    /// The request has a body of which nobody said that it was read to its end.
    maybe_unread: bool,
    may_persist: bool,
    upgraded: bool,
    /// Bytes of the answer have been flushed.
    flushed: bool,
}

impl Serving {
    fn is_over(&self) -> bool {
        !self.response_open && !self.request_body_open
    }
}

/// One connection's state, and the states that have still to be reported.
#[derive(Debug)]
pub(crate) struct Tracker {
    state: ConnState,
    stage: Stage,
    protocol: Protocol,
    exchange: Exchange,
    /// This connection was kept after an answer, so the server keeps
    /// connections.
    kept: bool,
    /// The end of file was read, or the server shut down: there is no next
    /// request to be idle for.
    ending: bool,
    /// A layer was called at least once.
    layered: bool,
    /// The server writes something before any layer was called for what was
    /// read: hyper's own answer to a request that it does not take.
    refused: bool,
    handshaking: bool,
    owned: bool,
    draining: bool,
    closing: Option<Closing>,
    reason: Option<CloseReason>,
    gone: bool,

    reported: Option<ConnState>,
    /// How many states lie between `reported` and `state`. The way from one to
    /// the other is given by the diagram, so the number says it all.
    unreported: u32,
    reporting: bool,
}

impl Tracker {
    /// A connection that was just accepted; `New` is to be reported.
    pub(crate) fn new() -> Self {
        Self {
            state: ConnState::New,
            stage: Stage::Between,
            protocol: Protocol::Unknown,
            exchange: 0,
            kept: false,
            ending: false,
            layered: false,
            refused: false,
            handshaking: false,
            owned: false,
            draining: false,
            closing: None,
            reason: None,
            gone: false,
            reported: None,
            unreported: 1,
            reporting: false,
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// How the stream has to end, if the program closes it.
    pub(crate) fn closing(&self) -> Option<Closing> {
        self.closing
    }

    /// Why the connection ended, once it has.
    pub(crate) fn reason(&self) -> Option<CloseReason> {
        self.reason.filter(|_| self.gone)
    }

    /// There is something to report, or the end to see to.
    pub(crate) fn has_news(&self) -> bool {
        (self.unreported > 0 && !self.reporting) || self.gone
    }

    /// The stream is gone, or out of sight, and all has been reported.
    pub(crate) fn is_finished(&self) -> bool {
        self.gone && self.unreported == 0 && !self.reporting
    }

    /// Which facts would change anything now, and what the shells have to do
    /// differently, as bits of [`Interest`].
    pub(crate) fn interest(&self) -> u16 {
        let mut interest = 0;
        if self.draining {
            interest |= Interest::DRAINING;
        }
        if self.gone {
            return interest;
        }
        if self.closing.is_some() {
            interest |= Interest::CLOSING;
        }
        if self.state.is_terminal() || self.protocol == Protocol::Http2 {
            return interest;
        }
        interest
            | match self.stage {
                Stage::Between if self.state == ConnState::Idle => {
                    Interest::READ | Interest::WRITTEN
                }
                Stage::Between if self.state != ConnState::Active => Interest::READ,
                Stage::Between if self.layered && !self.refused => Interest::WRITTEN,
                Stage::Between => 0,
                Stage::Serving(serving) if !serving.flushed => Interest::FLUSHED_BYTES,
                Stage::Serving(serving) if serving.is_over() => Interest::FLUSHED,
                Stage::Serving(_) => 0,
                Stage::Settling { .. } => {
                    Interest::READ | Interest::READ_PENDING | Interest::WAITING | Interest::WRITTEN
                }
                Stage::HandOver => Interest::USED,
            }
    }

    /// Takes a fact. A fact that has no meaning where the connection stands
    /// changes nothing.
    #[inline]
    pub(crate) fn on(&mut self, fact: Fact) -> Effect {
        if self.gone {
            // For those who still wait to hear of it.
            self.draining |= fact == Fact::Drain;
            return Effect::None;
        }
        match fact {
            Fact::Gone => self.leave(ConnState::Closed),
            Fact::Taken => {
                // Go can only hijack while a request is active, and so the
                // diagram has no other way to get there.
                if !self.state.is_terminal() {
                    self.go_active();
                }
                self.leave(ConnState::Hijacked);
            }
            Fact::Close(reason) => return self.close(reason),
            Fact::CloseIfIdle if self.state == ConnState::Idle => {
                return self.close(CloseReason::ClosedByProgram);
            }
            Fact::CloseIfIdle => {}
            Fact::Drain => return self.drain(),
            Fact::ReadClosed => self.end(CloseReason::PeerClosed),
            Fact::Failed(kind) => self.end(CloseReason::of_io(kind)),
            Fact::ShutDown if self.refused => self.end(CloseReason::ProtocolError),
            Fact::ShutDown if self.draining => self.end(CloseReason::ShutdownDrained),
            Fact::ShutDown => self.end(CloseReason::ServerClosed),
            Fact::ProtocolError => {
                self.reason.get_or_insert(CloseReason::ProtocolError);
            }
            Fact::HandlerPanicked => {
                self.reason.get_or_insert(CloseReason::HandlerPanicked);
            }
            Fact::HandshakeBegan => self.handshaking = true,
            Fact::HandshakeDone => self.handshaking = false,
            Fact::Owned => self.owned = true,

            // From here on the states, of which a hijacked stream has no more.
            _ if self.state.is_terminal() => {}

            // HTTP/2 is told by its streams alone.
            Fact::StreamsOpened if self.protocol == Protocol::Http2 => self.go_active(),
            Fact::StreamsClosed if self.protocol == Protocol::Http2 => return self.go_idle(),
            _ if self.protocol == Protocol::Http2 => {}
            Fact::StreamsOpened | Fact::StreamsClosed => {}

            Fact::Http1Began => self.protocol = Protocol::Http1,
            // A connection does not change its protocol.
            Fact::Http2Began if self.protocol == Protocol::Http1 => {}
            Fact::Http2Began => {
                self.protocol = Protocol::Http2;
                self.stage = Stage::Between;
                self.go_active();
                return self.go_idle();
            }

            // From here on HTTP/1.
            Fact::Answering { by_handler } => {
                if !self.layered {
                    self.refused = !by_handler;
                    return if by_handler { Effect::LayerMissing } else { Effect::None };
                }
            }
            Fact::Written => return self.written_unasked(),
            Fact::Read => return self.read(),
            Fact::ReadPending => return self.read_pending(),
            Fact::Waiting => return self.waiting(),
            Fact::Flushed { bytes } => return self.flushed(bytes),
            Fact::Used => {
                if self.stage == Stage::HandOver {
                    self.stage = Stage::Between;
                    self.go(ConnState::Hijacked);
                }
            }
            Fact::RequestBegan(request) => return self.request_began(request),
            Fact::RequestBodyFollowed => {
                if let Stage::Serving(serving) = &mut self.stage {
                    serving.request_body_open = true;
                    return Effect::Begun(serving.exchange);
                }
            }
            Fact::RequestBodyEnded { exchange, read_to_end } => {
                return self.part_ended(exchange, |serving| {
                    let was_open = serving.request_body_open;
                    serving.request_body_open = false;
                    serving.maybe_unread &= !read_to_end;
                    was_open
                });
            }
            Fact::ResponseEnded { exchange, response } => {
                return self.part_ended(exchange, |serving| {
                    let was_open = serving.response_open;
                    serving.response_open = false;
                    serving.may_persist &= response.may_persist;
                    serving.upgraded = response.upgraded;
                    was_open
                });
            }
        }
        Effect::None
    }

    /// The stream is gone, or out of sight.
    fn leave(&mut self, state: ConnState) {
        self.gone = true;
        self.reason.get_or_insert(if self.handshaking {
            CloseReason::HandshakeFailed
        } else {
            CloseReason::Aborted
        });
        if !self.state.is_terminal() {
            self.go(state);
        }
    }

    /// There will be no further request.
    fn end(&mut self, reason: CloseReason) {
        self.reason.get_or_insert(reason);
        self.ending = true;
        if let Stage::Settling { .. } = self.stage {
            self.stage = Stage::Between;
        }
    }

    /// The program closes the connection, whatever it is doing.
    fn close(&mut self, reason: CloseReason) -> Effect {
        if self.reason == Some(CloseReason::ShutdownDrained) {
            self.reason = None;
        }
        self.reason.get_or_insert(reason);
        self.closing = Some(match (self.state, reason) {
            (_, CloseReason::ShutdownForced) => Closing::Abruptly,
            (ConnState::New | ConnState::Idle, _) => Closing::Gently,
            // Waiting to be closed already, but for the report of it.
            _ if self.closing == Some(Closing::Gently) => Closing::Gently,
            _ => Closing::Abruptly,
        });
        Effect::Wake
    }

    /// The program closes the connection as soon as it has nothing to do.
    fn drain(&mut self) -> Effect {
        self.draining = true;
        match self.state {
            ConnState::New | ConnState::Idle => self.close(CloseReason::ShutdownDrained),
            // The future of the connection, if it is ours, is told.
            _ => Effect::Wake,
        }
    }

    fn read(&mut self) -> Effect {
        match self.stage {
            Stage::Between => self.go_active(),
            Stage::Settling { drains: false } => return self.went_on(),
            // More of the request that was answered, as far as can be told.
            Stage::Settling { drains: true } => {}
            Stage::Serving(_) | Stage::HandOver => {}
        }
        Effect::None
    }

    /// The server writes, and no layer was called for it: what it has read is
    /// no request that it takes, and it says so.
    fn written_unasked(&mut self) -> Effect {
        let effect = match self.stage {
            // It was read together with the request before, which is answered.
            Stage::Settling { .. } => self.went_on(),
            Stage::Between => {
                if self.state == ConnState::Idle {
                    self.go_active();
                }
                Effect::None
            }
            Stage::Serving(_) | Stage::HandOver => return Effect::None,
        };
        self.refused = true;
        effect
    }

    fn read_pending(&mut self) -> Effect {
        match self.stage {
            Stage::Settling { drains: true } => {
                self.stage = Stage::Settling { drains: false };
                // The end of this very poll will tell.
                if self.owned { Effect::None } else { Effect::Wake }
            }
            Stage::Settling { drains: false } => self.settled(),
            Stage::Between | Stage::Serving(_) | Stage::HandOver => Effect::None,
        }
    }

    /// A poll of the connection's future is over, and it did not shut down.
    fn waiting(&mut self) -> Effect {
        match self.stage {
            Stage::Settling { drains: false } => self.settled(),
            _ => Effect::None,
        }
    }

    fn flushed(&mut self, bytes: bool) -> Effect {
        let Stage::Serving(serving) = &mut self.stage else {
            return Effect::None;
        };
        serving.flushed |= bytes;
        if !serving.flushed || !serving.is_over() {
            return Effect::None;
        }
        let serving = *serving;
        if serving.upgraded {
            self.stage = Stage::HandOver;
            Effect::None
        } else if self.ending {
            self.stage = Stage::Between;
            Effect::None
        } else if self.kept && serving.may_persist && !serving.maybe_unread {
            self.settled()
        } else {
            self.stage = Stage::Settling { drains: serving.maybe_unread };
            if self.owned && !serving.maybe_unread { Effect::None } else { Effect::Wake }
        }
    }

    fn request_began(&mut self, request: Request) -> Effect {
        match self.stage {
            Stage::Between => self.go_active(),
            // hyper reads no request before it has answered the one before,
            // so this is a second layer around the same one.
            Stage::Serving(serving) if serving.response_open => return Effect::None,
            // hyper went on to the next request (it was already in the
            // buffer), which shows that it keeps the connection.
            Stage::Serving(Serving { upgraded: false, .. }) | Stage::Settling { .. } => {
                let _ = self.went_on();
            }
            // The stream is not hyper's any more.
            Stage::Serving(_) | Stage::HandOver => return Effect::None,
        }
        self.layered = true;
        self.exchange = self.exchange.wrapping_add(1);
        self.stage = Stage::Serving(Serving {
            exchange: self.exchange,
            response_open: true,
            request_body_open: false,
            maybe_unread: request.has_body,
            may_persist: request.may_persist,
            upgraded: false,
            flushed: false,
        });
        Effect::Begun(self.exchange)
    }

    /// A part of the exchange ended: its request body or its response. `end`
    /// says whether that part was open.
    fn part_ended(&mut self, exchange: Exchange, end: impl FnOnce(&mut Serving) -> bool) -> Effect {
        let Stage::Serving(serving) = &mut self.stage else {
            return Effect::None;
        };
        if serving.exchange != exchange || !end(serving) {
            return Effect::None;
        }
        // If this happened outside of the connection's task and the answer is
        // in the socket already, then nothing else would make hyper flush.
        if serving.flushed && serving.is_over() { Effect::Wake } else { Effect::None }
    }

    /// The connection was kept after an answer.
    fn settled(&mut self) -> Effect {
        self.kept = true;
        self.stage = Stage::Between;
        // A panic that was caught further out, and answered.
        self.reason = self.reason.filter(|reason| *reason != CloseReason::HandlerPanicked);
        self.go_idle()
    }

    /// The connection was kept, and the next request is there.
    fn went_on(&mut self) -> Effect {
        let effect = self.settled();
        self.go_active();
        effect
    }

    fn go_active(&mut self) {
        if self.state != ConnState::Active {
            self.go(ConnState::Active);
        }
        match self.closing {
            None => {}
            // Drained when its last stream ended, but the client had opened
            // another: that one is served too.
            Some(Closing::Gently)
                if self.protocol == Protocol::Http2
                    && self.reason == Some(CloseReason::ShutdownDrained) =>
            {
                self.closing = None;
                self.reason = None;
            }
            // Closed while idle, but a request was in hyper's buffer already.
            // Its answer has not begun, so that none is cut short.
            Some(_) => self.closing = Some(Closing::Abruptly),
        }
    }

    fn go_idle(&mut self) -> Effect {
        if self.state != ConnState::Active {
            return Effect::None;
        }
        if !self.draining {
            self.go(ConnState::Idle);
            return Effect::None;
        }
        // Where the connection's future is ours, it is known not to be kept.
        // Elsewhere it is idle, and closed for that.
        if !self.owned {
            self.go(ConnState::Idle);
        }
        self.reason.get_or_insert(CloseReason::ShutdownDrained);
        self.closing.get_or_insert(Closing::Gently);
        Effect::Wake
    }

    fn go(&mut self, next: ConnState) {
        debug_assert!(self.state.may_become(next), "{} to {next}", self.state);
        self.state = next;
        self.unreported += 1;
    }

    /// The next state to report, if there is one and nobody is reporting.
    ///
    /// Whoever is given a state reports it, outside of any lock, then calls
    /// [`finish_report`](Self::finish_report) and asks again. That is how the
    /// reports of one connection come in order and never overlap, whichever
    /// threads the facts come from, a hook's own included.
    pub(crate) fn start_report(&mut self) -> Option<ConnState> {
        if self.reporting || self.unreported == 0 {
            return None;
        }
        let next = match self.reported {
            _ if self.unreported == 1 => self.state,
            None => ConnState::New,
            Some(ConnState::Active) => ConnState::Idle,
            Some(_) => ConnState::Active,
        };
        self.unreported -= 1;
        self.reported = Some(next);
        self.reporting = true;
        Some(next)
    }

    pub(crate) fn finish_report(&mut self) {
        self.reporting = false;
    }
}

#[cfg(test)]
mod tests;
