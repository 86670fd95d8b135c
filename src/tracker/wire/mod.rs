//! From bytes to facts: which protocol a connection speaks, and, for HTTP/2,
//! what its frames say.
//!
//! A connection is HTTP/2 once the client's whole preface has been read and
//! what the server writes first is a SETTINGS frame, in whichever order. A
//! server that answers the preface in HTTP/1 (`HTTP/1.1 400`) speaks HTTP/1.
//!
//! A stream whose client and server both begin with a TLS record (RFC 8446,
//! section 5.1) is below TLS, and what it carries cannot be seen.

mod head_end;

use self::head_end::HeadEnd;
use super::Fact;
use super::http2::Http2;

/// RFC 9113, section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Enough of a server's first bytes to see a frame's header (9 bytes) or a
/// status line's first digit (`HTTP/1.1 4`).
const OPENING: usize = 10;

const FRAME_HEADER: usize = 9;
const TLS_HANDSHAKE: u8 = 22;
/// Any TLS record that a server may begin with: from change_cipher_spec to
/// application_data.
const TLS_RECORDS: std::ops::RangeInclusive<u8> = 20..=23;

const SETTINGS: u8 = 0x4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not known yet: everything is followed as if it were HTTP/2, and told as
    /// if it were HTTP/1.
    Opening,
    /// The client has begun with a TLS record. A server that takes it for a
    /// request will answer in HTTP/1.
    ClientHello,
    Tls,
    Http1,
    Http2,
}

/// What one connection's bytes have told so far.
#[derive(Debug)]
pub(crate) struct Wire {
    phase: Phase,
    /// How many bytes of the preface have been read.
    preface: u8,
    /// The first bytes that the server wrote.
    opening: [u8; OPENING],
    opening_len: u8,
    /// Bytes have been written that were not flushed.
    unflushed: bool,
    /// Of the first request. Where there is no layer nobody else says that it
    /// is there.
    head_end: HeadEnd,
    /// There when it may be HTTP/2: a connection that is not should not be
    /// larger for it.
    http2: Option<Box<Http2>>,
}

/// Where a frame of somebody else's would stand among those of an HTTP/2 server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    /// How many bytes of the server's have to come before that, as far as can be
    /// known.
    pub(crate) unfinished: usize,
    /// All that the server wrote is in the socket.
    pub(crate) is_flushed: bool,
    /// The last stream that the server has been given and has not sent away.
    pub(crate) last_stream: u32,
    /// The highest stream that it has not sent away.
    pub(crate) highest_stream: u32,
}

impl Gap {
    /// It would stand there now, with nothing before it under way.
    pub(crate) fn is_open(&self) -> bool {
        self.unfinished == 0 && self.is_flushed
    }
}

impl Wire {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Opening,
            preface: 0,
            opening: [0; OPENING],
            opening_len: 0,
            unflushed: false,
            head_end: HeadEnd::default(),
            http2: None,
        }
    }

    /// The connection speaks HTTP/1 and its first answer has begun: from now on
    /// nothing counts of its bytes but that there are some.
    #[inline]
    pub(crate) fn needs_no_parsing(&self) -> bool {
        match self.phase {
            Phase::Http1 => usize::from(self.opening_len) == OPENING,
            Phase::Tls => true,
            Phase::Opening | Phase::ClientHello | Phase::Http2 => false,
        }
    }

    /// Bytes were read.
    #[inline]
    pub(crate) fn read(&mut self, bytes: &[u8], mut record: impl FnMut(Fact)) {
        match self.phase {
            Phase::Http1 => {
                record(Fact::Read);
                self.look_for_head_end(bytes, &mut record);
            }
            Phase::Http2 => self.http2().read(bytes, record),
            Phase::ClientHello | Phase::Tls => {}
            Phase::Opening if self.preface == 0 && is_client_hello(bytes) => {
                self.phase = Phase::ClientHello;
            }
            Phase::Opening => self.read_opening(bytes, record),
        }
    }

    fn read_opening(&mut self, bytes: &[u8], mut record: impl FnMut(Fact)) {
        let expected = &PREFACE[self.preface.into()..];
        let length = expected.len().min(bytes.len());
        let (start, rest) = bytes.split_at(length);
        if start != &expected[..length] {
            self.begin_http1(&mut record);
            record(Fact::Read);
            self.look_for_head_end(&PREFACE[..self.preface.into()], &mut record);
            self.look_for_head_end(bytes, &mut record);
            return;
        }
        self.preface += length as u8;
        if self.is_http2() {
            self.begin_http2(&mut record);
        } else {
            record(Fact::Read);
        }
        // Until it is decided the frames count for nothing but are followed.
        let begun = self.phase == Phase::Http2;
        if !rest.is_empty() {
            self.http2().read(rest, |fact| {
                if begun {
                    record(fact);
                }
            });
        }
    }

    fn look_for_head_end(&mut self, bytes: &[u8], record: &mut impl FnMut(Fact)) {
        if self.head_end.is_in(bytes) {
            record(Fact::HeadRead);
        }
    }

    /// Bytes were taken by the stream below.
    #[inline]
    pub(crate) fn written(&mut self, bytes: &[u8], mut record: impl FnMut(Fact)) {
        if bytes.is_empty() {
            return;
        }
        self.unflushed = true;
        if self.phase == Phase::ClientHello {
            self.answer_client_hello(bytes[0], &mut record);
        }
        let mut ends = None;
        match self.phase {
            Phase::Tls => return,
            Phase::Http1 => record(Fact::Written),
            _ => ends = self.http2().written(bytes),
        }
        if usize::from(self.opening_len) < OPENING {
            self.written_opening(bytes, &mut record);
        }
        // Asked here, since these bytes may have begun HTTP/2.
        if self.phase == Phase::Http2 {
            ends.into_iter().for_each(record);
        }
    }

    fn answer_client_hello(&mut self, first: u8, record: &mut impl FnMut(Fact)) {
        if TLS_RECORDS.contains(&first) {
            self.phase = Phase::Tls;
            record(Fact::TlsBegan);
        } else {
            self.begin_http1(record);
            record(Fact::Read);
        }
    }

    fn written_opening(&mut self, bytes: &[u8], record: &mut impl FnMut(Fact)) {
        let (_, room) = self.opening.split_at_mut(self.opening_len.into());
        let length = bytes.len().min(room.len());
        room[..length].copy_from_slice(&bytes[..length]);
        self.opening_len += length as u8;

        if self.phase == Phase::Opening && usize::from(self.opening_len) >= FRAME_HEADER {
            if !self.starts_with_settings() {
                self.begin_http1(record);
            } else if self.is_http2() {
                self.begin_http2(record);
            }
        }
        if self.phase == Phase::Http1 && usize::from(self.opening_len) == OPENING {
            // hyper's own answers, to requests that no handler ever sees, are
            // 4xx.
            let by_handler = !self.opening.starts_with(b"HTTP/1.1 4");
            record(Fact::Answering { by_handler });
        }
    }

    fn starts_with_settings(&self) -> bool {
        // Type SETTINGS, no flags (it is no acknowledgement), stream 0.
        usize::from(self.opening_len) >= FRAME_HEADER
            && self.opening[3..9] == [SETTINGS, 0, 0, 0, 0, 0]
    }

    fn is_http2(&self) -> bool {
        usize::from(self.preface) == PREFACE.len() && self.starts_with_settings()
    }

    #[inline]
    fn http2(&mut self) -> &mut Http2 {
        self.http2.get_or_insert_default()
    }

    fn begin_http1(&mut self, record: &mut impl FnMut(Fact)) {
        self.phase = Phase::Http1;
        self.http2 = None;
        record(Fact::Http1Began);
    }

    fn begin_http2(&mut self, record: &mut impl FnMut(Fact)) {
        self.phase = Phase::Http2;
        record(Fact::Http2Began);
        self.http2().begin(record);
    }

    /// What was last read has been given to nobody.
    pub(crate) fn withdraw_read(&mut self) {
        if let Some(http2) = &mut self.http2 {
            http2.withdraw_read();
        }
    }

    /// What there is to know for writing a frame of somebody else's. `None`
    /// where the server does not speak HTTP/2, or has not said so.
    pub(crate) fn gap(&self) -> Option<Gap> {
        let http2 = self.http2.as_ref().filter(|_| self.phase == Phase::Http2)?;
        Some(Gap {
            unfinished: http2.unfinished(),
            is_flushed: !self.unflushed,
            last_stream: http2.last_stream(),
            highest_stream: http2.highest_stream(),
        })
    }

    /// As [`Http2::windows_changed`].
    #[inline]
    pub(crate) fn windows_changed(&mut self) -> Option<Option<u32>> {
        self.http2.as_mut().filter(|_| self.phase == Phase::Http2)?.windows_changed()
    }

    /// What there is of the client's first bytes could be HTTP/2's preface.
    pub(crate) fn may_be_http2(&self) -> bool {
        self.phase == Phase::Opening && self.preface > 0
    }

    /// The stream below said that all that was written is on its way.
    #[inline]
    pub(crate) fn flushed(&mut self) -> Option<Fact> {
        let bytes = self.take_unflushed();
        match self.phase {
            // Nothing that was written can have ended by this.
            Phase::Http2 if !bytes => None,
            Phase::Http2 => self.http2().flushed(),
            Phase::ClientHello | Phase::Tls => None,
            Phase::Opening | Phase::Http1 => Some(Fact::Flushed { bytes }),
        }
    }

    /// Bytes were taken, of a connection that [is plain](Self::needs_no_parsing).
    #[inline]
    pub(crate) fn written_unparsed(&mut self) {
        self.unflushed = true;
    }

    /// Whether bytes have been written since the last flush.
    #[inline]
    pub(crate) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Whether bytes have been written since this was asked.
    #[inline]
    pub(crate) fn take_unflushed(&mut self) -> bool {
        std::mem::take(&mut self.unflushed)
    }
}

/// A TLS handshake record's type, with which no request begins. The rest of it
/// is not looked at: what the server answers decides.
fn is_client_hello(bytes: &[u8]) -> bool {
    bytes.first() == Some(&TLS_HANDSHAKE)
}

#[cfg(test)]
mod tests;
