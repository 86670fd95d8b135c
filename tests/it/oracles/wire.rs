//! Streams in memory, with a limit to what the server can write before the
//! client reads; and a listener that hands them out.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper_connstate::{Accept, Address};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

/// How much the server can write before the client reads.
const ROOM: usize = 64 << 10;

/// A little more than a server waits for its client after its own end.
const LINGER: Duration = Duration::from_millis(600);

/// Waits until nothing is left to do. There is no system in between, and the
/// clock is paused: it goes on when all tasks wait.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// The server's end.
pub struct Near(Arc<Mutex<Pipes>>);

/// The client's end. Dropping it does nothing: see [`Far::close`].
#[derive(Clone)]
pub struct Far(Arc<Mutex<Pipes>>);

#[derive(Default)]
struct Pipes {
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// All that the server has ever written.
    sent: usize,
    /// The client will send no more.
    client_done: bool,
    /// The client reads no more either.
    client_gone: bool,
    /// The server will send no more.
    server_done: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    client: Option<Waker>,
}

pub fn wire() -> (Near, Far) {
    let pipes = Arc::<Mutex<Pipes>>::default();
    (Near(pipes.clone()), Far(pipes))
}

// A test that fails is not to fail again when its streams are dropped.
fn lock(pipes: &Mutex<Pipes>) -> MutexGuard<'_, Pipes> {
    pipes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: &mut Option<Waker>) {
    waker.take().into_iter().for_each(Waker::wake);
}

impl Far {
    /// How many bytes the server has written.
    pub fn sent(&self) -> usize {
        lock(&self.0).sent
    }

    /// Sends no more, and reads no more.
    pub fn close(&self) {
        let mut pipes = lock(&self.0);
        pipes.client_done = true;
        pipes.client_gone = true;
        wake(&mut pipes.reader);
        wake(&mut pipes.writer);
    }
}

impl AsyncRead for Near {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipes = lock(&self.0);
        if pipes.to_server.is_empty() && !pipes.client_done {
            pipes.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        take(&mut pipes.to_server, buf);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Near {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipes = lock(&self.0);
        if pipes.client_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let length = bytes.len().min(ROOM - pipes.to_client.len());
        if length == 0 && !bytes.is_empty() {
            pipes.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipes.to_client.extend(&bytes[..length]);
        pipes.sent += length;
        wake(&mut pipes.client);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipes = lock(&self.0);
        pipes.server_done = true;
        wake(&mut pipes.client);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        let mut pipes = lock(&self.0);
        pipes.server_done = true;
        wake(&mut pipes.client);
    }
}

impl AsyncRead for Far {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipes = lock(&self.0);
        if pipes.to_client.is_empty() && !pipes.server_done {
            pipes.client = Some(cx.waker().clone());
            return Poll::Pending;
        }
        take(&mut pipes.to_client, buf);
        wake(&mut pipes.writer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Far {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipes = lock(&self.0);
        pipes.to_server.extend(bytes);
        wake(&mut pipes.reader);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipes = lock(&self.0);
        pipes.client_done = true;
        wake(&mut pipes.reader);
        Poll::Ready(Ok(()))
    }
}

fn take(from: &mut VecDeque<u8>, buf: &mut ReadBuf<'_>) {
    let length = from.len().min(buf.remaining());
    let (one, two) = from.as_slices();
    let first = &one[..length.min(one.len())];
    buf.put_slice(first);
    buf.put_slice(&two[..length - first.len()]);
    from.drain(..length);
}

/// Hands out what comes through a channel.
pub struct Wires(pub mpsc::UnboundedReceiver<(Near, Address)>);

impl Accept for Wires {
    type Io = Near;
    type Addr = Address;

    async fn accept(&mut self) -> io::Result<(Near, Address)> {
        match self.0.recv().await {
            Some(accepted) => Ok(accepted),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Unknown)
    }
}

fn client_config(alpn: &str) -> Arc<rustls::ClientConfig> {
    let (certificate, _) = crate::support::tls::identity();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.into()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config)
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// The client's end, over TLS.
pub async fn connect(far: Far, alpn: &str) -> tokio_rustls::client::TlsStream<Far> {
    let connector = tokio_rustls::TlsConnector::from(client_config(alpn));
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    connector.connect(name, far).await.unwrap()
}

/// A client that sends and reads without ever waiting.
pub struct Client {
    stream: Pin<Box<dyn Stream>>,
    far: Far,
    pub received: Vec<u8>,
    /// The server has ended the connection.
    pub ended: bool,
}

impl Client {
    /// Over TLS if an ALPN is given.
    pub async fn new(far: Far, alpn: Option<&str>) -> Self {
        let stream: Pin<Box<dyn Stream>> = match alpn {
            None => Box::pin(far.clone()),
            Some(alpn) => Box::pin(connect(far.clone(), alpn).await),
        };
        Self { stream, far, received: Vec::new(), ended: false }
    }

    /// Without TLS, whatever the server speaks.
    pub fn plain(far: Far) -> Self {
        let stream = Box::pin(far.clone());
        Self { stream, far, received: Vec::new(), ended: false }
    }

    /// A server that has gone need not take it.
    pub fn send(&mut self, bytes: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.as_mut().poll_write(&mut cx, rest) {
                Poll::Ready(Ok(length)) => rest = &rest[length..],
                Poll::Ready(Err(_)) => return,
                Poll::Pending => unreachable!("there is room"),
            }
        }
        let _ = self.stream.as_mut().poll_flush(&mut cx);
    }

    /// Reads up to `limit` bytes, of those that are there.
    pub fn read(&mut self, mut limit: usize) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut chunk = [0; 16 << 10];
        let mut any = false;
        while limit > 0 && !self.ended {
            let length = limit.min(chunk.len());
            let mut buf = ReadBuf::new(&mut chunk[..length]);
            match self.stream.as_mut().poll_read(&mut cx, &mut buf) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    limit -= buf.filled().len();
                    any = true;
                    self.received.extend_from_slice(buf.filled());
                }
                Poll::Ready(_) => self.ended = true,
            }
        }
        any
    }

    /// Reads all that there is and all that comes of it.
    pub async fn read_all(&mut self) {
        loop {
            settle().await;
            if !self.read(usize::MAX) {
                return;
            }
        }
    }

    /// Reads all; and if the server has ended the connection, waits until it
    /// has given up waiting for the client to do the same (half a second).
    pub async fn read_to_the_end(&mut self) {
        self.read_all().await;
        if self.ended {
            tokio::time::sleep(LINGER).await;
            settle().await;
        }
    }

    /// How many bytes the server has written, below TLS.
    pub fn sent(&self) -> usize {
        self.far.sent()
    }

    /// Sends an end of file.
    pub fn half_close(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.stream.as_mut().poll_shutdown(&mut cx);
    }

    pub fn close(&mut self) {
        self.far.close();
    }
}
