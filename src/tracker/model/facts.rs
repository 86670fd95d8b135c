//! Facts in any order.

use std::fmt;
use std::io::ErrorKind;

use super::exchange::Expected;
use super::sequence::Sequence;
use crate::CloseReason;
use crate::tracker::{Closing, Effect, Exchange, Fact, Request, Response, Tracker};

/// Something that a connection's shells do.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// An exchange in this fact counts back from the newest.
    Record(Fact),
    /// Somebody asks for the next state to report,
    StartReport,
    /// or has reported it.
    FinishReport,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // In one line, however long the script.
            Self::Record(fact) => write!(f, "{fact:?}"),
            Self::StartReport => f.write_str("StartReport"),
            Self::FinishReport => f.write_str("FinishReport"),
        }
    }
}

/// A script from any bytes, two a step.
pub(crate) fn script(bytes: &[u8]) -> Vec<Step> {
    bytes.chunks_exact(2).map(|pair| step(pair[0], pair[1])).collect()
}

fn step(kind: u8, details: u8) -> Step {
    use Fact::*;
    let bit = |place: u32| details >> place & 1 == 1;
    // Mostly the newest exchange, and mostly what a plain request says.
    let exchange = Exchange::from(details >> 6 == 3);
    Step::Record(match kind % 64 {
        0..=6 => return Step::StartReport,
        7..=13 => return Step::FinishReport,
        14..=17 => RequestBegan(Request { has_body: bit(0), may_persist: !(bit(1) && bit(2)) }),
        18..=21 => ResponseEnded {
            exchange,
            response: Response { may_persist: !(bit(1) && bit(2)), upgraded: bit(3) && bit(4) },
        },
        22..=23 => RequestBodyFollowed,
        24..=26 => RequestBodyEnded { exchange, read_to_end: bit(0) },
        27..=30 => Flushed { bytes: !(bit(0) && bit(1)) },
        31..=34 => ReadPending,
        35..=37 => Read,
        38..=39 => PollEnded,
        40 => Http1Began,
        41 => Http2Began,
        42..=44 => StreamsOpened,
        45..=47 => StreamsClosed,
        48..=49 => Written,
        50 => Answering { by_handler: bit(0) },
        51 => ReadBody,
        52 if bit(0) => GraceOver,
        52 => DrainCancelled,
        53 => Close(match details % 3 {
            0 => CloseReason::ClosedByProgram,
            1 => CloseReason::ShutdownForced,
            _ => CloseReason::HandshakeFailed,
        }),
        54 if bit(1) && bit(2) => GoAwayReceived { error_code: 0 },
        54 if bit(1) => HeaderBlock { open: bit(0) },
        54 if bit(2) => match details >> 3 & 7 {
            0 => SettingsReceived,
            1 => HeadRead,
            2 => Refused,
            3 => Watched,
            4 => KeepAlive { said: bit(0) },
            _ => DataRead { length: 5 },
        },
        54 => CloseIfIdle,
        55 => Drain { all: bit(0) },
        56 => Managed,
        57 if bit(1) => Expired(match details >> 2 & 15 {
            0 => CloseReason::HandshakeTimeout,
            1 => CloseReason::FirstByteTimeout,
            2 => CloseReason::HeaderTimeout,
            3 => CloseReason::BodyTimeout,
            4 => CloseReason::WriteTimeout,
            5 => CloseReason::TunnelIdleTimeout,
            6 => CloseReason::MaxRequests,
            7..=10 => CloseReason::MaxAge,
            _ => CloseReason::IdleTimeout,
        }),
        57 => ReadClosed,
        58 if bit(1) => ReadFailed(ErrorKind::ConnectionReset),
        58 => WriteFailed(if bit(0) { ErrorKind::BrokenPipe } else { ErrorKind::TimedOut }),
        59 => ShutDown,
        60 => HandlerPanicked,
        61 if bit(0) => TimedOut,
        61 => ProtocolError,
        62 if bit(0) => HandshakeBegan,
        62 => HandshakeDone,
        // A connection ends but once, and that at some time.
        _ if details % 4 == 0 => Dropped,
        _ if details % 4 == 1 => Detached,
        _ => Read,
    })
}

/// Runs a script, and panics if anything is reported that is not right.
///
/// The states of one tracker are reported at once, those of another when the
/// script says so. Both have to come to the same.
pub(crate) fn check(script: &[Step]) {
    let mut run = Run::new();
    for step in script {
        match *step {
            Step::Record(fact) => run.record(fact),
            Step::StartReport => run.start_report(),
            Step::FinishReport => run.finish_report(),
        }
    }
    run.finish();
}

struct Run {
    expected: Expected,
    prompt: Tracker,
    reported: Sequence,
    late: Tracker,
    /// How many states of `late` have been reported, and whether the last one
    /// still is being.
    reported_late: usize,
    reporting: bool,
}

impl Run {
    fn new() -> Self {
        let mut run = Self {
            expected: Expected::new(),
            prompt: Tracker::new(),
            reported: Sequence::default(),
            late: Tracker::new(),
            reported_late: 0,
            reporting: false,
        };
        run.report_promptly();
        run
    }

    fn record(&mut self, fact: Fact) {
        let fact = self.resolve(fact);
        let out_of_place = self.expected.is_out_of_place(fact);
        let before = out_of_place.then(|| format!("{:?}", self.prompt));

        let seen = self.reported.states().len();
        let effect = self.prompt.on(fact);
        if let Some(before) = before {
            assert_eq!(effect, Effect::None, "{fact:?} on {before}");
            assert_eq!(format!("{:?}", self.prompt), before, "{fact:?}");
        }
        self.report_promptly();
        self.expected.take(fact, effect, &self.reported.states()[seen..]);

        assert_eq!(self.late.on(fact), effect, "{fact:?}");
        assert_eq!(self.late.is_undisturbed(), self.prompt.is_undisturbed(), "{fact:?}");
        assert_eq!(Tracker::from_u64(self.prompt.to_u64()), self.prompt, "{fact:?}");
        assert_eq!(self.late.protocol(), self.prompt.protocol(), "{fact:?}");
        // Who is told late that it was idle may still end it in good order.
        let graceful = self.late.closing() == Some(Closing::Graceful);
        assert!(graceful || self.late.closing() == self.prompt.closing(), "{fact:?}");
        let reason = |tracker: Tracker| tracker.reason(None);
        assert_eq!(reason(self.late), reason(self.prompt), "{fact:?}");
        let ended = self.prompt.is_finished();
        assert_eq!(reason(self.prompt).is_some(), ended, "a reason when, and only when, it ended");
    }

    fn resolve(&self, fact: Fact) -> Fact {
        let newest = self.expected.newest();
        match fact {
            Fact::ResponseEnded { exchange, response } => {
                Fact::ResponseEnded { exchange: newest.wrapping_sub(exchange), response }
            }
            Fact::RequestBodyEnded { exchange, read_to_end } => {
                Fact::RequestBodyEnded { exchange: newest.wrapping_sub(exchange), read_to_end }
            }
            fact => fact,
        }
    }

    fn report_promptly(&mut self) {
        while let Some(state) = self.prompt.start_report() {
            assert_eq!(self.prompt.start_report(), None, "one report at a time");
            self.reported.push(state);
            self.prompt.finish_report(state);
        }
    }

    fn start_report(&mut self) {
        let next = self.reported.states().get(self.reported_late).copied();
        let expected = next.filter(|_| !self.reporting);
        assert_eq!(self.late.start_report(), expected, "after {}", self.reported_late);
        if expected.is_some() {
            self.reported_late += 1;
            self.reporting = true;
            assert!(!self.late.is_finished());
        }
    }

    fn finish_report(&mut self) {
        if std::mem::take(&mut self.reporting) {
            self.late.finish_report(self.reported.states()[self.reported_late - 1]);
        }
    }

    /// The stream goes, and all that was held back is reported.
    fn finish(mut self) {
        self.record(Fact::Dropped);
        assert!(self.reported.is_over());
        loop {
            self.finish_report();
            if self.reported_late == self.reported.states().len() {
                break;
            }
            self.start_report();
        }
        self.start_report();
        assert!(self.late.is_finished() && self.prompt.is_finished());
    }
}
