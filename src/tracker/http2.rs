//! HTTP/2 on the wire (RFC 9113): frame headers in both directions, and the
//! client's open streams.
//!
//! Payloads are skipped, but for what a server's GOAWAY says.
//! A frame counts at its last byte, so that any split of the same bytes gives
//! the same result.

use smallvec::SmallVec;

/// The number of open streams left zero, or came back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crossing {
    Opened,
    Closed,
}

/// Both directions of one connection.
#[derive(Debug, Default)]
pub(crate) struct Http2 {
    from_client: FrameReader,
    from_server: FrameReader,
    streams: Streams,
    /// There were open streams when last reported.
    active: bool,
    /// The server has said GOAWAY with an error code, and closes. The streams
    /// that end with it were not served, so there is no coming back to zero.
    failed: bool,
}

impl Http2 {
    pub(crate) fn has_open_streams(&self) -> bool {
        self.active
    }

    /// Bytes after the preface were read from the client. What they say takes
    /// effect at once.
    pub(crate) fn read(&mut self, bytes: &[u8], mut on: impl FnMut(Crossing)) {
        let Self { from_client, streams, active, failed, .. } = self;
        from_client.read(bytes, |event| {
            match event {
                Event::Headers { stream, end_stream } => streams.client_headers(stream, end_stream),
                Event::EndStream { stream } => streams.client_ended(stream),
                Event::Reset { stream } => streams.client_reset(stream),
                // The client says which streams of the server's it will still
                // take, and the server opens none.
                Event::GoAway { .. } => {}
            }
            let open = streams.any();
            if open != *active && (open || !*failed) {
                *active = open;
                on(if open { Crossing::Opened } else { Crossing::Closed });
            }
        });
    }

    /// Bytes were written by the server. What they say takes effect when they
    /// have been flushed, because a TLS stream takes bytes long before the
    /// socket does.
    ///
    /// Returns whether they say that the client has made an error (GOAWAY with
    /// an error code).
    pub(crate) fn written(&mut self, bytes: &[u8]) -> bool {
        let Self { from_server, streams, .. } = self;
        let mut error = false;
        from_server.read(bytes, |event| match event {
            Event::Headers { stream, end_stream: true } | Event::EndStream { stream } => {
                streams.server_ended(stream);
            }
            Event::Headers { end_stream: false, .. } => {}
            Event::Reset { stream } => streams.server_reset(stream),
            Event::GoAway { last_stream, error_code } => {
                streams.server_goes_away(last_stream);
                error |= error_code != NO_ERROR;
            }
        });
        self.failed |= error;
        error
    }

    /// What was written is in the socket.
    #[inline]
    pub(crate) fn flushed(&mut self) -> Option<Crossing> {
        self.streams.flushed();
        let closed = self.active && !self.streams.any() && !self.failed;
        self.active &= !closed;
        closed.then_some(Crossing::Closed)
    }
}

// === frames ===

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const GOAWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

const HEADER: usize = 9;
/// How much of a payload is looked at: GOAWAY's last stream and error code.
const PEEK: usize = 8;

/// RFC 9113, section 7.
const NO_ERROR: u32 = 0;

/// Splits a direction's bytes into frames, and tells what they mean.
#[derive(Debug, Default)]
struct FrameReader {
    /// The header of a frame that has not been read to its end, and how much
    /// of it has been.
    header: [u8; HEADER],
    header_len: u8,
    peek: [u8; PEEK],
    peek_len: u8,
    /// How much of the payload is still to come.
    left: u32,
    /// A header block that goes on in CONTINUATION frames: its stream, and
    /// whether its HEADERS frame carried END_STREAM.
    block: Option<(u32, bool)>,
}

/// What a frame means for streams.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// A whole header block.
    Headers {
        stream: u32,
        end_stream: bool,
    },
    /// The last DATA frame.
    EndStream {
        stream: u32,
    },
    Reset {
        stream: u32,
    },
    GoAway {
        last_stream: u32,
        error_code: u32,
    },
}

impl FrameReader {
    fn read(&mut self, mut bytes: &[u8], mut on: impl FnMut(Event)) {
        while !bytes.is_empty() {
            bytes = if self.header_len == 0 {
                self.read_whole(bytes, &mut on)
            } else {
                self.read_part(bytes, &mut on)
            };
        }
    }

    /// Reads a frame that is there from its first byte to its last, as nearly
    /// all are, and returns what follows.
    #[inline(always)]
    fn read_whole<'a>(&mut self, bytes: &'a [u8], on: &mut impl FnMut(Event)) -> &'a [u8] {
        if let Some((header, rest)) = bytes.split_first_chunk() {
            if let Some((payload, rest)) = rest.split_at_checked(payload_len(header) as usize) {
                if let Some(event) = self.event(header, payload) {
                    on(event);
                }
                return rest;
            }
        }
        self.read_part(bytes, on)
    }

    /// Reads what there is of a frame, and returns what follows.
    // Rare, and so not to be part of the way of the others.
    #[cold]
    fn read_part<'a>(&mut self, bytes: &'a [u8], on: &mut dyn FnMut(Event)) -> &'a [u8] {
        let mut rest = bytes;
        if usize::from(self.header_len) < HEADER {
            rest = fill(&mut self.header, &mut self.header_len, bytes);
            if usize::from(self.header_len) < HEADER {
                return rest;
            }
            self.left = payload_len(&self.header);
            self.peek_len = 0;
        }
        let (start, rest) = rest.split_at(rest.len().min(self.left as usize));
        self.left -= start.len() as u32;
        fill(&mut self.peek, &mut self.peek_len, start);
        if self.left == 0 {
            self.header_len = 0;
            let (header, peek) = (self.header, self.peek);
            if let Some(event) = self.event(&header, &peek[..self.peek_len.into()]) {
                on(event);
            }
        }
        rest
    }

    /// What a frame means, of whose payload at least the first bytes are
    /// there.
    #[inline(always)]
    fn event(&mut self, header: &[u8; HEADER], payload: &[u8]) -> Option<Event> {
        let [_, _, _, kind, flags, a, b, c, d] = *header;
        let stream = stream_id([a, b, c, d]);
        let end_stream = flags & END_STREAM != 0;
        let end_headers = flags & END_HEADERS != 0;
        match kind {
            DATA if end_stream => Some(Event::EndStream { stream }),
            HEADERS if end_headers => Some(Event::Headers { stream, end_stream }),
            HEADERS => {
                self.block = Some((stream, end_stream));
                None
            }
            CONTINUATION if end_headers => {
                let (begun, end_stream) = self.block.take()?;
                (stream == begun).then_some(Event::Headers { stream, end_stream })
            }
            RST_STREAM => Some(Event::Reset { stream }),
            GOAWAY => {
                let [a, b, c, d, code @ ..] = *payload.first_chunk::<PEEK>()?;
                Some(Event::GoAway {
                    last_stream: stream_id([a, b, c, d]),
                    error_code: u32::from_be_bytes(code),
                })
            }
            _ => None,
        }
    }
}

/// Copies what there is room for, and returns the rest.
fn fill<'a>(buffer: &mut [u8], length: &mut u8, bytes: &'a [u8]) -> &'a [u8] {
    let (_, room) = buffer.split_at_mut(usize::from(*length));
    let (start, rest) = bytes.split_at(bytes.len().min(room.len()));
    room[..start.len()].copy_from_slice(start);
    *length += start.len() as u8;
    rest
}

fn payload_len(header: &[u8; HEADER]) -> u32 {
    let [a, b, c, ..] = *header;
    u32::from_be_bytes([0, a, b, c])
}

/// A stream's number, without the reserved bit.
fn stream_id(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & 0x7fff_ffff
}

// === streams ===

/// How many open streams there is room for without an allocation.
const FEW: usize = 4;

/// The streams that a client has opened and that have not ended.
///
/// A stream ends when END_STREAM has passed in both directions or RST_STREAM
/// in either; what the server sent counts from the next flush on.
#[derive(Debug)]
struct Streams {
    /// In the order of their ids, which is the order in which they opened.
    /// Ended ones stay until they are half of the list, so that ending one
    /// does not move all the others.
    list: SmallVec<[Stream; FEW]>,
    /// How many of the list have not ended.
    open: u32,
    /// Streams out of the list whose end the server has written but not
    /// flushed.
    ending: u32,
    /// The highest id that a client has used.
    newest: u32,
    /// The highest id that the server has not sent away with GOAWAY.
    last: u32,
    /// Counts flushes that mattered, to tell whether an end has been flushed.
    /// It may wrap: only equality with the current value counts.
    flushes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    id: u32,
    side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Neither side has ended.
    Open,
    /// The client has; the server is to answer.
    Client,
    /// The server has, in the bytes before this flush.
    Server { flush: u32 },
    /// The stream is not open any more.
    Ended,
}

impl Default for Streams {
    fn default() -> Self {
        Self { list: SmallVec::new(), open: 0, ending: 0, newest: 0, last: u32::MAX, flushes: 0 }
    }
}

impl Streams {
    /// Whether any stream is open or waits for its end to be flushed.
    #[inline]
    fn any(&self) -> bool {
        self.ending > 0 || self.open > 0
    }

    #[inline]
    fn client_headers(&mut self, id: u32, end_stream: bool) {
        if id <= self.newest {
            // Trailers, or a stream that is closed already.
            if end_stream {
                self.client_ended(id);
            }
            return;
        }
        // Client streams are odd (RFC 9113, section 5.1.1).
        if id % 2 == 0 {
            return;
        }
        self.newest = id;
        if id <= self.last {
            let side = if end_stream { Side::Client } else { Side::Open };
            self.list.push(Stream { id, side });
            self.open += 1;
        }
    }

    fn client_ended(&mut self, id: u32) {
        let flushes = self.flushes;
        let Some(stream) = self.find(id) else { return };
        match stream.side {
            Side::Open => stream.side = Side::Client,
            Side::Server { flush } => {
                stream.side = Side::Ended;
                self.ended(flush == flushes);
            }
            Side::Client | Side::Ended => {}
        }
    }

    fn client_reset(&mut self, id: u32) {
        if let Some(stream) = self.find(id) {
            stream.side = Side::Ended;
            self.ended(false);
        }
    }

    #[inline]
    fn server_ended(&mut self, id: u32) {
        let flush = self.flushes;
        let Some(stream) = self.find(id) else { return };
        match stream.side {
            Side::Open => stream.side = Side::Server { flush },
            Side::Client => {
                stream.side = Side::Ended;
                self.ended(true);
            }
            Side::Server { .. } | Side::Ended => {}
        }
    }

    fn server_reset(&mut self, id: u32) {
        if let Some(stream) = self.find(id) {
            stream.side = Side::Ended;
            self.ended(true);
        }
    }

    /// GOAWAY: the server has not looked at streams above `last` and never
    /// will; h2 drops them without another word.
    fn server_goes_away(&mut self, last: u32) {
        self.last = self.last.min(last);
        while let Some(stream) = self.list.last() {
            if stream.id <= last {
                break;
            }
            if stream.side != Side::Ended {
                self.open -= 1;
                self.ending += 1;
            }
            self.list.pop();
        }
    }

    #[inline]
    fn flushed(&mut self) {
        self.ending = 0;
        self.flushes = self.flushes.wrapping_add(1);
    }

    /// A stream that is open.
    #[inline]
    fn find(&mut self, id: u32) -> Option<&mut Stream> {
        let list = self.list.as_mut_slice();
        let index = list.binary_search_by_key(&id, |stream| stream.id).ok()?;
        let stream = &mut list[index];
        (stream.side != Side::Ended).then_some(stream)
    }

    /// A stream of the list has ended, but for a flush if it is `unflushed`.
    #[inline]
    fn ended(&mut self, unflushed: bool) {
        self.ending += u32::from(unflushed);
        self.open -= 1;
        if self.open as usize * 2 <= self.list.len() {
            self.list.retain(|stream| stream.side != Side::Ended);
        }
    }
}

#[cfg(test)]
mod floods;
#[cfg(test)]
mod tests;
