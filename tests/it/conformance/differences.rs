//! The table of all differences from Go, `differences.txt`.
//!
//! `rule NAME LIMIT` begins a reason, comment lines behind it give it, and
//! then there is a line for each script that it covers, with what is reported
//! here, by all servers: `SCRIPT: STATES`. A rule's limit says how far such a
//! script may differ.

use super::corpus::Recording;
use super::play::Sequence;

pub struct Difference {
    rule: String,
    limit: Limit,
    pub script: String,
    pub sequence: Sequence,
}

/// How far a rule lets a script differ from Go.
#[derive(Clone, Copy, Debug)]
enum Limit {
    /// Active is there sooner; or it is there at all before Closed.
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
        differences.push(Difference {
            rule: rule.to_owned(),
            limit,
            script: script.to_owned(),
            sequence: Sequence::parse(sequence),
        });
    }
    Ok(differences)
}

impl Difference {
    /// That it is one, and one that its rule allows.
    pub fn check(&self, recording: &Recording) -> Result<(), String> {
        let Recording { plain, tls } = recording;
        if self.sequence == *plain && self.sequence == *tls {
            return Err(format!("{}: Go says the same", self.script));
        }
        for go in [plain, tls] {
            if self.sequence != *go && !self.is_allowed(go) {
                let Self { rule, limit, script, sequence } = self;
                return Err(format!(
                    "{script}: {rule} ({limit:?}) does not allow {sequence} where Go says {go}"
                ));
            }
        }
        Ok(())
    }

    fn is_allowed(&self, go: &Sequence) -> bool {
        let here = &self.sequence;
        match self.limit {
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
        }
    }
}

/// No state comes at a later pause, and none but Active at an earlier one.
fn is_sooner(here: &Sequence, go: &Sequence) -> bool {
    let pauses = |sequence: &Sequence| -> Vec<(usize, String)> {
        let parts = sequence.parts.iter().enumerate();
        parts.flat_map(|(at, part)| part.iter().map(move |state| (at, state.clone()))).collect()
    };
    pauses(here)
        .iter()
        .zip(pauses(go))
        .all(|((here, state), (go, _))| *here == go || (*here < go && state == "active"))
}
