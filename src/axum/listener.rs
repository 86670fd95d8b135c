//! The instrumented listener in `axum::serve`.

use std::io;

use axum::serve::{Listener, TapIo};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::listener::Accepted;
use crate::listener::accept_errors::accept_past_errors;
use crate::{Accept, Address, ConnIo, InstrumentedListener};

/// Accept errors are handled as in [`serve`](fn@crate::serve) where they pass;
/// after one that may not, it waits for a second, as axum does for its own
/// listeners, since there is no way to return it.
impl<L> Listener for InstrumentedListener<L>
where
    L: Accept + Send + 'static,
    L::Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    L::Addr: Clone + Send,
{
    type Io = ConnIo<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Accepted { stream, remote_addr, place } = accept_past_errors(self).await;
            if let Some(handshake) = self.register(stream, remote_addr.clone().into(), place) {
                return (handshake.into_io(), remote_addr);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Self::local_addr(self)
    }
}

/// Any listener that axum can serve, to be instrumented:
/// `instrument_listener(AxumListener(listener), hook)`.
///
/// Not needed for tokio's listeners. axum's listeners retry their own errors.
#[derive(Clone, Copy, Debug)]
pub struct AxumListener<L>(pub L);

impl<L> Accept for AxumListener<L>
where
    L: Listener<Addr: Into<Address>>,
{
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> io::Result<(Self::Io, Self::Addr)> {
        Ok(self.0.accept().await)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// So that a stream's options can be set before it is instrumented:
/// `instrument_listener(listener.tap_io(|tcp| …), hook)`.
impl<L, F> Accept for TapIo<L, F>
where
    L: Listener<Addr: Into<Address>>,
    F: FnMut(&mut L::Io) + Send + 'static,
{
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> io::Result<(Self::Io, Self::Addr)> {
        Ok(Listener::accept(self).await)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Listener::local_addr(self)
    }
}
