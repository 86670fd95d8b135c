//! Where facts from all threads meet, and where states are reported.

use std::io;
use std::sync::PoisonError;
use std::task::Waker;
use std::time::Instant;

use super::request_end::{BytesRead, RequestEnd, RequestLength};
use super::{Conn, Side, now};
use crate::ConnState;
use crate::diagnostics;
use crate::hook::{report_end, report_state};
use crate::sync::MutexGuard;
use crate::sync::atomic::{Ordering, fence};
use crate::tracker::{Closing, Effect, Exchange, Fact, Request, Response, Tracker};

/// One request of an HTTP/1 connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeId {
    exchange: Exchange,
    number: u64,
}

/// Where a layer is, as far as it is known: how sure it is that each request
/// comes by it, and first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// It has found its connection in the request.
    Found = 1,
    /// It was made for its connection.
    Made = 2,
    /// It is outside of all others.
    Outermost = 3,
}

impl Conn {
    #[inline]
    pub(crate) fn tracker(&self) -> Tracker {
        Tracker::from_u64(self.0.tracker.load(Ordering::Acquire))
    }

    /// How the stream has to end, if the program closes it.
    #[inline]
    pub(crate) fn closing(&self) -> Option<Closing> {
        self.tracker().closing()
    }

    /// Takes a fact from the connection's own task. Returns whether that task
    /// is to be polled once more.
    ///
    /// For who knows which fact it is; [`record_any`](Self::record_any) for
    /// others.
    // Inlined, because of the rules only those for that fact are left then.
    #[inline(always)]
    pub(crate) fn record(&self, fact: Fact) -> bool {
        match self.apply(fact) {
            Effect::Wake => true,
            Effect::LayerMissing => {
                diagnostics::layer_missing(self);
                false
            }
            Effect::BelowTls => {
                diagnostics::below_tls(self);
                false
            }
            Effect::None | Effect::FirstByte | Effect::Hijacked | Effect::Begun(_) => false,
        }
    }

    /// [`record`](Self::record) for who does not know which fact it is.
    #[inline(never)]
    pub(crate) fn record_any(&self, fact: Fact) -> bool {
        match fact {
            Fact::GoAwayReceived { error_code } => {
                let _ = self.0.goaway_code.set(error_code);
            }
            Fact::HeaderBlock { open: true } => self.head_began(),
            Fact::DataRead { length } => {
                self.data_read(length);
                return false;
            }
            _ => {}
        }
        self.record(fact)
    }

    /// [`record`](Self::record) for what was read behind what had been read
    /// `before`.
    #[inline]
    pub(crate) fn record_read(&self, fact: Fact, before: BytesRead) -> bool {
        if fact != Fact::Read {
            return self.record_any(fact);
        }
        let effect = self.apply(Fact::Read);
        if effect == Effect::FirstByte {
            self.0.request_end.begin_behind(before);
        }
        effect == Effect::Wake
    }

    /// [`record`](Self::record) for a flush. Returns whether the stream was
    /// hijacked by it, too.
    #[inline(always)]
    pub(crate) fn record_flush(&self, fact: Fact) -> (bool, bool) {
        let effect = self.apply(fact);
        (effect == Effect::Wake, effect == Effect::Hijacked)
    }

    /// So many bytes have been read.
    #[inline]
    pub(crate) fn set_bytes_read(&self, read: BytesRead) {
        self.0.bytes_read.store(read.to_u64(), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn bytes_read(&self) -> BytesRead {
        BytesRead::from_u64(self.0.bytes_read.load(Ordering::Relaxed))
    }

    /// Where the request that was last begun ends.
    #[inline]
    pub(crate) fn request_end(&self) -> RequestEnd {
        self.0.request_end.load()
    }

    /// So many bytes have been read, which end in an empty line: chunks end
    /// with one.
    pub(crate) fn read_empty_line(&self, read: BytesRead) {
        self.0.request_end.read_empty_line(read);
    }

    /// Whether bytes have been read that belong to the next request already.
    pub(crate) fn has_read_ahead(&self) -> bool {
        self.request_end().is_passed(self.bytes_read().get())
    }

    /// Remembers the kind of an error that is going to be recorded. The first
    /// one counts, as it does for the tracker.
    #[cold]
    pub(crate) fn failed(&self, kind: io::ErrorKind) {
        let _ = self.0.failure.set(kind);
    }

    /// The layer was called for an HTTP/1 request. `None` if another layer was
    /// called for it before, or the connection is over.
    #[inline]
    pub(crate) fn request_began(
        &self,
        request: Request,
        length: RequestLength,
    ) -> Option<ExchangeId> {
        let Effect::Begun(exchange) = self.apply(Fact::RequestBegan(request)) else {
            return None;
        };
        self.0.request_end.extend(length, self.bytes_read());
        Some(ExchangeId { exchange, number: self.count_request() })
    }

    /// An HTTP/2 request reached a layer. Of several layers around a request, one
    /// counts it; returns whether it is this one.
    #[inline]
    pub(crate) fn count_http2_request(&self, place: Place) -> bool {
        let counts = self.0.counting.load(Ordering::Relaxed);
        let place = place as u8;
        if counts < place {
            self.0.counting.store(place, Ordering::Relaxed);
        }
        if counts <= place {
            self.count_request();
        }
        counts <= place
    }

    /// A request reached the layer.
    #[inline]
    pub(crate) fn count_request(&self) -> u64 {
        let number = self.0.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if number >= self.max_requests() {
            self.reached_max_requests();
        }
        number
    }

    /// Whether the tracker would still know this request from others, by a
    /// number that wraps.
    #[inline]
    fn is_recent(&self, id: ExchangeId) -> bool {
        self.requests().wrapping_sub(id.number) < u64::from(Exchange::MAX / 2)
    }

    #[inline]
    pub(crate) fn response_ended(&self, id: ExchangeId, response: Response) {
        let exchange = id.exchange;
        if self.is_recent(id)
            && self.apply(Fact::ResponseEnded { exchange, response }) == Effect::Wake
        {
            self.wake();
        }
    }

    /// The end of the current request's body will be recorded.
    #[cfg(feature = "axum")]
    pub(crate) fn request_body_followed(&self) -> Option<ExchangeId> {
        match self.apply(Fact::RequestBodyFollowed) {
            Effect::Begun(exchange) => Some(ExchangeId { exchange, number: self.requests() }),
            _ => None,
        }
    }

    #[cfg(feature = "axum")]
    pub(crate) fn request_body_ended(&self, id: ExchangeId, read_to_end: bool) {
        if self.is_recent(id) {
            let exchange = id.exchange;
            self.apply_and_wake(Fact::RequestBodyEnded { exchange, read_to_end });
        }
    }

    /// Takes a fact that may come from any thread, and wakes the connection's
    /// tasks if they are to be polled. Returns whether they are.
    pub(crate) fn apply_and_wake(&self, fact: Fact) -> bool {
        let wake = self.apply(fact) == Effect::Wake;
        if wake {
            self.wake();
        }
        wake
    }

    #[cold]
    pub(super) fn wake(&self) {
        let wakers = self.wakers().clone();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Remembers how to wake the task that waits for this side of the stream.
    ///
    /// Whoever wants it woken has told so in the tracker before it looks here.
    /// So the task, which looks at the tracker after this, or is woken by what
    /// it has put here, misses nothing.
    pub(crate) fn set_waker(&self, side: Side, waker: Waker) {
        let previous = self.wakers()[side as usize].replace(waker);
        drop(previous);
    }

    fn wakers(&self) -> MutexGuard<'_, [Option<Waker>; 2]> {
        self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a fact: the rules are applied to what was last known, and that is
    /// replaced by what comes out, unless another thread was faster; then they
    /// are applied to what it left.
    ///
    /// A state that comes of it is taken for reporting in the same step, so
    /// that one thread and no other reports it. The step is a release, and an
    /// acquire of the one before: whoever reports next, on whichever thread,
    /// does so after all that the last hook call did.
    #[inline(always)]
    fn apply(&self, fact: Fact) -> Effect {
        let word = &self.0.tracker;
        let mut before = word.load(Ordering::Acquire);
        loop {
            let mut tracker = Tracker::from_u64(before);
            let effect = tracker.on(fact);
            // Nearly all that passes in the middle of a request changes
            // nothing, and costs no more than this.
            let after = tracker.to_u64();
            if after == before {
                return effect;
            }
            match word.compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    if let Some(state) = tracker.start_report() {
                        self.report(state);
                    } else if tracker.is_finished() {
                        self.finish();
                    }
                    return effect;
                }
                Err(now) => before = now,
            }
        }
    }

    /// Reports a state that was taken for reporting, and what comes up
    /// meanwhile: of a hook that causes a fact of its own connection, or from
    /// another thread.
    #[inline(never)]
    pub(super) fn report(&self, state: ConnState) {
        if let Some(next) = self.report_one(state) {
            self.report_more(next);
        }
    }

    #[cold]
    fn report_more(&self, mut state: ConnState) {
        while let Some(next) = self.report_one(state) {
            state = next;
        }
    }

    /// Returns the state that has to be reported next.
    #[inline(always)]
    fn report_one(&self, state: ConnState) -> Option<ConnState> {
        let now = now();
        if state == ConnState::Closed {
            self.note_work(now);
        }
        self.0.state.store(state, now.saturating_duration_since(self.0.accepted_at));
        report_state(&self.0.settings.hook, self, state);
        if state == ConnState::Hijacked {
            self.0.changed.notify_waiters();
        }
        self.reported(state)
    }

    /// A hook call is over. Returns the state that has to be reported next.
    #[inline]
    fn reported(&self, state: ConnState) -> Option<ConnState> {
        let word = &self.0.tracker;
        let mut before = word.load(Ordering::Acquire);
        loop {
            let mut tracker = Tracker::from_u64(before);
            tracker.finish_report(state);
            let after = tracker.to_u64();
            match word.compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    if tracker.is_finished() {
                        self.finish();
                    }
                    return tracker.start_report();
                }
                Err(now) => before = now,
            }
        }
    }

    /// The stream is gone, and all has been reported.
    #[cold]
    fn finish(&self) {
        if self.0.done.swap(true, Ordering::AcqRel) {
            return;
        }
        fence(Ordering::SeqCst);
        if let Some(observer) = self.0.observer.get() {
            if self.state() == ConnState::Hijacked && !self.is_discounted() {
                observer.had_work_until(now());
            }
            observer.removed(self);
        }
        self.0.changed.notify_waiters();
        if let Some(reason) = self.close_reason() {
            // A subscriber may panic, too.
            #[cfg(feature = "tracing")]
            crate::hook::contain(|| crate::trace::ended(self, reason));
            report_end(&self.0.settings.hook, self, reason);
        }
        // From here on nothing keeps the connection's tasks alive, nor the
        // values the connection. Last, because dropping them runs code that is
        // not ours.
        let wakers = std::mem::take(&mut *self.wakers());
        drop(wakers);
        self.clear_values();
        self.release_socket();
    }

    /// The connection is about to be closed: says until when it
    /// had work. Before it can be seen there as closed, or be missed.
    #[cold]
    fn note_work(&self, now: Instant) {
        let Some(observer) = self.0.observer.get() else { return };
        if self.is_discounted() {
            return;
        }
        match self.state_and_since() {
            (ConnState::Active, _) => observer.had_work_until(now),
            (ConnState::Idle, since) => observer.had_work_until(since),
            _ => {}
        }
    }
}
