//! Numbers for connections.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that no other connection of this process has, counted from 1 in
/// the order in which connections were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    pub(super) fn next() -> Self {
        // Taken once a connection, never on the way of a request.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// For a number from a log line or an address bar. There need not be such a
/// connection.
impl From<u64> for ConnId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

/// The inverse of [`Display`](fmt::Display).
///
/// ```
/// use hyper_connstate::ConnId;
///
/// let id: ConnId = "17".parse().unwrap();
/// assert_eq!(id.get(), 17);
/// assert!("seventeen".parse::<ConnId>().is_err());
/// ```
impl FromStr for ConnId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
