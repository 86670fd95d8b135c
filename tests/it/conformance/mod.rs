//! Conformance with Go: client scripts are played to this crate's servers, and
//! the states at every pause are compared with those that Go's net/http
//! reported for the same script.
//!
//! - [`script`] is the language; the hand-written scripts are in `scripts/`,
//!   by subject, and [`generator`] makes more.
//! - `oracle/` is Go's server. `record` plays all scripts to it and writes
//!   `recordings/`; the tests need only these.
//! - `differences.txt` is the table of all differences from Go, each with its
//!   reason. Nothing else may differ, and none of them may be superfluous.
//!
//! Both servers are played to by the same client ([`client`]) in the same way
//! ([`play`]).

mod answers;
mod client;
mod corpus;
mod differences;
mod generator;
mod go;
mod here;
mod play;
mod record;
mod script;
mod sending;
mod words;

use std::collections::{HashMap, HashSet};

use corpus::{Group, folder, groups, recordings};
use differences::Difference;
use here::Here;
use play::{Sequence, play};
use script::{Protocol, Script};

use crate::support::{Kind, quiet_panics};

fn differences() -> Vec<Difference> {
    let text = std::fs::read_to_string(folder().join("differences.txt")).unwrap();
    differences::parse(&text).unwrap()
}

/// Plays every script that this server can be played to.
async fn conforms(kind: Kind) {
    quiet_panics();
    let groups = groups();
    let recordings = recordings(&groups);
    let differences = differences();
    let scripts: Vec<&Script> = groups
        .iter()
        .flat_map(|group| &group.scripts)
        .filter(|script| kind.is_tls() || script.protocol != Protocol::BeneathTls)
        .collect();
    let expected: HashMap<String, Sequence> = scripts
        .iter()
        .map(|Script { name, .. }| {
            let difference = differences.iter().find(|entry| entry.script == *name);
            let go = recordings[name].of(kind.is_tls());
            (name.clone(), difference.map_or(go, |entry| &entry.sequence).clone())
        })
        .collect();
    let server = Here::start(kind).await;
    let outcomes = play(&server, &scripts, &expected).await;
    let mut report = String::new();
    let mut lines_for_table = String::new();
    let mut failed = 0;
    for (script, outcome) in scripts.iter().zip(outcomes) {
        let expected = &expected[&script.name];
        if outcome.as_ref() == Ok(expected) {
            continue;
        }
        failed += 1;
        let Script { name, rule, lines, .. } = script;
        let go = recordings[name].of(kind.is_tls());
        let lines = lines.join("\n      ");
        let here = outcome.map_or_else(|error| error, |sequence| sequence.to_string());
        lines_for_table += &format!("\n{name}: {here}");
        report += &format!(
            "\n{name}: {rule}\n      {lines}\n  Go:       {go}\n  expected: {expected}\n  {kind:?}: {here}\n"
        );
    }
    assert!(
        failed == 0,
        "{failed} of {} scripts differ:\n{report}\nas lines of differences.txt:\n{lines_for_table}",
        scripts.len()
    );
}

macro_rules! conforms {
    ($($(#[$gate:meta])* $name:ident: $kind:ident,)*) => {
        $(
            $(#[$gate])*
            #[tokio::test(start_paused = true)]
            async fn $name() {
                conforms(Kind::$kind).await;
            }
        )*
    };
}

conforms! {
    tower: Tower,
    hyper: Hyper,
    tls: Tls,
    #[cfg(feature = "serve")]
    serve: Serve,
    #[cfg(feature = "tls")]
    serve_tls: ServeTls,
    #[cfg(all(feature = "serve", feature = "axum"))]
    serve_axum: ServeAxum,
    #[cfg(feature = "axum")]
    axum: Axum,
    #[cfg(feature = "axum")]
    axum_layer: AxumLayer,
}

/// Every entry of the table is a difference, and one that its rule allows.
#[test]
fn the_table_of_differences_has_only_what_it_needs() {
    let recordings = recordings(&groups());
    let mut scripts = HashSet::new();
    let mut errors = Vec::new();
    for entry in differences() {
        if !scripts.insert(entry.script.clone()) {
            errors.push(format!("{}: in the table twice", entry.script));
        }
        match recordings.get(&entry.script) {
            Some(recording) => errors.extend(entry.check(recording).err()),
            None => errors.push(format!("{}: no such script", entry.script)),
        }
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn there_are_enough_scripts() {
    let groups = groups();
    check_names(&groups);
    let (generated, by_hand) = groups.split_last().unwrap();
    let generated = generated.scripts.len();
    let by_hand: usize = by_hand.iter().map(|group| group.scripts.len()).sum();
    assert!(generated >= 500, "only {generated} generated scripts");
    assert!(by_hand >= 150, "only {by_hand} scripts written by hand");
    let differences = differences();
    let differ: HashSet<_> = differences.iter().map(|entry| &entry.script).collect();
    let differ = differ.len();
    let as_in_go = by_hand + generated - differ;
    println!("{by_hand} scripts by hand, {generated} generated: {as_in_go} as in Go, {differ} not");
}

/// Every script says which rule it is for, and shares neither its name nor a
/// handler that waits with another one.
fn check_names(groups: &[Group]) {
    let mut names = HashSet::new();
    let mut keys = HashMap::new();
    for script in groups.iter().flat_map(|group| &group.scripts) {
        let Script { name, rule, lines, .. } = script;
        assert!(names.insert(name), "two scripts are called {name}");
        assert!(!rule.is_empty(), "{name} does not say which rule it is for");
        for line in lines {
            for path in ["/wait/", "/parts/"] {
                for found in line.split(path).skip(1) {
                    let end = found.find(|char: char| !(char.is_alphanumeric() || char == '-'));
                    let key = &found[..end.unwrap_or(found.len())];
                    let first = keys.entry(key.to_owned()).or_insert(name);
                    assert_eq!(*first, name, "two scripts wait for {key}");
                }
            }
        }
    }
}

/// Not a test: records what Go answers. `tests/it/conformance/record` runs it.
#[tokio::test]
#[ignore = "needs Go: run tests/it/conformance/record"]
async fn record_anew() {
    let program = std::env::var("CONFORMANCE_ORACLE")
        .expect("CONFORMANCE_ORACLE is not set: run tests/it/conformance/record");
    let groups = groups();
    check_names(&groups);
    let recordings = record::record(&program, &groups).await.unwrap_or_else(|error| {
        panic!("scripts that cannot be played, or not twice with the same result:\n{error}")
    });
    for group in &groups {
        corpus::write_recordings(group, &recordings);
    }
    println!("{} scripts recorded", recordings.len());
}
