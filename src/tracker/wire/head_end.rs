//! Where the first request's head ends.

/// Looks for the empty line that ends a head (RFC 9112, section 2.1). Lines may
/// end in LF alone, and empty lines before the head are skipped (section 2.2),
/// as in hyper.
#[derive(Debug, Default)]
pub(super) struct HeadEnd {
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeHead,
    InLine,
    LineBegins,
    /// Behind a CR that is the first of its line.
    Return,
    /// It has been found.
    Behind,
}

impl HeadEnd {
    /// Whether the head ends in these bytes, which follow those before. Said
    /// once.
    pub(super) fn is_in(&mut self, bytes: &[u8]) -> bool {
        if self.place == Place::Behind {
            return false;
        }
        for byte in bytes {
            self.place = match (self.place, byte) {
                (Place::BeforeHead, b'\r' | b'\n') => Place::BeforeHead,
                (Place::LineBegins | Place::Return, b'\n') => Place::Behind,
                (Place::LineBegins, b'\r') => Place::Return,
                (_, b'\n') => Place::LineBegins,
                _ => Place::InLine,
            };
            if self.place == Place::Behind {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_end_with_an_empty_line() {
        for (head, ends) in [
            ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", true),
            ("\r\n\r\n\n\nGET / HTTP/1.1\n\nbody", true),
            ("\r\n\r\n\r\n\n\n", false),
            ("GET / HTTP/1.1\r\nhost: x\r\n\r", false),
            ("GET / HTTP/1.1\r\nhost: x\r\n \r\n", false),
        ] {
            assert_eq!(HeadEnd::default().is_in(head.as_bytes()), ends, "{head:?}");
            let mut end = HeadEnd::default();
            let found = head.as_bytes().chunks(1).filter(|byte| end.is_in(byte)).count();
            assert_eq!(found, usize::from(ends), "{head:?} in pieces");
        }
    }
}
