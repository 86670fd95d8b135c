//! Seeds, and the search for scripts that fail.

use std::collections::BTreeMap;
use std::fmt;

/// What is to be tried.
pub struct Settings {
    pub seed: u64,
    pub exchanges: usize,
    /// Go on after the first fault.
    pub all: bool,
}

impl Settings {
    /// Those of the gate, unless the environment says otherwise.
    pub fn of_environment(exchanges: usize) -> Self {
        let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
        Self {
            seed: number("ORACLE_SEED").unwrap_or(1),
            exchanges: number("ORACLE_EXCHANGES").map_or(exchanges, |count| count as usize),
            all: std::env::var_os("ORACLE_ALL").is_some(),
        }
    }
}

/// Something that can be run and may fail.
pub trait Script: Clone + fmt::Display {
    /// Makes one from random numbers.
    fn random(random: &mut fastrand::Rng) -> Self;

    /// How much of [`Settings::exchanges`] it is.
    fn len(&self) -> usize;

    /// Those that are a little smaller.
    fn smaller(&self) -> Vec<Self>;

    /// # Errors
    ///
    /// What went wrong.
    fn run(&self) -> Result<(), Fault>;
}

/// What went wrong with a script.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The rule that was broken, in the same words each time.
    pub rule: &'static str,
    /// The particulars.
    pub what: String,
}

impl Fault {
    pub fn new(rule: &'static str, what: impl Into<String>) -> Self {
        Self { rule, what: what.into() }
    }
}

/// How many of the scripts that broke a rule are made smaller.
const EXAMPLES: usize = 400;

/// Runs random scripts; panics if one fails.
pub fn search<S: Script>(settings: &Settings) {
    let mut faults = BTreeMap::<String, (usize, String, String)>::new();
    let (mut done, mut failed) = (0, 0);
    let mut seed = settings.seed;
    while done < settings.exchanges {
        let script = S::random(&mut fastrand::Rng::with_seed(seed));
        done += script.len();
        if let Err(fault) = script.run() {
            failed += 1;
            if failed > EXAMPLES {
                break;
            }
            let (script, fault) = shrink(script, fault);
            let text = format!("{}: {}\n{script}", fault.rule, fault.what);
            let (count, ..) = faults.entry(format!("{}{script}", fault.rule)).or_insert((
                0,
                format!("seed {seed}"),
                text,
            ));
            *count += 1;
            if !settings.all {
                break;
            }
        }
        seed = seed.wrapping_add(1);
    }
    if faults.is_empty() {
        return;
    }
    let mut report = format!("{failed} scripts failed, of {done} exchanges:\n");
    for (count, seed, text) in faults.into_values() {
        report += &format!("\n--- {count} times, first with {seed} (made smaller)\n{text}\n");
    }
    panic!("{report}");
}

/// Makes a script that fails as small as it gets while it breaks that rule.
fn shrink<S: Script>(mut script: S, mut fault: Fault) -> (S, Fault) {
    let mut runs = 0;
    'smaller: loop {
        for candidate in script.smaller() {
            runs += 1;
            if runs > 400 {
                break 'smaller;
            }
            if let Err(found) = candidate.run() {
                if found.rule == fault.rule {
                    (script, fault) = (candidate, found);
                    continue 'smaller;
                }
            }
        }
        break;
    }
    (script, fault)
}

/// One of these, each as likely as the others.
pub fn one_of<T: Copy>(random: &mut fastrand::Rng, choices: &[T]) -> T {
    choices[random.usize(..choices.len())]
}
