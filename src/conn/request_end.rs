//! Where a request ends among the bytes that its client sends.

use crate::sync::atomic::{AtomicU64, Ordering};

/// Where the HTTP/1 request that was last begun ends, counted in bytes from the
/// connection's first one.
///
/// hyper says nothing of it, and reading heads a second time would cost too
/// much. But a head is as long as its parts, but for spaces that a client may
/// leave out, and a body as long as it says.
#[derive(Debug)]
pub(super) struct AtomicRequestEnd(AtomicU64);

/// What was known of it at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestEnd(u64);

/// How many bytes of the client's a request takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLength {
    /// The head, as clients write it.
    pub(crate) head: u64,
    /// How many bytes of it a client may leave out.
    pub(crate) spaces: u64,
    /// `None` if it does not say.
    pub(crate) body: Option<u64>,
}

/// How many bytes have been read, and whether the last read ended in an empty
/// line, as the last chunk of a body does (RFC 9112, section 7.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct BytesRead(u64);

impl BytesRead {
    #[inline]
    pub(crate) fn new(bytes: u64, empty_line: bool) -> Self {
        Self(bytes << 1 | u64::from(empty_line))
    }

    pub(super) fn from_u64(value: u64) -> Self {
        Self(value)
    }

    pub(super) fn to_u64(self) -> u64 {
        self.0
    }

    pub(crate) fn get(self) -> u64 {
        self.0 >> 1
    }

    fn ends_in_empty_line(self) -> bool {
        self.0 & 1 == 1
    }
}

impl RequestLength {
    /// Where a request that starts there ends, packed.
    fn end(self, start: u64, read: BytesRead) -> Option<u64> {
        let read_of_it = read.get().saturating_sub(start);
        let Some(body) = self.body else {
            let body_is_there = read.ends_in_empty_line() && read_of_it > self.head;
            return body_is_there.then_some(read.get());
        };
        // A head that has come alone, and is as long as it should be, is
        // written as it should be. One that is shorter is not, and else nobody
        // knows where the body begins.
        let spaces = if read_of_it == self.head { 0 } else { self.spaces };
        let head = self.head.min(read_of_it);
        let end = start.checked_add(head)?.checked_add(body)?;
        (end >> OFFSET_BITS == 0).then_some(spaces.min(u8::MAX.into()) << OFFSET_BITS | end)
    }
}

const OFFSET_BITS: u32 = 48;
/// The body says nothing of its length, or where the request began is not
/// known.
const UNKNOWN: u64 = u64::MAX;

impl AtomicRequestEnd {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A request begins with the byte after this many.
    #[inline]
    pub(super) fn begin(&self, offset: u64) {
        self.0.store(offset, Ordering::Relaxed);
    }

    /// A request has begun there, or where the last one ended, and its head has
    /// been read among so many bytes.
    #[inline]
    pub(super) fn extend(&self, length: RequestLength, read: BytesRead) {
        let end = self.load().offset().and_then(|start| length.end(start, read));
        self.0.store(end.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn load(&self) -> RequestEnd {
        RequestEnd(self.0.load(Ordering::Relaxed))
    }
}

impl RequestEnd {
    fn offset(self) -> Option<u64> {
        (self.0 != UNKNOWN).then_some(self.0 & ((1 << OFFSET_BITS) - 1))
    }

    /// The earliest byte that it may end with.
    fn earliest(self) -> Option<u64> {
        Some(self.offset()?.saturating_sub(self.0 >> OFFSET_BITS))
    }

    /// When so many bytes have been read, the last of them may be of the
    /// request.
    pub(crate) fn includes(self, bytes_read: u64) -> bool {
        self.offset().is_none_or(|end| bytes_read <= end)
    }

    /// When so many bytes have been read, more of the request is certain to
    /// come.
    pub(crate) fn is_ahead_of(self, bytes_read: u64) -> bool {
        self.earliest().is_some_and(|end| bytes_read < end)
    }

    /// When so many bytes have been read, they include all of the request.
    pub(crate) fn is_reached(self, bytes_read: u64) -> bool {
        self.offset().is_some_and(|end| bytes_read >= end)
    }

    /// When so many bytes have been read, some of them are of the next request.
    pub(crate) fn is_passed(self, bytes_read: u64) -> bool {
        self.offset().is_some_and(|end| bytes_read > end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: u64 = 40;

    /// Of a request that starts after a hundred bytes.
    fn end(body: Option<u64>, read_of_it: u64, empty_line: bool) -> RequestEnd {
        let end = AtomicRequestEnd::new();
        end.begin(100);
        let length = RequestLength { head: HEAD, spaces: 5, body };
        end.extend(length, BytesRead::new(100 + read_of_it, empty_line));
        end.load()
    }

    #[test]
    fn a_head_that_comes_alone() {
        let end = end(Some(10), HEAD, true);
        assert!(end.is_ahead_of(149) && !end.is_ahead_of(150));
        assert!(end.includes(150) && !end.includes(151));
        assert!(end.is_reached(150) && !end.is_reached(149));
        assert!(end.is_passed(151) && !end.is_passed(150));
    }

    #[test]
    fn a_head_without_spaces() {
        let end = end(Some(10), HEAD - 3, true);
        assert!(end.includes(147) && !end.includes(148));
        assert!(end.is_ahead_of(141) && !end.is_ahead_of(142));
    }

    #[test]
    fn a_head_with_a_part_of_its_body() {
        let end = end(Some(10), HEAD + 3, false);
        assert!(end.is_ahead_of(144) && !end.is_ahead_of(145));
        assert!(end.includes(150) && !end.includes(151));
    }

    #[test]
    fn chunks_end_with_an_empty_line() {
        assert!(end(None, HEAD + 8, true).is_reached(100 + HEAD + 8));
        for chunked in [end(None, HEAD, true), end(None, HEAD + 8, false)] {
            assert!(!chunked.is_reached(u64::MAX >> 2) && chunked.includes(u64::MAX));
        }
    }

    #[test]
    fn says_nothing_that_is_not_known() {
        for body in [u64::MAX, 1 << 50] {
            let unknown = end(Some(body), HEAD, true);
            assert!(unknown.includes(u64::MAX));
            assert!(!unknown.is_ahead_of(0) && !unknown.is_reached(u64::MAX));
        }
    }
}
