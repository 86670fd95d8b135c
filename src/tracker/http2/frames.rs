//! Bytes to frames (RFC 9113, section 4), and what they mean for streams.

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const GOAWAY: u8 = 0x7;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const PADDED: u8 = 0x8;
pub(super) const END_HEADERS: u8 = 0x4;

const HEADER: usize = 9;
/// How much of a payload is looked at: GOAWAY's last stream and error code, or
/// one of SETTINGS' parameters at a time.
const PEEK: usize = 8;
const PARAMETER: usize = 6;

/// RFC 9113, section 6.5.2.
const SETTINGS_INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];

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
    /// How many bytes of DATA there have been since somebody took this number,
    /// padding left out.
    data: u32,
    /// How many frames and header blocks have not come as a whole. It wraps: it
    /// tells one head from the next.
    begun: u8,
}

/// What a frame means for streams.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// SETTINGS, and no acknowledgement.
    Settings,
    /// SETTINGS, which may still go on, say so of the streams' windows.
    InitialWindow {
        size: u32,
    },
    /// So much of the windows is used up, padding included.
    Data {
        stream: u32,
        length: u32,
        end_stream: bool,
    },
    WindowUpdate {
        stream: u32,
        increment: u32,
    },
    /// A whole header block.
    Headers {
        stream: u32,
        end_stream: bool,
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

    /// A frame's header has begun, or a header block, and is not complete: which
    /// one it is, to tell it from others.
    pub(super) fn head(&self) -> Option<u8> {
        let frame = match usize::from(self.header_len) {
            0 => false,
            HEADER => matches!(self.header[3], HEADERS | CONTINUATION),
            _ => true,
        };
        (frame || self.block.is_some()).then_some(self.begun)
    }

    /// How many bytes of DATA there have been, padding left out, since this was
    /// last asked.
    #[inline]
    pub(super) fn take_data(&mut self) -> u32 {
        std::mem::take(&mut self.data)
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
                if header[3] == SETTINGS {
                    payload.chunks_exact(PARAMETER).filter_map(initial_window).for_each(&mut *on);
                }
                if let Some(event) = self.event(header, payload, 0) {
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
        if self.header_len == 0 && self.block.is_none() {
            self.begun = self.begun.wrapping_add(1);
        }
        if usize::from(self.header_len) < HEADER {
            rest = fill(&mut self.header, &mut self.header_len, bytes);
            if usize::from(self.header_len) < HEADER {
                return rest;
            }
            self.left = payload_len(&self.header);
            self.peek_len = 0;
        }
        let (start, rest) = rest.split_at(rest.len().min(self.left as usize));
        // Of padded DATA only the end of the frame tells how much there is.
        let [_, _, _, kind, flags, ..] = self.header;
        let in_parts = kind == DATA && flags & PADDED == 0;
        let counted = if in_parts { payload_len(&self.header) - self.left } else { 0 };
        self.left -= start.len() as u32;
        if in_parts && self.left > 0 {
            self.count(start.len() as u32);
        }
        if kind == SETTINGS {
            self.read_parameters(start, on);
        } else {
            fill(&mut self.peek, &mut self.peek_len, start);
        }
        if self.left == 0 {
            let (header, peek) = (self.header, self.peek);
            let event = self.event(&header, &peek[..self.peek_len.into()], counted);
            self.header_len = 0;
            if let Some(event) = event {
                on(event);
            }
        }
        rest
    }

    /// What a frame means, of whose payload at least the first bytes are there,
    /// and so much has been counted as DATA before.
    #[inline(always)]
    fn event(&mut self, header: &[u8; HEADER], payload: &[u8], counted: u32) -> Option<Event> {
        let [_, _, _, kind, flags, a, b, c, d] = *header;
        let stream = stream_id([a, b, c, d]);
        let end_stream = flags & END_STREAM != 0;
        let end_headers = flags & END_HEADERS != 0;
        match kind {
            DATA => {
                let padding = match payload.first() {
                    Some(length) if flags & PADDED != 0 => 1 + u32::from(*length),
                    _ => 0,
                };
                self.count(payload_len(header).saturating_sub(padding + counted));
                Some(Event::Data { stream, length: payload_len(header), end_stream })
            }
            SETTINGS if flags & ACK == 0 => Some(Event::Settings),
            WINDOW_UPDATE => {
                let increment = *payload.first_chunk::<4>()?;
                Some(Event::WindowUpdate { stream, increment: stream_id(increment) })
            }
            HEADERS if end_headers => Some(Event::Headers { stream, end_stream }),
            HEADERS => {
                self.block = Some((stream, end_stream));
                // One whose first frame came in parts has been counted.
                self.begun = self.begun.wrapping_add(u8::from(self.header_len == 0));
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

impl FrameReader {
    /// A part of SETTINGS: one parameter after the other.
    fn read_parameters(&mut self, mut bytes: &[u8], on: &mut dyn FnMut(Event)) {
        while !bytes.is_empty() {
            let mut length = self.peek_len;
            let parameter = self.peek.first_chunk_mut::<PARAMETER>();
            let Some(parameter) = parameter else { return };
            bytes = fill(parameter, &mut length, bytes);
            self.peek_len = length;
            if usize::from(length) == PARAMETER {
                initial_window(parameter).into_iter().for_each(&mut *on);
                self.peek_len = 0;
            }
        }
    }

    fn count(&mut self, data: u32) {
        self.data = self.data.saturating_add(data);
    }
}

/// What a parameter of SETTINGS means.
fn initial_window(parameter: &[u8]) -> Option<Event> {
    let value = parameter.strip_prefix(&SETTINGS_INITIAL_WINDOW_SIZE)?;
    Some(Event::InitialWindow { size: u32::from_be_bytes(value.try_into().ok()?) })
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
