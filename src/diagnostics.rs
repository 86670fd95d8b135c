//! What the crate says to whoever runs the server, with the feature `tracing`.

#![cfg_attr(not(feature = "tracing"), allow(unused_variables))]

use crate::Conn;

#[cfg(feature = "tracing")]
macro_rules! once {
    ($event:expr) => {{
        // Not a `Once`, which a subscriber's panic would poison.
        static SAID: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        if !SAID.swap(true, std::sync::atomic::Ordering::Relaxed) {
            $event;
        }
    }};
}

/// An instrumented connection answers HTTP/1 requests that no layer has seen.
pub(crate) fn layer_missing(conn: &Conn) {
    #[cfg(feature = "tracing")]
    once!(tracing::warn!(
        conn = conn.id().get(),
        remote_addr = %conn.remote_addr(),
        "an HTTP/1 request was answered without ConnStateLayer, so its connection is never \
         reported as idle: wrap the service in `ConnStateLayer::for_conn(&conn)`, or serve a \
         router with `into_make_service_with_conn_state()` (logged once per process)"
    ));
}

/// An instrumented stream carries TLS.
pub(crate) fn below_tls(conn: &Conn) {
    #[cfg(feature = "tracing")]
    once!(tracing::warn!(
        conn = conn.id().get(),
        remote_addr = %conn.remote_addr(),
        "an instrumented stream carries TLS, so its requests cannot be seen and it stays new: \
         instrument the stream that comes out of the handshake, with \
         `InstrumentedListener::accept_handshake` or `serve(..).tls(..)` (logged once per process)"
    ));
}

/// A `ConnStateLayer::new()` found no connection in a request.
pub(crate) fn conn_missing() {
    #[cfg(feature = "tracing")]
    once!(tracing::warn!(
        "ConnStateLayer::new() found no connection in a request's extensions, so it does nothing: \
         serve an instrumented listener with `into_make_service_with_connect_info::<Conn>()`, or \
         use `ConnStateLayer::for_conn(&conn)` (logged once per process)"
    ));
}

/// The task that looks after connections runs on a runtime without a timer.
pub(crate) fn no_timer() {
    #[cfg(feature = "tracing")]
    tracing::error!(
        "no time-out of the connections' policies fires: the tokio runtime has no timer; \
         call `enable_time` or `enable_all` on its builder"
    );
}

/// A policy has run out for a connection.
pub(crate) fn policy_expired(conn: &Conn, policy: crate::Policy) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        conn = conn.id().get(),
        remote_addr = %conn.remote_addr(),
        %policy,
        "a policy has run out, so the connection ends"
    );
}

/// A connection was refused.
pub(crate) fn connection_refused(conn: &Conn, limit: crate::Limit) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        conn = conn.id().get(),
        remote_addr = %conn.remote_addr(),
        %limit,
        "the connection was refused: too many connections"
    );
}

/// A hook panicked; the panic goes no further.
pub(crate) fn hook_panicked(conn: &Conn, report: &dyn std::fmt::Display) {
    #[cfg(feature = "tracing")]
    tracing::error!(
        conn = conn.id().get(),
        remote_addr = %conn.remote_addr(),
        %report,
        "a hook panicked when it was told of `report`; the connection goes on"
    );
}

/// A user's function for `Policies::per_ip_key` panicked.
pub(crate) fn per_ip_key_panicked(ip: std::net::IpAddr) {
    #[cfg(feature = "tracing")]
    tracing::error!(
        %ip,
        "the function of `Policies::per_ip_key` panicked, so connections from this address are \
         not limited"
    );
}

/// Accepting failed for a reason that is not one connection's.
#[cfg(any(feature = "serve", feature = "axum"))]
pub(crate) fn accept_failed(error: &std::io::Error, pause: std::time::Duration) {
    #[cfg(feature = "tracing")]
    tracing::error!(%error, ?pause,
        "accepting a connection failed; trying again after a pause. If file descriptors have run \
         out, raise the limit (ulimit -n) or set Policies::max_connections below it"
    );
}

/// A TLS handshake did not complete.
#[cfg(feature = "tls")]
pub(crate) fn handshake_failed(conn: &Conn, error: &dyn std::fmt::Display) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        conn = conn.id().get(),
        remote_addr = %conn.remote_addr(),
        %error,
        "the TLS handshake did not complete, so the connection is closed"
    );
}

/// hyper gave up on a connection.
#[cfg(feature = "serve")]
pub(crate) fn connection_failed(conn: &Conn, error: &(dyn std::error::Error + 'static)) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        conn = conn.id().get(),
        remote_addr = %conn.remote_addr(),
        error,
        "hyper ended the connection with an error"
    );
}

/// A make-service has no service for a connection.
#[cfg(feature = "serve")]
pub(crate) fn make_service_failed(conn: &Conn, error: &(dyn std::error::Error + 'static)) {
    #[cfg(feature = "tracing")]
    tracing::error!(
        conn = conn.id().get(),
        remote_addr = %conn.remote_addr(),
        error,
        "the make-service returned no service, so the connection is closed"
    );
}
