//! What a stream tells of what passes through it.

use std::io;
use std::task::{Context, Poll, Waker};

use crate::Conn;
use crate::conn::Side;
use crate::tracker::wire::Wire;
use crate::tracker::{Closing, Fact};

/// Tells a connection what passes through its stream; decides nothing.
pub(crate) struct Sensor {
    conn: Conn,
    wire: Wire,
    /// The wakers that the connection was last given, to see when they change.
    wakers: [Option<Waker>; 2],
}

impl Sensor {
    pub(crate) fn new(conn: Conn) -> Self {
        Self { conn, wire: Wire::new(), wakers: [None, None] }
    }

    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    pub(crate) fn record(&self, fact: Fact) {
        self.conn.record(fact);
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

    /// Whether anything was written.
    pub(crate) fn has_written(&self) -> bool {
        self.wire.has_written()
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
        // waited before.
        if self.conn.tracker().wants_poll() {
            cx.waker().wake_by_ref();
        }
    }

    /// The stream is about to be used. Returns how it has to end, if it has.
    #[inline]
    pub(crate) fn used(&mut self, side: Side, cx: &Context<'_>) -> Option<Closing> {
        // A task may come to wait without waiting for the stream: for a
        // handler, say. So its first use counts too.
        if self.wakers[side as usize].is_none() {
            self.set_waker(side, cx);
        }
        if self.conn.tracker().is_undisturbed() {
            return None;
        }
        self.record(Fact::Used);
        self.conn.closing()
    }

    #[inline]
    pub(crate) fn read(&mut self, bytes: &[u8], cx: &Context<'_>) {
        let wake = if self.wire.needs_no_parsing() {
            self.conn.record(Fact::Read)
        } else {
            self.follow_read(bytes)
        };
        if wake {
            cx.waker().wake_by_ref();
        }
    }

    fn follow_read(&mut self, bytes: &[u8]) -> bool {
        let Self { conn, wire, .. } = self;
        let mut wake = false;
        wire.read(bytes, |fact| wake |= conn.record(fact));
        wake
    }

    #[inline]
    pub(crate) fn read_pending(&mut self, cx: &Context<'_>) {
        self.waits(Side::Read, cx);
        if self.conn.record(Fact::ReadPending) {
            cx.waker().wake_by_ref();
        }
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
            Poll::Pending => self.waits(Side::Write, cx),
        }
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
        let Self { conn, wire, .. } = self;
        let mut wake = false;
        for buf in bufs {
            // A stream that claims to have taken more than it was given is
            // not believed.
            let taken = &buf[..length.min(buf.len())];
            length -= taken.len();
            wire.written(taken, |fact| wake |= conn.record(fact));
            if length == 0 {
                break;
            }
        }
        wake
    }

    #[inline]
    pub(crate) fn flushed(&mut self, cx: &Context<'_>) {
        let wake = if self.wire.needs_no_parsing() {
            let bytes = self.wire.take_unflushed();
            self.conn.record(Fact::Flushed { bytes })
        } else {
            self.follow_flushed()
        };
        if wake {
            cx.waker().wake_by_ref();
        }
    }

    #[inline]
    fn follow_flushed(&mut self) -> bool {
        self.wire.flushed().is_some_and(|fact| self.conn.record(fact))
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.record(Fact::Dropped);
    }
}
