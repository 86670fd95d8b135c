//! Plays many scripts at once, in step: every client goes on to its next
//! pause, and when all have got there the server is given its time, once.

use std::collections::HashMap;
use std::net::SocketAddr;

use futures_util::future::join_all;

use super::client::Client;
use super::script::{Script, Step};

/// A server that scripts are played to.
pub trait Subject {
    fn addr(&self) -> SocketAddr;

    /// Whether its clients speak TLS.
    fn is_tls(&self) -> bool;

    /// Lets the server do all that it will do without further input. `enough`
    /// says whether as much as is expected has been reported.
    async fn rest(&self, enough: &dyn Fn() -> bool);

    /// All that was reported for this client.
    fn states(&self, client: &str) -> Vec<String>;

    /// Lets the handlers that wait for this key go on.
    fn release(&self, key: &str);
}

/// What was reported up to each pause, since the one before: `new | - | active`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    pub parts: Vec<Vec<String>>,
}

impl Sequence {
    pub fn parse(text: &str) -> Self {
        let states = |part: &str| {
            part.split_whitespace().filter(|word| *word != "-").map(str::to_owned).collect()
        };
        Self { parts: text.split('|').map(states).collect() }
    }

    /// Without the pauses.
    pub fn flat(&self) -> Vec<&str> {
        self.parts.iter().flatten().map(String::as_str).collect()
    }
}

impl std::fmt::Display for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            let part = if part.is_empty() { "-".to_owned() } else { part.join(" ") };
            write!(f, "{}{part}", if index == 0 { "" } else { " | " })?;
        }
        Ok(())
    }
}

/// What was reported, or which step could not be played.
pub type Outcome = Result<Sequence, String>;

struct Player<'a> {
    script: &'a Script,
    /// How many states are expected up to each pause, if that is known.
    expected: Vec<usize>,
    client: Client,
    seen: usize,
    outcome: Outcome,
}

/// Plays these scripts. `expected` makes a busy machine wait for what is going
/// to be reported.
pub async fn play(
    subject: &impl Subject,
    scripts: &[&Script],
    expected: &HashMap<String, Sequence>,
) -> Vec<Outcome> {
    // All connect before the first can close: an address may come again.
    let players = scripts.iter().map(async |script| Player {
        script,
        expected: expected.get(&script.name).map_or(Vec::new(), running_totals),
        client: Client::connect(subject.addr(), subject.is_tls(), script.protocol).await,
        seen: 0,
        outcome: Ok(Sequence::default()),
    });
    let mut players = join_all(players).await;
    let pauses = scripts.iter().map(|script| script.parts.len()).max().unwrap_or(0);
    for index in 0..pauses {
        join_all(players.iter_mut().map(|player| player.go_on(subject, index))).await;
        subject.rest(&|| players.iter().all(|player| player.has_enough(subject, index))).await;
        for player in &mut players {
            player.pause(subject, index);
        }
    }
    players.into_iter().map(|player| player.outcome).collect()
}

fn running_totals(sequence: &Sequence) -> Vec<usize> {
    let lengths = sequence.parts.iter().map(Vec::len);
    let totals = lengths.scan(0, |total, length| {
        *total += length;
        Some(*total)
    });
    totals.collect()
}

impl Player<'_> {
    /// Plays the steps before this pause.
    async fn go_on(&mut self, subject: &impl Subject, index: usize) {
        let Some(steps) = self.script.parts.get(index).filter(|_| self.outcome.is_ok()) else {
            return;
        };
        for (step, number) in steps.iter().zip(1..) {
            let played = match step {
                Step::Release(key) => {
                    subject.release(key);
                    Ok(())
                }
                step => self.client.play(step).await,
            };
            if let Err(error) = played {
                let so_far = self.outcome.as_ref().map(ToString::to_string).unwrap_or_default();
                self.outcome = Err(format!(
                    "step {number} after pause {index}: {error} (so far: {so_far} | {})",
                    subject.states(&self.client.name)[self.seen..].join(" "),
                ));
                return;
            }
        }
    }

    fn has_enough(&self, subject: &impl Subject, index: usize) -> bool {
        // One that went wrong before will not come right.
        let as_expected = index == 0 || self.expected.get(index - 1) == Some(&self.seen);
        let expected = self.expected.get(index).filter(|_| as_expected && self.outcome.is_ok());
        expected.is_none_or(|expected| subject.states(&self.client.name).len() >= *expected)
    }

    /// Notes what has been reported since the last pause.
    fn pause(&mut self, subject: &impl Subject, index: usize) {
        let Ok(sequence) = &mut self.outcome else { return };
        if index < self.script.parts.len() {
            let states = subject.states(&self.client.name);
            sequence.parts.push(states[self.seen..].to_vec());
            self.seen = states.len();
        }
    }
}
