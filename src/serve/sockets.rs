//! Options of the sockets that are accepted.

use std::any::Any;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Those of TCP; sockets of other kinds are left alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketOptions {
    pub(super) nodelay: bool,
    pub(super) keepalive: Option<Duration>,
}

impl Default for SocketOptions {
    /// As in Go's net package.
    fn default() -> Self {
        Self { nodelay: true, keepalive: Some(Duration::from_secs(15)) }
    }
}

impl SocketOptions {
    /// A socket that refuses an option works without it.
    pub(super) fn set<S: 'static>(&self, stream: &S) {
        let stream: &dyn Any = stream;
        let Some(stream) = stream.downcast_ref::<TcpStream>() else { return };
        if self.nodelay {
            let _ = stream.set_nodelay(true);
        }
        if let Some(interval) = self.keepalive {
            let keepalive = TcpKeepalive::new().with_time(interval).with_interval(interval);
            let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
        }
    }
}
