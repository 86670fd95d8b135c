//! Sockets without Nagle's algorithm.

use std::io;
use std::net::SocketAddr;

use hyper_connstate::Accept;
use tokio::net::{TcpListener, TcpStream};

/// A listener whose sockets send what they are given at once, as Go's do.
pub struct NoDelay(pub TcpListener);

impl Accept for NoDelay {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (io, addr) = self.0.accept().await?;
        io.set_nodelay(true)?;
        Ok((io, addr))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl axum::serve::Listener for NoDelay {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if let Ok(accepted) = Accept::accept(self).await {
                return accepted;
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
