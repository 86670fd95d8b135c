//! Values of a user's own: Go's `ConnContext`.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use super::Conn;
use crate::sync::{Mutex, MutexGuard};

/// One value of each type, until the connection ends.
///
/// No code of a user's runs under the lock: a value's clone or drop may ask its
/// own connection.
#[derive(Default)]
pub(super) struct Values(Mutex<Slots>);

type ByType = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

#[derive(Default)]
struct Slots {
    // Boxed: most connections have none, and a map takes 48 bytes.
    #[allow(clippy::box_collection)]
    by_type: Option<Box<ByType>>,
    ended: bool,
}

impl Conn {
    /// Keeps a value with the connection, and returns the value of this type
    /// that it replaces.
    ///
    /// Values are dropped when the connection is gone and its end has been
    /// reported (a hijacked one, when its stream is gone). So a value may hold
    /// its own `Conn`. After that nothing is kept.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
        let mut slots = self.slots();
        if slots.ended {
            drop(slots);
            return None;
        }
        let previous = slots.by_type.get_or_insert_default().insert(TypeId::of::<T>(), value);
        drop(slots);
        previous.and_then(into_inner)
    }

    /// A clone of the value of this type.
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let value = self.slots().by_type.as_ref()?.get(&TypeId::of::<T>())?.clone();
        value.downcast_ref::<T>().cloned()
    }

    /// Takes the value of this type away.
    pub fn remove<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let value = self.slots().by_type.as_mut()?.remove(&TypeId::of::<T>());
        value.and_then(into_inner)
    }

    /// The connection has ended.
    pub(super) fn clear_values(&self) {
        let mut slots = self.slots();
        slots.ended = true;
        let values = slots.by_type.take();
        drop(slots);
        drop(values);
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.values.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn into_inner<T: Clone + Send + Sync + 'static>(value: Arc<dyn Any + Send + Sync>) -> Option<T> {
    // Somebody may be about to clone it.
    value.downcast::<T>().ok().map(Arc::unwrap_or_clone)
}
