//! What counts as use of a server.

use http::Request;

use super::Conn;
use crate::sync::atomic::Ordering;

impl Conn {
    /// Makes the request that is being served not count as use:
    /// [`Connections::idle_for`](crate::Connections::idle_for) treats it as if
    /// it had not come. Call it in handlers of health checks and metrics.
    ///
    /// [`InstrumentedListener::discount_requests`](crate::InstrumentedListener::discount_requests)
    /// chooses such requests by their heads.
    pub fn discount_request(&self) {
        self.0.discounted.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes the connection not count as use, whatever it does: a load
    /// balancer's, say, in a hook that knows its address.
    ///
    /// ```
    /// use hyper_connstate::{Conn, ConnState};
    ///
    /// let hook = |conn: &Conn, state: ConnState| {
    ///     if state == ConnState::New && conn.remote_addr().ip() == Some([10, 0, 0, 1].into()) {
    ///         conn.discount();
    ///     }
    /// };
    /// # fn assert_hook(_: impl hyper_connstate::Hook) {}
    /// # assert_hook(hook);
    /// ```
    pub fn discount(&self) {
        self.0.discounted.store(ALL, Ordering::Relaxed);
    }

    /// Discounts a request that the program wants to be discounted.
    #[inline]
    pub(crate) fn discount_by_head<B>(&self, request: &Request<B>) {
        if let Some(discount) = self.0.settings.discount.get() {
            if discount(request.method(), request.uri(), request.headers()) {
                self.discount_request();
            }
        }
    }

    /// How many of its requests count; `None` if the connection does not count.
    pub(crate) fn counted_requests(&self) -> Option<u64> {
        let discounted = self.0.discounted.load(Ordering::Relaxed);
        (discounted < ALL).then(|| self.requests().saturating_sub(discounted))
    }

    /// Some of its requests do not count.
    pub(crate) fn has_discounted(&self) -> bool {
        self.0.discounted.load(Ordering::Relaxed) > 0
    }

    /// Nothing that it has done so far counts.
    pub(crate) fn is_discounted(&self) -> bool {
        self.counted_requests().is_none_or(|counted| counted == 0 && self.requests() > 0)
    }
}

/// More requests than there can be, and far enough from the last number there
/// is.
const ALL: u64 = u64::MAX / 2;
