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

    /// The request that has begun there, or where the last one ended, has a
    /// head of this many bytes, or up to `spaces` less, and such a body.
    #[inline]
    pub(super) fn extend(&self, head: u64, spaces: u64, body: Option<u64>) {
        let start = self.load().offset();
        let end = start.zip(body).and_then(|(start, body)| body.checked_add(start + head));
        let end = end.filter(|end| end >> OFFSET_BITS == 0);
        let value = end.map_or(UNKNOWN, |end| spaces.min(u8::MAX.into()) << OFFSET_BITS | end);
        self.0.store(value, Ordering::Relaxed);
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

    #[test]
    fn ends_where_its_parts_end() {
        let end = AtomicRequestEnd::new();
        end.begin(100);
        end.extend(40, 5, Some(10));
        let end = end.load();
        assert!(end.is_ahead_of(144) && !end.is_ahead_of(145));
        assert!(end.includes(150) && !end.includes(151));
        assert!(end.is_reached(150) && !end.is_reached(149));
        assert!(end.is_passed(151) && !end.is_passed(150));
    }

    #[test]
    fn says_nothing_that_is_not_known() {
        for body in [None, Some(u64::MAX), Some(1 << 50)] {
            let end = AtomicRequestEnd::new();
            end.extend(40, 5, body);
            // The next request of the same packet.
            end.extend(40, 5, Some(0));
            let unknown = end.load();
            assert!(unknown.includes(u64::MAX));
            assert!(!unknown.is_ahead_of(0) && !unknown.is_reached(u64::MAX));
            end.begin(7);
            assert!(end.load().is_reached(7));
        }
    }
}
