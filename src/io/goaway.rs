//! What this crate writes itself: GOAWAY frames (RFC 9113, section 6.8), and
//! last words.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// A frame's header, the last stream and the error code.
const LENGTH: usize = 9 + 4 + 4;

/// RFC 9113, section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorCode {
    NoError = 0x0,
    EnhanceYourCalm = 0xb,
}

/// An empty SETTINGS frame (RFC 9113, section 6.5).
const SETTINGS: [u8; 9] = [0, 0, 0, 0x4, 0, 0, 0, 0, 0];

/// Writes frames between those of the server: each of them whole, whatever the
/// stream takes at a time.
#[derive(Debug, Default)]
pub(super) struct GoAwayWriter {
    /// There may be two: one that announces the end, and the last one.
    bytes: Vec<u8>,
    written: usize,
    flushed: bool,
}

impl GoAwayWriter {
    /// What has been pushed before is written first.
    pub(super) fn push(&mut self, last_stream: u32, error_code: ErrorCode) {
        self.push_bytes(&goaway(last_stream, error_code));
    }

    /// All that an HTTP/2 client gets that is refused.
    pub(super) fn push_refusal(&mut self) {
        self.push_bytes(&SETTINGS);
        self.push(0, ErrorCode::EnhanceYourCalm);
    }

    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.flushed = false;
    }

    /// Writes what there is to write.
    pub(super) fn poll_write<T: AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut T>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let rest @ [_, ..] = &self.bytes[self.written..] {
            match ready!(stream.as_mut().poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.written += length.min(rest.len()),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what there is to write, and flushes it.
    pub(super) fn poll_flush<T: AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut T>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_write(stream.as_mut(), cx))?;
        if !self.flushed {
            ready!(stream.poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

fn goaway(last_stream: u32, error_code: ErrorCode) -> [u8; LENGTH] {
    const TYPE: u8 = 0x7;
    let [a, b, c, d] = last_stream.to_be_bytes();
    [0, 0, 8, TYPE, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, error_code as u8]
}
