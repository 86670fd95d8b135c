//! Whatever meets the end of a connection, in whatever order.

use std::time::Duration;

use hyper_connstate::{Conn, ConnState};
use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::http1::{self, GRACE, check_answer, wait};
use super::peer::{MAX, Peer};
use super::stack::Server;
use super::stream::Shape;
use crate::support::Kind;
use crate::support::frames::*;
use crate::support::handler::released;

/// Around the moment at which the grace is over: the request is answered and
/// told, or the connection was closed before it came. Never is it begun and
/// broken off.
#[tokio::test(start_paused = true)]
async fn a_request_in_the_last_moment_of_the_grace() {
    for kind in Kind::all() {
        let mut answered = Vec::new();
        for late in -3..=3_i64 {
            for quiet in [false, true] {
                let mut peer = http1::Peer::connect(kind).await;
                if !quiet {
                    peer.get("/");
                    peer.received().await;
                }
                peer.conn().drain();
                wait(Duration::from_millis((GRACE.as_millis() as i64 + late) as u64)).await;
                let served = peer.conn().requests();
                peer.get("/");
                let answer = peer.received().await;
                if answer.is_empty() {
                    assert_eq!(peer.conn().requests(), served, "{kind:?}: begun, not answered");
                } else {
                    check_answer(&answer, "hello\n", true);
                }
                assert!(peer.is_ended().await, "{kind:?}");
                answered.push((late, !answer.is_empty()));
            }
        }
        // A timer of tokio's is up to a millisecond late.
        for (late, answered) in answered {
            assert!(late >= 0 || answered, "{kind:?}: {late} ms, and not answered");
            assert!(late < 2 || !answered, "{kind:?}: {late} ms late, and answered");
        }
    }
}

/// The same, where the grace is over between two bytes of a head.
#[tokio::test(start_paused = true)]
async fn a_head_across_the_end_of_the_grace() {
    for kind in Kind::all() {
        let mut peer = http1::Peer::connect(kind).await;
        peer.conn().drain();
        wait(GRACE - Duration::from_millis(10)).await;
        for byte in "GET / HTTP/1.1\r\nhost: test\r\n\r\n".chars() {
            peer.send(&byte.to_string());
            wait(Duration::from_millis(1)).await;
        }
        check_answer(&peer.received().await, "hello\n", true);
        assert!(peer.is_ended().await, "{kind:?}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A request that is answered at once.
    Get,
    /// One that is answered at the next `Release`.
    Wait,
    Release,
    /// The beginning of a request, and at the next `Half` its end.
    Half,
    Upgrade,
    Drain,
    DrainAll,
    GiveUpDrain,
    Close,
    CloseIdle,
    Time(u64),
    HalfClose,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Get),
        3 => Just(Step::Wait),
        4 => Just(Step::Release),
        3 => Just(Step::Half),
        1 => Just(Step::Upgrade),
        3 => Just(Step::Drain),
        2 => Just(Step::DrainAll),
        1 => Just(Step::GiveUpDrain),
        1 => Just(Step::Close),
        1 => Just(Step::CloseIdle),
        3 => (0..700_u64).prop_map(Step::Time),
        1 => (900..1_100_u64).prop_map(Step::Time),
        1 => Just(Step::HalfClose),
    ];
    prop::collection::vec(step, 1..14)
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::all())
}

/// What is the same in both protocols: ways to end a connection from without.
#[derive(Default)]
struct Ends {
    drains: Vec<JoinHandle<hyper_connstate::Drained>>,
    /// The program has closed it, and what was under way may be lost.
    closed: bool,
}

impl Ends {
    fn take(&mut self, step: &Step, conn: &Conn, connections: &hyper_connstate::Connections) {
        match step {
            Step::Drain => conn.drain(),
            Step::DrainAll => {
                let drain = connections.drain(Duration::from_secs(3600));
                self.drains.push(tokio::spawn(drain.into_future()));
            }
            Step::GiveUpDrain => self.drains.drain(..).for_each(|drain| drain.abort()),
            Step::Close => {
                self.closed = true;
                conn.close();
            }
            Step::CloseIdle => {
                self.closed |= conn.state() == ConnState::Idle;
                connections.close_idle();
            }
            _ => {}
        }
    }

    /// The connection has ended: so do those who waited for that.
    async fn finish(self, conn: &Conn) {
        conn.closed().await;
        assert!(conn.close_reason().is_some());
        for drain in self.drains {
            if let Ok(drained) = drain.await {
                assert!(drained.total() <= 1 && drained.forced == 0, "{drained}");
            }
        }
    }
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future);
}

const HALVES: [&str; 2] = ["GET /chunked HT", "TP/1.1\r\nhost: test\r\n\r\n"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Waiting,
    Half,
    Tunnel,
}

async fn http1_steps(kind: Kind, steps: &[Step]) {
    let mut peer = http1::Peer::connect(kind).await;
    let conn = peer.conn();
    let mut ends = Ends::default();
    let mut doing = Doing::Nothing;
    let mut half_closed = false;
    released("races").notify_one();
    released("races").notified().await;
    for step in steps {
        let may_ask = doing == Doing::Nothing && !half_closed && !peer.is_ended().await;
        let told = conn.is_draining();
        match step {
            Step::Get if may_ask => {
                peer.get("/");
                check_answer(&peer.received().await, "hello\n", told);
                assert_eq!(peer.is_ended().await, told);
            }
            Step::Wait if may_ask => {
                peer.get("/wait/races");
                assert_eq!(peer.received().await, "");
                doing = Doing::Waiting;
            }
            Step::Release if doing == Doing::Waiting => {
                released("races").notify_one();
                let answer = peer.received().await;
                doing = Doing::Nothing;
                if ends.closed || half_closed {
                    // Taken back, if nobody was there to hear it.
                    released("races").notify_one();
                    released("races").notified().await;
                } else {
                    check_answer(&answer, "waited\n", told);
                    assert_eq!(peer.is_ended().await, told);
                }
            }
            Step::Half if may_ask => {
                peer.send(HALVES[0]);
                assert_eq!(peer.received().await, "");
                doing = Doing::Half;
            }
            Step::Half if doing == Doing::Half => {
                peer.send(HALVES[1]);
                let answer = peer.received().await;
                doing = Doing::Nothing;
                if !ends.closed && !half_closed {
                    let body = "3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n";
                    check_answer(&answer, body, told);
                    assert_eq!(peer.is_ended().await, told);
                }
            }
            Step::Upgrade if may_ask => {
                let headers = "host: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
                peer.send(&format!("GET /upgrade HTTP/1.1\r\n{headers}"));
                let head = peer.received().await;
                assert!(head.starts_with("HTTP/1.1 101") && !head.contains("close"), "{head}");
                doing = Doing::Tunnel;
            }
            Step::Time(time) => wait(Duration::from_millis(*time)).await,
            Step::HalfClose if doing != Doing::Tunnel && !half_closed => {
                peer.client.half_close();
                half_closed = true;
            }
            step => ends.take(step, &conn, &peer.connections),
        }
        let left = peer.received().await;
        assert_eq!(left, "", "after {step:?}");
        if doing == Doing::Tunnel && !ends.closed {
            peer.send("ping");
            assert_eq!(peer.received().await, "ping");
        }
        // It never ends while there is something to do.
        if !ends.closed && !half_closed && doing != Doing::Nothing {
            assert!(!peer.is_ended().await, "ended while {doing:?}");
        }
    }
    peer.client.close();
    released("races").notify_waiters();
    ends.finish(&conn).await;
}

async fn http2_steps(server: Server, shape: Shape, steps: &[Step]) {
    let mut peer = Peer::connect(server, shape).await;
    peer.send(opening());
    peer.settle().await;
    let conn = peer.conn();
    let mut ends = Ends::default();
    let mut next = 1;
    let mut open: Vec<u32> = Vec::new();
    for step in steps {
        // It sends none that it knows will not be looked at.
        let may_ask = !peer.client.ended && peer.goaways().iter().all(|(last, _)| *last == MAX);
        match step {
            Step::Get if may_ask => {
                peer.send(get(next, "/"));
                peer.settle().await;
                if !ends.closed {
                    assert!(peer.is_answered(next), "{next}");
                }
                next += 2;
            }
            Step::Wait | Step::Half if may_ask => {
                peer.send(post(next, "/echo"));
                peer.settle().await;
                open.push(next);
                next += 2;
            }
            Step::Release if !open.is_empty() => {
                let stream = open.remove(0);
                peer.send(data(stream, b"released", END_STREAM));
                peer.settle().await;
                if !ends.closed {
                    assert!(peer.is_answered(stream), "{stream}");
                }
            }
            Step::Upgrade if !open.is_empty() => peer.send(reset(open.remove(0))),
            Step::Time(time) => peer.live(Duration::from_millis(*time)).await,
            step => ends.take(step, &conn, &peer.connections),
        }
        peer.settle().await;
        if !ends.closed && !open.is_empty() {
            assert!(!peer.client.ended, "ended with {open:?} open");
        }
    }
    // A drain comes to its end when the streams do.
    if conn.is_draining() && !ends.closed {
        for stream in open.drain(..) {
            peer.send(data(stream, b"released", END_STREAM));
        }
        peer.live(Duration::from_secs(5)).await;
        peer.check_end(&server);
        assert_eq!(peer.goaways().last(), Some(&(next.saturating_sub(2), 0)));
    }
    peer.client.close();
    ends.finish(&conn).await;
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn http1(kind in kinds(), steps in steps()) {
        run(http1_steps(kind, &steps));
    }

    #[test]
    fn http2(server in prop::sample::select(Server::all()), seed: u64, steps in steps()) {
        let shape = Shape::random(&mut fastrand::Rng::with_seed(seed));
        run(http2_steps(server, shape, &steps));
    }
}
