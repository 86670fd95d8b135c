//! Counting a case's instructions: this program runs itself under valgrind.

use std::error::Error;
use std::process::Command;

/// What a case has cost.
pub struct Counted {
    pub instructions: u64,
    /// What the case has printed.
    pub stdout: String,
}

/// valgrind's version, or why nothing can be counted.
pub fn version() -> Result<String, String> {
    let output = Command::new("valgrind").arg("--version").output();
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().replacen('-', " ", 1))
        }
        _ => Err("valgrind is not installed (Debian: `valgrind`)".to_owned()),
    }
}

/// Runs this program with these arguments. With `function`, a pattern of a
/// function's name, only what happens inside that function is counted.
pub fn count(args: &[String], function: Option<&str>) -> Result<Counted, Box<dyn Error>> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    if let Some(function) = function {
        command.arg(format!("--toggle-collect={function}"));
    }
    let output = command.arg(std::env::current_exe()?).args(args).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("the case {args:?} failed:\n{stderr}").into());
    }
    let collected = stderr.lines().find_map(|line| line.split_once("Collected : "));
    let (_, instructions) = collected.ok_or("valgrind has not said what it collected")?;
    Ok(Counted {
        instructions: instructions.trim().parse()?,
        stdout: String::from_utf8(output.stdout)?,
    })
}
