//! Listeners that give one stream and no other.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_connstate::{Accept, Address};

use super::script::Script;

/// Gives one stream, then nothing.
pub struct Once(pub Option<Script>);

impl Accept for Once {
    type Io = Script;
    type Addr = Address;

    async fn accept(&mut self) -> io::Result<(Script, Address)> {
        match self.0.take() {
            Some(script) => Ok((script, Address::Unknown)),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Unknown)
    }
}

pub struct AxumOnce<T>(pub Option<T>);

impl<T> axum::serve::Listener for AxumOnce<T>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    type Io = T;
    type Addr = ();

    async fn accept(&mut self) -> (T, ()) {
        match self.0.take() {
            Some(io) => (io, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream whose end can be waited for.
pub struct Done {
    script: Script,
    _sender: tokio::sync::oneshot::Sender<()>,
}

impl Done {
    pub fn new(script: Script) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        (Self { script, _sender: sender }, async move { drop(receiver.await) })
    }
}

impl tokio::io::AsyncRead for Done {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.script).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Done {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.script).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.script).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.script.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.script).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.script).poll_shutdown(cx)
    }
}
