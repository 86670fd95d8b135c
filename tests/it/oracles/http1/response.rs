//! What the client has been answered.

/// A response as far as it has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// It ends here.
    Whole { end: usize },
    /// It ends where the connection does.
    UntilClose,
    /// The stream is handed over behind this.
    Tunnel { end: usize },
    /// There is more to come.
    Cut,
    /// This is no response.
    Nonsense,
}

/// All that has been answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    pub parts: Vec<Part>,
    /// How many times a client was told to go on with its body.
    pub continues: usize,
    /// No bytes are left over.
    pub clean: bool,
}

impl Answers {
    /// Reads the answers to requests with these methods. Those of more
    /// requests, if there are, are taken to be for GETs.
    pub fn read(received: &[u8], methods: &[&str]) -> Self {
        let mut answers = Self::default();
        let mut at = 0;
        while at < received.len() {
            let method = methods.get(answers.parts.len()).copied().unwrap_or("GET");
            let rest = &received[at..];
            let Some(head_len) = find(rest, b"\r\n\r\n").map(|position| position + 4) else {
                let start = rest.len().min(5);
                let fine = rest[..start] == b"HTTP/"[..start];
                answers.parts.push(if fine { Part::Cut } else { Part::Nonsense });
                return answers;
            };
            let head = String::from_utf8_lossy(&rest[..head_len]).to_ascii_lowercase();
            let Some(status) = status(&head) else {
                answers.parts.push(Part::Nonsense);
                return answers;
            };
            if status == 100 {
                answers.continues += 1;
                at += head_len;
                continue;
            }
            let start = at + head_len;
            let part = body(received, start, &head, status, method);
            answers.parts.push(part);
            match part {
                Part::Whole { end } => at = end,
                _ => return answers,
            }
        }
        answers.clean = true;
        answers
    }

    /// How many there are from beginning to end.
    pub fn whole(&self, ended: bool) -> usize {
        let whole = |part: &&Part| match part {
            Part::Whole { .. } | Part::Tunnel { .. } => true,
            Part::UntilClose => ended,
            Part::Cut | Part::Nonsense => false,
        };
        self.parts.iter().filter(whole).count()
    }

    /// Where the answer of this number ends.
    pub fn end_of(&self, index: usize) -> Option<usize> {
        match self.parts.get(index)? {
            Part::Whole { end } | Part::Tunnel { end } => Some(*end),
            _ => None,
        }
    }

    pub fn is_tunnel(&self) -> bool {
        matches!(self.parts.last(), Some(Part::Tunnel { .. }))
    }
}

fn status(head: &str) -> Option<u16> {
    let rest = head.strip_prefix("http/1.1 ").or(head.strip_prefix("http/1.0 "))?;
    rest.get(..3)?.parse().ok()
}

fn body(received: &[u8], start: usize, head: &str, status: u16, method: &str) -> Part {
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    if status == 101 || (method == "CONNECT" && (200..300).contains(&status)) {
        return Part::Tunnel { end: start };
    }
    if method == "HEAD" || matches!(status, 204 | 304) {
        return Part::Whole { end: start };
    }
    if value("transfer-encoding: ").is_some_and(|value| value.contains("chunked")) {
        return chunks(received, start);
    }
    match value("content-length: ").map(|value| value.trim().parse::<usize>()) {
        Some(Ok(length)) if start + length <= received.len() => Part::Whole { end: start + length },
        Some(Ok(_)) => Part::Cut,
        Some(Err(_)) => Part::Nonsense,
        None => Part::UntilClose,
    }
}

fn chunks(received: &[u8], start: usize) -> Part {
    let mut at = start;
    loop {
        let Some(line) = find(&received[at..], b"\r\n") else { return Part::Cut };
        let size = std::str::from_utf8(&received[at..at + line]).unwrap_or("none");
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { return Part::Nonsense };
        at += line + 2;
        if size > 0 {
            at += size + 2;
            if at > received.len() {
                return Part::Cut;
            }
            continue;
        }
        // Trailers, up to an empty line.
        loop {
            let Some(line) = find(&received[at..], b"\r\n") else { return Part::Cut };
            at += line + 2;
            if line == 0 {
                return Part::Whole { end: at };
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}
