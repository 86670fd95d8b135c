//! What a script sends, as bytes.
//!
//! | HTTP/1 | |
//! |---|---|
//! | `send "BYTES" [* TIMES]` | as it is |
//! | `get PATH` | a plain GET |
//! | `request METHOD TARGET [1.0] ["FIELD: VALUE"…]` | a head; HTTP/1.1 gets a `Host` |
//! | `chunk "BYTES" [* TIMES]`, `last-chunk` | of a chunked body |
//!
//! | HTTP/2 | |
//! |---|---|
//! | `preface`, `open` | the client's preface; that and empty SETTINGS |
//! | `headers STREAM METHOD PATH OPTION…` | a request; options are `end`, `padded`, `priority`, `part=FROM..TO` (of the header block; what goes on is not END_HEADERS) and `field=value` |
//! | `continuation STREAM METHOD PATH part=FROM..TO` | the rest of such a block |
//! | `connect STREAM AUTHORITY [protocol=NAME]` | CONNECT; extended (RFC 8441) with a protocol |
//! | `trailers STREAM` | HEADERS that end the stream |
//! | `data STREAM ["BYTES" [* TIMES]] [end] [padded]` | |
//! | `rst STREAM`, `priority STREAM`, `ping`, `settings [ID=VALUE…]`, `settings-ack` | |
//! | `window STREAM INCREMENT`, `goaway STREAM` | |
//! | `frame TYPE FLAGS STREAM "PAYLOAD" [* TIMES]` | any other |

use super::words::Word;
use crate::support::frames;

const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// All that is joined by semicolons, one behind the other.
pub fn parse(words: &[Word]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for words in words.split(|word| *word == Word::Semicolon) {
        bytes.extend(one(words)?);
    }
    Ok(bytes)
}

/// The same for all odd numbers of a range, in the place of `N`.
pub fn streams(range: &str, words: &[Word]) -> Result<Vec<u8>, String> {
    let (from, to) = range.split_once("..").ok_or("expected `FROM..TO`")?;
    let mut bytes = Vec::new();
    for stream in (number(from)?..=number(to)?).step_by(2) {
        let words = words.iter().map(|word| match word.name() {
            "N" => Word::Name(stream.to_string()),
            _ => word.clone(),
        });
        bytes.extend(parse(&words.collect::<Vec<_>>())?);
    }
    Ok(bytes)
}

fn one(words: &[Word]) -> Result<Vec<u8>, String> {
    let names: Vec<&str> = words.iter().map(Word::name).collect();
    Ok(match names[..] {
        ["send", ..] => {
            let (bytes, _) = payload(&words[1..])?;
            bytes
        }
        ["get", path] => format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").into(),
        ["request", method, target, ..] => request(method, target, &words[3..])?,
        ["chunk", ..] => {
            let (chunk, _) = payload(&words[1..])?;
            [format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat()
        }
        ["last-chunk"] => b"0\r\n\r\n".to_vec(),

        ["preface"] => frames::PREFACE.to_vec(),
        ["open"] => frames::opening(),
        ["headers", stream, method, path, ref options @ ..] => {
            headers(0x1, number(stream)?, &frames::block(method, path), options)?
        }
        ["continuation", stream, method, path, ref options @ ..] => {
            headers(0x9, number(stream)?, &frames::block(method, path), options)?
        }
        ["connect", stream, authority] => {
            let block = [literal(b"\x02", "CONNECT"), literal(b"\x01", authority)].concat();
            frames::frame(0x1, frames::END_HEADERS, number(stream)?, &block)
        }
        ["connect", stream, authority, protocol] => {
            let protocol = protocol.strip_prefix("protocol=").ok_or("expected `protocol=NAME`")?;
            let mut block = literal(b"\x02", "CONNECT");
            block.extend(literal(b"\x00\x09:protocol", protocol));
            block.push(0x86); // :scheme http
            block.extend(literal(b"\x04", "/tunnel"));
            block.extend(literal(b"\x01", authority));
            frames::frame(0x1, frames::END_HEADERS, number(stream)?, &block)
        }
        ["trailers", stream] => {
            let flags = frames::END_STREAM | frames::END_HEADERS;
            frames::frame(0x1, flags, number(stream)?, &literal(b"\x00\x07x-check", "1"))
        }
        ["data", stream, ..] => data(number(stream)?, &words[2..])?,
        ["rst", stream] => frames::reset(number(stream)?),
        ["priority", stream] => frames::priority(number(stream)?),
        ["ping"] => frames::ping(),
        ["settings", ref values @ ..] => settings(values)?,
        ["settings-ack"] => frames::settings_ack(),
        ["window", stream, increment] => frames::window_update(number(stream)?, number(increment)?),
        ["goaway", stream] => frames::goaway(number(stream)?),
        ["frame", kind, flags, stream, ..] => {
            let (payload, _) = payload(&words[4..])?;
            frames::frame(number(kind)? as u8, number(flags)? as u8, number(stream)?, &payload)
        }
        _ => return Err("nothing that can be sent".to_owned()),
    })
}

fn number(word: &str) -> Result<u32, String> {
    let number = match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => word.parse(),
    };
    number.map_err(|_| format!("not a number: {word}"))
}

/// `"BYTES" [* TIMES]`, and what is behind it.
fn payload(words: &[Word]) -> Result<(Vec<u8>, &[Word]), String> {
    match words {
        [Word::Bytes(bytes), times, count, rest @ ..] if times.name() == "*" => {
            Ok((bytes.repeat(number(count.name())? as usize), rest))
        }
        [Word::Bytes(bytes), rest @ ..] => Ok((bytes.clone(), rest)),
        _ => Err("expected a text in quotation marks".to_owned()),
    }
}

fn request(method: &str, target: &str, rest: &[Word]) -> Result<Vec<u8>, String> {
    let old = rest.first().is_some_and(|word| word.name() == "1.0");
    let mut head = if old {
        format!("{method} {target} HTTP/1.0\r\n")
    } else {
        format!("{method} {target} HTTP/1.1\r\nHost: test\r\n")
    }
    .into_bytes();
    for field in &rest[usize::from(old)..] {
        let Word::Bytes(field) = field else {
            return Err(format!("expected a header field: {}", field.name()));
        };
        head.extend(field);
        head.extend(b"\r\n");
    }
    head.extend(b"\r\n");
    Ok(head)
}

/// A header field without indexing, whose name is encoded already.
fn literal(name: &[u8], value: &str) -> Vec<u8> {
    [name, &[value.len() as u8], value.as_bytes()].concat()
}

/// HEADERS or CONTINUATION.
fn headers(kind: u8, stream: u32, block: &[u8], options: &[&str]) -> Result<Vec<u8>, String> {
    let mut block = block.to_vec();
    let mut flags = frames::END_HEADERS;
    let mut part = None;
    for option in options {
        match option.split_once('=') {
            None if *option == "end" => flags |= frames::END_STREAM,
            None if *option == "padded" => flags |= PADDED,
            None if *option == "priority" => flags |= PRIORITY,
            Some(("part", range)) => {
                let (from, to) = range.split_once("..").ok_or("expected `part=FROM..TO`")?;
                part = Some((from, to));
            }
            Some((name, value)) => {
                block.extend([0, name.len() as u8]);
                block.extend(literal(name.as_bytes(), value));
            }
            None => return Err(format!("an unknown option: {option}")),
        }
    }
    if let Some((from, to)) = part {
        let from = if from.is_empty() { 0 } else { number(from)? as usize };
        let to = if to.is_empty() { block.len() } else { number(to)? as usize };
        if to < block.len() {
            flags &= !frames::END_HEADERS;
        }
        block = block.get(from..to).ok_or("the header block has no such part")?.to_vec();
    }
    if flags & PRIORITY != 0 {
        block.splice(0..0, [0, 0, 0, 0, 16]);
    }
    Ok(frames::frame(kind, flags, stream, &padded(flags, block)))
}

fn data(stream: u32, words: &[Word]) -> Result<Vec<u8>, String> {
    let (payload, options) = match words.first() {
        Some(Word::Bytes(_)) => payload(words)?,
        _ => (Vec::new(), words),
    };
    let mut flags = 0;
    for option in options {
        flags |= match option.name() {
            "end" => frames::END_STREAM,
            "padded" => PADDED,
            option => return Err(format!("an unknown option: {option}")),
        };
    }
    Ok(frames::data(stream, &padded(flags, payload), flags))
}

const PADDING: u8 = 7;

fn padded(flags: u8, mut payload: Vec<u8>) -> Vec<u8> {
    if flags & PADDED != 0 {
        payload.insert(0, PADDING);
        payload.extend([0; PADDING as usize]);
    }
    payload
}

fn settings(values: &[&str]) -> Result<Vec<u8>, String> {
    let mut payload = Vec::new();
    for value in values {
        let (id, value) = value.split_once('=').ok_or("expected `ID=VALUE`")?;
        payload.extend((number(id)? as u16).to_be_bytes());
        payload.extend(number(value)?.to_be_bytes());
    }
    Ok(frames::frame(0x4, 0, 0, &payload))
}
