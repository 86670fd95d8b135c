//! All scripts, and what Go answered to them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::PathBuf;

use super::generator;
use super::play::Sequence;
use super::script::{Script, parse_all};

/// The scripts of one file, and the file of their recordings.
pub struct Group {
    pub name: String,
    pub scripts: Vec<Script>,
}

/// What Go reported, without and with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    pub plain: Sequence,
    pub tls: Sequence,
}

impl Recording {
    pub fn of(&self, over_tls: bool) -> &Sequence {
        if over_tls { &self.tls } else { &self.plain }
    }
}

pub fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "it", "conformance"].iter().collect()
}

fn read(path: &str) -> String {
    let path = folder().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn groups() -> Vec<Group> {
    let files = std::fs::read_dir(folder().join("scripts")).unwrap();
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mut groups: Vec<Group> = names
        .into_iter()
        .map(|name| {
            let text = read(&format!("scripts/{name}.txt"));
            let scripts = parse_all(&text).unwrap_or_else(|error| panic!("{name}.txt: {error}"));
            Group { name, scripts }
        })
        .collect();
    groups.push(Group { name: "generated".to_owned(), scripts: generator::scripts() });
    groups
}

/// The recordings, by the scripts' names. Panics where they are not of these
/// scripts.
pub fn recordings(groups: &[Group]) -> HashMap<String, Recording> {
    let mut recordings = HashMap::new();
    for group in groups {
        let text = read(&format!("recordings/{}.txt", group.name));
        let mut lines: BTreeMap<&str, &str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("no recording: {line}")))
            .collect();
        for script in &group.scripts {
            let (key, tls_key) = keys(script);
            let plain = lines.remove(&*key).unwrap_or_else(|| {
                panic!(
                    "{} is new or has changed: record anew with tests/it/conformance/record",
                    script.name
                )
            });
            let tls = lines.remove(&*tls_key).unwrap_or(plain);
            let [plain, tls] = [plain, tls].map(Sequence::parse);
            recordings.insert(script.name.clone(), Recording { plain, tls });
        }
        assert!(lines.is_empty(), "recordings of no script in {}.txt: {lines:?}", group.name);
    }
    recordings
}

/// What stands before the recordings without TLS, and with it where that
/// differs.
fn keys(script: &Script) -> (String, String) {
    let key = format!("{} {}", script.name, script.fingerprint());
    let tls_key = format!("{key} over TLS");
    (key, tls_key)
}

pub fn write_recordings(group: &Group, recordings: &HashMap<String, Recording>) {
    let mut text = String::from(
        "# What Go's net/http reported: script, fingerprint, states up to each pause.\n\
         # Written by tests/it/conformance/record.\n",
    );
    for script in &group.scripts {
        let Recording { plain, tls } = &recordings[&script.name];
        let (key, tls_key) = keys(script);
        writeln!(text, "{key}: {plain}").unwrap();
        if plain != tls {
            writeln!(text, "{tls_key}: {tls}").unwrap();
        }
    }
    std::fs::write(folder().join(format!("recordings/{}.txt", group.name)), text).unwrap();
}
