//! The client: one thread, blocking sockets, always as many requests under way
//! as there is room for. It does as little as possible, so that the server is
//! what limits.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::frames::{self, Frames};

/// A server that takes longer to answer than this has failed.
const PATIENCE: Duration = Duration::from_secs(10);

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nhost: localhost:8080\r\nuser-agent: bench\r\naccept: */*\r\n\r\n";
const BODY: &[u8] = b"Hello, World!";

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1 { connections: usize },
    Http2 { connections: usize, streams: usize },
}

impl Protocol {
    pub fn name(self) -> String {
        match self {
            Self::Http1 { connections } => {
                format!("HTTP/1.1 GET, keep-alive, {connections} connections")
            }
            Self::Http2 { connections, streams } => {
                format!("HTTP/2 GET, {connections} connections with {streams} streams at a time")
            }
        }
    }

    pub fn connect(self, addr: SocketAddr) -> Result<Vec<Connection>> {
        match self {
            Self::Http1 { connections } => {
                (0..connections).map(|_| Http1::connect(addr).map(Connection::Http1)).collect()
            }
            Self::Http2 { connections, streams } => (0..connections)
                .map(|_| Http2::connect(addr, streams).map(Connection::Http2))
                .collect(),
        }
    }
}

pub enum Connection {
    Http1(Http1),
    Http2(Http2),
}

impl Connection {
    /// Sends the next requests.
    pub fn send(&mut self) -> Result {
        match self {
            Self::Http1(connection) => connection.send(),
            Self::Http2(connection) => connection.send(),
        }
    }

    /// Waits until all that was sent is answered. Returns how many answers
    /// that are.
    pub fn receive(&mut self) -> Result<usize> {
        match self {
            Self::Http1(connection) => connection.receive(),
            Self::Http2(connection) => connection.receive(),
        }
    }
}

fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn read<'a>(stream: &mut TcpStream, buf: &'a mut [u8]) -> Result<&'a [u8]> {
    match stream.read(buf) {
        Ok(0) => Err("the server has closed a connection".into()),
        Ok(length) => Ok(&buf[..length]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err("the server has not answered in time".into())
        }
        Err(error) => Err(error.into()),
    }
}

pub struct Http1 {
    stream: TcpStream,
    /// How long an answer is: the first one's length, for all are alike.
    answer: usize,
}

impl Http1 {
    fn connect(addr: SocketAddr) -> Result<Self> {
        let mut connection = Self { stream: connect(addr)?, answer: 0 };
        connection.send()?;
        let mut answer = Vec::new();
        while !answer.ends_with(BODY) {
            answer.extend_from_slice(read(&mut connection.stream, &mut [0; 4096])?);
            if answer.len() > 4096 {
                return Err("an answer is longer than expected".into());
            }
        }
        connection.answer = answer.len();
        Ok(connection)
    }

    fn send(&mut self) -> Result {
        Ok(self.stream.write_all(REQUEST)?)
    }

    fn receive(&mut self) -> Result<usize> {
        let mut buf = [0; 4096];
        let mut length = 0;
        while length < self.answer {
            let bytes = read(&mut self.stream, &mut buf)?;
            if length == 0 && !bytes.starts_with(b"HTTP/1.1 200") {
                return Err("an HTTP/1.1 answer is not what was expected".into());
            }
            length += bytes.len();
        }
        if length > self.answer {
            return Err("an HTTP/1.1 answer is longer than the one before".into());
        }
        Ok(1)
    }
}

pub struct Http2 {
    stream: TcpStream,
    frames: Frames,
    /// Requests that are sent at a time.
    streams: usize,
    next_stream: u32,
    output: Vec<u8>,
}

impl Http2 {
    fn connect(addr: SocketAddr, streams: usize) -> Result<Self> {
        let mut stream = connect(addr)?;
        stream.write_all(&[frames::PREFACE, &frames::SETTINGS].concat())?;
        let mut frames = Frames::default();
        let mut settings = false;
        while !settings {
            let mut buf = [0; 4096];
            let bytes = read(&mut stream, &mut buf)?;
            frames.read(bytes, |frame| settings |= frame.is_settings());
        }
        stream.write_all(&frames::SETTINGS_ACK)?;
        Ok(Self { stream, frames, streams, next_stream: 1, output: Vec::new() })
    }

    fn send(&mut self) -> Result {
        self.output.clear();
        for _ in 0..self.streams {
            frames::get(&mut self.output, self.next_stream);
            self.next_stream = self.next_stream.checked_add(2).ok_or("no stream is left")?;
        }
        // As much room as the answers will take.
        let room = u32::try_from(self.streams * BODY.len())?;
        frames::window_update(&mut self.output, room);
        Ok(self.stream.write_all(&self.output)?)
    }

    fn receive(&mut self) -> Result<usize> {
        let mut buf = [0; 16384];
        let (mut ended, mut bytes_of_body, mut refused) = (0, 0, false);
        while ended < self.streams {
            let bytes = read(&mut self.stream, &mut buf)?;
            self.frames.read(bytes, |frame| {
                ended += usize::from(frame.ends_stream());
                bytes_of_body += if frame.is_data() { frame.length } else { 0 };
                refused |= frame.is_refusal();
            });
            if refused {
                return Err("the server has refused an HTTP/2 stream".into());
            }
        }
        if bytes_of_body != ended * BODY.len() {
            return Err("an HTTP/2 answer is not what was expected".into());
        }
        Ok(ended)
    }
}
