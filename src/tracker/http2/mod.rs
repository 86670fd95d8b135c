//! HTTP/2 on the wire (RFC 9113): frame headers in both directions, and the
//! client's open streams.
//!
//! Payloads are skipped, but for what a server's GOAWAY says.
//! A frame counts at its last byte, so that any split of the same bytes gives
//! the same result.

mod frames;
mod streams;

use self::frames::{Event, FrameReader, NO_ERROR};
use self::streams::Streams;

/// The number of open streams left zero, or came back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crossing {
    Opened,
    Closed,
}

/// Both directions of one connection.
#[derive(Debug, Default)]
pub(crate) struct Http2 {
    from_client: FrameReader,
    from_server: FrameReader,
    streams: Streams,
    /// There were open streams when last reported.
    active: bool,
    /// The server has said GOAWAY with an error code, and closes. The streams
    /// that end with it were not served, so there is no coming back to zero.
    failed: bool,
}

impl Http2 {
    pub(crate) fn has_open_streams(&self) -> bool {
        self.active
    }

    /// Bytes after the preface were read from the client. What they say takes
    /// effect at once.
    pub(crate) fn read(&mut self, bytes: &[u8], mut on: impl FnMut(Crossing)) {
        let Self { from_client, streams, active, failed, .. } = self;
        from_client.read(bytes, |event| {
            match event {
                Event::Headers { stream, end_stream } => streams.client_headers(stream, end_stream),
                Event::EndStream { stream } => streams.client_ended(stream),
                Event::Reset { stream } => streams.client_reset(stream),
                // The client says which streams of the server's it will still
                // take, and the server opens none.
                Event::GoAway { .. } => {}
            }
            let open = streams.any();
            if open != *active && (open || !*failed) {
                *active = open;
                on(if open { Crossing::Opened } else { Crossing::Closed });
            }
        });
    }

    /// Bytes were written by the server. What they say takes effect when they
    /// have been flushed, because a TLS stream takes bytes long before the
    /// socket does.
    ///
    /// Returns whether they say that the client has made an error (GOAWAY with
    /// an error code).
    pub(crate) fn written(&mut self, bytes: &[u8]) -> bool {
        let Self { from_server, streams, .. } = self;
        let mut error = false;
        from_server.read(bytes, |event| match event {
            Event::Headers { stream, end_stream: true } | Event::EndStream { stream } => {
                streams.server_ended(stream);
            }
            Event::Headers { end_stream: false, .. } => {}
            Event::Reset { stream } => streams.server_reset(stream),
            Event::GoAway { last_stream, error_code } => {
                streams.server_goes_away(last_stream);
                error |= error_code != NO_ERROR;
            }
        });
        self.failed |= error;
        error
    }

    /// What was written is in the socket.
    #[inline]
    pub(crate) fn flushed(&mut self) -> Option<Crossing> {
        self.streams.flushed();
        let closed = self.active && !self.streams.any() && !self.failed;
        self.active &= !closed;
        closed.then_some(Crossing::Closed)
    }
}

#[cfg(test)]
mod floods;
#[cfg(test)]
mod tests;
