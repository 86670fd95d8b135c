//! A stream that is its own client: it gives the next request when the answer
//! to the one before has been written, and costs next to nothing itself.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{self, Frames};

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// HTTP/1.1 GET with keep-alive.
    Get,
    /// HTTP/1.1 POST of five bytes, echoed.
    Post,
    /// The same, but the body comes when the server has nothing left to do but
    /// wait for it.
    PostLater,
    /// HTTP/2 GETs, so many at a time.
    Http2(usize),
}

impl Workload {
    pub const ALL: [Self; 5] =
        [Self::Get, Self::Post, Self::PostLater, Self::Http2(16), Self::Http2(1)];

    pub fn name(self) -> String {
        match self {
            Self::Get => "HTTP/1.1 GET, keep-alive".to_owned(),
            Self::Post => "HTTP/1.1 POST, five bytes echoed".to_owned(),
            Self::PostLater => "HTTP/1.1 POST, the body after a pause".to_owned(),
            Self::Http2(1) => "HTTP/2, one at a time".to_owned(),
            Self::Http2(streams) => format!("HTTP/2, {streams} streams at a time"),
        }
    }
}

const BODY: &[u8] = b"hello";

pub struct Script {
    workload: Workload,
    /// How many requests are still to be sent.
    left: usize,
    /// Bytes that are there to be read.
    input: Vec<u8>,
    read: usize,
    /// A request's body is still to come.
    body_to_come: bool,
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
            body_to_come: false,
            reader: None,
            awaited: 0,
            frames: Frames::default(),
            next_stream: 1,
        };
        if let Workload::Http2(_) = workload {
            script.input.extend(frames::PREFACE);
            script.input.extend(frames::SETTINGS);
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
            Workload::Post | Workload::PostLater => {
                self.awaited = 1;
                self.input.extend(b"POST / HTTP/1.1\r\nhost: localhost:8080\r\nuser-agent: bench\r\naccept: */*\r\ncontent-length: 5\r\n\r\n");
                self.body_to_come = self.workload == Workload::PostLater;
                if !self.body_to_come {
                    self.input.extend(BODY);
                }
            }
            Workload::Http2(streams) => {
                self.awaited = streams.min(self.left);
                for _ in 0..self.awaited {
                    frames::get(&mut self.input, self.next_stream);
                    self.next_stream += 2;
                }
                // Room for the next answers.
                frames::window_update(&mut self.input, 1024);
            }
        }
        self.left -= self.awaited;
    }

    fn wrote(&mut self, bytes: &[u8]) {
        match self.workload {
            Workload::Http2(_) => {
                let mut ended = 0;
                self.frames.read(bytes, |frame| ended += usize::from(frame.ends_stream()));
                self.awaited -= ended.min(self.awaited);
            }
            _ => self.awaited = 0,
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
            if std::mem::take(&mut this.body_to_come) {
                this.input.extend(BODY);
                // Read when this task has gone to wait and is polled anew.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
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
