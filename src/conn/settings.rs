//! What all connections of a listener share.

use std::sync::Arc;

use http::{HeaderMap, Method, Uri};

use crate::hook::Hook;

/// Decides by its head whether a request does not count.
pub(crate) type Discount = dyn Fn(&Method, &Uri, &HeaderMap) -> bool + Send + Sync;

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) hook: Arc<dyn Hook>,
    /// Which requests do not count as use.
    pub(crate) discount: Option<Arc<Discount>>,
    /// Requests carry their connection in their extensions.
    pub(crate) conn_in_requests: bool,
    /// Clients are given time after the server has shut down.
    pub(crate) lingering_close: bool,
}

impl Settings {
    pub(crate) fn new(hook: impl Hook) -> Arc<Self> {
        Arc::new(Self {
            hook: Arc::new(hook),
            discount: None,
            conn_in_requests: false,
            lingering_close: true,
        })
    }
}
