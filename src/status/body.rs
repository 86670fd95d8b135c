//! The body of an answer.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::events::Events;

/// The body of a [`StatusPage`](crate::StatusPage)'s answer: a whole document,
/// or events until the viewer goes.
pub struct StatusBody(Kind);

enum Kind {
    Full(Bytes),
    Events(Events),
}

impl StatusBody {
    pub(super) fn full(content: Bytes) -> Self {
        Self(Kind::Full(content))
    }

    pub(super) fn events(events: Events) -> Self {
        Self(Kind::Events(events))
    }
}

impl Body for StatusBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match &mut self.0 {
            Kind::Full(content) if content.is_empty() => return Poll::Ready(None),
            Kind::Full(content) => Poll::Ready(Some(std::mem::take(content))),
            Kind::Events(events) => events.poll_next(cx),
        };
        data.map(|data| data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Full(content) if content.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(content) => SizeHint::with_exact(content.len() as u64),
            Kind::Events(_) => SizeHint::default(),
        }
    }
}

/// Empty.
impl Default for StatusBody {
    fn default() -> Self {
        Self::full(Bytes::new())
    }
}

impl fmt::Debug for StatusBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Full(_) => "document",
            Kind::Events(_) => "events",
        };
        f.debug_tuple("StatusBody").field(&kind).finish()
    }
}
