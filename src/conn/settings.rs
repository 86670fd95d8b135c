//! What all connections of a listener share.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method, Uri};

use crate::hook::Hook;
use crate::sync::atomic::AtomicBool;

/// Decides by its head whether a request does not count.
pub(crate) type Discount = dyn Fn(&Method, &Uri, &HeaderMap) -> bool + Send + Sync;

/// In one allocation with the hook.
pub(crate) struct Settings<H: ?Sized = dyn Hook> {
    /// Which requests do not count as use.
    pub(crate) discount: OnceLock<Box<Discount>>,
    /// Requests carry their connection in their extensions.
    pub(crate) conn_in_requests: AtomicBool,
    /// Clients are given time after the server has shut down.
    pub(crate) lingering_close: AtomicBool,
    pub(crate) hook: H,
}

impl Settings {
    pub(crate) fn new(hook: impl Hook) -> Arc<Self> {
        Arc::new(Settings {
            discount: OnceLock::new(),
            conn_in_requests: AtomicBool::new(false),
            lingering_close: AtomicBool::new(true),
            hook,
        })
    }
}
