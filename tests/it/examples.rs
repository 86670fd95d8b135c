//! Each example prints what its header shows: the commands of the header are
//! run (with curl; skipped where there is none), and what server and client
//! print is compared with what stands there.
#![cfg(unix)]

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the server may take to print a line: long, so that a busy machine
/// does not fail a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command, and the lines that it prints.
#[derive(Debug)]
struct Shown {
    command: String,
    output: Vec<String>,
}

/// What the `console` blocks of a header show.
fn shown(source: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut in_block = false;
    let mut continues = false;
    for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
        let line = line.strip_prefix(' ').unwrap_or(line);
        match (line, &mut shown[..]) {
            ("```console", _) => in_block = true,
            ("```", _) => in_block = false,
            _ if !in_block => {}
            (more, [.., last]) if continues => {
                last.command += &format!("\n{more}");
                continues = more.ends_with('\\');
            }
            (line, all) => match (line.strip_prefix("$ "), all) {
                (Some(command), _) => {
                    continues = command.ends_with('\\');
                    shown.push(Shown { command: command.to_owned(), output: Vec::new() });
                }
                (None, [.., last]) => last.output.push(line.trim_end().to_owned()),
                (None, []) => panic!("output of no command: {line}"),
            },
        }
    }
    shown
}

/// Without what differs from run to run: clients' and servers' ports.
fn without_ports(line: &str) -> String {
    let mut result = line.trim_end().to_owned();
    for before in ["127.0.0.1:", "localhost:", "server_port=\""] {
        let mut parts = result.split(before);
        let mut text = parts.next().unwrap().to_owned();
        for part in parts {
            text += before;
            text += part.trim_start_matches(|char: char| char.is_ascii_digit());
        }
        result = text;
    }
    result
}

/// An example that runs.
struct Server {
    process: Child,
    output: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.output);
    }
}

impl Server {
    fn start(name: &str, args: &[&str]) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let output = format!("example-{name}-{}-{count}", std::process::id());
        let output = std::env::temp_dir().join(output);
        // One file for both, so that their lines are in order.
        let file = File::create(&output).unwrap();
        let process = Command::new(built(name))
            .args(args)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { process, output }
    }

    /// What it has printed, when these are at least so many lines.
    fn lines(&mut self, count: usize) -> Vec<String> {
        let start = Instant::now();
        loop {
            let text = std::fs::read_to_string(&self.output).unwrap();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines: Vec<_> = whole.lines().map(str::to_owned).collect();
            if lines.len() >= count {
                return lines;
            }
            assert!(start.elapsed() < PATIENCE, "{count} lines are shown; it printed:\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where it listens, by the last word of that line.
    fn addr(&mut self, line: usize) -> String {
        let line = self.lines(line + 1).swap_remove(line);
        let url = line.rsplit(' ').next().unwrap();
        let addr = url.split("://").nth(1).unwrap();
        addr.split('/').next().unwrap().to_owned()
    }

    /// Compares what it prints with what is shown; a line `^C` is a signal.
    fn prints(&mut self, shown: &[String]) {
        let mut expected = Vec::new();
        for line in shown {
            if line == "^C" {
                self.compare(&expected);
                let id = self.process.id().to_string();
                assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
            } else {
                expected.push(without_ports(line));
            }
        }
        self.compare(&expected);
    }

    fn compare(&mut self, expected: &[String]) {
        let lines = self.lines(expected.len());
        let lines: Vec<_> = lines.iter().map(|line| without_ports(line)).collect();
        assert_eq!(lines, expected, "what the server prints is not what its header shows");
    }
}

/// The example as `cargo test` has built it, or built now.
fn built(name: &str) -> PathBuf {
    let path = std::env::current_exe().unwrap();
    let target = path.parent().and_then(|deps| deps.parent()).unwrap();
    let example = target.join("examples").join(name);
    if !example.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let build = ["build", "--all-features", "--example", name];
        assert!(Command::new(cargo).args(build).status().unwrap().success());
    }
    example
}

/// Runs a command of a header; one that ends in `&` is left alone.
fn run(command: &str) -> Option<Vec<String>> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stderr(Stdio::null());
    // The way to the example is direct, but for what the header says.
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        shell.env_remove(name).env_remove(name.to_uppercase());
    }
    if command.ends_with('&') || command.ends_with("done") {
        shell.stdout(Stdio::null()).spawn().unwrap().wait().unwrap();
        return None;
    }
    let output = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    Some(output.trim_end().lines().map(|line| line.trim_end().to_owned()).collect())
}

fn has_curl(name: &str) -> bool {
    let found = Command::new("curl").arg("--version").output().is_ok();
    if !found {
        eprintln!("no curl here: the header of the example `{name}` is not compared");
    }
    found
}

/// Plays a header: starts the server with `args`, runs the commands of clients
/// with `replace`d addresses, and compares.
fn play(name: &str, server: &mut Server, shown: &[Shown], replace: &[(&str, &str)]) {
    let [first, clients @ ..] = shown else { panic!("{name}: no command") };
    assert!(first.command.starts_with(&format!("cargo run --example {name}")), "{first:?}");
    for Shown { command, output } in clients {
        let mut replaced = command.clone();
        for (from, to) in replace {
            replaced = replaced.replace(from, to);
        }
        if let Some(printed) = run(&replaced) {
            let without = |lines: &[String]| -> Vec<_> {
                lines.iter().map(|line| without_ports(line)).collect()
            };
            assert_eq!(without(&printed), without(output), "{name}: {command}");
        }
    }
    server.prints(&first.output);
}

macro_rules! headers {
    ($($(#[$gate:meta])* $name:ident: $shown_at:literal,)*) => {
        $(
            $(#[$gate])*
            #[test]
            fn $name() {
                let name = stringify!($name);
                if !has_curl(name) {
                    return;
                }
                let header = shown(include_str!(concat!("../../examples/", stringify!($name), ".rs")));
                let mut server = Server::start(name, &["127.0.0.1:0"]);
                let addr = server.addr(0);
                play(name, &mut server, &header, &[($shown_at, &addr)]);
            }
        )*
    };
}

headers! {
    hello: "localhost:8080",
    tls: "localhost:8443",
    #[cfg(feature = "axum")]
    axum: "localhost:8080",
    #[cfg(feature = "axum")]
    websocket: "localhost:8080",
    #[cfg(feature = "axum")]
    internet: "localhost:8080",
    #[cfg(feature = "serve")]
    graceful: "localhost:8080",
    #[cfg(feature = "serve")]
    limit_per_ip: "localhost:8080",
}

#[cfg(feature = "serve")]
#[test]
fn proxy() {
    if !has_curl("proxy") {
        return;
    }
    let mut hello = Server::start("hello", &["127.0.0.1:0"]);
    let mut server = Server::start("proxy", &["127.0.0.1:0"]);
    let (hello, addr) = (hello.addr(0), server.addr(0));
    let replace = [("localhost:8080", &*addr), ("localhost:8081", &*hello)];
    let header = shown(include_str!("../../examples/proxy.rs"));
    play("proxy", &mut server, &header, &replace);
}

#[cfg(feature = "serve")]
#[test]
fn exit_when_idle() {
    if !has_curl("exit_when_idle") {
        return;
    }
    let header = shown(include_str!("../../examples/exit_when_idle.rs"));
    let mut server = Server::start("exit_when_idle", &["127.0.0.1:0", "5"]);
    let addr = server.addr(0);
    play("exit_when_idle", &mut server, &header, &[("localhost:8080", &addr)]);
}

#[cfg(all(feature = "axum", feature = "metrics"))]
#[test]
fn metrics() {
    if !has_curl("metrics") {
        return;
    }
    let header = shown(include_str!("../../examples/metrics.rs"));
    let mut server = Server::start("metrics", &["127.0.0.1:0", "127.0.0.1:0"]);
    let (addr, exporter) = (server.addr(0), server.addr(1));
    let replace = [("localhost:8080", &*addr), ("localhost:9090", &*exporter)];
    play("metrics", &mut server, &header, &replace);
}

#[cfg(all(feature = "axum", feature = "status"))]
#[test]
fn dashboard() {
    if !has_curl("dashboard") {
        return;
    }
    let header = shown(include_str!("../../examples/dashboard.rs"));
    let quiet = header.iter().position(|shown| shown.command.ends_with(" quiet")).unwrap();
    let mut server = Server::start("dashboard", &["127.0.0.1:0", "quiet"]);
    // It says `localhost`, and listens on 127.0.0.1.
    let addr = server.addr(0).replace("localhost", "127.0.0.1");
    play("dashboard", &mut server, &header[quiet..], &[("localhost:8080", &addr)]);
}
