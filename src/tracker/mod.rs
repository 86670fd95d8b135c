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
    /// The read side is at its end or broken, or the server shut the stream
    /// down.
    Ending,
    /// HTTP/1: the first bytes of an answer were written, `by_handler` if they
    /// cannot be an error answer of hyper's own.
    Answering { by_handler: bool },
    /// HTTP/1: all that was written is in the socket; `bytes` if anything was
    /// written since the flush before.
    Flushed { bytes: bool },
    /// The stream is about to be read, written, flushed or shut down.
    Used,

    /// HTTP/1: the layer was called.
    RequestBegan(Request),
    /// HTTP/1: the followed body of a request ended or was dropped.
    #[cfg_attr(not(feature = "axum"), allow(dead_code))]
    RequestBodyEnded { exchange: Exchange, read_to_end: bool },
    /// HTTP/1: the response body ended or was dropped, or the response future
    /// was.
    ResponseEnded { exchange: Exchange, response: Response },

    /// HTTP/2: the number of open streams went from zero to one.
    StreamsOpened,
    /// HTTP/2: the number of open streams went from one to zero.
    StreamsClosed,

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
    /// The end of that body will be told ([`Fact::RequestBodyEnded`]).
    pub(crate) body_followed: bool,
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
    /// Wake the connection's task.
    Wake,
    /// The request is counted under this number; its end has to be told. Not
    /// given to a second layer around the same request.
    Begun(Exchange),
    /// A handler answers, and no layer was ever called.
    LayerMissing,
}

/// The facts about reading and writing that would change anything now.
///
/// The shells ask before they take the connection's lock: in the middle of a
/// request nearly everything that passes is of no interest. [`Fact::Ending`],
/// which is rare, is always welcome.
pub(crate) struct Interest;

impl Interest {
    pub(crate) const READ: u8 = 1 << 0;
    pub(crate) const READ_PENDING: u8 = 1 << 1;
    /// A flush that carried bytes.
    pub(crate) const FLUSHED_BYTES: u8 = 1 << 2;
    /// Any flush.
    pub(crate) const FLUSHED: u8 = 1 << 3;
    pub(crate) const USED: u8 = 1 << 4;
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
            reported: None,
            unreported: 1,
            reporting: false,
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Which facts would change anything now, as bits of [`Interest`].
    pub(crate) fn interest(&self) -> u8 {
        if self.state.is_terminal() || self.protocol == Protocol::Http2 {
            return 0;
        }
        match self.stage {
            Stage::Between if self.state == ConnState::Active => 0,
            Stage::Between => Interest::READ,
            Stage::Serving(serving) if !serving.flushed => Interest::FLUSHED_BYTES,
            Stage::Serving(serving) if serving.is_over() => Interest::FLUSHED,
            Stage::Serving(_) => 0,
            Stage::Settling { .. } => Interest::READ | Interest::READ_PENDING,
            Stage::HandOver => Interest::USED,
        }
    }

    /// Takes a fact. A fact that has no meaning where the connection stands
    /// changes nothing.
    pub(crate) fn on(&mut self, fact: Fact) -> Effect {
        if self.state.is_terminal() {
            return Effect::None;
        }
        match fact {
            Fact::Gone => self.go(ConnState::Closed),
            Fact::Taken => {
                // Go can only hijack while a request is active, and so the
                // diagram has no other way to get there.
                self.go_active();
                self.go(ConnState::Hijacked);
            }

            // HTTP/2 is told by its streams alone.
            Fact::StreamsOpened if self.protocol == Protocol::Http2 => self.go_active(),
            Fact::StreamsClosed if self.protocol == Protocol::Http2 => self.go_idle(),
            _ if self.protocol == Protocol::Http2 => {}
            Fact::StreamsOpened | Fact::StreamsClosed => {}

            Fact::Http1Began => self.protocol = Protocol::Http1,
            // A connection does not change its protocol.
            Fact::Http2Began if self.protocol == Protocol::Http1 => {}
            Fact::Http2Began => {
                self.protocol = Protocol::Http2;
                self.stage = Stage::Between;
                self.go_active();
                self.go_idle();
            }
            Fact::Ending => {
                self.ending = true;
                if let Stage::Settling { .. } = self.stage {
                    self.stage = Stage::Between;
                }
            }
            Fact::Answering { by_handler } => {
                if by_handler && !self.layered {
                    return Effect::LayerMissing;
                }
            }
            Fact::Read => self.read(),
            Fact::ReadPending => return self.read_pending(),
            Fact::Flushed { bytes } => return self.flushed(bytes),
            Fact::Used => {
                if self.stage == Stage::HandOver {
                    self.stage = Stage::Between;
                    self.go(ConnState::Hijacked);
                }
            }
            Fact::RequestBegan(request) => return self.request_began(request),
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

    fn read(&mut self) {
        match self.stage {
            Stage::Between => self.go_active(),
            Stage::Settling { drains: false } => {
                self.settled();
                self.go_active();
            }
            // More of the request that was answered, as far as can be told.
            Stage::Settling { drains: true } => {}
            Stage::Serving(_) | Stage::HandOver => {}
        }
    }

    fn read_pending(&mut self) -> Effect {
        match self.stage {
            Stage::Settling { drains: true } => {
                self.stage = Stage::Settling { drains: false };
                Effect::Wake
            }
            Stage::Settling { drains: false } => {
                self.settled();
                Effect::None
            }
            Stage::Between | Stage::Serving(_) | Stage::HandOver => Effect::None,
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
            self.settled();
            Effect::None
        } else {
            self.stage = Stage::Settling { drains: serving.maybe_unread };
            Effect::Wake
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
                self.settled();
                self.go_active();
            }
            // The stream is not hyper's any more.
            Stage::Serving(_) | Stage::HandOver => return Effect::None,
        }
        self.layered = true;
        self.exchange = self.exchange.wrapping_add(1);
        self.stage = Stage::Serving(Serving {
            exchange: self.exchange,
            response_open: true,
            request_body_open: request.has_body && request.body_followed,
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
    fn settled(&mut self) {
        self.kept = true;
        self.stage = Stage::Between;
        self.go_idle();
    }

    fn go_active(&mut self) {
        if self.state != ConnState::Active {
            self.go(ConnState::Active);
        }
    }

    fn go_idle(&mut self) {
        if self.state == ConnState::Active {
            self.go(ConnState::Idle);
        }
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
