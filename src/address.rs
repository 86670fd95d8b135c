//! Addresses of a connection's two ends.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::sync::Arc;

/// The address of one end of a connection.
///
/// [`Display`](fmt::Display) prints what Go's `net.Addr` prints:
/// `127.0.0.1:39778`, `[::1]:39778`, a Unix socket's path, `@name` for an
/// abstract Unix socket and `@` for an unnamed one. An unknown address prints
/// as `unknown`.
///
/// ```
/// use hyper_connstate::Address;
/// use std::net::SocketAddr;
///
/// let address = Address::from("127.0.0.1:39778".parse::<SocketAddr>().unwrap());
/// assert_eq!(address.to_string(), "127.0.0.1:39778");
/// assert!(address.ip().unwrap().is_loopback());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a TCP port.
    Ip(SocketAddr),
    /// A Unix domain socket's address.
    #[cfg(unix)]
    Unix(Arc<std::os::unix::net::SocketAddr>),
    /// The stream has no address, or none was given.
    Unknown,
}

impl Address {
    /// The IP address and port, where the connection has them.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            _ => None,
        }
    }

    /// The IP address, where the connection has one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_addr().map(|address| address.ip())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::SocketAddr> for Address {
    fn from(address: std::os::unix::net::SocketAddr) -> Self {
        Self::Unix(Arc::new(address))
    }
}

#[cfg(unix)]
impl From<tokio::net::unix::SocketAddr> for Address {
    fn from(address: tokio::net::unix::SocketAddr) -> Self {
        Self::from(std::os::unix::net::SocketAddr::from(address))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => fmt::Display::fmt(address, f),
            #[cfg(unix)]
            Self::Unix(address) => fmt_unix(address, f),
            Self::Unknown => f.pad("unknown"),
        }
    }
}

#[cfg(unix)]
fn fmt_unix(address: &std::os::unix::net::SocketAddr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(path) = address.as_pathname() {
        return fmt::Display::fmt(&path.display(), f);
    }
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        if let Some(name) = address.as_abstract_name() {
            return write!(f, "@{}", String::from_utf8_lossy(name));
        }
    }
    f.pad("@")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_in_go() {
        let ip = |text: &str| Address::from(text.parse::<SocketAddr>().unwrap()).to_string();
        assert_eq!(ip("127.0.0.1:39778"), "127.0.0.1:39778");
        assert_eq!(ip("[::1]:59202"), "[::1]:59202");
        assert_eq!(Address::Unknown.to_string(), "unknown");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn unix_addresses_print_as_in_go() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::SocketAddr;

        let print = |address: SocketAddr| Address::from(address).to_string();
        assert_eq!(print(SocketAddr::from_pathname("/tmp/x").unwrap()), "/tmp/x");
        assert_eq!(print(SocketAddr::from_abstract_name("abc").unwrap()), "@abc");
        assert_eq!(print(SocketAddr::from_pathname("").unwrap()), "@");
    }
}
