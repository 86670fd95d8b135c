//! The rules: which facts move a connection from which state to which.
//!
//! Everything that decides lives in this folder, and nothing here does I/O,
//! reads a clock or knows who calls it. The shells ([`crate::ConnIo`] and the
//! tower layer) record what happened, as [`Fact`]s; [`Tracker::on`] answers
//! with what has to be done at once, and says which state has to be reported.
//! Of states that come up during a report only the number is kept.
//!
//! # The stages of an HTTP/1 connection
//!
//! The state says what is reported; the stage ([`word::Stage`]) says how far
//! the request is that was last begun.
//!
//! ```text
//!                 first byte: Active
//!                 ┌──────┐
//!                 ▼      │        the layer is called: Active
//!           ┌─────────────────┐ ────────────────────────────▶ ┌─────────┐
//!      New ▶│ BetweenRequests │                               │ Serving │◀─┐
//!           └─────────────────┘ ◀──────────────────────────── └─────────┘  │
//!             ▲       ▲         answer flushed, by a server      │    │    │
//!             │       │         known to keep connections: Idle  │    └────┘
//!             │       │         no next request: no Idle         │  next request,
//!             │       │                                          │  answer not
//!        kept:│       │ not kept: no Idle                        │  flushed
//!        Idle │       │ (read end, write error, shutdown)        │
//!             │       │                                          │
//!           ┌──────────┐      answer flushed                     │
//!           │ Answered │ ◀───────────────────────────────────────┤
//!           └──────────┘                                         │
//!             │    next request, or its first byte:              │
//!             └─── Idle, Active ──▶ Serving                      │
//!                                                                ▼
//!                   answer that hands the stream over, flushed: Hijacked
//! ```
//!
//! HTTP/2 has no stages: the number of open streams is all there is to it.
//! Closed comes from any of them, when the stream is dropped.
//!
//! Every stage against every fact is in the table `grid.txt`, which a test
//! compares with the rules.
//!
//! # Where what is
//!
//! - This file holds the states themselves, what ends a connection, and the
//!   reports.
//! - [`http1`] holds the rules for HTTP/1, whose requests the layer records and
//!   whose bytes the I/O.
//! - [`fact`] lists what can happen, and [`Effect`] what has to be done at once.
//! - [`word`] packs what is known of a connection into one word, which threads
//!   share without a lock. So every rule is a function of that word alone.
//! - [`wire`] finds out which protocol the bytes are, and makes facts of them.
//! - [`http2`] follows HTTP/2 frames and the streams they open and close.
//! - `model` is the contract written a second time, for tests.

mod fact;
mod http1;
pub(crate) mod http2;
#[cfg(any(test, fuzzing))]
// Public for the fuzz targets, where these are built.
#[cfg_attr(not(fuzzing), allow(unreachable_pub))]
pub(crate) mod model;
pub(crate) mod wire;
mod word;

use std::io;

use self::word::{Flag, Stage, Word};
use crate::close_reason::{CloseReason, Reason};
use crate::state::{ConnState, Protocol};

pub(crate) use self::fact::{Effect, Exchange, Fact, Request, Response};
pub(crate) use self::word::Closing;

/// What the program wants of a connection's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    closing: Option<Closing>,
    draining: bool,
}

/// One connection's state, and the states that have still to be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tracker {
    word: Word,
    /// What whoever recorded the last fact has to report.
    due: Option<ConnState>,
}

impl Tracker {
    /// A connection that was just accepted; `New` is to be reported.
    pub(crate) fn new() -> Self {
        let mut word = Word::new();
        word.put(Flag::Reporting, true);
        Self { word, due: Some(ConnState::New) }
    }

    /// What others have to know of it: all but what is for the caller to
    /// report.
    #[inline(always)]
    pub(crate) const fn to_u64(self) -> u64 {
        self.word.to_u64()
    }

    /// The inverse of [`to_u64`](Self::to_u64).
    #[inline(always)]
    pub(crate) const fn from_u64(word: u64) -> Self {
        Self { word: Word::from_u64(word), due: None }
    }

    pub(crate) fn protocol(self) -> Protocol {
        self.word.protocol()
    }

    /// How the stream has to end, if the program closes it.
    #[inline]
    pub(crate) fn closing(self) -> Option<Closing> {
        self.word.closing()
    }

    /// The connection has to end as soon as its client knows.
    pub(crate) fn is_draining(self) -> bool {
        self.word.is_draining()
    }

    /// Nothing has to be done differently when the stream is used.
    #[inline]
    pub(crate) fn is_undisturbed(self) -> bool {
        self.word.is_undisturbed()
    }

    /// What a task that polls the stream has to do that nothing in the stream
    /// would wake it for; it differs whenever there is something new.
    pub(crate) fn demand(self) -> Demand {
        Demand { closing: self.closing(), draining: self.is_draining() }
    }

    /// An answer may wait for nothing but a flush.
    pub(crate) fn wants_flush(self) -> bool {
        self.word.at(Stage::Serving) && self.part_ended() == Effect::Wake
    }

    /// There was no room for the connection, and its client is told so.
    pub(crate) fn is_refused(self) -> bool {
        self.word.has(Flag::Refused)
    }

    /// Its TLS handshake is under way.
    pub(crate) fn is_handshaking(self) -> bool {
        self.word.has(Flag::Handshaking)
    }

    /// The stream is of no further use to it, whoever has it.
    pub(crate) fn is_hijacked(self) -> bool {
        self.word.is(ConnState::Hijacked)
    }

    /// What the client has sent says what it speaks.
    pub(crate) fn has_introduced_itself(self) -> bool {
        let settings = !self.word.is_http2() || self.word.has(Flag::SettingsReceived);
        !self.word.is(ConnState::New) && settings || self.word.has(Flag::BelowTls)
    }

    /// The state that it is in, if it is the one that was last reported.
    pub(crate) fn settled_state(self) -> Option<ConnState> {
        let settled = !self.word.has(Flag::Reporting);
        settled.then(|| self.word.state())
    }

    /// What passes through the stream is counted.
    pub(crate) fn is_watched(self) -> bool {
        self.word.has(Flag::Watched)
    }

    /// The connection is neither drained nor closed.
    pub(crate) fn goes_on(self) -> bool {
        !self.is_draining() && !self.word.is_closing()
    }

    /// Nothing has to be done to an answer's head.
    #[inline]
    pub(crate) fn leaves_answers_alone(self) -> bool {
        self.word.leaves_answers_alone()
    }

    /// Answers say how long the connection is kept.
    pub(crate) fn says_keep_alive(self) -> bool {
        self.word.has(Flag::SaysKeepAlive)
    }

    /// It ends because the head of a request took too long.
    pub(crate) fn ends_for_its_head(self) -> bool {
        self.word.reason() == Some(Reason::HeaderTimeout)
    }

    /// Why the connection ends, as far as it has been decided.
    pub(crate) fn first_cause(self) -> Option<CloseReason> {
        Some(self.word.reason()?.with_kind(io::ErrorKind::Other))
    }

    /// The task that polls the stream is `serve`'s.
    pub(crate) fn is_managed(self) -> bool {
        self.word.has(Flag::Managed)
    }

    /// No request is under way, and the stream is hyper's.
    pub(crate) fn is_quiet(self) -> bool {
        matches!(self.word.state(), ConnState::New | ConnState::Idle)
    }

    /// The end of the body of the request that was last begun is not recorded.
    #[inline]
    pub(crate) fn body_is_not_followed(self) -> bool {
        self.word.has(Flag::BodyNotFollowed)
    }

    /// Bytes of the client's may be unread or still coming when the server
    /// shuts the stream down.
    pub(crate) fn may_have_unread(self) -> bool {
        let request = self.word.has(Flag::BodyMaybeUnread)
            || self.word.has(Flag::BodyDropped)
            || self.word.has(Flag::RejectedByHyper);
        !self.has_read_all() && (self.word.is_http2() || self.is_draining() || request)
    }

    /// Nothing more comes from the client, or it is no concern of hyper's.
    pub(crate) fn has_read_all(self) -> bool {
        self.word.has(Flag::ReadEnded) || self.word.is_terminal()
    }

    /// Why the connection ended, once it has. `failure` is the kind of the
    /// first error of its stream.
    pub(crate) fn reason(self, failure: Option<io::ErrorKind>) -> Option<CloseReason> {
        let reason = self.word.reason().filter(|_| self.word.has(Flag::StreamGone))?;
        Some(reason.with_kind(failure.unwrap_or(io::ErrorKind::Other)))
    }

    /// The stream is gone, or out of sight, and all has been reported.
    #[inline]
    pub(crate) fn is_finished(self) -> bool {
        self.word.has(Flag::StreamGone)
            && self.word.unreported() == 0
            && !self.word.has(Flag::Reporting)
    }

    /// Takes a fact. A fact that has no meaning where the connection stands
    /// changes nothing.
    // Inlined, because those who tell a fact know which one it is.
    #[inline(always)]
    pub(crate) fn on(&mut self, fact: Fact) -> Effect {
        if self.word.has(Flag::StreamGone) {
            // For those who still wait to hear of it.
            if let Fact::Drain { all } = fact {
                self.drain(all);
            }
            return Effect::None;
        }
        match fact {
            Fact::Dropped => self.leave(ConnState::Closed),
            Fact::Detached => {
                // Go can only hijack while a request is active, and so the
                // diagram has no other way to get there.
                if !self.word.is_terminal() {
                    self.enter_active();
                }
                self.leave(ConnState::Hijacked);
            }
            Fact::Close(reason) => return self.close(reason.into()),
            Fact::CloseIfIdle if self.word.is(ConnState::Idle) => {
                return self.close(Reason::ClosedByProgram);
            }
            Fact::CloseIfIdle => {}
            Fact::Drain { all } => {
                self.drain(all);
                return Effect::Wake;
            }
            Fact::DrainCancelled => {
                self.word.put(Flag::DrainingWithAll, false);
                return Effect::Wake;
            }
            Fact::GraceOver => {
                if self.is_draining() && self.is_quiet() && !self.word.is_closing() {
                    return self.close(Reason::ShutdownDrained);
                }
            }
            Fact::ReadClosed => self.read_ended(Reason::PeerClosed),
            Fact::ReadFailed(kind) => self.read_ended(CloseReason::of_io(kind).into()),
            Fact::WriteFailed(kind) => self.end(CloseReason::of_io(kind).into()),
            Fact::ShutDown => self.end(self.shutdown_reason()),
            Fact::GoAwayReceived { .. } => self.record_reason(Reason::PeerClosed),
            Fact::ProtocolError => self.record_reason(Reason::ProtocolError),
            Fact::TimedOut => self.record_reason(Reason::TimedOut),
            Fact::Expired(reason) => return self.expire(reason),
            Fact::Refused => self.refuse(),
            Fact::Watched => self.word.put(Flag::Watched, true),
            Fact::KeepAlive { said } => self.word.put(Flag::SaysKeepAlive, said),
            Fact::HandlerPanicked => self.record_reason(Reason::HandlerPanicked),
            Fact::HandshakeBegan => self.word.put(Flag::Handshaking, true),
            Fact::HandshakeDone => {
                self.word.put(Flag::Handshaking, false);
                if self.word.has(Flag::Refused) {
                    self.word.set_closing(Some(Closing::Graceful));
                }
            }
            Fact::Managed => self.word.put(Flag::Managed, true),

            // From here on the states, of which a hijacked stream has no more.
            _ if self.word.is_terminal() => {}
            _ if self.word.has(Flag::BelowTls) => {}
            Fact::TlsBegan => {
                self.word.put(Flag::BelowTls, true);
                return Effect::BelowTls;
            }

            // In HTTP/2 only streams count.
            Fact::StreamsOpened if self.word.is_http2() => self.enter_active(),
            Fact::StreamsClosed if self.word.is_http2() => self.enter_idle(),
            Fact::HeaderBlock { open } if self.word.is_http2() => {
                self.word.put(Flag::HeaderBlockOpen, open);
            }
            Fact::SettingsReceived if self.word.is_http2() => {
                self.word.put(Flag::SettingsReceived, true);
            }
            _ if self.word.is_http2() => {}
            Fact::StreamsOpened
            | Fact::StreamsClosed
            | Fact::HeaderBlock { .. }
            | Fact::SettingsReceived
            | Fact::DataRead { .. } => {}

            // A connection does not change its protocol.
            Fact::Http2Began if self.protocol() == Protocol::Http1 => {}
            Fact::Http2Began => {
                self.word.set_protocol(Protocol::Http2);
                self.word.set_stage(Stage::BetweenRequests);
                self.enter_active();
                self.enter_idle();
            }
            Fact::Http1Began => self.word.set_protocol(Protocol::Http1),

            // From here on HTTP/1.
            Fact::Answering { by_handler } => {
                if !self.word.has(Flag::LayerCalled) {
                    self.word.put(Flag::RejectedByHyper, !by_handler);
                    // Nobody will say when the next one is.
                    self.word.put(Flag::HeadRead, by_handler);
                    return if by_handler { Effect::LayerMissing } else { Effect::None };
                }
            }
            Fact::Written => self.written(),
            Fact::Read => return self.read(),
            Fact::ReadBody => {}
            Fact::ReadPending => return self.read_pending(),
            Fact::PollEnded => self.poll_ended(),
            Fact::Flushed { bytes } => return self.flushed(bytes),
            Fact::HeadRead => {
                if self.word.at(Stage::BetweenRequests) {
                    self.word.put(Flag::HeadRead, true);
                }
            }
            Fact::RequestBegan(request) => return self.request_began(request),
            Fact::RequestBodyFollowed => {
                if self.word.at(Stage::Serving) {
                    self.word.put(Flag::RequestBodyOpen, true);
                    self.word.put(Flag::BodyNotFollowed, false);
                    return Effect::Begun(self.word.exchange());
                }
            }
            Fact::RequestBodyEnded { exchange, read_to_end } => {
                if self.serves(exchange, Flag::RequestBodyOpen) {
                    self.word.put(Flag::RequestBodyOpen, false);
                    if read_to_end {
                        self.word.put(Flag::BodyMaybeUnread, false);
                    } else {
                        // hyper tries once to drain what is left of it, and
                        // that it finds nothing then says nothing of the rest.
                        self.word.put(Flag::BodyDropped, true);
                    }
                    return self.part_ended();
                }
            }
            Fact::ResponseEnded { exchange, response } => {
                if self.serves(exchange, Flag::ResponseOpen) {
                    self.word.put(Flag::ResponseOpen, false);
                    if !response.may_persist {
                        self.word.put(Flag::MayPersist, false);
                    }
                    self.word.put(Flag::Upgraded, response.upgraded);
                    return self.part_ended();
                }
            }
        }
        Effect::None
    }

    /// The stream is gone, or out of sight.
    fn leave(&mut self, state: ConnState) {
        self.word.put(Flag::StreamGone, true);
        self.record_reason(if self.word.has(Flag::Handshaking) {
            Reason::HandshakeFailed
        } else if self.word.is(ConnState::Hijacked) || self.word.at(Stage::Answered) {
            // The new owner has done with it, or hyper, which does not shut
            // down where an upgrade was asked for and not given.
            Reason::ServerClosed
        } else {
            Reason::Aborted
        });
        if !self.word.is_terminal() {
            self.go(state);
        }
    }

    /// This is why the connection ends, if nothing was before.
    fn record_reason(&mut self, reason: Reason) {
        self.word.set_reason(self.word.reason().or(Some(reason)));
    }

    /// It was not for this reason that it ended, if it was said to be.
    #[inline]
    fn withdraw_reason(&mut self, reason: Reason) {
        if self.word.reason() == Some(reason) {
            self.word.set_reason(None);
        }
    }

    /// There will be no further request.
    fn end(&mut self, reason: Reason) {
        if self.word.at(Stage::Answered) {
            self.word.set_stage(Stage::BetweenRequests);
        }
        self.record_reason(reason);
        self.word.put(Flag::NoNextRequest, true);
    }

    /// Why the server shuts the stream down, unless there was a reason before.
    fn shutdown_reason(&self) -> Reason {
        if self.word.has(Flag::RejectedByHyper) {
            Reason::ProtocolError
        } else if self.word.is_http2() && self.word.is(ConnState::Active) {
            // With open streams that is no good order.
            Reason::Aborted
        } else if self.is_draining() {
            Reason::ShutdownDrained
        } else {
            Reason::ServerClosed
        }
    }

    /// The program closes the connection, whatever it is doing.
    fn close(&mut self, reason: Reason) -> Effect {
        let ending = self.closing() == Some(Closing::Graceful);
        if !ending {
            self.withdraw_reason(Reason::ShutdownDrained);
        }
        self.record_reason(reason);
        let closing = match self.reported() {
            _ if reason == Reason::ShutdownForced => Closing::Abort,
            ConnState::New | ConnState::Idle => Closing::Graceful,
            _ if ending => Closing::Graceful,
            _ => Closing::Abort,
        };
        self.word.set_closing(Some(closing));
        Effect::Wake
    }

    /// A policy has run out. What it does depends on where the connection is;
    /// if that is not where the policy applies, nothing.
    fn expire(&mut self, reason: CloseReason) -> Effect {
        use CloseReason::*;
        let hijacked = self.word.is(ConnState::Hijacked);
        let closing = match reason {
            _ if self.word.is_closing() => return Effect::None,
            TunnelIdleTimeout if hijacked => Closing::Abort,
            // Its owner is told.
            MaxAge if hijacked => {
                self.drain(false);
                return Effect::Wake;
            }
            _ if self.word.is_terminal() => return Effect::None,
            MaxAge | MaxRequests => {
                self.record_reason(reason.into());
                self.drain(false);
                return Effect::Wake;
            }
            IdleTimeout if self.word.is(ConnState::Idle) => {
                self.record_reason(reason.into());
                self.drain(false);
                return Effect::Wake;
            }
            HandshakeTimeout | FirstByteTimeout if self.is_quiet() => Closing::Graceful,
            HeaderTimeout if self.reads_head() => Closing::Graceful,
            BodyTimeout | WriteTimeout => Closing::Abort,
            _ => return Effect::None,
        };
        self.record_reason(reason.into());
        self.word.set_closing(Some(closing));
        Effect::Wake
    }

    /// The head of a request has begun, and no more than that.
    pub(crate) fn reads_head(self) -> bool {
        if self.word.has(Flag::BelowTls) {
            false
        } else if self.word.is_http2() {
            self.word.has(Flag::HeaderBlockOpen)
        } else {
            let ends = self.word.has(Flag::NoNextRequest) || self.word.has(Flag::RejectedByHyper);
            self.word.is(ConnState::Active)
                && self.word.at(Stage::BetweenRequests)
                && !self.word.has(Flag::HeadRead)
                && !ends
        }
    }

    /// There is no room for the connection. Its client is told, once the two
    /// understand each other.
    fn refuse(&mut self) {
        self.word.put(Flag::Refused, true);
        self.record_reason(Reason::Refused);
    }

    /// The state that is being reported, or was last. Whoever hears of Idle may
    /// close the connection, and must not cut short what was reported as served,
    /// even if the next request has begun meanwhile.
    fn reported(&self) -> ConnState {
        match self.word.state() {
            ConnState::Active if self.word.unreported() % 2 == 1 => ConnState::Idle,
            state => state,
        }
    }

    /// The program closes the connection as soon as its client knows.
    fn drain(&mut self, all: bool) {
        self.word.put(if all { Flag::DrainingWithAll } else { Flag::Draining }, true);
    }

    #[inline]
    fn enter_active(&mut self) {
        if !self.word.is(ConnState::Active) {
            self.go(ConnState::Active);
        }
    }

    #[inline]
    fn enter_idle(&mut self) {
        if self.word.is(ConnState::Active) {
            self.go(ConnState::Idle);
        }
    }

    #[inline]
    fn go(&mut self, next: ConnState) {
        debug_assert!(self.word.state().may_become(next), "{} to {next}", self.word.state());
        self.word.set_state(next);
        if self.word.has(Flag::Reporting) {
            self.word.add_unreported();
        } else {
            self.word.put(Flag::Reporting, true);
            self.due = Some(next);
        }
    }

    /// The state that the caller has to report, if there is one.
    ///
    /// Whoever is given a state reports it, then calls
    /// [`finish_report`](Self::finish_report) and asks again; nobody else is
    /// given one before that. So the reports of one connection come in order
    /// and never overlap, whichever threads the facts come from, a hook's own
    /// included.
    #[inline]
    pub(crate) fn start_report(&mut self) -> Option<ConnState> {
        self.due.take()
    }

    /// `reported` has been reported. If others have come up meanwhile, the
    /// next of them is now for the caller.
    ///
    /// Only their number is kept: the diagram leaves one way from the state
    /// that was reported to the one that the connection is in.
    #[inline]
    pub(crate) fn finish_report(&mut self, reported: ConnState) {
        match self.word.unreported() {
            0 => {
                self.word.put(Flag::Reporting, false);
                return;
            }
            1 => self.due = Some(self.word.state()),
            _ if reported == ConnState::Active => self.due = Some(ConnState::Idle),
            _ => self.due = Some(ConnState::Active),
        }
        self.word.take_unreported();
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
