//! The client's end of one connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::support::frames::{self, Frames};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost:8080\r\n\r\n";
const BODY: &[u8] = b"Hello, World!";

pub enum Client {
    Http1 {
        stream: DuplexStream,
        /// How long an answer is.
        answer: usize,
    },
    Http2 {
        stream: DuplexStream,
        frames: Frames,
        next_stream: u32,
    },
}

impl Client {
    /// A connection that has been served a request.
    pub async fn connect(protocol: Protocol, mut stream: DuplexStream) -> Self {
        match protocol {
            Protocol::Http1 => {
                stream.write_all(REQUEST).await.expect("a request");
                let mut answer = [0; 256];
                let mut length = 0;
                while !answer[..length].ends_with(BODY) {
                    length += stream.read(&mut answer[length..]).await.expect("an answer");
                }
                Self::Http1 { stream, answer: length }
            }
            Protocol::Http2 => {
                stream.write_all(frames::PREFACE).await.expect("a preface");
                stream.write_all(&frames::SETTINGS).await.expect("settings");
                let mut client = Self::Http2 { stream, frames: Frames::default(), next_stream: 1 };
                client.request().await;
                if let Self::Http2 { stream, .. } = &mut client {
                    stream.write_all(&frames::SETTINGS_ACK).await.expect("an acknowledgement");
                }
                client
            }
        }
    }

    pub async fn request(&mut self) {
        match self {
            Self::Http1 { stream, answer } => {
                stream.write_all(REQUEST).await.expect("a request");
                let mut buf = [0; 256];
                stream.read_exact(&mut buf[..*answer]).await.expect("an answer");
            }
            Self::Http2 { stream, frames, next_stream } => {
                let mut request = Vec::with_capacity(64);
                frames::get(&mut request, *next_stream);
                frames::window_update(&mut request, BODY.len() as u32);
                *next_stream += 2;
                stream.write_all(&request).await.expect("a request");
                let mut ended = false;
                while !ended {
                    let mut buf = [0; 256];
                    let length = stream.read(&mut buf).await.expect("an answer");
                    assert!(length > 0, "the server has closed the connection");
                    frames.read(&buf[..length], |frame| ended |= frame.ends_stream());
                }
            }
        }
    }
}
