//! Telling a client that there is no room for it.
//!
//! It is heard first: an answer to a client that has not asked is no HTTP, and
//! the system throws it away when the request comes after all.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};

use super::goaway::GoAwayWriter;
use super::timer::Timer;
use crate::Conn;
use crate::policies::refusal::Farewell;

/// How long a client may take for its handshake, and then to begin its request.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Enough of HTTP/2's preface to tell it from any request.
const PREFACE: &[u8; 4] = b"PRI ";

/// A client that is refused.
pub(super) struct Refused {
    timer: Timer,
    /// The first bytes that it has sent.
    first: [u8; PREFACE.len()],
    length: usize,
    /// It has said enough, or will not.
    over: bool,
}

impl Refused {
    pub(super) fn new() -> Self {
        Self { timer: Timer::new(PATIENCE), first: [0; PREFACE.len()], length: 0, over: false }
    }

    /// Resolves when the client has begun its request, or does not.
    pub(super) fn poll<T: AsyncRead>(
        &mut self,
        mut stream: Pin<&mut T>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while !self.over && !self.is_known() {
            let mut buf = ReadBuf::new(&mut self.first[self.length..]);
            match stream.as_mut().poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) => {
                    let length = buf.filled().len();
                    self.length += length;
                    self.over = length == 0;
                }
                Poll::Ready(Err(_)) => self.over = true,
                Poll::Pending => {
                    ready!(self.timer.poll(cx));
                    self.over = true;
                }
            }
        }
        Poll::Ready(())
    }

    fn is_known(&self) -> bool {
        let said = &self.first[..self.length];
        self.length == PREFACE.len() || !PREFACE.starts_with(said)
    }

    /// What it is told; nothing, if it has said nothing.
    pub(super) fn answer(&self, conn: &Conn, writer: &mut GoAwayWriter) {
        if self.length == 0 {
            return;
        }
        if self.first == *PREFACE {
            writer.push_refusal();
        } else if let Some(Farewell(answer)) = conn.get() {
            writer.push_bytes(&answer);
        }
    }
}
