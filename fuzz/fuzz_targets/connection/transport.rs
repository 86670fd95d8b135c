//! A stream whose other end is the script, and which knows what passed.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use hyper_connstate::fuzzing::Streams;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::service::Handlers;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The script's end.
#[derive(Clone)]
pub struct Wire(Arc<Mutex<State>>);

/// The server's end.
pub struct Transport(Wire);

pub struct State {
    /// What the client has sent, in the pieces in which it is read.
    pub incoming: VecDeque<Vec<u8>>,
    pub incoming_end: Option<End>,
    /// How many bytes are taken before the client reads again.
    pub room: usize,
    /// How many bytes one write takes.
    pub piece: usize,
    pub flush_waits: bool,
    pub write_fails: bool,
    pub vectored: bool,

    pub bytes_read: usize,
    /// The first read looked like the beginning of TLS; what follows says
    /// nothing until the server answers.
    pub looks_like_tls: bool,
    /// The last read may have ended in the middle of a head that began behind
    /// chunks.
    pub begun_behind_chunks: bool,
    read: Vec<u8>,
    /// The client's end was seen, or reading failed.
    pub end_read: bool,
    pub write_failed: bool,
    pub shut_down: bool,
    pub dropped: bool,
    /// Bytes were taken and not flushed.
    pub unflushed: bool,
    /// How many answers had ended at the last flush.
    pub ended_at_flush: usize,
    handlers: Arc<Handlers>,
    /// Bytes were read after the last flush that carried any.
    pub read_since_flush: bool,
    /// Writing or flushing has been made to wait.
    pub waiting: bool,
    /// It was made to wait at least once.
    pub has_waited: bool,
    /// Idle was reported, although something speaks against it but a request
    /// that follows at once.
    pub too_early: bool,
    /// HTTP/1, and reported as idle; nothing was written since.
    pub kept: bool,
    /// Somebody has asked for the connection's end.
    pub ending: bool,
    pub streams: Streams,
    /// By the first byte that was written.
    http1: Option<bool>,
    preface: usize,

    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Eof,
    Reset,
}

impl Wire {
    pub fn new(vectored: bool, handlers: Arc<Handlers>) -> (Self, Transport) {
        let wire = Self(Arc::new(Mutex::new(State {
            incoming: VecDeque::new(),
            incoming_end: None,
            room: usize::MAX,
            piece: usize::MAX,
            flush_waits: false,
            write_fails: false,
            vectored,
            bytes_read: 0,
            looks_like_tls: false,
            begun_behind_chunks: false,
            read: Vec::new(),
            end_read: false,
            write_failed: false,
            shut_down: false,
            dropped: false,
            unflushed: false,
            ended_at_flush: 0,
            handlers,
            read_since_flush: false,
            waiting: false,
            has_waited: false,
            too_early: false,
            kept: false,
            ending: false,
            streams: Streams::default(),
            http1: None,
            preface: 0,
            reader: None,
            writer: None,
        })));
        (wire.clone(), Transport(wire))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Changes what the client does, and wakes whoever waits for it.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl State {
    fn write(&mut self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.used();
        if self.write_fails {
            self.write_failed = true;
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let length = bytes.len().min(self.room).min(self.piece);
        if length == 0 && !bytes.is_empty() {
            self.waiting = true;
            self.has_waited = true;
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.waiting = false;
        self.room -= length;
        self.unflushed |= length > 0;
        self.kept &= length == 0;
        // (What begins an answer in HTTP/1 begins no frame that matters.)
        self.http1 = self.http1.or(bytes.first().map(|byte| *byte == b'H'));
        if self.http1 == Some(false) {
            bytes[..length].iter().for_each(|byte| self.streams.write(*byte));
        }
        Poll::Ready(Ok(length))
    }

    fn note_read(&mut self, bytes: &[u8]) {
        if self.bytes_read == 0 {
            self.looks_like_tls = matches!(bytes, [22] | [22, 3, ..]);
        }
        self.bytes_read += bytes.len();
        self.read.extend(bytes);
        let chunked = self.read.windows(7).any(|part| part.eq_ignore_ascii_case(b"chunked"));
        let ends = bytes.windows(5).any(|part| part == b"0\r\n\r\n");
        self.begun_behind_chunks = chunked && ends && !bytes.ends_with(b"\r\n\r\n");
        self.read_since_flush = true;
        for byte in bytes {
            if self.preface == PREFACE.len() {
                self.streams.read(*byte);
            } else if self.preface < PREFACE.len() && PREFACE[self.preface] == *byte {
                self.preface += 1;
            } else {
                // Not HTTP/2, then.
                self.preface = usize::MAX;
            }
        }
    }

    fn used(&self) {
        assert!(!self.too_early, "Idle too early, and no request followed");
    }
}

impl Transport {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state()
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state();
        state.used();
        if let Some(mut bytes) = state.incoming.pop_front() {
            let rest = bytes.split_off(bytes.len().min(buf.remaining()));
            if !rest.is_empty() {
                state.incoming.push_front(rest);
            }
            buf.put_slice(&bytes);
            state.note_read(&bytes);
            return Poll::Ready(Ok(()));
        }
        match state.incoming_end {
            Some(end) => {
                state.end_read = true;
                Poll::Ready(match end {
                    End::Eof => Ok(()),
                    End::Reset => Err(io::ErrorKind::ConnectionReset.into()),
                })
            }
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.state().write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        let mut written = 0;
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            match state.write(cx, buf) {
                Poll::Ready(Ok(length)) => {
                    written += length;
                    if length < buf.len() {
                        break;
                    }
                }
                // What was taken before counts.
                poll if written == 0 => return poll,
                _ => break,
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.state().vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        state.used();
        if state.flush_waits {
            state.waiting = true;
            state.has_waited = true;
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.waiting = false;
        if std::mem::take(&mut state.unflushed) {
            state.read_since_flush = false;
        }
        state.ended_at_flush = state.handlers.ended.load(Ordering::Relaxed);
        state.streams.flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        state.used();
        let for_a_reason = state.end_read || state.write_failed || state.ending;
        assert!(!state.kept || for_a_reason, "Idle, and not kept");
        state.shut_down = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.state().dropped = true;
    }
}
