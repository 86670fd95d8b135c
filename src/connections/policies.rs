//! What is demanded of the connections of a registry.

use std::sync::Arc;

use super::Connections;
use crate::policies::enforcer::Enforcer;
use crate::{Limit, Policies, Policy};

impl Connections {
    /// Sets the policies of the connections, from now on: of those that come and
    /// of those that are there, except those that have [policies of their
    /// own](crate::Conn::set_policies).
    ///
    /// A time-out that is shorter now holds for what began before, too. A limit
    /// that is lower now closes nothing.
    pub fn set_policies(&self, policies: Policies) {
        let policies = self.0.enforcer.set_policies(policies);
        // Either they see the new policies when they come, or are seen here.
        for conn in self {
            self.0.demand(&conn);
        }
        self.0.run_enforcer(&policies);
    }

    /// The policies of the connections.
    pub fn policies(&self) -> Policies {
        Arc::unwrap_or_clone(self.0.enforcer.policies())
    }

    /// How many times this policy has run out for a connection.
    pub fn expired(&self, policy: Policy) -> u64 {
        self.0.enforcer.expired(policy)
    }

    /// How many connections this limit has refused.
    pub fn refused(&self, limit: Limit) -> u64 {
        self.0.enforcer.refused(limit)
    }

    /// Whom those ask who let connections in.
    pub(crate) fn enforcer(&self) -> &Enforcer {
        &self.0.enforcer
    }
}

#[cfg(all(test, not(loom_models)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::policies::enforcer::Looks;
    use crate::{Address, ConnIo};

    /// What looking after 100,000 connections takes of a core:
    /// `cargo test --release --lib --all-features looking_after -- --ignored
    /// --nocapture`
    #[test]
    #[ignore = "measures"]
    fn looking_after_a_hundred_thousand_connections() {
        let connections = Connections::new();
        let ios: Vec<_> = (0..100_000)
            .map(|_| {
                let io = ConnIo::new(tokio::io::empty(), Address::Unknown, Address::Unknown, ());
                connections.insert(io.conn());
                io
            })
            .collect();
        let policies = Arc::new(Policies::internet());
        let interval = connections.enforcer().interval(&policies);
        let mut looks = Looks::default();
        // As many as there are until all of them have to be looked at closely.
        let count = Duration::from_secs(10).as_nanos() / interval.as_nanos();
        let start = Instant::now();
        for _ in 0..count {
            looks.look(&*connections.0, &policies);
        }
        let part = start.elapsed().as_secs_f64() / 10.0;
        println!("{:?} in ten seconds: {:.2} % of a core", start.elapsed(), 100.0 * part);
        drop(ios);
    }
}
