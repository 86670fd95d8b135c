//! What a benchmark prints, and puts into BENCHMARKS.md.

use std::error::Error;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// A part of BENCHMARKS.md that a command writes: it stands between
/// `<!-- name:begin -->` and `<!-- name:end -->`.
pub struct Section {
    name: &'static str,
    text: String,
}

impl Section {
    pub fn new(name: &'static str) -> Self {
        Self { name, text: String::new() }
    }

    /// Prints a line, and keeps it for the document.
    pub fn line(&mut self, line: impl Display) {
        println!("{line}");
        self.text.push_str(&format!("{line}\n"));
    }

    /// A table of which the first column is text and the others are numbers.
    pub fn table_head(&mut self, columns: &[&str]) {
        self.line(format!("| {} |", columns.join(" | ")));
        self.line(format!("|---|{}", "---:|".repeat(columns.len() - 1)));
    }

    pub fn row(&mut self, cells: &[String]) {
        self.line(format!("| {} |", cells.join(" | ")));
    }

    /// Shows a plot of `plots`.
    pub fn plot(&mut self, file: &str, what: &str) {
        self.line(format!("![{what}](benches/plots/{file})\n"));
    }

    /// Puts what was printed into BENCHMARKS.md.
    pub fn write(self) -> Result<(), Box<dyn Error>> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../BENCHMARKS.md");
        let document = std::fs::read_to_string(&path)?;
        let (begin, end) = (marker(self.name, "begin"), marker(self.name, "end"));
        let missing = || format!("BENCHMARKS.md has no {begin} with {end} after it");
        let (before, rest) = document.split_once(&begin).ok_or_else(missing)?;
        let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
        let text = self.text.trim_end();
        std::fs::write(&path, format!("{before}{begin}\n\n{text}\n\n{end}{after}"))?;
        Ok(())
    }
}

fn marker(name: &str, edge: &str) -> String {
    format!("<!-- {name}:{edge} -->")
}

/// A number with its sign, except for what is rounded to zero.
pub fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{value:+.decimals$}");
    let is_zero = text.chars().all(|digit| matches!(digit, '+' | '-' | '0' | '.'));
    if is_zero { text[1..].to_owned() } else { text }
}

/// Where a plot goes.
pub fn plot_path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plots").join(file)
}
