//! Go's `net/http`, in programs that are built from `benches/go`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A built program, and the version of Go that has built it.
pub struct Go {
    pub program: PathBuf,
    pub version: String,
}

/// Builds a program of `benches/go`, or says why that cannot be done.
pub fn build(name: &str) -> Result<Go, String> {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
    let go = PathBuf::from(run(&mut Command::new(benches.join("../tools/find-go")))?);
    let version = run(Command::new(&go).arg("version"))?;
    let version = version.split_whitespace().nth(2).unwrap_or("go unknown").to_owned();

    let target = benches.join("target/go");
    let program = target.join(name);
    run(Command::new(&go)
        .args(["build", "-o"])
        .arg(&program)
        .arg(format!("./{name}"))
        .current_dir(benches.join("go"))
        .env("GOCACHE", target.join("cache"))
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", ""))?;
    Ok(Go { program, version: version.replacen("go", "Go ", 1) })
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
