//! Panics of handlers, on their way out.

use super::guard::ResponseGuard;
use crate::Conn;
use crate::tracker::Fact;

/// Calls a handler, or polls it or its response body. A panic that passes
/// through is recorded before it goes on, because the stream may be dropped
/// before the response's guard is.
#[inline]
pub(crate) fn record_panic<R>(guard: &Option<ResponseGuard>, call: impl FnOnce() -> R) -> R {
    let unwinding = Unwinding(guard.as_ref().map(ResponseGuard::conn));
    let result = call();
    std::mem::forget(unwinding);
    result
}

/// Dropped only by a panic.
struct Unwinding<'a>(Option<&'a Conn>);

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.0 {
            conn.record(Fact::HandlerPanicked);
        }
    }
}
