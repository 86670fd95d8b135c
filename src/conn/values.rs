//! Values of a user's own: Go's `ConnContext`.

use std::sync::PoisonError;

use super::Conn;
use crate::sync::MutexGuard;

impl Conn {
    /// Keeps a value with the connection, and returns the value of this type
    /// that it replaces.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        self.values().insert(value)
    }

    /// A clone of the value of this type.
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.values().get::<T>().cloned()
    }

    /// Takes the value of this type away.
    pub fn remove<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.values().remove::<T>()
    }

    fn values(&self) -> MutexGuard<'_, http::Extensions> {
        // What a value's own clone or drop leaves behind is its own business.
        self.0.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
