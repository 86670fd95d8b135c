//! Clients that upload.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Writes all of its request, then reads; a write that fails is the end.
    Plain,
    /// As browsers do it: it reads also where it could not write all.
    Reads,
    Hyper,
}

#[derive(Clone, Copy, Debug)]
pub struct Upload {
    pub addr: SocketAddr,
    pub path: &'static str,
    pub size: usize,
    /// Without a length, where it is written by hand.
    pub chunked: bool,
}

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Client {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Reads, Self::Hyper];

    pub fn argument(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Reads => "reads",
            Self::Hyper => "hyper",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "a client that writes all, then reads",
            Self::Reads => "the same, reading also after a failed write",
            Self::Hyper => "hyper's client",
        }
    }

    pub async fn send(self, upload: Upload) -> Result<Answer> {
        match self {
            Self::Plain | Self::Reads => send_by_hand(upload, self == Self::Reads).await,
            Self::Hyper => send_with_hyper(upload).await,
        }
    }
}

/// What a socket takes before the other end has. More than this of an upload
/// would be with the system before the client sees that anything is wrong.
const SEND_BUFFER: u32 = 32 << 10;

async fn send_by_hand(upload: Upload, reads_after_failure: bool) -> Result<Answer> {
    let Upload { addr, path, size, chunked } = upload;
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    let mut stream = socket.connect(addr).await?;
    let framing = if chunked {
        format!("transfer-encoding: chunked\r\n\r\n{size:x}")
    } else {
        format!("content-length: {size}\r\n")
    };
    let head = format!("POST {path} HTTP/1.1\r\nhost: {addr}\r\n{framing}\r\n");
    let end = if chunked { "\r\n0\r\n\r\n" } else { "" };
    let written = write(&mut stream, &head, size, end).await;
    if !reads_after_failure {
        written?;
    }
    read_answer(&mut stream).await
}

async fn write(stream: &mut TcpStream, head: &str, size: usize, end: &str) -> io::Result<()> {
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&vec![b'x'; size]).await?;
    stream.write_all(end.as_bytes()).await
}

async fn read_answer(stream: &mut TcpStream) -> Result<Answer> {
    let mut answer = Vec::new();
    loop {
        if let Some(answer) = parse(&answer)? {
            return Ok(answer);
        }
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("half an answer".into());
        }
    }
}

/// `None` if it is not there to its end.
fn parse(answer: &[u8]) -> Result<Option<Answer>> {
    let Some(end) = answer.windows(4).position(|part| part == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&answer[..end])?.to_ascii_lowercase();
    let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.ok_or("no content-length")?.parse()?;
    let body = &answer[end + 4..];
    Ok((body.len() >= length).then(|| Answer { status, body: body[..length].to_vec() }))
}

async fn send_with_hyper(upload: Upload) -> Result<Answer> {
    let Upload { addr, path, size, .. } = upload;
    let client = Legacy::builder(TokioExecutor::new()).build_http();
    let body = Full::new(Bytes::from(vec![b'x'; size]));
    let request = Request::post(format!("http://{addr}{path}")).body(body)?;
    let response = client.request(request).await?;
    let status = response.status().as_u16();
    Ok(Answer { status, body: response.into_body().collect().await?.to_bytes().to_vec() })
}
