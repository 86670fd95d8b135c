//! The rules for HTTP/1.
//!
//! # When a connection becomes idle
//!
//! The hard question is whether hyper keeps a connection once an answer has
//! been written, because hyper does not say. Two things are known of it:
//!
//! 1. A connection that is not kept is shut down in the very poll that flushed
//!    the answer, if the request's body had been read to its end by then.
//!    If it had not, hyper makes one attempt to read what is left, and shuts
//!    down in that poll where this is not enough.
//! 2. hyper does not read again after an answer until its task is woken: while
//!    the handler ran it has already found that there is nothing to read.
//!    Waiting for its next read would report Idle when the client's next byte
//!    arrives, which is too late.
//!
//! So after the flush the task is woken once ([`Effect::Wake`]), and a read
//! that is asked for after it shows that the connection has been kept
//! ([`Stage::Answered`]), whatever that read finds, the end of the file
//! included. Where the request's body may have been left unread that first read
//! may be the attempt to drain it, and it takes one more. Where `serve` polls
//! the connection's future, the end of that very poll shows it
//! ([`Fact::PollEnded`](super::Fact::PollEnded)), and no extra poll is needed.
//!
//! Once a connection has been kept, it is known that the server keeps
//! connections, and for a plain exchange the flush alone is enough. Plain is
//! what cannot end otherwise: HTTP/1.1 on both sides, no request body left
//! unread, no `Transfer-Encoding` in the request (hyper ends a connection
//! after one that also had a `Content-Length`), no `Expect` (what is flushed
//! may be the 100), no `Connection: close`, nothing left to flush of the
//! answer before, no end of file.
//!
//! # Bodies that nobody follows
//!
//! Where the request's body cannot be wrapped, a task of the handler's may read
//! it after the answer is out. The shells count its bytes: while more of it is
//! certain to come, they do not record that a read found nothing, and what is
//! read of it is no first byte of a next request
//! ([`Fact::ReadBody`](super::Fact::ReadBody)).

use super::word::{Flag, Stage};
use super::{Effect, Exchange, Reason, Request, Tracker};
use crate::state::ConnState;

impl Tracker {
    #[inline]
    pub(super) fn read(&mut self) -> Effect {
        match self.word.stage() {
            // More of the same request.
            Stage::BetweenRequests if self.word.is(ConnState::Active) => {}
            Stage::BetweenRequests => {
                self.enter_active();
                return Effect::FirstByte;
            }
            // More of the request that was answered, as far as can be told.
            Stage::Answered if self.word.has(Flag::BodyMaybeUnread) => {}
            // The next request, but its beginning may have been in hyper's
            // buffer.
            Stage::Answered => self.next_request_began(),
            Stage::Serving => {}
        }
        Effect::None
    }

    /// While the layer knows of no request that this could be the answer to, it
    /// is one of hyper's own.
    #[inline]
    pub(super) fn written(&mut self) {
        match self.word.stage() {
            // Without a layer the answer itself tells (`Answering`).
            Stage::BetweenRequests
                if self.word.has(Flag::LayerCalled) && !self.word.is(ConnState::New) =>
            {
                self.word.put(Flag::RejectedByHyper, true);
            }
            // hyper went on, and refuses what it had read together with the
            // request before: as in Go that was served, and the next did not
            // begin.
            Stage::Answered => {
                self.word.put(Flag::RejectedByHyper, true);
                self.kept_alive();
            }
            Stage::BetweenRequests | Stage::Serving => {}
        }
    }

    #[inline]
    pub(super) fn read_pending(&mut self) -> Effect {
        if !self.word.at(Stage::Answered) {
            return Effect::None;
        }
        if !self.word.has(Flag::BodyMaybeUnread) {
            self.kept_alive();
            return Effect::None;
        }
        self.word.put(Flag::BodyMaybeUnread, false);
        // The end of this very poll will tell.
        if self.word.has(Flag::Managed) { Effect::None } else { Effect::Wake }
    }

    /// A read found that there will be nothing more.
    pub(super) fn read_ended(&mut self, reason: Reason) {
        // Asked for after the answer, so the connection was kept; the client
        // was only gone before the task came to look.
        if self.word.at(Stage::Answered) && !self.word.has(Flag::BodyMaybeUnread) {
            self.kept_alive();
        }
        self.word.put(Flag::ReadEnded, true);
        self.end(reason);
    }

    /// A poll of the connection's future is over, and it did not shut down.
    #[inline]
    pub(super) fn poll_ended(&mut self) {
        if self.word.at(Stage::Answered) && !self.word.has(Flag::BodyMaybeUnread) {
            self.kept_alive();
        }
    }

    #[inline]
    pub(super) fn flushed(&mut self, bytes: bool) -> Effect {
        if !self.word.at(Stage::Serving) {
            return Effect::None;
        }
        if bytes {
            self.word.put(Flag::AnswerFlushed, true);
        }
        if !self.word.has(Flag::AnswerFlushed) || self.word.has(Flag::ResponseOpen) {
            return Effect::None;
        }
        self.word.put(Flag::ResponseFlushed, true);
        if self.word.has(Flag::Upgraded) {
            // Whatever has become of the request's body: it may be the new
            // owner's.
            self.word.set_stage(Stage::BetweenRequests);
            self.go(ConnState::Hijacked);
            return Effect::Hijacked;
        }
        if self.word.has(Flag::RequestBodyOpen) {
            return Effect::None;
        }
        let unread = self.word.has(Flag::BodyMaybeUnread);
        if self.word.has(Flag::NoNextRequest) {
            self.word.set_stage(Stage::BetweenRequests);
            Effect::None
        } else if self.word.has(Flag::KeptAlive) && self.word.has(Flag::MayPersist) && !unread {
            self.kept_alive();
            Effect::None
        } else {
            self.word.set_stage(Stage::Answered);
            if self.word.has(Flag::Managed) && !unread { Effect::None } else { Effect::Wake }
        }
    }

    #[inline]
    pub(super) fn request_began(&mut self, request: Request) -> Effect {
        let mut leftover = false;
        match self.word.stage() {
            Stage::BetweenRequests => self.enter_active(),
            // hyper reads no request before it has answered the one before,
            // so this is a second layer around the same one.
            Stage::Serving if self.word.has(Flag::ResponseOpen) => return Effect::None,
            // The stream is not hyper's any more.
            Stage::Serving if self.word.has(Flag::Upgraded) => return Effect::None,
            // hyper went on to the next request (it was already in the
            // buffer), which shows that it keeps the connection. It may do so
            // before it has written all of the answer: then that one is not
            // idle for.
            Stage::Serving if !self.word.has(Flag::ResponseFlushed) => leftover = true,
            Stage::Serving | Stage::Answered => self.next_request_began(),
        }
        self.word.put(Flag::LayerCalled, true);
        self.word.put(Flag::HeadRead, false);
        // hyper goes on to no request after one that it refuses.
        self.word.put(Flag::RejectedByHyper, false);
        self.word.set_stage(Stage::Serving);
        self.word.put(Flag::ResponseOpen, true);
        self.word.put(Flag::RequestBodyOpen, false);
        self.word.put(Flag::BodyMaybeUnread, request.has_body);
        self.word.put(Flag::BodyNotFollowed, request.has_body);
        self.word.put(Flag::BodyDropped, false);
        // What is flushed of the answer before says nothing of this one.
        self.word.put(Flag::MayPersist, request.may_persist && !leftover);
        self.word.put(Flag::Upgraded, false);
        self.word.put(Flag::AnswerFlushed, false);
        self.word.put(Flag::ResponseFlushed, false);
        Effect::Begun(self.word.next_exchange())
    }

    /// Whether this request is being served, and this part of it open.
    #[inline]
    pub(super) fn serves(&self, exchange: Exchange, part: Flag) -> bool {
        self.word.at(Stage::Serving) && self.word.exchange() == exchange && self.word.has(part)
    }

    /// Whether the request that is served is, but for flushing.
    #[inline]
    fn is_over(&self) -> bool {
        !self.word.has(Flag::ResponseOpen) && !self.word.has(Flag::RequestBodyOpen)
    }

    /// The request's body or its response ended.
    #[inline]
    pub(super) fn part_ended(&self) -> Effect {
        // If this happened outside of the connection's task and the answer is
        // in the socket already, then nothing else would make hyper flush.
        if self.word.has(Flag::AnswerFlushed) && self.is_over() {
            Effect::Wake
        } else {
            Effect::None
        }
    }

    /// The connection was kept after an answer.
    #[inline]
    fn kept_alive(&mut self) {
        self.word.put(Flag::KeptAlive, true);
        self.word.set_stage(Stage::BetweenRequests);
        if self.word.has_reason() {
            // A panic that was caught further out, and answered.
            self.withdraw_reason(Reason::HandlerPanicked);
        }
        self.enter_idle();
    }

    /// The connection was kept, and the next request is there.
    fn next_request_began(&mut self) {
        self.kept_alive();
        self.enter_active();
    }
}
