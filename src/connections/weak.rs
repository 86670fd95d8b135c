//! A registry that others hold without keeping it.

use std::fmt;
use std::sync::{Arc, Weak};

use super::Connections;
use super::registry::Registry;

/// A handle that does not keep the registry alive: [`Connections::downgrade`].
///
/// For callbacks that are never dropped, such as those of metrics exporters.
#[derive(Clone, Default)]
pub struct WeakConnections(Weak<Registry>);

impl WeakConnections {
    /// The registry, if anything keeps it alive: a [`Connections`], the
    /// listener, or one of the connections.
    pub fn upgrade(&self) -> Option<Connections> {
        self.0.upgrade().map(Connections)
    }
}

impl fmt::Debug for WeakConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(WeakConnections)")
    }
}

impl Connections {
    /// A handle that does not keep the registry alive.
    pub fn downgrade(&self) -> WeakConnections {
        WeakConnections(Arc::downgrade(&self.0))
    }
}
