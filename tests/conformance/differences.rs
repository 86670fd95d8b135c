//! The table of all differences from Go, `differences.txt`.
//!
//! `rule NAME LIMIT` begins a reason, comment lines behind it give it, and
//! then there is a line for each script that it covers, with what is reported
//! here: `SCRIPT: STATES`, or `SCRIPT (KIND…): STATES` if that holds for some
//! servers only. A rule's limit says how far such a script may differ.

use super::corpus::Recording;
use super::play::Sequence;
use super::support::Kind;

pub struct Difference {
    pub rule: String,
    limit: Limit,
    pub script: String,
    /// The servers that it is about; all if empty.
    kinds: Vec<String>,
    pub sequence: Sequence,
}

/// How far a rule lets a script differ from Go.
#[derive(Clone, Copy, Debug)]
enum Limit {
    /// Active is there sooner, or at all before Closed.
    ActiveSooner,
    /// Idle is missing before Closed.
    NoIdleBeforeClosed,
    /// The server does something else on the wire.
    Wire,
}

pub fn parse(text: &str) -> Result<Vec<Difference>, String> {
    let mut rule = None;
    let mut differences = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(words) = line.strip_prefix("rule ") {
            let (name, limit) = words.split_once(' ').ok_or("expected `rule NAME LIMIT`")?;
            let limit = match limit {
                "active-sooner" => Limit::ActiveSooner,
                "no-idle-before-closed" => Limit::NoIdleBeforeClosed,
                "wire" => Limit::Wire,
                _ => return Err(format!("no such limit: {limit}")),
            };
            rule = Some((name, limit));
            continue;
        }
        let (rule, limit) = rule.ok_or("a difference without a rule")?;
        let (script, sequence) = line.split_once(": ").ok_or(format!("no sequence: {line}"))?;
        let (script, kinds) = match script.split_once(" (") {
            Some((script, kinds)) => (script, kinds.trim_end_matches(')')),
            None => (script, ""),
        };
        differences.push(Difference {
            rule: rule.to_owned(),
            limit,
            script: script.to_owned(),
            kinds: kinds.split_whitespace().map(str::to_owned).collect(),
            sequence: Sequence::parse(sequence),
        });
    }
    Ok(differences)
}

impl Difference {
    pub fn is_about(&self, script: &str, kind: Kind) -> bool {
        let name = format!("{kind:?}");
        self.script == script
            && (self.kinds.is_empty() || self.kinds.iter().any(|word| *word == name))
    }

    /// That it is one, and one that its rule allows.
    pub fn check(&self, recording: &Recording) -> Result<(), String> {
        let results = [&recording.plain, &recording.tls].map(|go| self.check_against(go));
        if results.iter().any(Result::is_ok) {
            return Ok(());
        }
        results.into_iter().collect::<Result<(), String>>()
    }

    fn check_against(&self, go: &Sequence) -> Result<(), String> {
        let here = &self.sequence;
        let is_so = match self.limit {
            _ if here == go => return Err(format!("{}: Go says the same", self.script)),
            Limit::ActiveSooner => {
                let (here_flat, go_flat) = (here.flat(), go.flat());
                let before_closed =
                    here_flat.iter().rposition(|state| *state == "active").is_some_and(|index| {
                        let mut without = here_flat.clone();
                        without.remove(index);
                        without == go_flat && here_flat[index + 1..] == ["closed"]
                    });
                before_closed || (here_flat == go_flat && is_sooner(here, go))
            }
            Limit::NoIdleBeforeClosed => {
                let mut with = here.flat();
                let at = with.len().saturating_sub(1);
                with.insert(at, "idle");
                with == go.flat()
            }
            Limit::Wire => true,
        };
        if is_so {
            Ok(())
        } else {
            Err(format!(
                "{}: {:?} ({}) does not allow {here} where Go says {go}",
                self.script, self.limit, self.rule
            ))
        }
    }
}

/// No state comes at a later pause, and none but Active at an earlier one.
fn is_sooner(here: &Sequence, go: &Sequence) -> bool {
    let pauses = |sequence: &Sequence| -> Vec<(usize, String)> {
        let parts = sequence.0.iter().enumerate();
        parts.flat_map(|(at, part)| part.iter().map(move |state| (at, state.clone()))).collect()
    };
    pauses(here)
        .iter()
        .zip(pauses(go))
        .all(|((here, state), (go, _))| *here == go || (*here < go && state == "active"))
}
