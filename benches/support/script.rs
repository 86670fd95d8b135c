//! A stream that is its own client: it gives the next request when the answer
//! to the one before has been written, and costs next to nothing itself.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// HTTP/1.1 GET with keep-alive.
    Get,
    /// HTTP/1.1 POST of five bytes, echoed.
    Post,
    /// HTTP/2 GETs, so many at a time.
    Http2(usize),
}

impl Workload {
    pub const ALL: [Self; 4] = [Self::Get, Self::Post, Self::Http2(16), Self::Http2(1)];

    pub fn name(self) -> String {
        match self {
            Self::Get => "HTTP/1.1 GET, keep-alive".to_owned(),
            Self::Post => "HTTP/1.1 POST, five bytes echoed".to_owned(),
            Self::Http2(1) => "HTTP/2, one at a time".to_owned(),
            Self::Http2(streams) => format!("HTTP/2, {streams} streams at a time"),
        }
    }
}

pub struct Script {
    workload: Workload,
    /// How many requests are still to be sent.
    left: usize,
    /// Bytes that are there to be read.
    input: Vec<u8>,
    read: usize,
    reader: Option<Waker>,
    /// How many answers are awaited.
    awaited: usize,
    frames: Frames,
    next_stream: u32,
}

impl Script {
    pub fn new(workload: Workload, requests: usize) -> Self {
        let mut script = Self {
            workload,
            left: requests,
            input: Vec::with_capacity(4096),
            read: 0,
            reader: None,
            awaited: 0,
            frames: Frames::default(),
            next_stream: 1,
        };
        if let Workload::Http2(_) = workload {
            script.input.extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            script.input.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        }
        script.send();
        script
    }

    /// Makes the next requests available.
    fn send(&mut self) {
        if self.left == 0 {
            return;
        }
        match self.workload {
            Workload::Get => {
                self.awaited = 1;
                self.input.extend(b"GET / HTTP/1.1\r\nhost: localhost:8080\r\nuser-agent: bench\r\naccept: */*\r\n\r\n");
            }
            Workload::Post => {
                self.awaited = 1;
                self.input.extend(b"POST / HTTP/1.1\r\nhost: localhost:8080\r\nuser-agent: bench\r\naccept: */*\r\ncontent-length: 5\r\n\r\nhello");
            }
            Workload::Http2(streams) => {
                self.awaited = streams.min(self.left);
                for _ in 0..self.awaited {
                    let block = b"\x82\x86\x84\x01\x0elocalhost:8080";
                    self.input.extend([0, 0, block.len() as u8, 1, 5]);
                    self.input.extend(self.next_stream.to_be_bytes());
                    self.input.extend(block);
                    self.next_stream += 2;
                }
                // Room for the next answers.
                self.input.extend([0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 4, 0]);
            }
        }
        self.left -= self.awaited;
    }

    fn wrote(&mut self, bytes: &[u8]) {
        match self.workload {
            Workload::Get | Workload::Post => self.awaited = 0,
            Workload::Http2(_) => self.awaited -= self.frames.ends(bytes).min(self.awaited),
        }
    }

    /// When all answers are there, the next requests come.
    fn flushed(&mut self) {
        if self.awaited == 0 && self.read == self.input.len() {
            self.input.clear();
            self.read = 0;
            self.send();
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let unread = &this.input[this.read..];
        if unread.is_empty() {
            if this.left == 0 && this.awaited == 0 {
                return Poll::Ready(Ok(()));
            }
            match &this.reader {
                Some(reader) if reader.will_wake(cx.waker()) => {}
                _ => this.reader = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        let length = unread.len().min(buf.remaining());
        buf.put_slice(&unread[..length]);
        this.read += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wrote(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut length = 0;
        for buf in bufs {
            self.wrote(buf);
            length += buf.len();
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Counts the answers that end in what an HTTP/2 server writes.
#[derive(Default)]
struct Frames {
    header: Vec<u8>,
    payload: usize,
}

impl Frames {
    fn ends(&mut self, mut bytes: &[u8]) -> usize {
        let mut ends = 0;
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
                ends += usize::from(kind <= 1 && flags & 1 != 0);
                self.header.clear();
            }
        }
        ends
    }
}
