//! HTTP/2 on the wire (RFC 9113): frame headers in both directions, and the
//! client's open streams.
//!
//! Payloads are skipped, but for what a server's GOAWAY says.
//! A frame counts at its last byte (one of the SETTINGS at its own last one), so
//! that any split of the same bytes gives the same result.

mod frames;
mod streams;

use self::frames::{Event, FrameReader, NO_ERROR};
use self::streams::Streams;
use super::Fact;

/// The last stream of a GOAWAY that turns no stream away yet (RFC 9113, section
/// 6.8).
const MAX_STREAM: u32 = (1 << 31) - 1;

/// Both directions of one connection.
#[derive(Debug, Default)]
pub(crate) struct Http2 {
    from_client: FrameReader,
    from_server: FrameReader,
    streams: Streams,
    /// The highest stream that the client had used before the last read.
    used_before: u32,
    /// There were open streams when last reported.
    active: bool,
    /// The frame header or header block of the client's that has begun, as was
    /// last reported.
    head: Option<u8>,
    /// The client has sent SETTINGS.
    settings: bool,
    /// Either side has said GOAWAY.
    goaway: bool,
    /// The server has said GOAWAY with an error code, and closes. The streams
    /// that end with it were not served, so there is no coming back to zero.
    failed: bool,
}

impl Http2 {
    /// The connection speaks HTTP/2: what the frames have said so far counts.
    pub(crate) fn begin(&self, record: &mut impl FnMut(Fact)) {
        if self.settings {
            record(Fact::SettingsReceived);
        }
        if self.head.is_some() {
            record(Fact::HeaderBlock { open: true });
        }
        if self.active {
            record(Fact::StreamsOpened);
        }
    }

    /// The highest stream that the client has used and the server looked at.
    pub(crate) fn last_stream(&self) -> u32 {
        self.streams.newest().min(self.streams.highest())
    }

    /// The highest stream that the client may still use.
    pub(crate) fn highest_stream(&self) -> u32 {
        self.streams.highest()
    }

    /// What was last read has been given to nobody.
    pub(crate) fn withdraw_read(&mut self) {
        self.streams.withdraw(self.used_before);
    }

    /// How many bytes of the server's have to come, as far as can be known,
    /// before it may write a frame of somebody else's.
    pub(crate) fn unfinished(&self) -> usize {
        self.from_server.unfinished()
    }

    /// Bytes after the preface were read from the client. What they say takes
    /// effect at once.
    pub(crate) fn read(&mut self, bytes: &[u8], mut record: impl FnMut(Fact)) {
        self.used_before = self.streams.newest();
        let Self { from_client, streams, active, settings, goaway, failed, .. } = self;
        from_client.read(bytes, |event| {
            match event {
                Event::InitialWindow { size } => streams.set_initial_window(size),
                Event::Settings => {
                    if !std::mem::replace(settings, true) {
                        record(Fact::SettingsReceived);
                    }
                }
                Event::Headers { stream, end_stream } => {
                    streams.client_headers(stream, end_stream);
                }
                Event::Data { stream, end_stream: true, .. } => streams.client_ended(stream),
                Event::Data { end_stream: false, .. } => {}
                Event::WindowUpdate { stream, increment } => streams.widen(stream, increment),
                Event::Reset { stream } => streams.client_reset(stream),
                // The client says which streams of the server's it will still
                // take, and the server opens none.
                Event::GoAway { error_code, .. } => {
                    *goaway = true;
                    record(Fact::GoAwayReceived { error_code });
                }
            }
            let open = streams.any();
            if open != *active && (open || !*failed) {
                *active = open;
                record(if open { Fact::StreamsOpened } else { Fact::StreamsClosed });
            }
        });
        let head = self.from_client.head();
        if head != self.head {
            self.head = head;
            // Of a second one, too, that begins where another has ended: its
            // time is its own.
            record(Fact::HeaderBlock { open: head.is_some() });
        }
        let length = self.from_client.take_data();
        if length > 0 {
            record(Fact::DataRead { length });
        }
    }

    /// Bytes were written by the server. What they say takes effect when they
    /// have been flushed, because a TLS stream takes bytes long before the
    /// socket does.
    ///
    /// Returns why the server ends the connection, if they say so.
    pub(crate) fn written(&mut self, bytes: &[u8]) -> Option<Fact> {
        let Self { from_server, streams, goaway, .. } = self;
        let mut ends = None;
        let mut failed = false;
        from_server.read(bytes, |event| match event {
            Event::Headers { stream, end_stream: true } => streams.server_ended(stream),
            Event::Headers { stream, end_stream: false } => streams.server_answers(stream),
            Event::Data { stream, length, end_stream } => {
                streams.server_sent(stream, length, end_stream);
            }
            Event::Settings | Event::InitialWindow { .. } | Event::WindowUpdate { .. } => {}
            Event::Reset { stream } => streams.server_reset(stream),
            Event::GoAway { last_stream, error_code } => {
                streams.server_goes_away(last_stream);
                failed |= error_code != NO_ERROR;
                if error_code != NO_ERROR {
                    ends = ends.or(Some(Fact::ProtocolError));
                } else if !*goaway && last_stream < MAX_STREAM {
                    // Neither asked for nor announced, and for no error: hyper
                    // does this where a client has not answered its keep-alive
                    // PING.
                    ends = ends.or(Some(Fact::TimedOut));
                }
                *goaway = true;
            }
        });
        self.failed |= failed;
        ends
    }

    /// Whether the client has made no room for what the server would send on an
    /// open stream (RFC 9113, section 5.2): `Some` with how much has been sent
    /// since that was last said, or `None` if there is room. Said when it has
    /// changed, and when something has been sent and there is no room again.
    #[inline]
    pub(crate) fn windows_changed(&mut self) -> Option<Option<u32>> {
        self.streams.windows_changed()
    }

    /// What was written is in the socket.
    #[inline]
    pub(crate) fn flushed(&mut self) -> Option<Fact> {
        self.streams.flushed();
        let closed = self.active && !self.streams.any() && !self.failed;
        self.active &= !closed;
        closed.then_some(Fact::StreamsClosed)
    }
}

#[cfg(test)]
mod floods;
#[cfg(test)]
mod tests;
