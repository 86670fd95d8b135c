//! Go's own server.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::play::Subject;
use crate::support::tls;

/// Longer than any time-out that Go's server has where a script pauses (half a
/// second before it closes, one second after GOAWAY), and shorter than its
/// patience with an HTTP/2 client that sends no SETTINGS (two seconds).
const PAUSE: Duration = Duration::from_millis(1300);

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
