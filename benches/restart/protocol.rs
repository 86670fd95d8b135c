//! Protocols, and what carries them.

use crate::choice::Choice;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http1,
    Http2,
}

impl Choice for Protocol {
    const ALL: &'static [Self] = &[Self::Http1, Self::Http2];

    fn argument(self) -> &'static str {
        match self {
            Self::Http1 => "h1",
            Self::Http2 => "h2",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1",
            Self::Http2 => "HTTP/2",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Plain,
    Tls,
}

impl Choice for Transport {
    const ALL: &'static [Self] = &[Self::Plain, Self::Tls];

    fn argument(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "in the clear",
            Self::Tls => "over TLS",
        }
    }
}
