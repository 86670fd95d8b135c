//! What a stream tells of what passes through it.

use std::io;
use std::task::{Context, Poll, Waker};

use super::write_waker::WriteWaker;
use crate::Conn;
use crate::conn::{BytesRead, Side};
use crate::sync::atomic::Ordering;
use crate::tracker::wire::{Gap, Wire};
use crate::tracker::{Closing, Demand, Fact, Tracker};

/// Records with a connection what passes through its stream; decides nothing.
pub(crate) struct Sensor {
    conn: Conn,
    wire: Wire,
    /// The wakers that the connection was last given, to see when they change.
    wakers: [Option<Waker>; 2],
    /// What the program wanted when a waker last changed.
    demand: Demand,
    bytes_read: u64,
    /// The last bytes that were read, the last one lowest.
    tail: u64,
    lingers: bool,
    /// Of a stream that once took nothing.
    write_waker: Option<WriteWaker>,
}

impl Sensor {
    pub(crate) fn new(conn: Conn) -> Self {
        let lingers = conn.settings().lingering_close.load(Ordering::Relaxed);
        Self {
            conn,
            wire: Wire::new(),
            wakers: [None, None],
            demand: Demand::default(),
            bytes_read: 0,
            tail: 0,
            lingers,
            write_waker: None,
        }
    }

    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    #[inline]
    pub(crate) fn tracker(&self) -> Tracker {
        self.conn.tracker()
    }

    #[inline]
    pub(crate) fn closing(&self) -> Option<Closing> {
        self.tracker().closing()
    }

    pub(crate) fn record(&self, fact: Fact) {
        self.conn.record_any(fact);
    }

    pub(crate) fn set_lingers(&mut self, lingers: bool) {
        self.lingers = lingers;
    }

    /// Whether the client is given time after the server has shut down.
    pub(crate) fn lingers(&self) -> bool {
        let tracker = self.tracker();
        let unread = tracker.may_have_unread() && !self.has_read_body(tracker);
        self.lingers && unread
    }

    /// Whether the client is given time if there are bytes to be read.
    pub(crate) fn may_linger(&self) -> bool {
        self.lingers && !self.tracker().has_read_all()
    }

    /// Where a frame of this crate's would stand, if the server speaks HTTP/2.
    pub(crate) fn gap(&self) -> Option<Gap> {
        self.wire.gap()
    }

    /// A read failed.
    #[cold]
    pub(crate) fn read_failed(&self, kind: io::ErrorKind) {
        self.conn.failed(kind);
        self.record(Fact::ReadFailed(kind));
    }

    /// A write or a flush failed.
    #[cold]
    pub(crate) fn write_failed(&self, kind: io::ErrorKind) {
        self.conn.failed(kind);
        self.record(Fact::WriteFailed(kind));
    }

    /// The task of `cx` is going to wait for this side.
    #[inline]
    pub(crate) fn waits(&mut self, side: Side, cx: &Context<'_>) {
        match &self.wakers[side as usize] {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => self.set_waker(side, cx),
        }
    }

    #[cold]
    fn set_waker(&mut self, side: Side, cx: &Context<'_>) {
        self.wakers[side as usize] = Some(cx.waker().clone());
        self.conn.set_waker(side, cx.waker().clone());
        // Whoever wanted a poll a moment ago may have woken the task that
        // waited before. Once is enough: there are tasks with a new waker at
        // each poll.
        let tracker = self.tracker();
        let demand = tracker.demand();
        let is_new = demand != self.demand && demand != Demand::default();
        self.demand = demand;
        if is_new || tracker.wants_flush() {
            cx.waker().wake_by_ref();
        }
    }

    /// The stream is about to be used. Returns whether it is drained or closed.
    #[inline]
    pub(crate) fn is_disturbed(&mut self, side: Side, cx: &Context<'_>) -> bool {
        // A task may come to wait without waiting for the stream: for a
        // handler, say. So its first use counts too.
        if self.wakers[side as usize].is_none() {
            self.set_waker(side, cx);
        }
        !self.tracker().is_undisturbed()
    }

    /// Bytes were read. Returns whether the server may have them: not if the
    /// program has closed the connection meanwhile, from a hook that was told
    /// of what they say.
    #[inline]
    pub(crate) fn read(&mut self, bytes: &[u8], cx: &Context<'_>) -> bool {
        let before = BytesRead::new(self.bytes_read, self.tail);
        self.bytes_read += bytes.len() as u64;
        self.tail = match bytes.last_chunk() {
            Some(last) => u64::from_be_bytes(*last),
            None => bytes.iter().fold(self.tail, |tail, byte| tail << 8 | u64::from(*byte)),
        };
        let read = BytesRead::new(self.bytes_read, self.tail);
        self.conn.set_bytes_read(read);
        let of_body = self.tracker().body_is_not_followed()
            && self.conn.request_end().includes_what_follows(before.get());
        if of_body && read.ends_in_empty_line() {
            self.conn.read_empty_line(read);
        }
        let wake = if !self.wire.needs_no_parsing() {
            self.follow_read(bytes, before)
        } else if of_body {
            self.conn.record(Fact::ReadBody)
        } else {
            self.conn.record_read(Fact::Read, before)
        };
        if wake {
            cx.waker().wake_by_ref();
        }
        let may = self.tracker().is_undisturbed() || self.closing().is_none();
        if !may {
            self.wire.withdraw_read();
        }
        may
    }

    fn follow_read(&mut self, bytes: &[u8], before: BytesRead) -> bool {
        let Self { conn, wire, .. } = &mut *self;
        let mut wake = false;
        wire.read(bytes, |fact| wake |= conn.record_read(fact, before));
        self.look_at_windows();
        wake
    }

    /// Whether all of the last request's body has been read, as far as can be
    /// known where nobody records it.
    fn has_read_body(&self, tracker: Tracker) -> bool {
        tracker.body_is_not_followed() && self.conn.request_end().is_reached(self.bytes_read)
    }

    #[inline]
    pub(crate) fn read_pending(&mut self, cx: &Context<'_>) {
        self.waits(Side::Read, cx);
        if self.tracker().body_is_not_followed() && self.waits_for_body() {
            return;
        }
        if self.conn.record(Fact::ReadPending) {
            cx.waker().wake_by_ref();
        }
    }

    /// Whether more of the last request's body is certain to come.
    #[cold]
    fn waits_for_body(&self) -> bool {
        self.conn.request_end().is_ahead_of(self.bytes_read)
    }

    #[inline]
    pub(crate) fn wrote<'a>(
        &mut self,
        result: &Poll<io::Result<usize>>,
        bufs: impl IntoIterator<Item = &'a [u8]>,
        cx: &Context<'_>,
    ) {
        match result {
            Poll::Ready(Ok(length)) => {
                if self.written(bufs, *length) {
                    cx.waker().wake_by_ref();
                }
            }
            Poll::Ready(Err(error)) => self.write_failed(error.kind()),
            // The shell says what there is to say of the stream.
            Poll::Pending => {}
        }
    }

    /// Writes or flushes; of a stream that is watched, in a way that shows when
    /// its socket takes something.
    #[inline]
    pub(crate) fn poll_write<T>(
        &mut self,
        watched: bool,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if watched { self.poll_write_watched(cx, poll) } else { poll(cx) }
    }

    #[cold]
    fn poll_write_watched<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let waker = self.write_waker.get_or_insert_with(|| WriteWaker::new(cx)).clone();
        let (result, woken) = waker.poll(cx, poll);
        if woken && result.is_pending() {
            self.conn.write_goes_on(0);
        }
        result
    }

    /// There is something to be written or flushed, and the stream does not take
    /// it, having so much in its socket's buffer.
    #[cold]
    pub(crate) fn write_pending(&mut self, socket_holds: impl FnOnce() -> usize, cx: &Context<'_>) {
        if !self.tracker().is_watched() {
            // From now on it is: the task is to come back, and leave a waker that
            // tells.
            cx.waker().wake_by_ref();
        }
        self.conn.write_blocked(socket_holds);
        self.waits(Side::Write, cx);
    }

    /// The same of what is written at the end: it waits for the client, which
    /// takes it as a whole or not at all.
    #[cold]
    pub(crate) fn end_pending(&mut self, cx: &Context<'_>) {
        self.conn.write_blocked(|| 0);
        self.waits(Side::Write, cx);
    }

    /// Of a stream that is watched: what there was to be done is done, of which
    /// so many bytes were written.
    #[cold]
    pub(crate) fn write_goes_on<T>(&self, result: &Poll<io::Result<T>>, bytes: usize) {
        if result.is_ready() {
            self.conn.write_goes_on(bytes);
        }
    }

    /// The client seems to begin HTTP/2, and has not been answered.
    pub(crate) fn may_be_http2(&self) -> bool {
        self.wire.may_be_http2()
    }

    /// `length` bytes of `bufs` were taken by the stream.
    #[inline]
    fn written<'a>(&mut self, bufs: impl IntoIterator<Item = &'a [u8]>, length: usize) -> bool {
        if length == 0 {
            false
        } else if self.wire.needs_no_parsing() {
            self.wire.written_unparsed();
            self.conn.record(Fact::Written)
        } else {
            self.follow_written(bufs, length)
        }
    }

    fn follow_written<'a>(
        &mut self,
        bufs: impl IntoIterator<Item = &'a [u8]>,
        mut length: usize,
    ) -> bool {
        let Self { conn, wire, .. } = &mut *self;
        let mut wake = false;
        for buf in bufs {
            // A stream that claims to have taken more than it was given is
            // not believed.
            let taken = &buf[..length.min(buf.len())];
            length -= taken.len();
            wire.written(taken, |fact| wake |= conn.record_any(fact));
            if length == 0 {
                break;
            }
        }
        self.look_at_windows();
        wake
    }

    /// Notes if the client has shut its windows, or opened them.
    #[inline]
    fn look_at_windows(&mut self) {
        if let Some(shut) = self.wire.windows_changed() {
            self.conn.windows_are_shut(shut);
        }
    }

    /// All that was written is in the socket.
    #[inline]
    pub(crate) fn flushed(&mut self, cx: &Context<'_>) -> Flush {
        let bytes = self.wire.is_unflushed();
        let (wake, hijacked) = if self.wire.needs_no_parsing() {
            self.wire.take_unflushed();
            self.conn.record_flush(Fact::Flushed { bytes })
        } else {
            self.follow_flushed()
        };
        if wake {
            cx.waker().wake_by_ref();
        }
        Flush { bytes, hijacked }
    }

    #[inline(never)]
    fn follow_flushed(&mut self) -> (bool, bool) {
        self.wire.flushed().map_or((false, false), |fact| self.conn.record_flush(fact))
    }
}

/// What a flush has come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flush {
    /// There was something to flush.
    pub(crate) bytes: bool,
    /// The stream is somebody else's from now on.
    pub(crate) hijacked: bool,
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.record(Fact::Dropped);
    }
}
