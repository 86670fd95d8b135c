//! Traces (feature `tracing`): an event when a connection is gone, and a span
//! in which it lives. No event when a state changes, and nothing per request.

use tracing::{Level, Span};

use crate::{Address, CloseReason, Conn};

/// The target of the event and of the span.
macro_rules! target {
    () => {
        "hyper_connstate::connection"
    };
}

/// The connection is gone, and its values are there still.
pub(crate) fn ended(conn: &Conn, reason: CloseReason) {
    // The level of an event is part of its callsite.
    macro_rules! event {
        ($level:expr) => {
            if tracing::enabled!(target: target!(), $level) {
                let peer = Peer::of(conn);
                // The task that let go of a hijacked stream is not the one
                // that served the connection.
                conn.span().in_scope(|| {
                    tracing::event!(
                        target: target!(),
                        $level,
                        hyper.connection.id = conn.id().get(),
                        network.peer.address = peer.address.as_deref(),
                        network.peer.port = peer.port,
                        network.protocol.version = conn.protocol().version(),
                        http.connection.state = %conn.state_before_end(),
                        hyper.connection.requests = conn.requests(),
                        hyper.connection.duration = conn.age().as_secs_f64(),
                        hyper.connection.close_reason = reason.as_str(),
                        "error.type" = conn.error_type(),
                        "connection closed"
                    );
                });
            }
        };
    }
    if conn.error_type().is_none() {
        event!(Level::DEBUG);
    } else {
        event!(Level::INFO);
    }
}

/// The span of a connection, kept with it until it is gone.
#[derive(Clone)]
struct ConnSpan(Span);

impl Conn {
    /// Opens a span for the connection.
    #[cfg(feature = "serve")]
    pub(crate) fn open_span(&self) -> Span {
        let peer = Peer::of(self);
        let span = tracing::info_span!(
            target: target!(),
            // A root: the accept loop is no part of it.
            parent: None,
            "connection",
            hyper.connection.id = self.id().get(),
            network.peer.address = peer.address.as_deref(),
            network.peer.port = peer.port,
        );
        self.insert(ConnSpan(span.clone()));
        span
    }

    /// The span of the connection, if [`Serve::connection_spans`] is on; else
    /// the one that is disabled.
    ///
    /// A connection may live for days, and trace stores show a trace when it is
    /// complete. So a request's span should not be its child but a root of its
    /// own, linked to it:
    ///
    /// ```
    /// # fn example<B>(request: &http::Request<B>) -> tracing::Span {
    /// use hyper_connstate::Conn;
    ///
    /// // In `TraceLayer::make_span_with`, say. With
    /// // `InstrumentedListener::conn_in_requests`; in axum it is in
    /// // `ConnectInfo<Conn>`.
    /// let span = tracing::info_span!(parent: None, "request", path = request.uri().path());
    /// if let Some(conn) = request.extensions().get::<Conn>() {
    ///     span.follows_from(conn.span());
    /// }
    /// span
    /// # }
    /// ```
    ///
    /// [`Serve::connection_spans`]: https://docs.rs/hyper-connstate/latest/hyper_connstate/struct.Serve.html#method.connection_spans
    #[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
    pub fn span(&self) -> Span {
        self.get::<ConnSpan>().map_or_else(Span::none, |span| span.0)
    }
}

/// Who the client is.
struct Peer {
    address: Option<String>,
    port: Option<u16>,
}

impl Peer {
    fn of(conn: &Conn) -> Self {
        match conn.remote_addr() {
            Address::Ip(address) => {
                Self { address: Some(address.ip().to_string()), port: Some(address.port()) }
            }
            #[cfg(unix)]
            address @ Address::Unix(_) => Self { address: Some(address.to_string()), port: None },
            Address::Unknown => Self { address: None, port: None },
        }
    }
}
