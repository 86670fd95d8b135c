//! Bytes to frames (RFC 9113, section 4), and what they mean for streams.

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const GOAWAY: u8 = 0x7;
pub(super) const CONTINUATION: u8 = 0x9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;

const HEADER: usize = 9;
/// How much of a payload is looked at: GOAWAY's last stream and error code.
const PEEK: usize = 8;

/// RFC 9113, section 7.
pub(super) const NO_ERROR: u32 = 0;

/// Splits a direction's bytes into frames, and tells what they mean.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
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
pub(super) enum Event {
    /// A header block that goes on in another frame.
    HeadersBegan,
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
    /// How many bytes are still to come before another frame may stand here, as
    /// far as can be known: none where no frame and no header block has begun.
    pub(super) fn unfinished(&self) -> usize {
        match usize::from(self.header_len) {
            0 if self.block.is_none() => 0,
            HEADER => self.left as usize,
            begun => HEADER - begun,
        }
    }

    pub(super) fn read(&mut self, mut bytes: &[u8], mut on: impl FnMut(Event)) {
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
                Some(Event::HeadersBegan)
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
