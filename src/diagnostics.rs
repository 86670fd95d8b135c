//! What the crate says to whoever runs the server, with the feature `tracing`.

#![cfg_attr(not(feature = "tracing"), allow(unused_variables))]

use crate::{Conn, ConnState};

#[cfg(feature = "tracing")]
macro_rules! once {
    ($event:expr) => {{
        static SAID: std::sync::Once = std::sync::Once::new();
        SAID.call_once(|| $event);
    }};
}

/// An instrumented connection answers HTTP/1 requests that no layer has seen.
pub(crate) fn layer_missing(conn: &Conn) {
    #[cfg(feature = "tracing")]
    once!(tracing::warn!(
        conn = conn.id().get(),
        remote_addr = %conn.remote_addr(),
        "an HTTP/1 request was answered without ConnStateLayer, so its connection will never be \
         reported as idle; wrap the service in `ConnStateLayer::for_conn(&conn)`, or serve a \
         router with `into_make_service_with_conn_state()` (said once)"
    ));
}

/// A `ConnStateLayer::new()` found no connection in a request.
pub(crate) fn conn_missing() {
    #[cfg(feature = "tracing")]
    once!(tracing::warn!(
        "ConnStateLayer::new() found no connection in a request's extensions, so it does nothing; \
         serve an instrumented listener with `into_make_service_with_connect_info::<Conn>()`, or \
         use `ConnStateLayer::for_conn(&conn)` (said once)"
    ));
}

/// A hook panicked; the panic goes no further.
pub(crate) fn hook_panicked(conn: &Conn, state: ConnState) {
    #[cfg(feature = "tracing")]
    tracing::error!(
        conn = conn.id().get(),
        remote_addr = %conn.remote_addr(),
        %state,
        "a connection state hook panicked"
    );
}

/// Accepting failed for a reason that is not one connection's.
#[cfg(feature = "axum")]
pub(crate) fn accept_failed(error: &std::io::Error) {
    #[cfg(feature = "tracing")]
    tracing::error!(%error, "accepting a connection failed; trying again in a second");
}
