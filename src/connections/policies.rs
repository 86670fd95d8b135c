//! What is demanded of the connections of a registry.

use std::sync::Arc;

use super::Connections;
use crate::policies::enforcer::Enforcer;
use crate::{Limit, Policies, Policy};

impl Connections {
    /// Demands this of the connections from now on: of those that come, and of
    /// those that are there, but for those that have
    /// [policies of their own](crate::Conn::set_policies).
    ///
    /// A time-out that is set shorter holds for what began before. A limit that
    /// is lowered closes nothing.
    pub fn set_policies(&self, policies: Policies) {
        let policies = self.0.enforcer.set_policies(policies);
        // Either they see the new policies when they come, or are seen here.
        for conn in self {
            self.0.demand(&conn, &policies);
        }
        self.0.run_enforcer(&policies);
    }

    /// What is demanded of the connections.
    pub fn policies(&self) -> Policies {
        Arc::unwrap_or_clone(self.0.enforcer.policies())
    }

    /// How many connections have failed this policy so far.
    pub fn expired(&self, policy: Policy) -> u64 {
        self.0.enforcer.expired(policy)
    }

    /// How many connections have been refused for this limit so far.
    pub fn refused(&self, limit: Limit) -> u64 {
        self.0.enforcer.refused(limit)
    }

    /// Whom those ask who let connections in.
    pub(crate) fn enforcer(&self) -> &Enforcer {
        &self.0.enforcer
    }
}
