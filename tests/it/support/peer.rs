//! A client that sends what it is told.

use std::net::SocketAddr;
use std::pin::Pin;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::recorder::Recorder;
use super::server::Kind;

/// A client's stream, whatever it is.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for tokio_rustls::client::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// An HTTP/1 response.
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
}

/// An HTTP/2 frame.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub struct Peer {
    stream: Option<Pin<Box<dyn Stream>>>,
    /// What was read and not yet asked for.
    buffer: Vec<u8>,
    client: String,
    pub kind: Kind,
    pub recorder: Recorder,
}

impl Peer {
    pub fn new(
        stream: impl Stream + 'static,
        client: String,
        kind: Kind,
        recorder: Recorder,
    ) -> Self {
        Self { stream: Some(Box::pin(stream)), buffer: Vec::new(), client, kind, recorder }
    }

    /// Pauses, and checks that exactly these states have been reported since
    /// the last pause.
    #[track_caller]
    pub fn sees<'a>(&'a self, expected: &'a str) -> impl Future<Output = ()> + 'a {
        let location = std::panic::Location::caller();
        async move {
            let context = format!("{location} ({:?})", self.kind);
            self.recorder.sees(&self.client, expected, &context).await;
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.client.parse().unwrap()
    }

    pub fn name(&self) -> &str {
        &self.client
    }

    /// All that has been reported.
    pub fn states(&self) -> Vec<hyper_connstate::ConnState> {
        self.recorder.states(&self.client)
    }

    pub fn conn(&self) -> hyper_connstate::Conn {
        self.recorder.conn(&self.client)
    }

    /// Waits until the server has accepted the connection.
    pub async fn conn_once_there(&self) -> hyper_connstate::Conn {
        while self.recorder.states(&self.client).is_empty() {
            tokio::task::yield_now().await;
        }
        self.conn()
    }

    fn stream(&mut self) -> &mut Pin<Box<dyn Stream>> {
        self.stream.as_mut().expect("the peer has closed its stream")
    }

    /// Gives the stream to a real client.
    pub fn take_stream(&mut self) -> Pin<Box<dyn Stream>> {
        self.stream.take().unwrap()
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).await.unwrap();
        self.stream().flush().await.unwrap();
    }

    /// Sends what a server that has closed already need not take.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream().write_all(bytes.as_ref()).await;
    }

    pub async fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
    }

    /// Reads exactly this many bytes.
    pub async fn read(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.fill_in_no_time().await, "the server closed after {:?}", self.text());
        }
        self.buffer.drain(..length).collect()
    }

    /// Reads what is on its way already. A paused clock goes on when nothing is
    /// left to do, and bytes that loopback is about to carry do not count as
    /// something to do: a server's time-out could run off. So this never lets
    /// the runtime come to rest.
    async fn fill_in_no_time(&mut self) -> bool {
        let paused = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        let mut fill = std::pin::pin!(self.fill());
        std::future::poll_fn(|cx| {
            let poll = fill.as_mut().poll(cx);
            if poll.is_pending() && paused {
                cx.waker().wake_by_ref();
            }
            poll
        })
        .await
    }

    async fn fill(&mut self) -> bool {
        let mut chunk = vec![0; 64 << 10];
        match self.stream().read(&mut chunk).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&chunk[..length]);
                true
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(500)]).into_owned()
    }

    /// Reads up to and with `end`.
    pub async fn read_until(&mut self, end: &str) -> String {
        loop {
            let found = self.buffer.windows(end.len()).position(|part| part == end.as_bytes());
            if let Some(position) = found {
                let part = self.buffer.drain(..position + end.len()).collect();
                return String::from_utf8(part).unwrap();
            }
            assert!(self.fill_in_no_time().await, "the server closed after {:?}", self.text());
        }
    }

    /// Reads a response's head.
    pub async fn head(&mut self) -> String {
        self.read_until("\r\n\r\n").await
    }

    /// Reads a whole HTTP/1 response with `Content-Length` or chunks.
    pub async fn response(&mut self) -> Answer {
        let head = self.head().await;
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = if let Some(length) = length {
            self.read(length.trim().parse().unwrap()).await
        } else if lower.contains("transfer-encoding: chunked") {
            let mut body = Vec::new();
            loop {
                let size = self.read_until("\r\n").await;
                let size = usize::from_str_radix(size.trim(), 16).unwrap();
                if size == 0 {
                    while self.read_until("\r\n").await != "\r\n" {}
                    break body;
                }
                body.extend(self.read(size).await);
                self.read(2).await;
            }
        } else {
            Vec::new()
        };
        Answer { head, body }
    }

    pub async fn frame(&mut self) -> Frame {
        let header = self.read(9).await;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let stream = u32::from_be_bytes(header[5..].try_into().unwrap());
        let payload = self.read(length as usize).await;
        Frame { kind: header[3], flags: header[4], stream, payload }
    }

    /// Reads frames up to one of this kind.
    pub async fn frame_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().await;
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads frames up to a PING, and answers it.
    pub async fn answer_ping(&mut self) {
        let ping = self.frame_of(0x6).await;
        self.send(super::frames::frame(0x6, 0x1, 0, &ping.payload)).await;
    }

    /// Reads frames until one ends this stream: END_STREAM or RST_STREAM.
    pub async fn end_of_stream(&mut self, stream: u32) {
        loop {
            let Frame { kind, flags, stream: of, .. } = self.frame().await;
            if of == stream && (kind == 0x3 || (kind <= 0x1 && flags & 0x1 != 0)) {
                return;
            }
        }
    }

    /// Reads until the server closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// How many bytes the server sends before it closes, where those should
    /// be none; in HTTP/2 a last GOAWAY and the like do not count.
    pub async fn rest_of_frames_or_nothing(&mut self, alpn: &str) -> usize {
        let rest = self.rest().await;
        if alpn == "h2" { 0 } else { rest.len() }
    }

    /// Sends an end of file, and goes on reading.
    pub async fn half_close(&mut self) {
        self.stream().shutdown().await.unwrap();
    }

    /// Closes the connection.
    pub async fn close(&mut self) {
        drop(self.stream.take());
    }

    /// Closes the connection with a TCP reset.
    pub async fn reset(&mut self) {
        let stream = self.stream.take().unwrap();
        SockRef::from(stream.tcp()).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(stream);
    }
}
