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

/// How many bytes have been read, and what the last of them are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BytesRead(u64);

/// Two line ends.
const EMPTY_LINE: u32 = u32::from_be_bytes(*b"\r\n\r\n");

/// The last chunk of a body, behind a line end, and no trailers.
const LAST_CHUNK: u64 = u64::from_be_bytes(*b"\0\r\n0\r\n\r\n");
const LAST_CHUNK_BYTES: u64 = u64::MAX >> 8;

impl BytesRead {
    /// `tail` are the last eight bytes, the last one lowest.
    #[inline]
    pub(crate) fn new(bytes: u64, tail: u64) -> Self {
        let empty_line = tail as u32 == EMPTY_LINE;
        let last_chunk = tail & LAST_CHUNK_BYTES == LAST_CHUNK;
        Self(bytes << 2 | u64::from(last_chunk) << 1 | u64::from(empty_line))
    }

    pub(super) fn from_u64(value: u64) -> Self {
        Self(value)
    }

    pub(super) fn to_u64(self) -> u64 {
        self.0
    }

    pub(crate) fn get(self) -> u64 {
        self.0 >> 2
    }

    /// They end in an empty line, as each head and each chunked body does
    /// (RFC 9112, section 7.1).
    #[inline]
    pub(crate) fn ends_in_empty_line(self) -> bool {
        self.0 & 1 != 0
    }

    /// They end as chunked bodies without trailers do, and heads do not.
    fn ends_in_last_chunk(self) -> bool {
        self.0 & 2 != 0
    }
}

impl RequestLength {
    /// Where a request that starts there ends, packed.
    fn end(self, start: Option<u64>, read: BytesRead) -> u64 {
        let read_of_it = start.map(|start| read.get().saturating_sub(start));
        match self.body {
            Some(body) => self.end_of_sized(body, start, read_of_it).unwrap_or(UNKNOWN),
            None => self.end_of_chunked(read_of_it, read),
        }
    }

    fn end_of_sized(self, body: u64, start: Option<u64>, read_of_it: Option<u64>) -> Option<u64> {
        let (start, read_of_it) = (start?, read_of_it?);
        // A head that has come alone, and is as long as it should be, is
        // written as it should be. One that is shorter is not, and else nobody
        // knows where the body begins.
        let spaces = if read_of_it == self.head { 0 } else { self.spaces };
        let head = self.head.min(read_of_it);
        let length = head.checked_add(body)?;
        let end = start.checked_add(length)?;
        // There is more: the next request, or the head was longer. (hyper takes
        // a second Content-Length away.)
        let loose = if read_of_it > length { LOOSE } else { 0 };
        (end >> OFFSET_BITS == 0).then_some(loose | spaces.min(MOST_SPACES) << OFFSET_BITS | end)
    }

    fn end_of_chunked(self, read_of_it: Option<u64>, read: BytesRead) -> u64 {
        if !read.ends_in_empty_line() || read_of_it == Some(self.head) {
            return CHUNKS;
        }
        // That may be its head's empty line.
        if read_of_it.is_none() && !read.ends_in_last_chunk() {
            return UNKNOWN;
        }
        chunks_end(read)
    }
}

/// Where a chunked body ends that ends with these bytes: with trailers it may
/// end like the next head, and then that is where it is known to have ended.
fn chunks_end(read: BytesRead) -> u64 {
    let vague = if read.ends_in_last_chunk() { 0 } else { VAGUE };
    if read.get() >> OFFSET_BITS == 0 { vague | read.get() } else { UNKNOWN }
}

const OFFSET_BITS: u32 = 48;
const MOST_SPACES: u64 = u8::MAX as u64;
/// More of the request may come after that.
const LOOSE: u64 = 1 << 56;
/// The next request may begin before that.
const VAGUE: u64 = 1 << 57;
/// The body ends with the next empty line that is the last of what was read.
const CHUNKS: u64 = u64::MAX - 1;
/// Where the request began is not known.
const UNKNOWN: u64 = u64::MAX;

impl AtomicRequestEnd {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A request begins behind these bytes, or is begun by the last of them.
    #[inline]
    pub(super) fn begin_behind(&self, read: BytesRead) {
        let (end, offset) = (self.load(), read.get());
        if end.is_passed(offset) {
            // hyper has the beginning of it.
        } else if read.ends_in_empty_line() || end.offset() == Some(offset) {
            self.0.store(offset, Ordering::Relaxed);
        } else {
            self.0.store(UNKNOWN, Ordering::Relaxed);
        }
    }

    /// A request has begun there, or where the last one ended, and its head has
    /// been read among so many bytes.
    #[inline]
    pub(super) fn extend(&self, length: RequestLength, read: BytesRead) {
        let end = length.end(self.load().offset(), read);
        self.0.store(end, Ordering::Relaxed);
    }

    /// So many bytes have been read, which end in an empty line.
    pub(super) fn read_empty_line(&self, read: BytesRead) {
        if self.load().0 == CHUNKS {
            self.0.store(chunks_end(read), Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn load(&self) -> RequestEnd {
        RequestEnd(self.0.load(Ordering::Relaxed))
    }
}

impl RequestEnd {
    /// Unless one of these flags says that it is not exact enough.
    fn offset_but(self, flags: u64) -> Option<u64> {
        let known = self.0 < CHUNKS && self.0 & flags == 0;
        known.then_some(self.0 & ((1 << OFFSET_BITS) - 1))
    }

    /// Where the next request begins, as far as can be told.
    fn offset(self) -> Option<u64> {
        self.offset_but(VAGUE)
    }

    /// After which byte nothing more of it comes.
    fn latest(self) -> Option<u64> {
        self.offset_but(LOOSE)
    }

    /// The earliest byte that it may end with.
    fn earliest(self) -> Option<u64> {
        Some(self.offset()?.saturating_sub(self.0 >> OFFSET_BITS & MOST_SPACES))
    }

    /// What is read behind so many bytes may be of the request.
    pub(crate) fn includes_what_follows(self, bytes_read: u64) -> bool {
        self.latest().is_none_or(|end| bytes_read < end)
    }

    /// When so many bytes have been read, more of the request is certain to
    /// come.
    pub(crate) fn is_ahead_of(self, bytes_read: u64) -> bool {
        self.0 == CHUNKS || self.earliest().is_some_and(|end| bytes_read < end)
    }

    /// When so many bytes have been read, they include all of the request.
    pub(crate) fn is_reached(self, bytes_read: u64) -> bool {
        self.latest().is_some_and(|end| bytes_read >= end)
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

    fn tail(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte))
    }

    /// Of a request that starts after a hundred bytes.
    fn end(body: Option<u64>, read_of_it: u64, last: &[u8]) -> RequestEnd {
        let end = AtomicRequestEnd(AtomicU64::new(100));
        let length = RequestLength { head: HEAD, spaces: 5, body };
        end.extend(length, BytesRead::new(100 + read_of_it, tail(last)));
        end.load()
    }

    #[test]
    fn a_head_that_comes_alone() {
        let end = end(Some(10), HEAD, b"x: y\r\n\r\n");
        assert!(end.is_ahead_of(149) && !end.is_ahead_of(150));
        assert!(end.includes_what_follows(149) && !end.includes_what_follows(150));
        assert!(end.is_reached(150) && !end.is_reached(149));
        assert!(end.is_passed(151) && !end.is_passed(150));
    }

    #[test]
    fn a_head_without_spaces() {
        let end = end(Some(10), HEAD - 3, b"x:y\r\n\r\n");
        assert!(end.includes_what_follows(146) && !end.includes_what_follows(147));
        assert!(end.is_ahead_of(141) && !end.is_ahead_of(142));
    }

    #[test]
    fn a_head_with_a_part_of_its_body() {
        let end = end(Some(10), HEAD + 3, b"\r\n\r\nbod");
        assert!(end.is_ahead_of(144) && !end.is_ahead_of(145));
        assert!(end.includes_what_follows(149) && !end.includes_what_follows(150));
    }

    #[test]
    fn more_than_there_should_be() {
        let end = end(Some(10), HEAD + 19, b"x: y\r\n\r\n");
        assert!(end.is_passed(159) && !end.is_ahead_of(159));
        assert!(end.includes_what_follows(159) && !end.is_reached(159));
    }

    #[test]
    fn chunks_end_with_an_empty_line() {
        let whole = end(None, HEAD + 8, b"b\r\n0\r\n\r\n");
        assert!(whole.is_reached(148) && !whole.includes_what_follows(148));
        let trailers = end(None, HEAD + 20, b"x: y\r\n\r\n");
        assert!(trailers.is_reached(160) && !trailers.includes_what_follows(160));
        assert_eq!(trailers.offset(), None);
        for (read, last) in [(HEAD, b"x: y\r\n\r\n"), (HEAD + 8, b"chunk\r\n3")] {
            let chunks = end(None, read, last);
            assert!(chunks.is_ahead_of(u64::MAX >> 2) && chunks.includes_what_follows(u64::MAX));
            assert!(!chunks.is_reached(u64::MAX >> 2));
        }
    }

    #[test]
    fn chunks_are_waited_for() {
        let end = AtomicRequestEnd::new();
        let length = RequestLength { head: HEAD, spaces: 5, body: None };
        end.extend(length, BytesRead::new(HEAD, tail(b"\r\n\r\n")));
        end.read_empty_line(BytesRead::new(100, tail(b"\r\n0\r\n\r\n")));
        assert!(end.load().is_reached(100) && !end.load().includes_what_follows(100));
        assert_eq!(end.load().offset(), Some(100));
        end.read_empty_line(BytesRead::new(200, tail(b"\r\n0\r\n\r\n")));
        assert!(end.load().is_passed(200));
    }

    #[test]
    fn the_next_head_may_end_with_an_empty_line_too() {
        let end = AtomicRequestEnd::new();
        let length = RequestLength { head: HEAD, spaces: 5, body: None };
        end.extend(length, BytesRead::new(HEAD, tail(b"\r\n\r\n")));
        end.read_empty_line(BytesRead::new(100, tail(b"x: y\r\n\r\n")));
        assert!(end.load().is_reached(100) && !end.load().is_ahead_of(100));
        assert_eq!(end.load().offset(), None);
    }

    #[test]
    fn requests_begin_where_others_end() {
        let read = |bytes, last: &[u8]| BytesRead::new(bytes, tail(last));
        let begun_behind = |read: BytesRead| {
            let end = AtomicRequestEnd::new();
            let length = RequestLength { head: HEAD, spaces: 5, body: Some(10) };
            end.extend(length, BytesRead::new(HEAD, 0));
            end.begin_behind(read);
            end.load().offset()
        };
        assert_eq!(begun_behind(read(50, b"body")), Some(50));
        // The next head has begun.
        assert_eq!(begun_behind(read(54, b"GET ")), Some(50));
        // There was something else behind the body.
        assert_eq!(begun_behind(read(45, b"\r\n\r\n")), Some(45));
        assert_eq!(begun_behind(read(45, b"GET ")), None);
    }

    #[test]
    fn says_nothing_that_is_not_known() {
        for body in [u64::MAX, 1 << 50] {
            let unknown = end(Some(body), HEAD, b"");
            assert!(unknown.includes_what_follows(u64::MAX));
            assert!(!unknown.is_ahead_of(0) && !unknown.is_reached(u64::MAX));
        }
    }
}
