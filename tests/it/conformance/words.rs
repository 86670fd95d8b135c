//! The words of a script's line.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Name(String),
    /// In quotation marks, with `\r`, `\n`, `\"`, `\\` and `\xHH`.
    Bytes(Vec<u8>),
    /// `;`
    Semicolon,
}

impl Word {
    /// The name, or what no name is equal to.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Bytes(_) => "\"",
            Self::Semicolon => ";",
        }
    }
}

pub fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ';' => {
                words.push(Word::Semicolon);
                1
            }
            '"' => {
                let (bytes, length) = quoted(rest)?;
                words.push(Word::Bytes(bytes));
                length
            }
            _ => {
                let end = rest.find(|char: char| char.is_whitespace() || char == ';');
                let name = &rest[..end.unwrap_or(rest.len())];
                words.push(Word::Name(name.to_owned()));
                name.len()
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(words)
}

/// The bytes of what is quoted at the start of `text`, and how long it is
/// there.
fn quoted(text: &str) -> Result<(Vec<u8>, usize), String> {
    let unknown = || format!("an unknown escape: {text}");
    let mut bytes = Vec::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return Ok((bytes, index + 1)),
            '\\' => match chars.next().ok_or_else(unknown)?.1 {
                'r' => bytes.push(b'\r'),
                'n' => bytes.push(b'\n'),
                escaped @ ('"' | '\\') => bytes.push(escaped as u8),
                'x' => {
                    let digits = text.get(index + 2..index + 4).ok_or_else(unknown)?;
                    bytes.push(u8::from_str_radix(digits, 16).map_err(|_| unknown())?);
                    chars.nth(1);
                }
                _ => return Err(unknown()),
            },
            _ => bytes.extend(char.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Err(format!("a quotation mark is missing: {text}"))
}
