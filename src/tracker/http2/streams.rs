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
    windows: Windows,
    /// Counts flushes that mattered, to tell whether an end has been flushed.
    /// It may wrap: only equality with the current value counts.
    flushes: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    id: u32,
    /// How much the server may send on it; once it has ended its side, in which
    /// flush.
    // One place for both: there are as many of these as there are streams.
    window_or_flush: u32,
    side: Side,
    /// The head of the answer is out.
    answers: bool,
}

impl Stream {
    fn window(&self) -> i32 {
        self.window_or_flush as i32
    }

    fn set_window(&mut self, window: i32) {
        self.window_or_flush = window as u32;
    }
}

/// How much a client lets the server send (RFC 9113, section 5.2).
#[derive(Debug)]
struct Windows {
    connection: i32,
    initial: i32,
    /// What has been sent since they were last said to be shut, padding included.
    sent: u32,
    /// A window has come to its end, and perhaps not opened again.
    maybe_shut: bool,
    /// They were shut when last looked at.
    shut: bool,
}

/// RFC 9113, section 6.9.2.
const INITIAL_WINDOW: i32 = 65_535;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Neither side has ended.
    Open,
    /// The client has; the server is to answer.
    Client,
    /// The server has, in the bytes before a flush.
    Server,
    /// The stream is not open any more.
    Ended,
}

impl Side {
    /// The server may still send.
    fn is_to_answer(self) -> bool {
        matches!(self, Self::Open | Self::Client)
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            list: SmallVec::new(),
            open: 0,
            ending: 0,
            newest: 0,
            last: MAX_STREAM,
            windows: Windows {
                connection: INITIAL_WINDOW,
                initial: INITIAL_WINDOW,
                sent: 0,
                maybe_shut: false,
                shut: false,
            },
            flushes: 0,
        }
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
            let window_or_flush = self.windows.initial as u32;
            self.list.push(Stream { id, window_or_flush, side, answers: false });
            self.open += 1;
        }
    }

    pub(super) fn client_ended(&mut self, id: u32) {
        let flushes = self.flushes;
        let Some(stream) = self.find(id) else { return };
        match stream.side {
            Side::Open => stream.side = Side::Client,
            Side::Server => {
                let unflushed = stream.window_or_flush == flushes;
                stream.side = Side::Ended;
                self.ended(unflushed);
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
            Side::Open => {
                stream.side = Side::Server;
                stream.window_or_flush = flush;
            }
            Side::Client => {
                stream.side = Side::Ended;
                self.ended(true);
            }
            Side::Server | Side::Ended => {}
        }
    }

    /// The head of an answer is out, and its body is not.
    #[inline]
    pub(super) fn server_answers(&mut self, id: u32) {
        let shut = self.windows.connection <= 0;
        if let Some(stream) = self.find_unanswered(id) {
            stream.answers = true;
            let shut = shut || stream.window() <= 0;
            self.windows.maybe_shut |= shut;
        }
    }

    /// So much of an answer's body is out.
    #[inline]
    pub(super) fn server_sent(&mut self, id: u32, length: u32, end_stream: bool) {
        let windows = &mut self.windows;
        windows.sent = windows.sent.saturating_add(length);
        // No frame is longer than the length field has room for, and windows are
        // no less than what there is to subtract from.
        windows.connection = windows.connection.saturating_sub(length as i32);
        if end_stream {
            self.server_ended(id);
            return;
        }
        let shut = windows.connection <= 0;
        if let Some(stream) = self.find_unanswered(id) {
            stream.set_window(stream.window().saturating_sub(length as i32));
            let shut = shut || stream.window() <= 0;
            self.windows.maybe_shut |= shut;
        }
    }

    /// The client makes room.
    #[inline]
    pub(super) fn widen(&mut self, id: u32, increment: u32) {
        let increment = i32::try_from(increment).unwrap_or(i32::MAX);
        if id == 0 {
            self.windows.connection = self.windows.connection.saturating_add(increment);
        } else if let Some(stream) = self.find_unanswered(id) {
            stream.set_window(stream.window().saturating_add(increment));
        }
    }

    /// The room that each stream has, from now on and from before.
    pub(super) fn set_initial_window(&mut self, size: u32) {
        let size = i32::try_from(size).unwrap_or(i32::MAX);
        let more = size.saturating_sub(self.windows.initial);
        self.windows.initial = size;
        for stream in self.list.iter_mut().filter(|stream| stream.side.is_to_answer()) {
            stream.set_window(stream.window().saturating_add(more));
        }
        self.windows.maybe_shut |= more < 0;
    }

    /// Whether an answer has no room to go on (`Some`, with how much has been sent
    /// since that was last said) or has (`None`). Said when it has changed, and
    /// when something has been sent and there is no room again.
    #[inline]
    pub(super) fn windows_changed(&mut self) -> Option<Option<u32>> {
        let windows = &self.windows;
        if windows.maybe_shut || windows.shut { self.look_at_windows() } else { None }
    }

    #[cold]
    fn look_at_windows(&mut self) -> Option<Option<u32>> {
        let windows = &mut self.windows;
        let is_shut = |stream: &Stream| {
            let goes_on = stream.side.is_to_answer() && stream.answers;
            goes_on && (windows.connection <= 0 || stream.window() <= 0)
        };
        let shut = self.list.iter().any(is_shut);
        let changed = shut != windows.shut || shut && windows.sent > 0;
        (windows.maybe_shut, windows.shut) = (shut, shut);
        changed.then(|| shut.then(|| std::mem::take(&mut windows.sent)))
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

    /// A stream that is open on the server's side.
    #[inline]
    fn find_unanswered(&mut self, id: u32) -> Option<&mut Stream> {
        self.find(id).filter(|stream| stream.side.is_to_answer())
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
