//! What clients send, and what has to be reported whenever they pause.

use crate::support::frames::*;

/// What one client sends. The server does not know how the bytes come.
#[derive(Clone)]
pub struct Conversation {
    pub name: &'static str,
    pub parts: Vec<Part>,
    /// What is reported after the end of file.
    pub end: &'static str,
    pub protocol: Protocol,
    /// Too long to go byte by byte.
    pub large: bool,
}

/// What a client sends before it pauses.
#[derive(Clone)]
pub struct Part {
    pub bytes: Vec<u8>,
    /// What is reported by then. The `*` is for `idle` or `closed`, whichever
    /// the bare server does: where a request's body is left unread, it depends
    /// on how the bytes came; so does `active?`, for what is refused.
    pub states: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Answers are over where those of a client that pauses are.
    Http1,
    /// How many streams have been answered whenever Idle is reported.
    Http2(&'static [usize]),
}

impl Conversation {
    fn http1(name: &'static str, parts: &[(&str, &str)], end: &'static str) -> Self {
        let parts = parts.iter().map(|(bytes, states)| Part {
            bytes: bytes.as_bytes().to_vec(),
            states: (*states).to_owned(),
        });
        Self { name, parts: parts.collect(), end, protocol: Protocol::Http1, large: false }
    }

    fn http2(
        name: &'static str,
        answered_at_idle: &'static [usize],
        parts: &[(Vec<u8>, &str)],
        end: &'static str,
    ) -> Self {
        let parts = parts
            .iter()
            .map(|(bytes, states)| Part { bytes: bytes.clone(), states: (*states).to_owned() });
        let protocol = Protocol::Http2(answered_at_idle);
        Self { name, parts: parts.collect(), end, protocol, large: false }
    }

    fn large(mut self) -> Self {
        self.large = true;
        self
    }

    /// The same without pauses.
    pub fn in_one_go(&self) -> Self {
        let parts = self.parts.iter();
        let bytes = parts.clone().flat_map(|part| part.bytes.clone()).collect();
        let states: Vec<_> = parts.map(|part| part.states.as_str()).collect();
        Self { parts: vec![Part { bytes, states: states.join(" ") }], ..self.clone() }
    }

    /// Where the client's GOAWAY ends, if it sends one.
    pub fn goaway(&self) -> Option<usize> {
        let frame = goaway(0);
        let bytes: Vec<u8> = self.parts.iter().flat_map(|part| part.bytes.clone()).collect();
        let start = bytes.windows(frame.len()).position(|bytes| bytes == frame)?;
        Some(start + frame.len())
    }

    /// How many bytes the client sends.
    pub fn length(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len()).sum()
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const CLOSE: &str = "GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
const POST: &str = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\n";
const CHUNKED: &str = "POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
const EXPECT: &str =
    "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
const UPGRADE: &str =
    "GET /upgrade HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
const NOT_TAKEN: &str =
    "GET /upgrade-ignored HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

fn post(path: &str, length: usize, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// HTTP/1 conversations whose parts can be sent in one go as well.
pub fn http1() -> Vec<Conversation> {
    let served = "active idle";
    let http10 = "GET / HTTP/1.0\r\n\r\n";
    vec![
        Conversation::http1("nothing", &[], "closed"),
        Conversation::http1("GETs", &[(GET, served), (GET, served), (GET, served)], "closed"),
        Conversation::http1("GET, close", &[(GET, served), (CLOSE, "active closed")], ""),
        Conversation::http1("HTTP/1.0", &[(http10, "active closed")], ""),
        Conversation::http1(
            "answers without a body",
            &[
                ("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n", served),
                (&get("/status/204"), served),
                (&get("/status/304"), served),
                (&get("/empty"), served),
            ],
            "closed",
        ),
        Conversation::http1(
            "POSTs",
            &[
                (&format!("{POST}hello"), served),
                (&format!("{CHUNKED}5\r\nhello\r\n3\r\n...\r\n0\r\n\r\n"), served),
                (&format!("{POST}again"), served),
            ],
            "closed",
        ),
        Conversation::http1("chunks", &[(&get("/chunked"), served), (GET, served)], "closed"),
        Conversation::http1("trailers", &[(&get("/trailers"), served), (GET, served)], "closed"),
        Conversation::http1(
            "an upgrade that nobody takes",
            &[(GET, served), (NOT_TAKEN, "active hijacked")],
            "",
        ),
        Conversation::http1("no HTTP", &[("BOGUS REQUEST\r\n\r\n", "active closed")], ""),
        Conversation::http1(
            "no HTTP after a GET",
            &[(GET, served), ("BOGUS REQUEST\r\n\r\n", "active? closed")],
            "",
        ),
        Conversation::http1(
            "no HTTP after two GETs",
            &[(GET, served), (GET, served), ("BOGUS REQUEST\r\n\r\n", "active? closed")],
            "",
        ),
        Conversation::http1("a handler that panics", &[(&get("/panic"), "active closed")], ""),
        Conversation::http1("a body that panics", &[(&get("/panic-late"), "active closed")], ""),
        Conversation::http1("a body that fails", &[(&get("/body-error"), "active closed")], ""),
        Conversation::http1("an answer of 150 kB", &[(&get("/150k"), served)], "closed").large(),
        Conversation::http1(
            "a stream of 3 MB",
            &[(&get("/big-stream"), served), (GET, served)],
            "closed",
        )
        .large(),
    ]
}

/// HTTP/1 conversations that depend on the pauses in them.
pub fn http1_with_pauses() -> Vec<Conversation> {
    let served = "active idle";
    vec![
        Conversation::http1("half a head", &[("GET / HTTP", "active")], "closed"),
        Conversation::http1(
            "a body that comes later",
            &[(POST, "active"), ("he", ""), ("llo", "idle"), (GET, served)],
            "closed",
        ),
        Conversation::http1("half a body", &[(POST, "active"), ("he", "")], "closed"),
        Conversation::http1(
            "a body after the 100",
            &[(EXPECT, "active"), ("hello", "idle"), (GET, served)],
            "closed",
        ),
        Conversation::http1("no answer", &[(GET, served), (&get("/slow"), "active")], "closed"),
        Conversation::http1("half an answer", &[(&get("/stream"), "active")], "closed"),
        Conversation::http1(
            "a body ignored",
            &[(GET, served), (&post("/ignore", 5, "hello"), "active *")],
            "*",
        ),
        Conversation::http1(
            "a body ignored that never comes",
            &[(&post("/ignore", 50, "hello"), "active closed")],
            "",
        ),
        Conversation::http1(
            "a body read in part",
            &[(GET, served), (&post("/read-some", 5, "hello"), "active *")],
            "*",
        ),
        Conversation::http1(
            "an upgrade",
            &[(GET, served), (UPGRADE, "active hijacked"), ("hello", ""), ("again", "")],
            "",
        ),
        Conversation::http1(
            "an upgrade and more behind it",
            &[(&format!("{UPGRADE}hello"), "active hijacked"), ("again", "")],
            "",
        ),
        Conversation::http1(
            "CONNECT",
            &[
                ("CONNECT test:443 HTTP/1.1\r\nhost: test:443\r\n\r\n", "active hijacked"),
                ("through the tunnel", ""),
            ],
            "",
        ),
        Conversation::http1(
            "CONNECT that nobody takes",
            &[("CONNECT nobody:443 HTTP/1.1\r\nhost: nobody:443\r\n\r\n", "active hijacked")],
            "",
        ),
    ]
}

pub fn http2() -> Vec<Conversation> {
    let served = "active idle";
    let trailers = frame(0x1, END_STREAM | END_HEADERS, 1, b"\x00\x01x\x011");
    let [first, second] = [&b"hello"[..], b"again"];
    let reset_at_once = (0..10).flat_map(|index| {
        let stream = 2 * index + 1;
        [headers(stream, "GET", "/slow", END_STREAM), reset(stream)].concat()
    });
    vec![
        Conversation::http2("preface alone", &[0], &[(opening(), served)], "closed"),
        Conversation::http2("half a preface", &[], &[(PREFACE[..20].to_vec(), "active")], "closed"),
        Conversation::http2(
            "streams one by one",
            &[0, 1, 2, 3],
            &[
                (opening(), served),
                ([settings_ack(), headers(1, "GET", "/", END_STREAM)].concat(), served),
                (headers(3, "GET", "/trailers", END_STREAM), served),
                (headers(5, "HEAD", "/empty", END_STREAM), served),
            ],
            "closed",
        ),
        Conversation::http2(
            "preface and request in one go",
            &[0, 1],
            &[(
                [opening(), headers(1, "GET", "/", END_STREAM)].concat(),
                "active idle active idle",
            )],
            "closed",
        ),
        Conversation::http2(
            "overlapping streams",
            &[0, 3],
            &[
                (opening(), served),
                (headers(1, "POST", "/echo", 0), "active"),
                (headers(3, "POST", "/echo", 0), ""),
                ([data(3, first, END_STREAM), headers(5, "GET", "/", END_STREAM)].concat(), ""),
                ([data(1, first, 0), data(1, second, END_STREAM)].concat(), "idle"),
            ],
            "closed",
        ),
        Conversation::http2(
            "trailers of a request",
            &[0, 1],
            &[
                (opening(), served),
                ([headers(1, "POST", "/echo", 0), data(1, first, 0)].concat(), "active"),
                (trailers, "idle"),
            ],
            "closed",
        ),
        Conversation::http2(
            "frames of no request",
            &[0],
            &[(opening(), served), ([ping(), window_update(0, 1 << 20), ping()].concat(), "")],
            "closed",
        ),
        Conversation::http2(
            "a reset",
            &[0, 0, 1],
            &[
                (opening(), served),
                (headers(1, "GET", "/slow", END_STREAM), "active"),
                (reset(1), "idle"),
                (headers(3, "GET", "/", END_STREAM), served),
            ],
            "closed",
        ),
        Conversation::http2(
            "ten streams opened and reset",
            &[0; 11],
            &[(opening(), served), (reset_at_once.collect(), &[served; 10].join(" "))],
            "closed",
        ),
        Conversation::http2(
            "a handler that panics",
            &[0, 1, 2],
            &[
                (opening(), served),
                (headers(1, "GET", "/panic", END_STREAM), served),
                (headers(3, "GET", "/", END_STREAM), served),
            ],
            "closed",
        ),
        Conversation::http2(
            "the client says GOAWAY",
            &[0, 1],
            &[
                (opening(), served),
                (headers(1, "POST", "/echo", 0), "active"),
                (goaway(0), ""),
                (data(1, first, END_STREAM), "idle closed"),
            ],
            "",
        ),
        Conversation::http2(
            "a protocol error with a stream open",
            &[0],
            &[
                (opening(), served),
                (headers(1, "GET", "/slow", END_STREAM), "active"),
                (data(5, first, 0), "closed"),
            ],
            "",
        ),
        Conversation::http2(
            "an answer of 60 kB",
            &[0, 1, 2],
            &[
                (opening(), served),
                (headers(1, "GET", "/60k", END_STREAM), served),
                (headers(3, "GET", "/", END_STREAM), served),
            ],
            "closed",
        )
        .large(),
    ]
}
