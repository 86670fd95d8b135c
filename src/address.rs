//! Addresses of a connection's two ends.

use std::fmt;
use std::hash::{Hash, Hasher};
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
///
/// Two addresses are equal if they print the same: unnamed Unix sockets are
/// all one address.
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

/// What two addresses are compared by.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Ip(SocketAddr),
    #[cfg(unix)]
    Path(&'a std::path::Path),
    #[cfg(unix)]
    Abstract(&'a [u8]),
    #[cfg(unix)]
    Unnamed,
    Unknown(std::marker::PhantomData<&'a ()>),
}

impl Address {
    fn key(&self) -> Key<'_> {
        match self {
            Self::Ip(address) => Key::Ip(*address),
            #[cfg(unix)]
            Self::Unix(address) => match (address.as_pathname(), abstract_name(address)) {
                (Some(path), _) => Key::Path(path),
                (None, Some(name)) => Key::Abstract(name),
                (None, None) => Key::Unnamed,
            },
            Self::Unknown => Key::Unknown(std::marker::PhantomData),
        }
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.key().hash(hasher);
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
    if let Some(name) = abstract_name(address) {
        return write!(f, "@{}", String::from_utf8_lossy(name));
    }
    f.pad("@")
}

#[cfg(unix)]
fn abstract_name(address: &std::os::unix::net::SocketAddr) -> Option<&[u8]> {
    #[cfg(target_os = "linux")]
    return std::os::linux::net::SocketAddrExt::as_abstract_name(address);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = address;
        None
    }
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

    #[test]
    fn addresses_are_compared_by_what_they_say() {
        use std::collections::HashSet;

        let ip = |text: &str| Address::from(text.parse::<SocketAddr>().unwrap());
        let addresses = [ip("127.0.0.1:1"), ip("127.0.0.1:1"), ip("[::1]:1"), Address::Unknown];
        assert_eq!(addresses.into_iter().collect::<HashSet<_>>().len(), 3);
        #[cfg(unix)]
        {
            let path = |path: &str| {
                Address::from(std::os::unix::net::SocketAddr::from_pathname(path).unwrap())
            };
            assert_eq!(path("/tmp/x"), path("/tmp/x"));
            assert_ne!(path("/tmp/x"), path("/tmp/y"));
            assert_eq!(path(""), path(""));
            assert_ne!(path(""), Address::Unknown);
        }
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
