//! Where the numbers come from: the machine, and what was measured on it.

use std::process::Command;

/// `Intel Xeon, 2 cores, x86_64, Linux 6.1`.
pub fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("a processor unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let plural = if cores == 1 { "" } else { "s" };
    let system = nix::sys::utsname::uname().map_or("a system unknown".to_owned(), |name| {
        format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
    });
    format!("{model}, {cores} core{plural}, {}, {system}", std::env::consts::ARCH)
}

/// The compiler, the commit and the crates.
pub fn versions() -> String {
    let mut versions = vec![rustc()];
    for name in ["hyper", "hyper-util", "h2", "tokio", "axum"] {
        versions.push(format!("{name} {}", locked(name)));
    }
    if let Some(commit) = commit() {
        versions.push(commit);
    }
    versions.join(", ")
}

fn rustc() -> String {
    let version = output("rustc", &["--version"]);
    let version = version.as_deref().and_then(|text| text.split(" (").next());
    version.unwrap_or("rustc unknown").to_owned()
}

fn commit() -> Option<String> {
    let commit = output("git", &["rev-parse", "--short=10", "HEAD"])?;
    let changed = output("git", &["status", "--porcelain", "--", "../src"])?;
    let changed = if changed.is_empty() { "" } else { " with changes" };
    Some(format!("hyper-connstate at {commit}{changed}"))
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let directory = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(program).args(args).current_dir(directory).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// The version of a crate that the benchmarks were built with.
fn locked(name: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let package = format!("name = \"{name}\"\nversion = \"");
    let version = lock.split_once(&package).and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("unknown")
}
