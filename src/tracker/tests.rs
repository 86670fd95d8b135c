//! Every stage against every fact, as a table.
//!
//! `grid.txt` is what the rules do today. A change of the rules shows up as a
//! change of that file: run the test with `UPDATE_GRID=1` and read the
//! difference.

use super::*;
use crate::state::ConnState;

const PLAIN: Request = Request { has_body: false, may_persist: true };
const WITH_BODY: Request = Request { has_body: true, ..PLAIN };
const ONCE: Request = Request { may_persist: false, ..PLAIN };

const ANSWER: Response = Response { may_persist: true, upgraded: false };
const UPGRADE: Response = Response { upgraded: true, ..ANSWER };

const DRAIN: Fact = Fact::Drain { all: true };
const FLUSHED: Fact = Fact::Flushed { bytes: true };

fn ended(exchange: Exchange, response: Response) -> Fact {
    Fact::ResponseEnded { exchange, response }
}

fn body_ended(exchange: Exchange) -> Fact {
    Fact::RequestBodyEnded { exchange, read_to_end: true }
}

/// Each place that a connection can be in, and the facts that lead there.
fn places() -> Vec<(&'static str, Vec<Fact>)> {
    use Fact::*;
    let begin = |request| vec![Http1Began, Read, RequestBegan(request)];
    let with = |mut facts: Vec<Fact>, more: &[Fact]| {
        facts.extend(more);
        facts
    };
    let kept = with(begin(PLAIN), &[ended(1, ANSWER), FLUSHED, ReadPending]);
    vec![
        ("new", vec![]),
        ("head", vec![Http1Began, Read]),
        ("serving", begin(PLAIN)),
        ("serving, part of the answer flushed", with(begin(PLAIN), &[FLUSHED])),
        ("answered, not flushed", with(begin(PLAIN), &[ended(1, ANSWER)])),
        (
            "answered, body followed and ended later, not flushed",
            with(begin(WITH_BODY), &[RequestBodyFollowed, ended(1, ANSWER), body_ended(1)]),
        ),
        ("answered, flushed before", with(begin(PLAIN), &[FLUSHED, ended(1, ANSWER)])),
        ("flushed", with(begin(PLAIN), &[ended(1, ANSWER), FLUSHED])),
        ("flushed, body maybe unread", with(begin(WITH_BODY), &[ended(1, ANSWER), FLUSHED])),
        (
            "answered, body followed and open",
            with(begin(WITH_BODY), &[RequestBodyFollowed, ended(1, ANSWER), FLUSHED]),
        ),
        ("body read, answered, not flushed", {
            with(begin(WITH_BODY), &[RequestBodyFollowed, body_ended(1), ended(1, ANSWER)])
        }),
        ("idle", kept.clone()),
        ("kept, serving", with(kept.clone(), &[Read, RequestBegan(PLAIN)])),
        ("kept, answered", with(kept.clone(), &[Read, RequestBegan(PLAIN), ended(2, ANSWER)])),
        ("kept, answered, says close", {
            with(kept.clone(), &[Read, RequestBegan(ONCE), ended(2, ANSWER)])
        }),
        ("kept, answered, at the end of file", {
            with(kept.clone(), &[Read, RequestBegan(PLAIN), ReadClosed, ended(2, ANSWER)])
        }),
        ("upgrade answered", with(begin(PLAIN), &[ended(1, UPGRADE)])),
        (
            "upgrade answered, body followed and open",
            with(begin(WITH_BODY), &[RequestBodyFollowed, ended(1, UPGRADE)]),
        ),
        ("hijacked", with(begin(PLAIN), &[ended(1, UPGRADE), FLUSHED])),
        ("HTTP/2, idle", vec![Read, Http2Began]),
        ("HTTP/2, active", vec![Read, Http2Began, StreamsOpened]),
        ("managed, flushed", {
            vec![Managed, Http1Began, Read, RequestBegan(PLAIN), ended(1, ANSWER), FLUSHED]
        }),
        ("managed, flushed, body maybe unread", {
            vec![Managed, Http1Began, Read, RequestBegan(WITH_BODY), ended(1, ANSWER), FLUSHED]
        }),
        ("managed and draining, answered", {
            vec![Managed, Http1Began, Read, RequestBegan(PLAIN), DRAIN, ended(1, ANSWER)]
        }),
        ("managed and drained, not to be kept", {
            let read = with(begin(PLAIN), &[DRAIN, ended(1, ANSWER), FLUSHED, ReadPending]);
            with(vec![Managed], &read)
        }),
        ("draining, kept, answered", {
            with(kept.clone(), &[Read, RequestBegan(PLAIN), DRAIN, ended(2, ANSWER)])
        }),
        ("HTTP/2, draining, active", vec![Read, Http2Began, StreamsOpened, DRAIN]),
        ("idle and draining", with(kept.clone(), &[DRAIN])),
        ("HTTP/2, idle and draining", vec![Read, Http2Began, DRAIN]),
        ("idle and closed by the program", {
            with(kept.clone(), &[Close(CloseReason::ClosedByProgram)])
        }),
        ("closed", vec![Dropped]),
    ]
}

fn facts(exchange: Exchange) -> Vec<(&'static str, Fact)> {
    use Fact::*;
    vec![
        ("read", Read),
        ("read pending", ReadPending),
        ("read closed", ReadClosed),
        ("read failed", ReadFailed(io::ErrorKind::ConnectionReset)),
        ("write failed", WriteFailed(io::ErrorKind::BrokenPipe)),
        ("poll ended", PollEnded),
        ("flushed bytes", FLUSHED),
        ("flushed", Flushed { bytes: false }),
        ("read body", ReadBody),
        ("written", Written),
        ("request", RequestBegan(PLAIN)),
        ("request body ended", body_ended(exchange)),
        ("response ended", ended(exchange, ANSWER)),
        ("another's response ended", ended(exchange + 1, ANSWER)),
        ("answering", Answering { by_handler: true }),
        ("HTTP/1 began", Http1Began),
        ("HTTP/2 began", Http2Began),
        ("streams opened", StreamsOpened),
        ("streams closed", StreamsClosed),
        ("close", Close(CloseReason::ClosedByProgram)),
        ("drain", DRAIN),
        ("grace over", GraceOver),
        ("shut down", ShutDown),
        ("GOAWAY received", GoAwayReceived { error_code: 0 }),
        ("header block", HeaderBlock { open: true }),
        ("first byte expired", Expired(CloseReason::FirstByteTimeout)),
        ("head expired", Expired(CloseReason::HeaderTimeout)),
        ("idle expired", Expired(CloseReason::IdleTimeout)),
        ("body expired", Expired(CloseReason::BodyTimeout)),
        ("age expired", Expired(CloseReason::MaxAge)),
        ("tunnel expired", Expired(CloseReason::TunnelIdleTimeout)),
        ("refused", Refused),
        ("TLS began", TlsBegan),
        ("detached", Detached),
        ("dropped", Dropped),
    ]
}

fn reported(tracker: &mut Tracker) -> Vec<ConnState> {
    std::iter::from_fn(|| {
        let state = tracker.start_report()?;
        tracker.finish_report(state);
        Some(state)
    })
    .collect()
}

#[test]
fn grid() {
    let mut grid = String::new();
    for (place, path) in places() {
        let mut start = Tracker::new();
        for fact in path {
            let _ = start.on(fact);
        }
        reported(&mut start);
        grid += &format!("{place} ({})\n", start.word.state());
        for (name, fact) in facts(start.word.exchange()) {
            let mut tracker = start;
            let effect = tracker.on(fact);
            let states = reported(&mut tracker);
            let stage = place_of(tracker) != place_of(start);
            if states.is_empty() && effect == Effect::None && !stage {
                // Says nothing, and says so only by its absence.
                continue;
            }
            let states: Vec<_> = states.iter().map(ToString::to_string).collect();
            grid += &format!("    {name}: [{}]", states.join(" "));
            if effect != Effect::None {
                grid += &format!(" {effect:?}");
            }
            if tracker.closing() != start.closing() {
                grid += &format!(" closing {:?}", tracker.closing().unwrap());
            }
            if stage && !tracker.word.state().is_terminal() {
                grid += &format!(" -> {}", stage_name(tracker));
            }
            grid += "\n";
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tracker/grid.txt");
    if std::env::var_os("UPDATE_GRID").is_some() {
        std::fs::write(path, &grid).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(grid, expected, "the rules have changed; see the top of this file");
}

/// The stage, and what matters in it.
fn place_of(tracker: Tracker) -> (Stage, u16, Vec<Flag>) {
    let word = tracker.word;
    let flags = match word.stage() {
        Stage::Serving => vec![
            Flag::ResponseOpen,
            Flag::RequestBodyOpen,
            Flag::BodyMaybeUnread,
            Flag::MayPersist,
            Flag::Upgraded,
            Flag::AnswerFlushed,
            Flag::ResponseFlushed,
        ],
        Stage::Answered => vec![Flag::BodyMaybeUnread],
        Stage::BetweenRequests => vec![],
    };
    let flags = flags.into_iter().filter(|flag| word.has(*flag)).collect();
    let exchange = if word.stage() == Stage::Serving { word.exchange() } else { 0 };
    (word.stage(), exchange, flags)
}

fn stage_name(tracker: Tracker) -> &'static str {
    match tracker.word.stage() {
        Stage::BetweenRequests => "between requests",
        Stage::Serving => "serving",
        Stage::Answered if tracker.word.has(Flag::BodyMaybeUnread) => "answered, body maybe unread",
        Stage::Answered => "answered",
    }
}

/// What has ended cannot end again with other words.
#[test]
fn parts_of_an_exchange_end_once() {
    let mut tracker = Tracker::new();
    let _ = tracker.on(Fact::RequestBegan(WITH_BODY));
    let _ = tracker.on(Fact::RequestBodyFollowed);
    let _ = tracker.on(Fact::RequestBodyEnded { exchange: 1, read_to_end: false });
    let _ = tracker.on(ended(1, ANSWER));
    let before = tracker;
    let _ = tracker.on(body_ended(1));
    let _ = tracker.on(ended(1, UPGRADE));
    assert_eq!(tracker, before);
}

/// Reports that pile up while a hook runs come out in order and complete.
#[test]
fn reports_pile_up() {
    use ConnState::*;
    let mut tracker = Tracker::new();
    assert_eq!(tracker.start_report(), Some(New));
    for exchange in 1..=3 {
        let _ = tracker.on(Fact::Read);
        let _ = tracker.on(Fact::RequestBegan(PLAIN));
        let _ = tracker.on(ended(exchange, ANSWER));
        let _ = tracker.on(FLUSHED);
        let _ = tracker.on(Fact::ReadPending);
    }
    let _ = tracker.on(Fact::Dropped);
    // Not while the first report is under way.
    assert_eq!(tracker.start_report(), None);
    tracker.finish_report(New);
    assert_eq!(reported(&mut tracker), [Active, Idle, Active, Idle, Active, Idle, Closed]);
}

/// For whoever wants to know how long it takes.
#[test]
fn a_header_block_that_has_begun_is_known() {
    let mut tracker = Tracker::new();
    let is_open = |tracker: &Tracker| tracker.word.has(Flag::HeaderBlockOpen);
    for fact in [Fact::Read, Fact::Http2Began, Fact::HeaderBlock { open: true }] {
        assert!(!is_open(&tracker));
        let _ = tracker.on(fact);
    }
    assert!(is_open(&tracker) && tracker.is_quiet());
    let _ = tracker.on(Fact::HeaderBlock { open: false });
    assert!(!is_open(&tracker));
}
