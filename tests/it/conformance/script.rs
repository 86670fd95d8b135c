//! Scripts: what a client sends, when it pauses, what it waits for.
//!
//! A script is text. `script NAME PROTOCOL` begins it, comment lines behind
//! that say which rule it is for, and then there is one step a line:
//!
//! ```text
//! script one-get http/1.1
//! # A request on a connection that is kept.
//! get /
//! pause
//! await response 200
//! close
//! pause
//! ```
//!
//! | protocol | what the script's bytes are |
//! |---|---|
//! | `http/1.1` | what is sent over TCP, or inside TLS that has agreed on it |
//! | `h2` | the same |
//! | `beneath-tls` | what is sent over TCP to a server that expects TLS |
//!
//! | step | |
//! |---|---|
//! | `pause` | lets the server do all that it will do without further input |
//! | `half-close`, `close`, `reset` | end of file and go on reading; close; TCP reset |
//! | `release KEY` | lets the handlers of `/wait/KEY` or `/parts/KEY` go on |
//! | `await response [STATUS] [head]` | a whole HTTP/1 response; `head` if it has no body |
//! | `await "BYTES"` | exactly these bytes |
//! | `await eof` | until the server closes |
//! | `await settings`, `await pong`, `await goaway` | such a frame from the server |
//! | `await end STREAM`, `await reset STREAM` | END_STREAM or RST_STREAM, or the latter |
//! | `await data STREAM LENGTH` | this many bytes of the stream so far |
//! | `bytewise SENDING` | each byte in a write of its own |
//! | `streams FROM..TO SENDING` | for each odd number up to `TO`, which stands where the word `N` does; in one write |
//! | anything else | is sent ([`super::sending`]), in one write what a `;` joins |

use super::sending;
use super::words::{Word, words};

/// What is spoken, and beneath what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http1,
    Http2,
    BeneathTls,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// In one write.
    Send(Vec<u8>),
    /// Each byte in a write of its own.
    Bytewise(Vec<u8>),
    Await(Await),
    HalfClose,
    Close,
    Reset,
    Release(String),
    Pause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Await {
    Response { status: Option<u16>, head_only: bool },
    Bytes(Vec<u8>),
    EndOfFile,
    Settings,
    Pong,
    GoAway,
    End(u32),
    Reset(u32),
    Data(u32, usize),
}

#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    pub protocol: Protocol,
    /// Which rule it is for.
    pub rule: String,
    /// The steps as text.
    pub lines: Vec<String>,
    /// The steps up to each pause, without it.
    pub parts: Vec<Vec<Step>>,
}

impl Script {
    /// Changes when a step does, or what it sends.
    pub fn fingerprint(&self) -> String {
        let text = format!("{:?}\n{}", self.protocol, self.lines.join("\n"));
        let sent = self.parts.iter().flatten().filter_map(|step| match step {
            Step::Send(bytes) | Step::Bytewise(bytes) => Some(bytes),
            _ => None,
        });
        // FNV-1a, which stays what it is.
        let bytes = text.as_bytes().iter().chain(sent.flatten());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{hash:016x}")
    }
}

/// Reads a file of scripts.
pub fn parse_all(text: &str) -> Result<Vec<Script>, String> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("script ") {
            blocks.push(vec![line]);
        } else if let Some(block) = blocks.last_mut() {
            block.push(line);
        } else if !line.is_empty() && !line.starts_with('#') {
            return Err(format!("line {}: a step outside of a script: {line}", index + 1));
        }
    }
    blocks.iter().map(|block| parse(block)).collect()
}

fn parse(block: &[&str]) -> Result<Script, String> {
    let (first, rest) = block.split_first().expect("a block has a first line");
    let (name, protocol) = match first.split_whitespace().collect::<Vec<_>>()[..] {
        ["script", name, protocol] => (name, protocol),
        _ => return Err(format!("expected `script NAME PROTOCOL`: {first}")),
    };
    let protocol = match protocol {
        "http/1.1" => Protocol::Http1,
        "h2" => Protocol::Http2,
        "beneath-tls" => Protocol::BeneathTls,
        _ => return Err(format!("{name}: no such protocol: {protocol}")),
    };
    let (comments, lines): (Vec<&str>, Vec<&str>) =
        rest.iter().filter(|line| !line.is_empty()).partition(|line| line.starts_with('#'));
    let mut parts = vec![Vec::new()];
    for line in &lines {
        let step = parse_step(line).map_err(|error| format!("{name}: {line}: {error}"))?;
        if step == Step::Pause {
            parts.push(Vec::new());
        } else {
            parts.last_mut().expect("it begins with one").push(step);
        }
    }
    // What nobody looks at proves nothing.
    if parts.pop().is_none_or(|last| !last.is_empty()) || parts.is_empty() {
        return Err(format!("{name}: a script ends with a pause"));
    }
    Ok(Script {
        name: name.to_owned(),
        protocol,
        rule: comments.iter().map(|line| line[1..].trim()).collect::<Vec<_>>().join(" "),
        lines: lines.iter().map(ToString::to_string).collect(),
        parts,
    })
}

fn parse_step(line: &str) -> Result<Step, String> {
    let words = words(line)?;
    let names: Vec<&str> = words.iter().map(Word::name).collect();
    Ok(match names[..] {
        ["pause"] => Step::Pause,
        ["half-close"] => Step::HalfClose,
        ["close"] => Step::Close,
        ["reset"] => Step::Reset,
        ["release", key] => Step::Release(key.to_owned()),
        ["await", ..] => Step::Await(parse_await(&words[1..])?),
        ["bytewise", ..] => Step::Bytewise(sending::parse(&words[1..])?),
        ["streams", range, ..] => Step::Send(sending::streams(range, &words[2..])?),
        _ => Step::Send(sending::parse(&words)?),
    })
}

fn parse_await(words: &[Word]) -> Result<Await, String> {
    if let [Word::Bytes(bytes)] = words {
        return Ok(Await::Bytes(bytes.clone()));
    }
    let names: Vec<&str> = words.iter().map(Word::name).collect();
    let number = |word: &str| word.parse().map_err(|_| format!("not a number: {word}"));
    Ok(match names[..] {
        ["response", ref rest @ ..] => {
            let head_only = rest.last() == Some(&"head");
            let status = match rest[..rest.len() - usize::from(head_only)] {
                [] => None,
                [status] => Some(status.parse().map_err(|_| format!("not a status: {status}"))?),
                _ => return Err("expected `response [STATUS] [head]`".to_owned()),
            };
            Await::Response { status, head_only }
        }
        ["eof"] => Await::EndOfFile,
        ["settings"] => Await::Settings,
        ["pong"] => Await::Pong,
        ["goaway"] => Await::GoAway,
        ["end", stream] => Await::End(number(stream)?),
        ["reset", stream] => Await::Reset(number(stream)?),
        ["data", stream, length] => Await::Data(number(stream)?, number(length)? as usize),
        _ => return Err("nothing that can be awaited".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse_all(text).unwrap_err()
    }

    #[test]
    fn steps_and_bytes() {
        let text =
            "script a h2\n# Why.\nping; rst 1\npause\nsend \"a\\x00\\r\\n\\\"\" * 2\npause\n";
        let [script] = &parse_all(text).unwrap()[..] else { panic!("one script") };
        assert_eq!((&*script.rule, script.protocol), ("Why.", Protocol::Http2));
        let [first, second] = &script.parts[..] else { panic!("two pauses") };
        let ping = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let reset = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08";
        assert_eq!(*first, [Step::Send([&ping[..], reset].concat())]);
        assert_eq!(*second, [Step::Send(b"a\0\r\n\"a\0\r\n\"".to_vec())]);
    }

    #[test]
    fn a_fingerprint_is_of_the_steps() {
        let of = |text: &str| parse_all(text).unwrap()[0].fingerprint();
        assert_eq!(of("script a h2\nping\npause"), of("script b h2\n# Why.\nping\n\npause\n"));
        assert_ne!(of("script a h2\nping\npause"), of("script a http/1.1\nping\npause"));
        assert_ne!(of("script a h2\nping\npause"), of("script a h2\npause\nping\npause"));
    }

    #[test]
    fn errors_say_where() {
        assert_eq!(error("pause"), "line 1: a step outside of a script: pause");
        assert_eq!(error("script a"), "expected `script NAME PROTOCOL`: script a");
        assert_eq!(error("script a h3"), "a: no such protocol: h3");
        assert_eq!(error("script a h2\nping"), "a: a script ends with a pause");
        assert_eq!(error("script a h2\nfrob\npause"), "a: frob: nothing that can be sent");
        assert_eq!(error("script a h2\nrst x\npause"), "a: rst x: not a number: x");
        assert_eq!(
            error("script a http/1.1\nsend \"x\npause"),
            "a: send \"x: a quotation mark is missing: \"x"
        );
    }
}
