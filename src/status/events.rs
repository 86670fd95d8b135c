//! What one viewer of the event stream is sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::watch;

use super::sampler::{Sample, Sampler};
use crate::Conn;

/// The newest event whenever there is one. Who reads slowly misses some, and
/// holds nothing up.
pub(super) struct Events {
    next: Pin<Box<dyn Future<Output = (Feed, Option<Sample>)> + Send>>,
    viewer: Viewer,
    /// On which they are sent.
    conn: Option<Conn>,
    over: bool,
}

type Feed = watch::Receiver<Option<Sample>>;

/// A place among the viewers, until it is dropped.
pub(super) struct Viewer {
    pub(super) sampler: Arc<Sampler>,
    pub(super) seat: Arc<Seat>,
}

/// What is known of a viewer.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// The number of the event that it was sent last.
    pub(super) sent: AtomicU64,
}

impl Events {
    pub(super) fn new(feed: Feed, viewer: Viewer, conn: Option<Conn>) -> Self {
        Self { next: Box::pin(next(feed)), viewer, conn, over: false }
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let sample = loop {
            if self.over || !self.viewer.is_seated() {
                return Poll::Ready(None);
            }
            let (feed, sample) = ready!(self.next.as_mut().poll(cx));
            self.next = Box::pin(next(feed));
            if let Some(sample) = sample {
                break sample;
            }
        };
        self.viewer.seat.sent.store(sample.number, Ordering::Relaxed);
        // A drain waits for this connection too: it is told, and let go.
        self.over = sample.draining || self.conn.as_ref().is_some_and(Conn::is_draining);
        Poll::Ready(Some(sample.event))
    }
}

/// `None` if the sampler begins or ends.
async fn next(mut feed: Feed) -> (Feed, Option<Sample>) {
    // It is not dropped before the viewer.
    let _ = feed.changed().await;
    let sample = feed.borrow_and_update().clone();
    (feed, sample)
}

impl Viewer {
    /// Whether its place was not given to somebody else.
    fn is_seated(&self) -> bool {
        self.sampler.seats().iter().any(|seat| Arc::ptr_eq(seat, &self.seat))
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.sampler.seats().retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}
