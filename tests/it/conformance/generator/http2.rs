//! Random HTTP/2 connections: streams that overlap, and an end.
//!
//! Whether two streams overlap must not depend on who is quicker. A stream
//! ends for certain when it is reset, and at some time before the next pause
//! when it is answered. So another one opens only while one is open for
//! certain, or while there has been none since the last pause.

use super::Writer;

/// An open stream, and how it ends.
enum Open {
    /// With its body.
    Echo(usize),
    /// When its handler is released.
    Waiting(usize, String),
    /// When it is reset.
    Slow(usize),
    /// When the client ends its side.
    Tunnel(usize),
}

impl Open {
    fn id(&self) -> usize {
        match self {
            Self::Echo(id) | Self::Waiting(id, _) | Self::Slow(id) | Self::Tunnel(id) => *id,
        }
    }
}

struct Connection<'a> {
    writer: &'a mut Writer,
    next: usize,
    open: Vec<Open>,
    /// A stream may have ended since the last pause, and may not have.
    ending: bool,
}

pub(super) fn write(writer: &mut Writer) {
    if writer.one_in(3) {
        writer.pause();
    }
    let opening = writer.pick(&["open", "preface; settings 3=50 4=100000; window 0 100000"]);
    let how = if writer.one_in(5) { "bytewise " } else { "" };
    writer.step(format!("{how}{opening}"));
    if writer.one_in(3) {
        writer.step("await settings");
        writer.step("settings-ack");
    }
    writer.pause();
    let steps = 2 + writer.below(8);
    let mut connection = Connection { writer, next: 1, open: Vec::new(), ending: false };
    for _ in 0..steps {
        connection.step();
    }
    connection.end();
}

impl Connection<'_> {
    fn step(&mut self) {
        match self.writer.below(12) {
            0..4 => self.request(),
            4..7 => self.open(),
            7 | 8 => self.finish(),
            9 => self.reset(),
            10 => self.other_frame(),
            _ => self.open_and_reset(),
        }
        if self.writer.one_in(2) {
            self.pause();
        }
    }

    fn pause(&mut self) {
        self.writer.pause();
        self.ending = false;
    }

    /// The number of a stream that may be opened now.
    fn id(&mut self) -> usize {
        if self.open.is_empty() && self.ending {
            self.pause();
        }
        let id = self.next;
        self.next += if self.writer.one_in(8) { 6 } else { 2 };
        id
    }

    /// A request that is answered at once.
    fn request(&mut self) {
        let id = self.id();
        let method = self.writer.pick(&["GET", "GET", "HEAD", "DELETE"]);
        let path = self.writer.pick(&[
            "/",
            "/empty",
            "/chunked",
            "/trailers",
            "/status/204",
            "/status/404",
            "/panic",
        ]);
        let frames = match self.writer.below(7) {
            0 => format!("headers {id} {method} {path} end padded"),
            1 => format!("headers {id} {method} {path} end priority"),
            2 => format!("bytewise headers {id} {method} {path} end"),
            3 => format!(
                "headers {id} {method} {path} end part=..4; continuation {id} {method} {path} part=4.."
            ),
            4 => format!("headers {id} POST /echo; data {id} \"hello\" end"),
            5 => format!("headers {id} POST /ignore; data {id} \"hello\""),
            _ => format!("headers {id} {method} {path} end"),
        };
        self.writer.step(frames);
        if self.writer.one_in(3) {
            self.writer.step(format!("await end {id}"));
        }
        self.ending = true;
    }

    /// A request that stays open.
    fn open(&mut self) {
        let id = self.id();
        match self.writer.below(6) {
            0 | 1 => {
                self.writer.step(format!("headers {id} POST /echo"));
                self.open.push(Open::Echo(id));
            }
            2 | 3 => {
                let key = self.writer.key();
                let path = self.writer.pick(&["wait", "parts"]);
                self.writer.step(format!("headers {id} GET /{path}/{key} end"));
                self.open.push(Open::Waiting(id, key));
            }
            4 => {
                self.writer.step(format!("headers {id} GET /slow end"));
                self.open.push(Open::Slow(id));
            }
            _ => {
                let protocol = self.writer.pick(&["", " protocol=websocket"]);
                self.writer.step(format!("connect {id} test:443{protocol}"));
                self.open.push(Open::Tunnel(id));
            }
        }
    }

    fn take(&mut self) -> Option<Open> {
        if self.open.is_empty() {
            return None;
        }
        let index = self.writer.below(self.open.len());
        Some(self.open.remove(index))
    }

    /// One of the open streams comes to its end.
    fn finish(&mut self) {
        let Some(stream) = self.take() else { return };
        let id = stream.id();
        match stream {
            Open::Echo(_) => {
                if self.writer.one_in(3) {
                    self.writer.step(format!("data {id} \"some\""));
                    self.writer.pause();
                }
                let last = self.writer.pick(&["data ID end", "data ID \"x\" end", "trailers ID"]);
                self.writer.step(last.replace("ID", &id.to_string()));
            }
            Open::Waiting(_, key) => {
                // It overtakes what is on its way to the server.
                self.pause();
                self.writer.step(format!("release {key}"));
            }
            Open::Slow(_) => {
                self.writer.step(format!("rst {id}"));
                return;
            }
            Open::Tunnel(_) => {
                self.writer.step(format!("data {id} \"ping\""));
                self.writer.step(format!("await data {id} 4"));
                self.writer.step(format!("data {id} end"));
            }
        }
        self.ending = true;
    }

    /// One of the open streams is reset. A pause before it makes sure of what
    /// its handler is doing.
    fn reset(&mut self) {
        let Some(stream) = self.take() else { return };
        self.pause();
        self.writer.step(format!("rst {}", stream.id()));
    }

    fn open_and_reset(&mut self) {
        let id = self.id();
        self.writer.step(format!("headers {id} GET /slow end; rst {id}"));
    }

    /// A frame that opens and ends nothing.
    fn other_frame(&mut self) {
        let frame = self.writer.pick(&[
            "ping",
            "settings",
            "settings 4=100000",
            "window 0 1000",
            "priority 999",
            "frame 0xbe 0xff 0 \"unknown\"",
            "ping; settings; window 0 1",
        ]);
        self.writer.step(frame);
    }

    fn end(mut self) {
        match self.writer.below(8) {
            // With what is open.
            0 | 1 => {}
            _ => {
                while !self.open.is_empty() {
                    self.finish();
                }
            }
        }
        self.pause();
        match self.writer.below(6) {
            0 => self.writer.step("reset"),
            1 => self.writer.step("half-close"),
            2 if self.open.is_empty() => self.writer.step("goaway 0"),
            3 => self.writer.step("ping; frame 6 0 0 \"1234\""),
            _ => self.writer.step("close"),
        }
        self.writer.pause();
    }
}
