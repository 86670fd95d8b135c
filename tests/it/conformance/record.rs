//! How Go's answers are recorded.

use std::collections::HashMap;

use super::corpus::{Group, Recording};
use super::go::Go;
use super::play::{Outcome, Sequence, play};
use super::script::{Protocol, Script};

/// Plays all scripts to Go, without and with TLS. What does not come out the
/// same each time cannot be compared with, and is an error.
pub async fn record(program: &str, groups: &[Group]) -> Result<HashMap<String, Recording>, String> {
    let all: Vec<&Script> = groups.iter().flat_map(|group| &group.scripts).collect();
    let above_tls = |script: &&Script| script.protocol != Protocol::BeneathTls;
    let plain: Vec<&Script> = all.iter().copied().filter(above_tls).collect();
    let plain = agreed(program, false, &plain).await?;
    let tls = agreed(program, true, &all).await?;
    let recordings = tls.into_iter().map(|(name, tls)| {
        let plain = plain.get(&name).unwrap_or(&tls).clone();
        (name, Recording { plain, tls })
    });
    Ok(recordings.collect())
}

/// What these scripts come out as, each time.
async fn agreed(
    program: &str,
    tls: bool,
    scripts: &[&Script],
) -> Result<HashMap<String, Sequence>, String> {
    let mut outcomes = play_times(2, program, tls, scripts).await;
    // A busy machine may have been late for one of Go's time-outs. With few to
    // play it is not, and then they must agree all the more often.
    let unsteady = |script: &&Script| steady(&outcomes[&script.name]).is_none();
    let again: Vec<&Script> = scripts.iter().copied().filter(unsteady).collect();
    if !again.is_empty() {
        outcomes.extend(play_times(4, program, tls, &again).await);
    }
    let mut errors = String::new();
    let mut agreed = HashMap::new();
    for Script { name, lines, .. } in scripts {
        if let Some(sequence) = steady(&outcomes[name]) {
            agreed.insert(name.clone(), sequence.clone());
            continue;
        }
        errors += &format!("{name} (TLS: {tls}):\n      {}\n", lines.join("\n      "));
        for outcome in &outcomes[name] {
            errors += &match outcome {
                Ok(sequence) => format!("  {sequence}\n"),
                Err(error) => format!("  {error}\n"),
            };
        }
    }
    if errors.is_empty() { Ok(agreed) } else { Err(errors) }
}

/// What all agree on.
fn steady(outcomes: &[Outcome]) -> Option<&Sequence> {
    let first = outcomes[0].as_ref().ok()?;
    outcomes.iter().all(|outcome| outcome.as_ref() == Ok(first)).then_some(first)
}

async fn play_times(
    times: usize,
    program: &str,
    tls: bool,
    scripts: &[&Script],
) -> HashMap<String, Vec<Outcome>> {
    let mut outcomes: HashMap<String, Vec<Outcome>> = HashMap::new();
    for _ in 0..times {
        let oracle = Go::start(program, tls).await;
        let played = play(&oracle, scripts, &HashMap::new()).await;
        for (script, outcome) in scripts.iter().zip(played) {
            outcomes.entry(script.name.clone()).or_default().push(outcome);
        }
    }
    outcomes
}
