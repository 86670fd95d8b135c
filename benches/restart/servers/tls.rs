//! TLS under `axum::serve`, which takes listeners and knows nothing of
//! handshakes.
//!
//! Handshakes run side by side, in tasks, and what has completed one waits in
//! a channel for `axum::serve` to take it.
//!
//! When `axum::serve` drops its listener, for a graceful shutdown of its own,
//! connections are lost whose handshake is under way: there is nobody left to
//! give them to. With the instrumented listener, whose server lives on until
//! the drain is over, none is.

use std::io;
use std::net::SocketAddr;

use axum::serve::Listener;
use hyper_connstate::{Accept, ConnIo, InstrumentedListener};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::nodelay::NoDelay;

/// More than there are clients.
const ROOM: usize = 1024;

/// A listener of streams whose handshake is done.
pub struct TlsListener<T> {
    streams: mpsc::Receiver<(T, SocketAddr)>,
    accepting: JoinHandle<()>,
    addr: SocketAddr,
}

impl TlsListener<TlsStream<TcpStream>> {
    /// Over a listener that is not instrumented.
    pub fn plain(mut listener: NoDelay, tls: TlsAcceptor) -> io::Result<Self> {
        let addr = Accept::local_addr(&listener)?;
        Ok(Self::new(addr, |streams| async move {
            loop {
                let (tcp, addr) = Listener::accept(&mut listener).await;
                let (tls, streams) = (tls.clone(), streams.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = tls.accept(tcp).await {
                        // Nobody takes it after the end.
                        let _ = streams.send((stream, addr)).await;
                    }
                });
            }
        }))
    }
}

impl TlsListener<ConnIo<TlsStream<TcpStream>>> {
    /// Over an instrumented listener, which knows of each connection from
    /// before its handshake.
    pub fn instrumented(
        mut listener: InstrumentedListener<NoDelay>,
        tls: TlsAcceptor,
    ) -> io::Result<Self> {
        let addr = Accept::local_addr(listener.get_ref())?;
        Ok(Self::new(addr, |streams| async move {
            while let Ok(handshake) = listener.accept_handshake().await {
                let addr = handshake.conn().remote_addr().socket_addr().unwrap_or(addr);
                let (tls, streams) = (tls.clone(), streams.clone());
                tokio::spawn(async move {
                    if let Ok(io) = handshake.complete(|tcp| tls.accept(tcp)).await {
                        // Nobody takes it after the end.
                        let _ = streams.send((io, addr)).await;
                    }
                });
            }
        }))
    }
}

impl<T: Send + 'static> TlsListener<T> {
    fn new<F>(addr: SocketAddr, accept: impl FnOnce(mpsc::Sender<(T, SocketAddr)>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, streams) = mpsc::channel(ROOM);
        Self { streams, accepting: tokio::spawn(accept(sender)), addr }
    }
}

impl<T> Listener for TlsListener<T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Io = T;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (T, SocketAddr) {
        match self.streams.recv().await {
            Some(accepted) => accepted,
            // The loop has come to an end, and nothing comes any more.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

impl<T> Drop for TlsListener<T> {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
