//! Answers, and what all of them say to browsers.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::body::StatusBody;
use super::query::Format;

/// Scripts and styles come from here or not at all, nothing in the page itself
/// runs, and nobody puts it into a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Why a request is not answered.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// A header of this status: `Allow`, `Retry-After`.
    pub(super) header: Option<(header::HeaderName, &'static str)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), header: None }
    }

    pub(super) fn with_header(mut self, name: header::HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(super) fn into_reply(self) -> Response<StatusBody> {
        let mut reply = reply(self.status, Format::Text, format!("{}\n", self.message));
        if let Some((name, value)) = self.header {
            reply.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        reply
    }
}

pub(super) fn reply(
    status: StatusCode,
    format: Format,
    content: impl Into<Bytes>,
) -> Response<StatusBody> {
    let content = content.into();
    let length = content.len();
    let mut reply = with_headers(status, format, StatusBody::full(content));
    // hyper says it too, except in answers to HEAD, whose body is taken away.
    reply.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    reply
}

pub(super) fn with_headers(
    status: StatusCode,
    format: Format,
    body: StatusBody,
) -> Response<StatusBody> {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.content_type());
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}
