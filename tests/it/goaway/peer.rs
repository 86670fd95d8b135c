//! An HTTP/2 client by hand, over a stream in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_connstate::{Conn, ConnState, Connections, Policies};

use super::stack::Server;
use super::stream::{Room, Shape, Shaped};
use crate::oracles::wire::{Client, wire};
use crate::support::frames::*;
use crate::support::peer::Frame;
use crate::support::start_watchdog;

/// The last stream of a GOAWAY that turns nothing away.
pub const MAX: u32 = (1 << 31) - 1;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;
const ACK: u8 = 0x1;

pub struct Peer {
    pub client: Client,
    /// What the server has sent.
    pub frames: Vec<Frame>,
    /// How much of what was received has been taken for frames.
    parsed: usize,
    pub room: Room,
    pub connections: Connections,
    conn: Arc<Mutex<Option<Conn>>>,
    /// Whether it answers PINGs.
    pub pongs: bool,
    /// By how much it opens a stream's window for each DATA frame.
    pub window: u32,
    /// What it sends when it has been told of the end, before anything else.
    pub last_words: Option<Vec<u8>>,
}

impl Peer {
    pub async fn connect(server: Server, shape: Shape) -> Self {
        Self::connect_with(server, shape, |_, _| {}).await
    }

    /// Of a server with these policies.
    pub async fn connect_under(server: Server, shape: Shape, policies: Policies) -> Self {
        Self::connect_as(server, shape, |_, _| {}, policies).await
    }

    pub async fn connect_with(
        server: Server,
        shape: Shape,
        hook: impl Fn(&Conn, ConnState) + Send + Sync + 'static,
    ) -> Self {
        Self::connect_as(server, shape, hook, Policies::new()).await
    }

    async fn connect_as(
        server: Server,
        shape: Shape,
        hook: impl Fn(&Conn, ConnState) + Send + Sync + 'static,
        policies: Policies,
    ) -> Self {
        start_watchdog();
        let (near, far) = wire();
        let (stream, room) = Shaped::new(near, shape);
        let conn = Arc::<Mutex<Option<Conn>>>::default();
        let connections = server.serve(stream, {
            let known = conn.clone();
            move |conn, state| {
                known.lock().unwrap().get_or_insert_with(|| conn.clone());
                hook(conn, state);
            }
        });
        connections.set_policies(policies);
        let client = Client::new(far, server.is_tls().then_some("h2")).await;
        Self {
            client,
            frames: Vec::new(),
            parsed: 0,
            room,
            connections,
            conn,
            pongs: true,
            window: 0,
            last_words: None,
        }
    }

    pub fn conn(&self) -> Conn {
        self.conn.lock().unwrap().clone().expect("it was accepted")
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.send(bytes.as_ref());
    }

    /// Reads what there is, and says to it what has to be said.
    pub fn react(&mut self) {
        self.client.read(usize::MAX);
        loop {
            let received = &self.client.received[self.parsed..];
            let Some((header, rest)) = received.split_first_chunk::<9>() else { return };
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let Some(payload) = rest.get(..length) else { return };
            let stream = u32::from_be_bytes(header[5..].try_into().unwrap());
            let frame =
                Frame { kind: header[3], flags: header[4], stream, payload: payload.into() };
            self.parsed += 9 + length;
            self.check(&frame);
            self.answer(&frame);
            self.frames.push(frame);
        }
    }

    /// What may not come at all, or not here.
    fn check(&self, frame: &Frame) {
        let Some(before) = self.frames.last() else {
            assert_eq!((frame.kind, frame.flags), (SETTINGS, 0), "SETTINGS come first");
            return;
        };
        let block_is_open =
            matches!(before.kind, HEADERS | CONTINUATION) && before.flags & END_HEADERS == 0;
        assert_eq!(block_is_open, frame.kind == CONTINUATION, "in a header block: {frame:?}");
        assert!(frame.kind <= CONTINUATION, "{frame:?}");
        if frame.kind == GOAWAY {
            let last = self.goaways().last().map_or(MAX, |before| before.0);
            assert!(goaway_of(frame).0 <= last, "{frame:?} after {last}");
        }
    }

    fn answer(&mut self, frame: &Frame) {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => self.send(settings_ack()),
            GOAWAY => {
                if let Some(words) = self.last_words.take() {
                    self.send(words);
                }
            }
            PING if frame.flags & ACK == 0 && self.pongs => {
                self.send(super::super::support::frames::frame(PING, ACK, 0, &frame.payload));
            }
            DATA if self.window > 0 && frame.flags & END_STREAM == 0 => {
                let length = frame.payload.len() as u32;
                self.send(window_update(frame.stream, self.window));
                if length > 0 {
                    self.send(window_update(0, length));
                }
            }
            _ => {}
        }
    }

    /// Lets time go by, and reacts to what comes.
    pub async fn live(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < end && !self.client.ended {
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.react();
        }
    }

    /// Reacts until nothing more comes.
    pub async fn settle(&mut self) {
        loop {
            let received = self.client.received.len();
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.react();
            if self.client.received.len() == received || self.client.ended {
                return;
            }
        }
    }

    /// All GOAWAYs: the last stream, and the error code.
    pub fn goaways(&self) -> Vec<(u32, u32)> {
        self.frames.iter().filter(|frame| frame.kind == GOAWAY).map(goaway_of).collect()
    }

    pub fn is_told(&self) -> bool {
        self.frames.iter().any(|frame| frame.kind == GOAWAY)
    }

    /// The server has answered this one in full.
    pub fn is_answered(&self, stream: u32) -> bool {
        let ends = |frame: &&Frame| {
            assert!(frame.kind != RST_STREAM, "{frame:?}");
            matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0
        };
        self.frames.iter().filter(|frame| frame.stream == stream).any(|frame| ends(&frame))
    }

    /// The bytes of this one's body.
    pub fn body(&self, stream: u32) -> usize {
        let data = |frame: &&Frame| frame.stream == stream && frame.kind == DATA;
        self.frames.iter().filter(data).map(|frame| frame.payload.len()).sum()
    }

    /// Nothing but whole frames was sent, and the end has come.
    #[track_caller]
    pub fn check_end(&self, what: &dyn std::fmt::Debug) {
        assert!(self.client.ended, "{what:?}: no end after {:?}", self.frames.last());
        let rest = &self.client.received[self.parsed..];
        assert!(rest.is_empty(), "{what:?}: half a frame at the end: {rest:?}");
    }

    pub fn last_is_goaway(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.kind == GOAWAY)
    }
}

fn goaway_of(frame: &Frame) -> (u32, u32) {
    let (last, code) = frame.payload.split_at(4);
    (
        u32::from_be_bytes(last.try_into().unwrap()),
        u32::from_be_bytes(code[..4].try_into().unwrap()),
    )
}
