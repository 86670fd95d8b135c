//! As much of HTTP/2's frames (RFC 9113) as a client takes that sends GETs and
//! counts answers.

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame, and the acknowledgement of one.
pub const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
pub const SETTINGS_ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS_KIND: u8 = 0x4;
const GOAWAY: u8 = 0x7;

/// A GET of `/` on this stream.
pub fn get(to: &mut Vec<u8>, stream: u32) {
    let block = b"\x82\x86\x84\x01\x0elocalhost:8080";
    // END_HEADERS and END_STREAM.
    to.extend([0, 0, block.len() as u8, HEADERS, 5]);
    to.extend(stream.to_be_bytes());
    to.extend(block);
}

/// Lets the server send so many more bytes on the connection.
pub fn window_update(to: &mut Vec<u8>, bytes: u32) {
    to.extend([0, 0, 4, 8, 0, 0, 0, 0, 0]);
    to.extend(bytes.to_be_bytes());
}

/// The head of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub length: usize,
    kind: u8,
    flags: u8,
}

impl Frame {
    pub fn ends_stream(self) -> bool {
        self.kind <= HEADERS && self.flags & 1 != 0
    }

    pub fn is_data(self) -> bool {
        self.kind == DATA
    }

    /// The server's settings, which a client acknowledges.
    pub fn is_settings(self) -> bool {
        self.kind == SETTINGS_KIND && self.flags & 1 == 0
    }

    /// The server gives up a stream or the connection.
    pub fn is_refusal(self) -> bool {
        matches!(self.kind, RST_STREAM | GOAWAY)
    }
}

/// Finds the frames in what an HTTP/2 server writes.
#[derive(Default)]
pub struct Frames {
    header: Vec<u8>,
    payload: usize,
}

impl Frames {
    /// `on_frame` is told of each frame when its head is complete.
    pub fn read(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let length = self.payload.min(bytes.len());
                self.payload -= length;
                bytes = &bytes[length..];
                continue;
            }
            let length = bytes.len().min(9 - self.header.len());
            self.header.extend(&bytes[..length]);
            bytes = &bytes[length..];
            if let [a, b, c, kind, flags, _, _, _, _] = self.header[..] {
                self.payload = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                on_frame(Frame { length: self.payload, kind, flags });
                self.header.clear();
            }
        }
    }
}
