//! Random scripts: valid, and such that their outcome does not depend on who
//! is quicker.
//!
//! The seeds are fixed, and so the scripts are always the same. A change here
//! that changes them makes it necessary to record anew.

mod http1;
mod http2;

use std::fmt::{Display, Write};

use super::script::{Script, parse_all};

const HTTP1: u64 = 300;
const HTTP2: u64 = 250;

pub fn scripts() -> Vec<Script> {
    let http1 = (0..HTTP1).map(|seed| ("http/1.1", format!("random-{seed:03}"), seed));
    let http2 = (0..HTTP2).map(|seed| ("h2", format!("h2-random-{seed:03}"), seed));
    let mut text = String::new();
    for (protocol, name, seed) in http1.chain(http2) {
        let mut writer = Writer::new(&name, seed);
        match protocol {
            "h2" => http2::write(&mut writer),
            _ => http1::write(&mut writer),
        }
        writeln!(text, "script {name} {protocol}\n# Seed {seed}.\n{}", writer.text).unwrap();
    }
    parse_all(&text).unwrap_or_else(|error| panic!("generated: {error}"))
}

/// Writes a script, and throws the dice for it.
struct Writer {
    name: String,
    text: String,
    random: u64,
    keys: usize,
}

impl Writer {
    fn new(name: &str, seed: u64) -> Self {
        Self { name: name.to_owned(), text: String::new(), random: seed, keys: 0 }
    }

    fn step(&mut self, step: impl Display) {
        writeln!(self.text, "{step}").unwrap();
    }

    fn pause(&mut self) {
        // Two in a row show nothing that one does not.
        if !self.text.ends_with("pause\n") {
            self.step("pause");
        }
    }

    /// A key of its own for a handler that waits.
    fn key(&mut self) -> String {
        self.keys += 1;
        format!("{}-{}", self.name, self.keys)
    }

    /// One of `0..count` (SplitMix64).
    fn below(&mut self, count: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % count as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}
