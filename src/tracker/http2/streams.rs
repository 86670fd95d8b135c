//! Which streams are open (RFC 9113, section 5.1).

use smallvec::SmallVec;

use super::MAX_STREAM;

/// How many open streams there is room for without an allocation.
pub(super) const FEW: usize = 4;

/// The streams that a client has opened and that have not ended.
///
/// A stream ends when END_STREAM has passed in both directions or RST_STREAM
/// in either; what the server sent counts from the next flush on.
#[derive(Debug)]
pub(super) struct Streams {
    /// In the order of their ids, which is the order in which they opened.
    /// Ended ones stay until they are half of the list, so that ending one
    /// does not move all the others.
    pub(super) list: SmallVec<[Stream; FEW]>,
    /// How many of the list have not ended.
    pub(super) open: u32,
    /// Streams out of the list whose end the server has written but not
    /// flushed.
    ending: u32,
    /// The highest id that a client has used.
    newest: u32,
    /// The highest id that the server has not sent away with GOAWAY.
    last: u32,
    /// Counts flushes that mattered, to tell whether an end has been flushed.
    /// It may wrap: only equality with the current value counts.
    flushes: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    id: u32,
    side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Neither side has ended.
    Open,
    /// The client has; the server is to answer.
    Client,
    /// The server has, in the bytes before this flush.
    Server { flush: u32 },
    /// The stream is not open any more.
    Ended,
}

impl Default for Streams {
    fn default() -> Self {
        Self { list: SmallVec::new(), open: 0, ending: 0, newest: 0, last: MAX_STREAM, flushes: 0 }
    }
}

impl Streams {
    /// Whether any stream is open or waits for its end to be flushed.
    #[inline]
    pub(super) fn any(&self) -> bool {
        self.ending > 0 || self.open > 0
    }

    #[inline]
    pub(super) fn client_headers(&mut self, id: u32, end_stream: bool) {
        if id <= self.newest {
            // Trailers, or a stream that is closed already.
            if end_stream {
                self.client_ended(id);
            }
            return;
        }
        // Client streams are odd (RFC 9113, section 5.1.1).
        if id % 2 == 0 {
            return;
        }
        self.newest = id;
        if id <= self.last {
            let side = if end_stream { Side::Client } else { Side::Open };
            self.list.push(Stream { id, side });
            self.open += 1;
        }
    }

    pub(super) fn client_ended(&mut self, id: u32) {
        let flushes = self.flushes;
        let Some(stream) = self.find(id) else { return };
        match stream.side {
            Side::Open => stream.side = Side::Client,
            Side::Server { flush } => {
                stream.side = Side::Ended;
                self.ended(flush == flushes);
            }
            Side::Client | Side::Ended => {}
        }
    }

    pub(super) fn client_reset(&mut self, id: u32) {
        self.use_id(id);
        if let Some(stream) = self.find(id) {
            stream.side = Side::Ended;
            self.ended(false);
        }
    }

    #[inline]
    pub(super) fn server_ended(&mut self, id: u32) {
        let flush = self.flushes;
        let Some(stream) = self.find(id) else { return };
        match stream.side {
            Side::Open => stream.side = Side::Server { flush },
            Side::Client => {
                stream.side = Side::Ended;
                self.ended(true);
            }
            Side::Server { .. } | Side::Ended => {}
        }
    }

    pub(super) fn server_reset(&mut self, id: u32) {
        self.use_id(id);
        if let Some(stream) = self.find(id) {
            stream.side = Side::Ended;
            self.ended(true);
        }
    }

    /// A stream that was reset before it opened never opens: h2 ignores its
    /// HEADERS, and those of any lower id, without another frame.
    fn use_id(&mut self, id: u32) {
        if id % 2 == 1 {
            self.newest = self.newest.max(id);
        }
    }

    /// The highest stream that the client has used.
    pub(super) fn newest(&self) -> u32 {
        self.newest
    }

    /// The client has used none above this one, as far as the server knows.
    pub(super) fn withdraw(&mut self, newest: u32) {
        self.newest = newest;
    }

    /// The highest stream that the server has not sent away.
    pub(super) fn highest(&self) -> u32 {
        self.last
    }

    /// GOAWAY: the server has not looked at streams above `last` and never
    /// will; h2 drops them without another word.
    pub(super) fn server_goes_away(&mut self, last: u32) {
        self.last = self.last.min(last);
        while let Some(stream) = self.list.last() {
            if stream.id <= last {
                break;
            }
            if stream.side != Side::Ended {
                self.open -= 1;
                self.ending += 1;
            }
            self.list.pop();
        }
    }

    #[inline]
    pub(super) fn flushed(&mut self) {
        self.ending = 0;
        self.flushes = self.flushes.wrapping_add(1);
    }

    /// A stream that is open.
    #[inline]
    fn find(&mut self, id: u32) -> Option<&mut Stream> {
        let list = self.list.as_mut_slice();
        let index = list.binary_search_by_key(&id, |stream| stream.id).ok()?;
        let stream = &mut list[index];
        (stream.side != Side::Ended).then_some(stream)
    }

    /// A stream of the list has ended, but for a flush if it is `unflushed`.
    #[inline]
    fn ended(&mut self, unflushed: bool) {
        self.ending += u32::from(unflushed);
        self.open -= 1;
        if self.open as usize * 2 <= self.list.len() {
            self.list.retain(|stream| stream.side != Side::Ended);
        }
    }
}
