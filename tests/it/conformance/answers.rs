//! What the server has sent, and whether what is awaited is there.

use std::collections::{HashMap, HashSet};

use super::script::Await;

#[derive(Default)]
pub struct Answers {
    buffer: Vec<u8>,
    /// The server has closed.
    ended: bool,
    frames: Frames,
}

/// The HTTP/2 frames so far.
#[derive(Default)]
struct Frames {
    settings: bool,
    pong: bool,
    goaway: bool,
    over: HashSet<u32>,
    reset: HashSet<u32>,
    data: HashMap<u32, usize>,
}

impl Answers {
    pub fn add(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    pub fn ended(&mut self) {
        self.ended = true;
    }

    /// Whether it is there; then it is taken. An error if it cannot come.
    pub fn take(&mut self, awaited: &Await) -> Result<bool, String> {
        let there = match awaited {
            Await::EndOfFile => {
                self.buffer.clear();
                return Ok(self.ended);
            }
            Await::Bytes(bytes) => {
                let length = bytes.len().min(self.buffer.len());
                if self.buffer[..length] != bytes[..length] {
                    return Err(format!("the server has sent {:?}", self.text()));
                }
                length == bytes.len() && {
                    self.buffer.drain(..length);
                    true
                }
            }
            Await::Response { status, head_only } => match self.response(*status, *head_only)? {
                Some(length) => {
                    self.buffer.drain(..length);
                    true
                }
                None => false,
            },
            _ => {
                self.take_frames();
                let Frames { settings, pong, goaway, over, reset, data } = &self.frames;
                match awaited {
                    Await::Settings => *settings,
                    Await::Pong => *pong,
                    Await::GoAway => *goaway,
                    Await::End(stream) => over.contains(stream),
                    Await::Reset(stream) => reset.contains(stream),
                    Await::Data(stream, length) => {
                        data.get(stream).is_some_and(|sum| sum >= length)
                    }
                    _ => unreachable!("dealt with above"),
                }
            }
        };
        if !there && self.ended {
            return Err(format!("the server has closed after {:?}", self.text()));
        }
        Ok(there)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(300)]).into_owned()
    }

    /// How long the response is that has come, if it is whole.
    fn response(&self, status: Option<u16>, head_only: bool) -> Result<Option<usize>, String> {
        let Some(head) = line_end(&self.buffer, b"\r\n\r\n") else { return Ok(None) };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        let is: u16 = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        if status.is_some_and(|status| status != is) {
            return Err(format!("the server has answered {:?}", self.text()));
        }
        if head_only || is < 200 || is == 204 || is == 304 {
            return Ok(Some(head));
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        if let Some(length) = length {
            let length: usize = length.trim().parse().map_err(|_| "no Content-Length")?;
            return Ok((self.buffer.len() >= head + length).then_some(head + length));
        }
        if text.contains("transfer-encoding: chunked") {
            return Ok(chunked(&self.buffer[head..]).map(|length| head + length));
        }
        Ok(self.ended.then_some(self.buffer.len()))
    }

    fn take_frames(&mut self) {
        let mut rest = &self.buffer[..];
        while let Some((header, behind)) = rest.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            if behind.len() < length {
                break;
            }
            rest = &behind[length..];
            let [.., kind, flags, a, b, c, d] = *header;
            self.frames.take(kind, flags, u32::from_be_bytes([a, b, c, d]), length);
        }
        let taken = self.buffer.len() - rest.len();
        self.buffer.drain(..taken);
    }
}

impl Frames {
    fn take(&mut self, kind: u8, flags: u8, stream: u32, length: usize) {
        match kind {
            0x0 => *self.data.entry(stream).or_default() += length,
            0x3 => {
                self.reset.insert(stream);
                self.over.insert(stream);
            }
            0x4 => self.settings |= flags & 0x1 == 0,
            0x6 => self.pong |= flags & 0x1 != 0,
            0x7 => self.goaway = true,
            _ => {}
        }
        if kind <= 0x1 && flags & 0x1 != 0 {
            self.over.insert(stream);
        }
    }
}

/// Where the first `end` ends.
fn line_end(bytes: &[u8], end: &[u8]) -> Option<usize> {
    bytes.windows(end.len()).position(|part| part == end).map(|start| start + end.len())
}

/// How long the chunked body is, if it is whole.
fn chunked(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = line_end(bytes.get(at..)?, b"\r\n")?;
        let digits = std::str::from_utf8(&bytes[at..at + line - 2]).ok()?;
        let size = usize::from_str_radix(digits.trim(), 16).ok()?;
        at += line;
        if size > 0 {
            at += size + 2;
            continue;
        }
        // Trailers, and an empty line.
        loop {
            let line = line_end(bytes.get(at..)?, b"\r\n")?;
            at += line;
            if line == 2 {
                return Some(at);
            }
        }
    }
}
