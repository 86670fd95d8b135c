//! Who may come.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use tokio::sync::Notify;

use super::{Limit, PerIpKey, Policies};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::{Address, diagnostics};

/// How many connections have been let in, and from where.
#[derive(Default)]
pub(crate) struct Limits {
    /// Those that were let in and are not gone.
    admitted: AtomicUsize,
    /// Those that are being told that they are refused.
    pub(super) told: AtomicUsize,
    /// How many there are of each key. Not of connections that came while
    /// nobody asked.
    per_ip: Mutex<HashMap<IpKey, usize>>,
    hasher: RandomState,
    /// Notified when there may be room.
    pub(super) room: Notify,
}

/// Whose a connection is, for the limit on connections of one address: a hash,
/// so that it takes the same place for any address. Zero if nobody has asked.
pub(crate) type IpKey = u64;

/// Of an address that is not limited.
const EXEMPT: IpKey = 1;

/// A place that has been taken, and is free again when this is dropped.
#[must_use]
pub(crate) struct Permit {
    /// `None` once somebody else gives the place back.
    limits: Option<Arc<Limits>>,
    ip: IpKey,
}

impl Limits {
    /// Whether all places have come back.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.admitted.load(Ordering::Acquire) == 0 && self.per_ip().is_empty()
    }

    /// A place, if there is one below the limit.
    pub(super) fn admit(self: &Arc<Self>, most: Option<usize>) -> Option<Permit> {
        let most = most.unwrap_or(usize::MAX);
        let admit = |admitted: usize| (admitted < most).then_some(admitted + 1);
        let admitted = self.admitted.fetch_update(Ordering::AcqRel, Ordering::Acquire, admit);
        admitted.is_ok().then(|| Permit { limits: Some(self.clone()), ip: 0 })
    }

    /// A place for a connection that is there already.
    pub(crate) fn insert(&self) {
        self.admitted.fetch_add(1, Ordering::AcqRel);
    }

    /// A connection is gone that had a place.
    pub(crate) fn remove(&self) {
        self.admitted.fetch_sub(1, Ordering::AcqRel);
        self.room.notify_waiters();
    }

    /// Whose a connection from this address is.
    pub(crate) fn key(&self, policies: &Policies, address: &Address) -> IpKey {
        let Some(ip) = address.ip() else { return EXEMPT };
        let ip = ip.to_canonical();
        let key = match &policies.per_ip_key {
            Some(key) => asked(ip, &**key),
            None => Some(network(ip)),
        };
        key.map_or(EXEMPT, |key| self.hasher.hash_one(key).max(EXEMPT + 1))
    }

    /// One more of this key, if there is one below the limit.
    fn admit_ip(&self, key: IpKey, most: usize) -> bool {
        if key == EXEMPT {
            return true;
        }
        let mut per_ip = self.per_ip();
        let count = per_ip.get(&key).copied().unwrap_or(0);
        let admitted = count < most;
        if admitted {
            per_ip.insert(key, count + 1);
        }
        admitted
    }

    /// One more of this key, of a connection that is there already; unless it
    /// turns out to have a key.
    pub(crate) fn insert_ip(&self, key: IpKey, keys: &AtomicU64) -> bool {
        // Under the lock: nobody sees a key that is not counted yet, and nobody
        // is counted who had one.
        let mut per_ip = self.per_ip();
        let new = keys.compare_exchange(0, key, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if new && key != EXEMPT {
            *per_ip.entry(key).or_default() += 1;
        }
        new
    }

    /// A connection is gone that had this key.
    pub(crate) fn remove_ip(&self, key: IpKey) {
        if key == 0 || key == EXEMPT {
            return;
        }
        let mut per_ip = self.per_ip();
        if let Some(count) = per_ip.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                per_ip.remove(&key);
            }
        }
    }

    fn per_ip(&self) -> MutexGuard<'_, HashMap<IpKey, usize>> {
        self.per_ip.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Takes a place among those of the client's address too.
    pub(super) fn admit_ip(&mut self, policies: &Policies, address: &Address) -> Result<(), Limit> {
        let Some(most) = policies.max_connections_per_ip else { return Ok(()) };
        let Some(limits) = &self.limits else { return Ok(()) };
        let key = limits.key(policies, address);
        if !limits.admit_ip(key, most) {
            return Err(Limit::MaxConnectionsPerIp);
        }
        self.ip = key;
        Ok(())
    }

    /// The connection itself gives its place back from now on.
    pub(crate) fn hand_over(mut self) -> IpKey {
        self.limits = None;
        self.ip
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(limits) = &self.limits else { return };
        limits.remove_ip(self.ip);
        limits.remove();
    }
}

/// What a user's function says of an address.
fn asked(ip: IpAddr, key: &PerIpKey) -> Option<IpAddr> {
    // As for hooks: a panic goes no further, least of all to who accepts.
    catch_unwind(AssertUnwindSafe(|| key(ip))).unwrap_or_else(|panic| {
        let _ = catch_unwind(AssertUnwindSafe(|| diagnostics::per_ip_key_panicked(ip)));
        std::mem::forget(panic);
        None
    })
}

/// The addresses that one client has.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let prefix = u128::from(ip) >> 64 << 64;
            Ipv6Addr::from(prefix).into()
        }
    }
}

/// A client that is being told that it is refused; one of few.
#[derive(Clone)]
pub(crate) struct Telling {
    // Held by the connection's values, which are cloned out.
    _place: Arc<Place>,
}

struct Place(Arc<Limits>);

impl Telling {
    /// `None` if too many are being told already.
    pub(crate) fn begin(limits: &Arc<Limits>, most: usize) -> Option<Self> {
        let tell = |told: usize| (told < most).then_some(told + 1);
        limits.told.fetch_update(Ordering::AcqRel, Ordering::Acquire, tell).ok()?;
        Some(Self { _place: Arc::new(Place(limits.clone())) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.told.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: &str) -> Address {
        std::net::SocketAddr::new(ip.parse().unwrap(), 1234).into()
    }

    #[test]
    fn addresses_of_one_client() {
        let limits = Limits::default();
        let policies = Policies::new();
        let key = |ip| limits.key(&policies, &address(ip));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(limits.key(&policies, &Address::Unknown), EXEMPT);
        let exempt = Policies::new().per_ip_key(|ip| Some(ip).filter(|ip| !ip.is_loopback()));
        assert_eq!(limits.key(&exempt, &address("::ffff:127.0.0.1")), EXEMPT);
        assert!(limits.key(&exempt, &address("192.0.2.1")) > EXEMPT);
    }

    #[test]
    fn places_come_back() {
        let limits = Arc::new(Limits::default());
        let policies = Policies::new().max_connections_per_ip(1);
        let admit = |ip: &str| {
            let mut permit = limits.admit(Some(3)).ok_or(Limit::MaxConnections)?;
            permit.admit_ip(&policies, &address(ip))?;
            Ok(permit)
        };
        let one = admit("192.0.2.1").ok().unwrap();
        assert_eq!(admit("192.0.2.1").err(), Some(Limit::MaxConnectionsPerIp));
        let two = admit("192.0.2.2").ok().unwrap();
        let unlimited = limits.admit(None).unwrap();
        assert_eq!(admit("192.0.2.3").err(), Some(Limit::MaxConnections));
        drop((one, two));
        drop(admit("192.0.2.1").ok().unwrap());
        drop(unlimited);
        assert!(limits.is_empty());
    }
}
