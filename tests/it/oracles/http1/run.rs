//! Runs a script, and asks hyper at each pause.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper_connstate::ConnState;

use super::exemptions;
use super::handler::Desk;
use super::request::Expect;
use super::response::{Answers, Part};
use super::script::{End, Exchange, Next, Script};
use crate::oracles::search::Fault;
use crate::oracles::stack;
use crate::oracles::watch::Watch;
use crate::oracles::wire::{self, Client, settle};

const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nhost: test\r\n\r\n";

/// How much a slow client reads at a time.
const SIP: usize = 50_000;

/// # Errors
///
/// What was reported wrongly.
pub fn run(script: &Script) -> Result<(), Fault> {
    stack::run(async {
        let (near, far) = wire::wire();
        let watch = Watch::new(&far, script.close_at);
        let desk = Desk::new(script.exchanges.iter().map(|exchange| exchange.answer.clone()));
        let service = stack::service(desk.clone(), Desk::handle);
        stack::serve(script.kind, near, watch.clone(), service);
        let alpn = script.kind.is_tls().then_some("http/1.1");
        let client = Client::new(far, alpn).await;
        let mut run = Run {
            script,
            desk,
            watch,
            client,
            progress: Vec::new(),
            methods: Vec::new(),
            exchanges: Vec::new(),
            log: String::new(),
        };
        let result = run.all().await;
        result.map_err(|mut fault| {
            fault.what += &format!("\n  reported in all: {}\n  {}", run.watch.words(), run.log);
            fault
        })
    })
}

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// All of the request has been sent that ever will be, and that is all of
    /// it.
    sent: bool,
    head_sent: bool,
    released: bool,
    task_released: bool,
}

/// How it goes on.
enum Course {
    On,
    /// The connection has ended, as it may.
    Over,
}

/// What came of a plain request.
struct Probe {
    answered: bool,
    /// As Active, then Idle, and nothing else.
    reported: bool,
}

struct Run<'a> {
    script: &'a Script,
    desk: Arc<Desk>,
    watch: Watch,
    client: Client,
    /// Of the exchanges that have begun.
    progress: Vec<Progress>,
    /// Of all requests, the probes included.
    methods: Vec<&'static str>,
    /// Which of them belong to which exchange.
    exchanges: Vec<Option<usize>>,
    log: String,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), Fault> {
        self.converse().await?;
        let ended = self.client.ended;
        match self.script.end {
            End::Closes => self.client.close(),
            End::HalfCloses => self.client.half_close(),
        }
        settle().await;
        // A program that closes a connection gives its client some time.
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.client.read_all().await;
        self.watch.check_order()?;
        let terminal = self.watch.state().is_terminal();
        if !terminal && !self.is_handed_over_otherwise() {
            return self.fault("the end is not reported", "the client has gone");
        }
        self.check_wire(ended || self.script.end == End::HalfCloses)
    }

    async fn converse(&mut self) -> Result<(), Fault> {
        let script = self.script;
        let mut glued = Vec::new();
        let mut index = 0;
        // Those that overlap.
        let mut first = 0;
        while let Some(exchange) = script.exchanges.get(index) {
            let last = index + 1 == script.exchanges.len();
            let next = if last { Next::After } else { exchange.next };
            let slow = script.exchanges[first..=index].iter().any(|exchange| exchange.slow);
            self.progress.push(Progress::default());
            self.methods.push(exchange.request.method);
            self.exchanges.push(Some(index));
            let parts = exchange.parts(index);
            let count = parts.len();
            for (number, part) in parts.into_iter().enumerate() {
                if exchange.request.expect == Expect::Patient
                    && number >= exchange.head_parts()
                    && !self.asked_for_body()
                {
                    // It may come to be wanted yet, when the answer is there.
                    self.release_all(first, index).await?;
                    return Ok(());
                }
                if number >= exchange.head_parts() && exchange.early {
                    self.release(index);
                }
                glued.extend(part);
                let done = number + 1 == count;
                if done && next == Next::Glued && !exchange.request.is_short() {
                    continue;
                }
                self.progress[index].head_sent = number + 1 >= exchange.head_parts();
                self.progress[index].sent = done && !exchange.request.is_short();
                let bytes = std::mem::take(&mut glued);
                self.send(&bytes, index);
                if let Course::Over = self.pause(!slow).await? {
                    return Ok(());
                }
            }
            if exchange.request.is_short() {
                // What is missing never comes.
                self.release_all(first, index).await?;
                return Ok(());
            }
            self.progress[index].sent = true;
            index += 1;
            match next {
                Next::Glued => continue,
                Next::Meanwhile => continue,
                Next::After => {}
            }
            if let Course::Over = self.release_all(first, index - 1).await? {
                return Ok(());
            }
            if let Course::Over = self.finish(exchange, last).await? {
                return Ok(());
            }
            first = index;
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8], index: usize) {
        self.log += &format!("e{index} {} B; ", bytes.len());
        self.client.send(bytes);
    }

    /// Whether a client that waits for a 100 may send its body.
    fn asked_for_body(&mut self) -> bool {
        self.client.read(usize::MAX);
        let answers = Answers::read(&self.client.received, &self.methods);
        let so_far = |exchange: &Exchange| exchange.request.expect != Expect::No;
        let begun = &self.script.exchanges[..self.progress.len()];
        answers.continues >= begun.iter().filter(|exchange| so_far(exchange)).count()
    }

    /// Lets the handler go on with what it waits for.
    fn release(&mut self, index: usize) {
        if !self.progress[index].released {
            self.progress[index].released = true;
            self.desk.case(index).before.notify_one();
            self.desk.case(index).middle.notify_one();
        }
    }

    /// Lets everything go on to its end, and reads all.
    async fn release_all(&mut self, first: usize, last: usize) -> Result<Course, Fault> {
        let slow = self.script.exchanges[first..=last].iter().any(|exchange| exchange.slow);
        for index in first..=last {
            if !self.progress[index].released {
                self.release(index);
                if let Course::Over = self.pause(!slow).await? {
                    return Ok(Course::Over);
                }
            }
        }
        if slow {
            self.log += "reads slowly; ";
            for _ in 0..4 {
                self.client.read(SIP);
                if let Course::Over = self.pause(false).await? {
                    return Ok(Course::Over);
                }
            }
        }
        for index in first..=last {
            self.desk.case(index).task.notify_one();
            self.progress[index].task_released = true;
            if let Course::Over = self.pause(true).await? {
                return Ok(Course::Over);
            }
        }
        Ok(Course::On)
    }

    /// The client pauses: what is reported has to be true.
    async fn pause(&mut self, reads: bool) -> Result<Course, Fault> {
        settle().await;
        if reads {
            self.client.read_to_the_end().await;
        }
        self.log += &format!("[{}] ", self.watch.words());
        if self.is_closed_by_program() {
            // Clients are given some time.
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.client.read_all().await;
            return match self.watch.state() {
                _ if self.is_handed_over_otherwise() => Ok(Course::Over),
                ConnState::Closed => self.over().await,
                _ => self.fault("not closed though the program has closed it", ""),
            };
        }
        let state = self.watch.state();
        if state != ConnState::Closed && self.is_handed_over_otherwise() {
            return Ok(Course::Over);
        }
        if state == ConnState::Active && self.is_handed_over() {
            return self.fault("Active though handed over", "");
        }
        match state {
            ConnState::New => self.fault("New though bytes were sent", ""),
            ConnState::Closed | ConnState::Hijacked => self.over().await,
            ConnState::Idle => self.idle().await,
            ConnState::Active => match self.busy(reads) {
                Some(_) => Ok(Course::On),
                None if self.may_stay_active() => Ok(Course::Over),
                None => {
                    let answered = self.probe().await.answered;
                    self.fault("Active though all is over", further(answered))
                }
            },
        }
    }

    /// See [`exemptions::handed_over_otherwise`].
    fn is_handed_over_otherwise(&self) -> bool {
        let taken = |index: usize| {
            let exchange = &self.script.exchanges[index];
            self.desk.case(index).upgradable.load(Ordering::Relaxed)
                && exemptions::handed_over_otherwise(exchange)
        };
        (0..self.progress.len()).any(taken)
    }

    /// See [`exemptions::trailers_behind_answer`] and
    /// [`exemptions::chunks_behind_a_longer_head`].
    fn may_stay_active(&self) -> bool {
        let begun = &self.script.exchanges[..self.progress.len()];
        let kind = self.script.kind;
        begun.last().is_some_and(|last| exemptions::trailers_behind_answer(kind, last))
            || exemptions::chunks_behind_a_longer_head(kind, begun)
    }

    fn is_closed_by_program(&self) -> bool {
        let idles = self.watch.record().wire_at_idle.len();
        self.script.close_at.is_some_and(|number| number <= idles)
    }

    /// What is still under way.
    fn busy(&self, reads: bool) -> Option<&'static str> {
        if !reads {
            return Some("the client does not read");
        }
        let exchanges = self.script.exchanges.iter().enumerate().zip(&self.progress);
        for ((_, exchange), progress) in exchanges {
            let answer = &exchange.answer;
            if !progress.sent {
                return Some("the request is not sent");
            }
            if !progress.released && (answer.waits || answer.halts) {
                return Some("the handler waits");
            }
            if !progress.task_released && exchange.holds_body() {
                return Some("the body is held");
            }
        }
        None
    }

    /// Idle: all that was asked for has been answered, and is in the socket.
    async fn idle(&mut self) -> Result<Course, Fault> {
        let waited = self.client.received.len();
        self.client.read(usize::MAX);
        if self.client.ended {
            // hyper has ended it behind an answer.
            self.client.read_to_the_end().await;
            return match self.watch.state() {
                ConnState::Closed => self.over().await,
                _ => self.fault("Idle though hyper has ended the connection", ""),
            };
        }
        if self.is_miscounted() {
            return Ok(Course::On);
        }
        let answers = Answers::read(&self.client.received, &self.methods);
        let whole = answers.whole(self.client.ended);
        let (begun, received) = (self.methods.len(), self.client.received.len());
        let behind = usize::from(self.has_begun_behind());
        if whole + behind < begun {
            return self.fault(
                "Idle though an answer is not out",
                format!("{whole} of {begun} answers are there ({waited} then {received} bytes)"),
            );
        }
        let progress = &self.progress[..self.progress.len() - behind];
        let mut exchanges = self.script.exchanges.iter().zip(progress);
        if exchanges.clone().any(|(_, progress)| !progress.sent) {
            let answered = self.probe().await.answered;
            return self.fault("Idle though a request is not sent", further(answered));
        }
        // hyper may have read all of it. A head that has begun is in the way of
        // asking it.
        if behind == 0
            && exchanges
                .any(|(exchange, progress)| exchange.holds_body() && !progress.task_released)
            && !self.probe().await.answered
        {
            return self.fault("Idle though a request is not read", further(false));
        }
        Ok(Course::On)
    }

    /// See [`exemptions::miscounted`].
    fn is_miscounted(&self) -> bool {
        let begun = &self.script.exchanges[..self.progress.len()];
        let head_sent = self.progress.last().is_some_and(|progress| progress.head_sent);
        exemptions::miscounted(self.script.kind, begun.iter(), head_sent)
    }

    /// See [`exemptions::begun_behind_another`].
    fn has_begun_behind(&self) -> bool {
        let index = self.progress.len() - 1;
        let before = index.checked_sub(1).map(|index| &self.script.exchanges[index]);
        !self.progress[index].head_sent && before.is_some_and(exemptions::begun_behind_another)
    }

    /// The client has got the answer that hands the stream over, to a request
    /// that could be upgraded.
    fn is_handed_over(&self) -> bool {
        let answers = Answers::read(&self.client.received, &self.methods);
        let last = self.exchanges.get(answers.parts.len().saturating_sub(1)).copied().flatten();
        let upgradable = |index| self.desk.case(index).upgradable.load(Ordering::Relaxed);
        answers.is_tunnel() && last.is_some_and(upgradable)
    }

    /// The connection has ended, or has been handed over.
    async fn over(&mut self) -> Result<Course, Fault> {
        self.client.read_all().await;
        let answers = Answers::read(&self.client.received, &self.methods);
        let handed_over = self.is_handed_over();
        match self.watch.state() {
            ConnState::Closed if handed_over => self.fault("Closed though handed over", ""),
            ConnState::Closed if !self.client.ended => {
                self.fault("Closed though the stream is open", "")
            }
            ConnState::Closed if self.is_idle_in_vain(&answers) => {
                self.fault("Idle though the connection is not kept", "it is closed at once")
            }
            ConnState::Hijacked if !handed_over => {
                self.fault("Hijacked though not handed over", "")
            }
            _ => Ok(Course::Over),
        }
    }

    /// Idle is followed by Closed though neither the client nor the program has
    /// ended the connection. Refused bytes that came with the request before are
    /// fine: they are answered, so the connection was kept.
    fn is_idle_in_vain(&self, answers: &Answers) -> bool {
        let record = self.watch.record();
        let idle_before = record.states.ends_with(&[ConnState::Idle, ConnState::Closed]);
        let idles = record.wire_at_idle.len();
        drop(record);
        idle_before
            && !self.is_miscounted()
            && !self.is_closed_by_program()
            && answers.whole(true) <= idles
    }

    /// All is over by what the client knows: is a further request answered?
    async fn finish(&mut self, exchange: &Exchange, last: bool) -> Result<Course, Fault> {
        if let Course::Over = self.pause(true).await? {
            return Ok(Course::Over);
        }
        // What `pause` lets pass here is Idle.
        let called = self.desk.case(self.progress.len() - 1).called.load(Ordering::Relaxed);
        if exchange.request.is_well_formed() && !called {
            return self.fault("Idle though the request before was not served", "");
        }
        if last || exchange.probe {
            let probe = self.probe().await;
            if !probe.answered && self.is_handed_over_otherwise() {
                return Ok(Course::Over);
            }
            if !probe.answered {
                return self.fault("Idle though the connection is not kept", further(false));
            }
            if self.is_closed_by_program() {
                return self.pause(true).await;
            }
            if !probe.reported {
                return self.fault("not Active and Idle with a plain request", "");
            }
        }
        Ok(Course::On)
    }

    /// Sends a plain request.
    async fn probe(&mut self) -> Probe {
        let before = Answers::read(&self.client.received, &self.methods).whole(false);
        let states = self.watch.record().states.len();
        self.methods.push("GET");
        self.exchanges.push(None);
        self.client.send(PROBE);
        self.client.read_all().await;
        self.log += &format!("probe [{}] ", self.watch.words());
        let answers = Answers::read(&self.client.received, &self.methods);
        Probe {
            answered: self.client.received.ends_with(b"\r\n\r\nprobed\n")
                && answers.clean
                && answers.whole(false) == before + 1,
            reported: self.watch.record().states[states..] == [ConnState::Active, ConnState::Idle],
        }
    }

    /// At each Idle as many answers were on the wire; and where the program has
    /// closed then, the client has got them.
    fn check_wire(&mut self, complete: bool) -> Result<(), Fault> {
        let answers = Answers::read(&self.client.received, &self.methods);
        let nonsense = answers.parts.contains(&Part::Nonsense) && !answers.is_tunnel();
        if nonsense && !self.is_handed_over_otherwise() {
            return self.fault("no HTTP", format!("{answers:?}"));
        }
        let record = self.watch.record();
        let idles = record.wire_at_idle.clone();
        drop(record);
        let whole = answers.whole(self.client.ended);
        if complete && whole < idles.len() {
            return self.fault(
                "cut short after Idle",
                format!("{whole} answers for {} times Idle", idles.len()),
            );
        }
        if self.script.kind.is_tls() {
            return Ok(());
        }
        for (index, wire) in idles.into_iter().enumerate() {
            let end = answers.end_of(index).unwrap_or(0);
            if wire < end {
                return self.fault(
                    "Idle before the answer was out",
                    format!("Idle {} came after {wire} bytes, the answer ends at {end}", index + 1),
                );
            }
        }
        Ok(())
    }

    fn fault<T>(&self, rule: &'static str, what: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::new(rule, what))
    }
}

fn further(answered: bool) -> &'static str {
    if answered { "a further request is answered" } else { "no further request is answered" }
}
