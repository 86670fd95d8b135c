//! Which HTTP/2 streams are open: whole frames, one map, no cleverness.

use std::collections::{BTreeMap, BTreeSet};

/// The streams of one connection.
#[derive(Debug, Default)]
pub struct Streams {
    from_client: Direction,
    from_server: Direction,
    open: BTreeMap<u32, Stream>,
    /// Streams that are over but for the flush of what the server wrote.
    unflushed: BTreeSet<u32>,
    newest: u32,
    /// The lowest stream that a GOAWAY of the server's has named.
    last: Option<u32>,
    /// The server has said GOAWAY with an error code.
    failed: bool,
    max_open: usize,
}

#[derive(Debug, Default)]
struct Stream {
    client_ended: bool,
    server_ended: Option<Flushed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flushed {
    No,
    Yes,
}

/// One direction's bytes that are no whole frame yet.
#[derive(Debug, Default)]
struct Direction {
    buffer: Vec<u8>,
    /// The stream of a header block that goes on, and whether it carried
    /// END_STREAM.
    block: Option<(u32, bool)>,
}

/// A frame as far as streams are concerned.
enum Frame {
    /// A header block is complete.
    Headers {
        stream: u32,
        end: bool,
    },
    /// A DATA frame with END_STREAM.
    End {
        stream: u32,
    },
    Reset {
        stream: u32,
    },
    GoAway {
        last: u32,
        for_error: bool,
    },
    Other,
}

impl Streams {
    /// How many streams are open, those included whose end is not flushed.
    pub fn count(&self) -> usize {
        self.open.len() + self.unflushed.len()
    }

    /// Whether any stream is open.
    pub fn any(&self) -> bool {
        self.count() > 0
    }

    /// The client has made an error: what ends from now on was not served.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// The most streams that were ever open at once.
    pub fn max_open(&self) -> usize {
        self.max_open
    }

    /// A byte was read from the client.
    pub fn read(&mut self, byte: u8) {
        match self.from_client.next(byte) {
            Some(Frame::Headers { stream, end }) => {
                let is_new = stream > self.newest && stream % 2 == 1;
                if is_new {
                    self.newest = stream;
                    if self.last.is_none_or(|last| stream <= last) {
                        self.open.insert(stream, Stream::default());
                        self.max_open = self.max_open.max(self.open.len() + self.unflushed.len());
                    }
                }
                if end {
                    self.client_ends(stream);
                }
            }
            Some(Frame::End { stream }) => self.client_ends(stream),
            Some(Frame::Reset { stream }) => {
                self.uses(stream);
                self.open.remove(&stream);
            }
            Some(Frame::GoAway { .. } | Frame::Other) | None => {}
        }
    }

    /// A byte was written by the server.
    pub fn write(&mut self, byte: u8) {
        match self.from_server.next(byte) {
            Some(Frame::Headers { stream, end: true } | Frame::End { stream }) => {
                self.server_ends(stream);
            }
            Some(Frame::Reset { stream }) => {
                self.uses(stream);
                if self.open.remove(&stream).is_some() {
                    self.unflushed.insert(stream);
                }
            }
            Some(Frame::GoAway { last, for_error }) => {
                self.failed |= for_error;
                let last = self.last.map_or(last, |before| before.min(last));
                self.last = Some(last);
                self.unflushed.extend(self.open.split_off(&(last + 1)).into_keys());
            }
            Some(Frame::Headers { end: false, .. } | Frame::Other) | None => {}
        }
    }

    /// All that was written is out.
    pub fn flush(&mut self) {
        self.unflushed.clear();
        for stream in self.open.values_mut() {
            if stream.server_ended.is_some() {
                stream.server_ended = Some(Flushed::Yes);
            }
        }
    }

    /// A stream that is reset never opens afterwards.
    fn uses(&mut self, id: u32) {
        if id % 2 == 1 && id > self.newest {
            self.newest = id;
        }
    }

    fn client_ends(&mut self, id: u32) {
        let Some(stream) = self.open.get_mut(&id) else { return };
        stream.client_ended = true;
        if let Some(flushed) = stream.server_ended {
            self.open.remove(&id);
            if flushed == Flushed::No {
                self.unflushed.insert(id);
            }
        }
    }

    fn server_ends(&mut self, id: u32) {
        let Some(stream) = self.open.get_mut(&id) else { return };
        if stream.client_ended {
            self.open.remove(&id);
            self.unflushed.insert(id);
        } else if stream.server_ended.is_none() {
            stream.server_ended = Some(Flushed::No);
        }
    }
}

impl Direction {
    /// The frame that ends with this byte.
    fn next(&mut self, byte: u8) -> Option<Frame> {
        self.buffer.push(byte);
        let (header, payload) = self.buffer.split_first_chunk::<9>()?;
        let length = number(&header[..3]) as usize;
        if payload.len() < length {
            return None;
        }
        let stream = number(&header[5..]) % (1 << 31);
        let (end_stream, end_headers) = (header[4] & 1 != 0, header[4] & 4 != 0);
        let frame = match header[3] {
            0 if end_stream => Frame::End { stream },
            1 if end_headers => Frame::Headers { stream, end: end_stream },
            1 => {
                self.block = Some((stream, end_stream));
                Frame::Other
            }
            9 if end_headers => match self.block.take() {
                Some((begun, end)) if begun == stream => Frame::Headers { stream, end },
                _ => Frame::Other,
            },
            3 => Frame::Reset { stream },
            7 if length >= 8 => Frame::GoAway {
                last: number(&payload[..4]) % (1 << 31),
                for_error: payload[4..8] != [0; 4],
            },
            _ => Frame::Other,
        };
        self.buffer.clear();
        Some(frame)
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
