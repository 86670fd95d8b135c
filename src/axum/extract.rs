//! The connection as an extractor.

use std::convert::Infallible;
use std::fmt;

use axum::extract::{ConnectInfo, FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::Conn;

/// The connection that the request has come on.
///
/// ```
/// async fn hello(conn: hyper_connstate::Conn) -> String {
///     format!("request {} of connection {}\n", conn.requests(), conn.id())
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(hello));
/// ```
impl<S: Sync> FromRequestParts<S> for Conn {
    type Rejection = ConnRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ConnRejection> {
        find(parts).ok_or(ConnRejection(()))
    }
}

/// `None` where a router is also served without an instrumented listener.
impl<S: Sync> OptionalFromRequestParts<S> for Conn {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(find(parts))
    }
}

fn find(parts: &Parts) -> Option<Conn> {
    let info = parts.extensions.get::<ConnectInfo<Conn>>();
    info.map(|ConnectInfo(conn)| conn).or_else(|| parts.extensions.get()).cloned()
}

/// A handler extracts its [`Conn`], and the request has none. The response is
/// `500 Internal Server Error`, and says how to mend it.
#[derive(Debug)]
pub struct ConnRejection(());

impl fmt::Display for ConnRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no connection in the request's extensions: serve an instrumented listener with \
             `app.into_make_service_with_conn_state()`",
        )
    }
}

impl std::error::Error for ConnRejection {}

impl IntoResponse for ConnRejection {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
