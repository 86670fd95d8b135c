//! Go's own server, and how its answers are recorded.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::corpus::{Group, Recording};
use super::play::{Outcome, Sequence, Subject, play};
use super::script::{Protocol, Script};
use super::support::tls;

/// Longer than any time-out that Go's server has where a script pauses (half a
/// second before it closes, one second after GOAWAY), and shorter than its
/// patience with an HTTP/2 client that sends no SETTINGS (two seconds).
const PAUSE: Duration = Duration::from_millis(1500);

/// The oracle, with or without TLS.
pub struct Go {
    addr: SocketAddr,
    tls: bool,
    states: Arc<Mutex<HashMap<String, Vec<String>>>>,
    input: tokio::sync::mpsc::UnboundedSender<String>,
    _oracle: Child,
}

impl Go {
    pub async fn start(program: &str, tls: bool) -> Self {
        let hexadecimal =
            |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (certificate, key) = tls::identity();
        let mut oracle = Command::new(program)
            .env("ORACLE_CERTIFICATE", hexadecimal(&certificate))
            .env("ORACLE_KEY", hexadecimal(&key))
            // Extended CONNECT is off without it.
            .env("GODEBUG", "http2xconnect=1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut lines = BufReader::new(oracle.stdout.take().unwrap()).lines();
        let mut addresses = Vec::new();
        for _ in 0..2 {
            let line = lines.next_line().await.unwrap().expect("the oracle has ended");
            addresses.push(line.parse().unwrap());
        }
        let states = Arc::default();
        tokio::spawn(note(lines, Arc::clone(&states)));
        let (input, keys) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(pass_on(keys, oracle.stdin.take().unwrap()));
        Self { addr: addresses[usize::from(tls)], tls, states, input, _oracle: oracle }
    }
}

async fn note(
    mut lines: Lines<BufReader<ChildStdout>>,
    states: Arc<Mutex<HashMap<String, Vec<String>>>>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        let (client, state) = line.split_once(' ').expect("the oracle prints an address first");
        states.lock().unwrap().entry(client.to_owned()).or_default().push(state.to_owned());
    }
}

async fn pass_on(mut keys: tokio::sync::mpsc::UnboundedReceiver<String>, mut input: ChildStdin) {
    while let Some(key) = keys.recv().await {
        input.write_all(format!("{key}\n").as_bytes()).await.unwrap();
    }
}

impl Subject for Go {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn is_tls(&self) -> bool {
        self.tls
    }

    async fn rest(&self, _: &dyn Fn() -> bool) {
        tokio::time::sleep(PAUSE).await;
    }

    fn states(&self, client: &str) -> Vec<String> {
        self.states.lock().unwrap().get(client).cloned().unwrap_or_default()
    }

    fn release(&self, key: &str) {
        self.input.send(key.to_owned()).unwrap();
    }
}

/// Plays all scripts to Go, `passes` times with and without TLS. What does not
/// come out the same each time cannot be compared with, and is an error.
pub async fn record(
    program: &str,
    groups: &[Group],
    passes: usize,
) -> Result<HashMap<String, Recording>, String> {
    let all: Vec<&Script> = groups.iter().flat_map(|group| &group.scripts).collect();
    let mut heard: BTreeMap<(&str, bool), Vec<Outcome>> = BTreeMap::new();
    for _ in 0..passes {
        for tls in [false, true] {
            let oracle = Go::start(program, tls).await;
            let scripts: Vec<&Script> = all
                .iter()
                .copied()
                .filter(|script| tls || script.protocol != Protocol::BeneathTls)
                .collect();
            let outcomes = play(&oracle, &scripts, &HashMap::new()).await;
            for (script, outcome) in scripts.iter().zip(outcomes) {
                heard.entry((&script.name, tls)).or_default().push(outcome);
            }
        }
    }
    let mut errors = Vec::new();
    let mut agreed: HashMap<(&str, bool), Sequence> = HashMap::new();
    for ((name, tls), outcomes) in heard {
        match &outcomes[0] {
            Ok(sequence) if outcomes.iter().all(|outcome| *outcome == outcomes[0]) => {
                agreed.insert((name, tls), sequence.clone());
            }
            _ => {
                let outcomes = outcomes.into_iter().map(|outcome| match outcome {
                    Ok(sequence) => format!("\n  {sequence}"),
                    Err(error) => format!("\n  {error}"),
                });
                let outcomes: String = outcomes.collect();
                let script = all.iter().find(|script| script.name == name).expect("was played");
                let lines = script.lines.join("\n      ");
                errors.push(format!("{name} (TLS: {tls}):\n      {lines}{outcomes}"));
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors.join("\n"));
    }
    let recording = |script: &&Script| {
        let tls = agreed[&(&*script.name, true)].clone();
        let plain = agreed.get(&(&*script.name, false)).unwrap_or(&tls).clone();
        (script.name.clone(), Recording { plain, tls })
    };
    Ok(all.iter().map(recording).collect())
}
