//! An in-memory stream whose every answer is planned.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::plan::{Fault, Pending, Plan};

/// An operation that had something to do, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// 0 is the end of file.
    Read(usize),
    Written(usize),
    Flushed,
    ShutDown,
    Failed(Operation, ErrorKind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Read,
    Write,
    Flush,
    ShutDown,
}

pub struct Hostile(Arc<Mutex<Inner>>);

/// The other end, and what happened.
#[derive(Clone)]
pub struct Control(Arc<Mutex<Inner>>);

pub struct Inner {
    plan: Plan,
    input: Vec<u8>,
    position: usize,
    end_of_file: bool,
    buffer: Vec<u8>,
    unflushed: bool,
    /// The bytes that the transport has really taken.
    pub wire: Vec<u8>,
    pub done: Vec<Done>,
    /// How often the stream was polled, whatever came of it.
    pub polls: usize,
    /// How many of them came behind the end of the server's side.
    pub polls_behind_end: usize,
    pub shut_down: bool,
    pub dropped: bool,
    reads: usize,
    writes: usize,
    failed: Option<ErrorKind>,
    pended: Option<usize>,
    sides: [Gate; 2],
    reader: Option<Waker>,
}

/// Whether operations of one side may go on.
#[derive(Default)]
enum Gate {
    #[default]
    Shut,
    Waiting(Waker),
    Open,
}

const READ: usize = 0;
const WRITE: usize = 1;

/// A test that fails is not to fail again when its streams are dropped.
fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hostile {
    pub fn new(plan: Plan) -> (Self, Control) {
        let inner = Arc::new(Mutex::new(Inner {
            plan,
            input: Vec::new(),
            position: 0,
            end_of_file: false,
            buffer: Vec::new(),
            unflushed: false,
            wire: Vec::new(),
            done: Vec::new(),
            polls: 0,
            polls_behind_end: 0,
            shut_down: false,
            dropped: false,
            reads: 0,
            writes: 0,
            failed: None,
            pended: None,
            sides: Default::default(),
            reader: None,
        }));
        (Self(inner.clone()), Control(inner))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        let mut inner = lock(&self.0);
        inner.polls += 1;
        inner.polls_behind_end += usize::from(inner.shut_down);
        inner
    }
}

impl Control {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }

    /// The client sends.
    pub fn send(&self, bytes: &[u8]) {
        let mut inner = self.lock();
        inner.input.extend_from_slice(bytes);
        inner.reader.take().into_iter().for_each(Waker::wake);
    }

    pub fn send_end_of_file(&self) {
        let mut inner = self.lock();
        inner.end_of_file = true;
        inner.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Waits until the server has nothing left to do, and every operation that
    /// was pending has gone on; and where it has shut the stream down, until it
    /// has given up waiting for the client to do the same.
    pub async fn pause(&self) {
        self.settle().await;
        let lingers = {
            let inner = self.lock();
            inner.shut_down && !inner.dropped
        };
        if lingers {
            tokio::time::sleep(Duration::from_millis(600)).await;
            self.settle().await;
        }
    }

    async fn settle(&self) {
        loop {
            // The clock is paused: it goes on when all tasks wait.
            tokio::time::sleep(Duration::from_millis(1)).await;
            if !self.lock().open_gates() {
                return;
            }
        }
    }
}

impl Inner {
    fn open_gates(&mut self) -> bool {
        let mut opened = false;
        for gate in &mut self.sides {
            if let Gate::Waiting(waker) = gate {
                waker.wake_by_ref();
                *gate = Gate::Open;
                opened = true;
            }
        }
        opened
    }

    /// An operation that has something to do asks to go on.
    fn begin(
        &mut self,
        side: usize,
        operation: Operation,
        cx: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        let number = self.done.len();
        if let Gate::Open = self.sides[side] {
            self.sides[side] = Gate::Shut;
        } else {
            let pends = match self.plan.pending {
                _ if matches!(self.sides[side], Gate::Waiting(_)) => true,
                Pending::Never => false,
                Pending::Each => true,
                Pending::Once(at) => number == at && self.pended.replace(at).is_none(),
                Pending::From(at) if number >= at => return Poll::Pending,
                Pending::From(_) => false,
            };
            if pends {
                if self.plan.wakes_late {
                    self.sides[side] = Gate::Waiting(cx.waker().clone());
                } else {
                    self.sides[side] = Gate::Open;
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }

        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        if let Some((at, Fault::Once(kind) | Fault::Lasting(kind))) = self.plan.fault {
            if at == number {
                if let Some((_, Fault::Lasting(kind))) = self.plan.fault {
                    self.failed = Some(kind);
                }
                self.done.push(Done::Failed(operation, kind));
                return Poll::Ready(Err(kind.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn write(&mut self, cx: &Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        if offered == 0 {
            return Poll::Ready(Ok(0));
        }
        std::task::ready!(self.begin(WRITE, Operation::Write, cx))?;
        let planned = turn(self.plan.writes, self.writes);
        let mut length = match self.plan.first {
            Some((_, first)) if self.writes == 0 => first,
            _ => planned,
        };
        if self.plan.fault == Some((self.done.len(), Fault::TakesNothing)) {
            length = 0;
        }
        self.writes += 1;
        let length = length.min(offered);
        let mut left = length;
        let target = match self.plan.buffered {
            Some(_) => &mut self.buffer,
            None => &mut self.wire,
        };
        for buf in bufs {
            let taken = left.min(buf.len());
            target.extend_from_slice(&buf[..taken]);
            left -= taken;
        }
        self.unflushed |= length > 0;
        self.done.push(Done::Written(length));
        Poll::Ready(Ok(length))
    }

    /// Sends a part of the buffer. Ready when it is empty.
    fn drain(&mut self, cx: &Context<'_>) -> Poll<()> {
        let length = self.plan.buffered.unwrap_or(0).min(self.buffer.len());
        self.wire.extend(self.buffer.drain(..length));
        if self.buffer.is_empty() {
            return Poll::Ready(());
        }
        if self.plan.wakes_late {
            self.sides[WRITE] = Gate::Waiting(cx.waker().clone());
        } else {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

fn turn(lengths: &[usize], turn: usize) -> usize {
    lengths[turn.min(lengths.len() - 1)]
}

impl AsyncRead for Hostile {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        let available = inner.input.len() - inner.position;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if available == 0 && !inner.end_of_file && inner.failed.is_none() {
            inner.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // The end of file can be read more than once.
        if available == 0 && inner.done.contains(&Done::Read(0)) {
            return Poll::Ready(Ok(()));
        }
        std::task::ready!(inner.begin(READ, Operation::Read, cx))?;
        let planned = turn(inner.plan.reads, inner.reads);
        let length = match inner.plan.first {
            Some((first, _)) if inner.reads == 0 => first,
            _ => planned,
        };
        inner.reads += 1;
        let length = length.min(available).min(buf.remaining());
        let position = inner.position;
        buf.put_slice(&inner.input[position..][..length]);
        inner.position += length;
        inner.done.push(Done::Read(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Hostile {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        if inner.plan.vectored {
            return inner.write(cx, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty());
        inner.write(cx, &[IoSlice::new(first.map_or(&[], |buf| &**buf))])
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).plan.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        if !inner.unflushed {
            return Poll::Ready(Ok(()));
        }
        std::task::ready!(inner.begin(WRITE, Operation::Flush, cx))?;
        std::task::ready!(inner.drain(cx));
        inner.unflushed = false;
        inner.done.push(Done::Flushed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        if inner.shut_down {
            return Poll::Ready(Ok(()));
        }
        std::task::ready!(inner.begin(WRITE, Operation::ShutDown, cx))?;
        std::task::ready!(inner.drain(cx));
        inner.shut_down = true;
        inner.done.push(Done::ShutDown);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        lock(&self.0).dropped = true;
    }
}
