//! What is demanded of one connection.

use std::sync::Arc;

use super::Conn;
use crate::policies::enforcer::Admission;
use crate::policies::limits::Limits;
use crate::sync::atomic::{Ordering, fence};
use crate::tracker::{Fact, Tracker};
use crate::{Policies, Policy};

/// Among the connection's values.
#[derive(Clone)]
struct OwnPolicies(Arc<Policies>);

impl Conn {
    /// Gives this connection policies of its own, in place of those of its
    /// registry: in a handler whose client may be slow, say. Call it at
    /// [`New`](crate::ConnState::New) to make them hold from the beginning.
    ///
    /// They hold until the connection ends or
    /// [`reset_policies`](Self::reset_policies) is called: for later requests too,
    /// for all streams of an HTTP/2 connection, and whatever policies the registry
    /// is given later. If strangers may call a route that allows more than others,
    /// reset them when its request is done.
    ///
    /// Limits on the number of connections have no effect here. Nobody enforces
    /// policies for a connection that is in no registry
    /// ([`Connections::insert`](crate::Connections::insert)). The registry's
    /// time-outs hold until its task looks again, which takes a sixteenth of the
    /// shortest time-out at most.
    ///
    /// ```
    /// # use hyper_connstate::Conn;
    /// // In the handler of an upload that may take its time.
    /// fn allow_slow_upload(conn: &Conn) {
    ///     conn.set_policies(conn.policies().body_timeout(None));
    /// }
    /// ```
    pub fn set_policies(&self, policies: Policies) {
        let policies = Arc::new(policies);
        self.insert(OwnPolicies(policies.clone()));
        self.0.notes.has_policies.store(true, Ordering::Release);
        self.adopt(&policies);
        if let Some(observer) = self.0.observer.get() {
            observer.look_after(self, &policies);
        }
    }

    /// From now on the policies of the registry hold again, as they do for
    /// connections that were given none of their own.
    pub fn reset_policies(&self) {
        self.0.notes.has_policies.store(false, Ordering::Release);
        let _ = self.remove::<OwnPolicies>();
        let Some(observer) = self.0.observer.get() else {
            return self.adopt(&Policies::new());
        };
        loop {
            let policies = observer.policies();
            self.adopt(&policies);
            // Unless others have been set meanwhile.
            if Arc::ptr_eq(&policies, &observer.policies()) {
                return observer.look_after(self, &policies);
            }
        }
    }

    /// The policies of this connection: its own, or those of its registry.
    pub fn policies(&self) -> Policies {
        let own = self.own_policies();
        let policies = own.or_else(|| Some(self.0.observer.get()?.policies()));
        policies.map(Arc::unwrap_or_clone).unwrap_or_default()
    }

    pub(crate) fn own_policies(&self) -> Option<Arc<Policies>> {
        if !self.0.notes.has_policies.load(Ordering::Acquire) {
            return None;
        }
        self.get::<OwnPolicies>().map(|own| own.0)
    }

    /// For the header `Keep-Alive: timeout=`.
    pub(crate) fn keep_alive_seconds(&self) -> Option<u64> {
        match self.own_policies() {
            Some(own) => own.keep_alive_seconds(),
            None => self.0.observer.get()?.keep_alive_seconds(),
        }
    }

    /// Somebody has to know who waits for a body.
    #[cfg(feature = "axum")]
    pub(crate) fn limits_bodies(&self) -> bool {
        let registry = self.0.observer.get().is_some_and(|observer| observer.limits_bodies());
        registry || self.own_policies().is_some_and(|own| own.limits_bodies())
    }

    /// Takes over what is looked at elsewhere than in the policies.
    pub(crate) fn adopt(&self, policies: &Policies) {
        self.set_max_requests(policies.max_requests);
        let said = policies.keep_alive_seconds().is_some();
        if said != self.tracker().says_keep_alive() {
            self.record(Fact::KeepAlive { said });
        }
    }

    /// A policy has run out. Does nothing if the connection is not as it was
    /// `seen`.
    pub(crate) fn expire_if(&self, seen: Tracker, policy: Policy) -> bool {
        let expired = self.apply_if(seen, Fact::Expired(policy.reason()));
        if expired {
            self.told_to_end();
        }
        expired
    }

    /// A policy has run out, whatever the connection is doing.
    pub(crate) fn expire(&self, policy: Policy) {
        self.apply_and_wake(Fact::Expired(policy.reason()));
        self.told_to_end();
    }

    /// Its last request has come.
    #[cold]
    pub(super) fn reached_max_requests(&self) {
        if self.tracker().goes_on() {
            self.expire(Policy::MaxRequests);
            if let Some(observer) = self.0.observer.get() {
                observer.expired(self, Policy::MaxRequests);
            }
        }
    }

    /// It was accepted like this.
    pub(super) fn admit(&self, admission: Admission) {
        match admission {
            Admission::Unlimited => {}
            Admission::Admitted(permit) => {
                self.0.ip_key.store(permit.hand_over(), Ordering::Release);
                self.0.has_place.store(true, Ordering::Release);
            }
            Admission::Refused => {
                self.record(Fact::Refused);
            }
        }
    }

    /// It is in a registry: it has a place there from now on, unless it was
    /// refused.
    pub(crate) fn take_place(&self, limits: &Limits) {
        // One that was let in has its place from before it was here, and is not
        // counted twice for a moment either: somebody else would be refused.
        if self.tracker().is_refused() || self.0.has_place.load(Ordering::Acquire) {
            return;
        }
        // Taken before anybody can see that there is one to be given back.
        limits.insert();
        self.0.has_place.store(true, Ordering::Release);
    }

    /// It counts among those of its client, unless it does already.
    pub(crate) fn count_ip(&self, limits: &Limits, policies: &Policies) {
        if self.tracker().is_refused() || self.0.ip_key.load(Ordering::Acquire) != 0 {
            return;
        }
        let key = limits.key(policies, &self.0.remote_addr);
        if !limits.insert_ip(key, &self.0.ip_key) {
            return;
        }
        // It may have gone in between, and then has not given it back: the fence
        // here and that of its end see to it that one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.is_done() {
            self.leave_ip(limits);
        }
    }

    /// It is gone, and gives its place back; may be called twice.
    pub(crate) fn leave_place(&self, limits: &Limits) {
        self.leave_ip(limits);
        if self.0.has_place.swap(false, Ordering::AcqRel) {
            limits.remove();
        }
    }

    fn leave_ip(&self, limits: &Limits) {
        limits.remove_ip(self.0.ip_key.swap(0, Ordering::AcqRel));
    }
}
