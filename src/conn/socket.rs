//! The sockets of streams whose kind is known: ending a hijacked connection whose
//! owner does not touch its stream, and how much a socket may hold.

use std::any::Any;
use std::sync::PoisonError;

use super::Conn;
use crate::sync::MutexGuard;
use crate::tracker::Fact;

/// A second descriptor of a connection's socket.
///
/// A hijacked connection's stream belongs to somebody else, who may hold it for
/// hours without touching it; then nothing of this crate's is called. Both
/// sides of a socket can be shut down through any of its descriptors.
pub(crate) struct Socket(#[cfg(unix)] std::net::TcpStream);

impl Socket {
    /// `None` for a stream whose socket is not known, or where the system has
    /// no descriptor left: such a stream ends when it is touched.
    pub(crate) fn of<T: 'static>(stream: &T) -> Option<Self> {
        #[cfg(unix)]
        {
            let socket = descriptor(stream)?.try_clone_to_owned().ok()?;
            // Shut down in the same way, whatever the socket's family.
            Some(Self(socket.into()))
        }
        #[cfg(not(unix))]
        {
            let _ = stream;
            None
        }
    }

    fn shut_down(&self) -> bool {
        #[cfg(unix)]
        {
            self.0.shutdown(std::net::Shutdown::Both).is_ok()
        }
        #[cfg(not(unix))]
        false
    }
}

/// How many bytes the socket of this stream may keep of what it has taken: none,
/// as far as is known, of a stream whose socket is not known.
pub(crate) fn send_buffer<T: 'static>(stream: &T) -> usize {
    #[cfg(unix)]
    {
        let size = |socket| socket2::SockRef::from(&socket).send_buffer_size().ok();
        descriptor(stream).and_then(size).unwrap_or(0)
    }
    #[cfg(not(unix))]
    {
        let _ = stream;
        0
    }
}

#[cfg(unix)]
fn descriptor<T: 'static>(stream: &T) -> Option<std::os::fd::BorrowedFd<'_>> {
    use std::os::fd::AsFd;

    use tokio::net::{TcpStream, UnixStream};

    let stream: &dyn Any = stream;
    if let Some(stream) = stream.downcast_ref::<TcpStream>() {
        return Some(stream.as_fd());
    }
    if let Some(stream) = stream.downcast_ref::<UnixStream>() {
        return Some(stream.as_fd());
    }
    #[cfg(feature = "tls")]
    {
        use tokio_rustls::server::TlsStream;

        if let Some(stream) = stream.downcast_ref::<TlsStream<TcpStream>>() {
            return Some(stream.get_ref().0.as_fd());
        }
        if let Some(stream) = stream.downcast_ref::<TlsStream<UnixStream>>() {
            return Some(stream.get_ref().0.as_fd());
        }
    }
    None
}

impl Conn {
    /// The connection was hijacked: keeps its socket, to be able to end it.
    pub(crate) fn keep_socket(&self, socket: Option<Socket>) {
        *self.socket() = socket;
        if self.closing().is_some() {
            if self.shut_down_socket() {
                self.record(Fact::Dropped);
            }
        } else if self.is_done() {
            self.release_socket();
        }
    }

    /// Ends a hijacked connection now. Returns whether it could.
    pub(super) fn shut_down_socket(&self) -> bool {
        self.socket().take().is_some_and(|socket| socket.shut_down())
    }

    pub(super) fn release_socket(&self) {
        let socket = self.socket().take();
        drop(socket);
    }

    fn socket(&self) -> MutexGuard<'_, Option<Socket>> {
        self.0.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
