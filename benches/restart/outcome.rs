//! What became of a client's requests.
//!
//! Every client prints this at its end, one line for each kind, so that the
//! lines of all can be added up:
//!
//! ```text
//! answered 997
//! eof 2 Post "http://127.0.0.1:40123/": EOF
//! reset 1 read tcp 127.0.0.1:51322->127.0.0.1:40123: connection reset by peer
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Why a request has no complete answer, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The connection was reset.
    Reset,
    /// The connection ended in good order, but before the answer did.
    Eof,
    /// HTTP/2: the server said that it has not looked at the request
    /// (`GOAWAY`, `REFUSED_STREAM`). It could be sent again, but for this the
    /// client would have to keep it.
    Refused,
    /// The client learnt that the connection was over when it had not sent
    /// anything yet, and gave up all the same. Nothing that a server says can
    /// prevent that, so it is counted by itself.
    Unsent,
    /// There was no connection to be had.
    Connect,
    /// No answer came in time.
    Timeout,
    /// Anything else: an answer that is not the one that was asked for, too.
    Other,
}

impl Failure {
    const ALL: [Self; 7] = [
        Self::Reset,
        Self::Eof,
        Self::Refused,
        Self::Unsent,
        Self::Connect,
        Self::Timeout,
        Self::Other,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Eof => "eof",
            Self::Refused => "refused",
            Self::Unsent => "unsent",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }
}

/// The requests of a client, or of many.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    answered: usize,
    failures: BTreeMap<Failure, Failures>,
}

/// Those of one kind, and the message of one of them.
#[derive(Clone, Debug, Default)]
struct Failures {
    count: usize,
    example: String,
}

impl Outcome {
    pub fn answered(&mut self) {
        self.answered += 1;
    }

    pub fn failed(&mut self, failure: Failure, message: impl fmt::Display) {
        self.add_failures(failure, 1, &message.to_string());
    }

    fn add_failures(&mut self, failure: Failure, count: usize, example: &str) {
        let failures = self.failures.entry(failure).or_default();
        failures.count += count;
        if failures.example.is_empty() {
            failures.example = example.replace('\n', " ");
        }
    }

    /// Adds the requests of another.
    pub fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        for (failure, failures) in &other.failures {
            self.add_failures(*failure, failures.count, &failures.example);
        }
    }

    /// How many there were.
    pub fn total(&self) -> usize {
        self.answered + self.failed_requests() + self.unsent()
    }

    /// How many were sent and have no complete answer.
    pub fn failed_requests(&self) -> usize {
        let sent = self.failures.iter().filter(|(failure, _)| **failure != Failure::Unsent);
        sent.map(|(_, failures)| failures.count).sum()
    }

    /// How many were not even sent.
    pub fn unsent(&self) -> usize {
        self.failures.get(&Failure::Unsent).map_or(0, |failures| failures.count)
    }

    /// The failures by kind, for people to read.
    pub fn diagnosis(&self) -> String {
        let kinds = self.failures.iter().map(|(failure, Failures { count, example })| {
            format!("\n    {count} {}: {example}", failure.name())
        });
        kinds.collect()
    }
}

/// As a client prints it.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "answered {}", self.answered)?;
        for (failure, Failures { count, example }) in &self.failures {
            writeln!(f, "{} {count} {example}", failure.name())?;
        }
        Ok(())
    }
}

impl FromStr for Outcome {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut outcome = Self::default();
        for line in text.lines() {
            let unexpected = || format!("a client printed {line:?}");
            let mut words = line.splitn(3, ' ');
            let kind = words.next().ok_or_else(unexpected)?;
            let count = words.next().and_then(|word| word.parse().ok()).ok_or_else(unexpected)?;
            if kind == "answered" {
                outcome.answered += count;
                continue;
            }
            let failure = Failure::ALL.into_iter().find(|failure| failure.name() == kind);
            let failure = failure.ok_or_else(unexpected)?;
            outcome.add_failures(failure, count, words.next().unwrap_or_default());
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read() {
        let mut outcome = Outcome::default();
        outcome.answered();
        outcome.failed(Failure::Eof, "it ended\nhere");
        outcome.failed(Failure::Eof, "another");
        outcome.failed(Failure::Unsent, "not begun");
        let read: Outcome = outcome.to_string().parse().expect("its own lines");
        assert_eq!((read.total(), read.failed_requests(), read.unsent()), (4, 2, 1));
        assert_eq!(read.diagnosis(), "\n    2 eof: it ended here\n    1 unsent: not begun");
        assert!("gone 3".parse::<Outcome>().is_err());
    }
}
