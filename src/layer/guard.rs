//! The guards that say when the parts of an HTTP/1 request are over: exactly
//! once each, however they end.

use http::header::CONNECTION;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::upgrade::OnUpgrade;

use crate::Conn;
use crate::tracker::{self, Exchange};

/// In a request's extensions: a layer has told of this request, and those
/// further in need not.
///
/// Only layers that found their connection there leave it: in extensions that
/// are empty it would take an allocation. HTTP/1 does not depend on it.
#[derive(Clone, Copy)]
struct Tracked;

pub(crate) fn is_tracked<B>(request: &Request<B>) -> bool {
    request.extensions().get::<Tracked>().is_some()
}

pub(crate) fn mark_tracked<B>(request: &mut Request<B>) {
    request.extensions_mut().insert(Tracked);
}

/// Lives as long as the response does; its drop says that it is over.
#[derive(Debug)]
pub(crate) struct ResponseGuard {
    conn: Conn,
    exchange: Exchange,
    upgradable: Upgradable,
    response: tracker::Response,
}

/// Which answer would hand the stream over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upgradable {
    No,
    /// `101 Switching Protocols` (RFC 9110, section 7.8).
    Upgrade,
    /// Any 2xx to CONNECT (RFC 9110, section 9.3.6).
    Connect,
}

impl ResponseGuard {
    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    /// A request has reached the layer. `None` if its end need not be told:
    /// HTTP/2 is followed on the wire, and another layer may have told of the
    /// request already.
    pub(crate) fn begin<B: Body>(conn: &Conn, request: &Request<B>) -> Option<Self> {
        let version = request.version();
        if version == Version::HTTP_2 {
            conn.count_request();
            return None;
        }
        let exchange = conn.request_began(tracker::Request {
            has_body: !request.body().is_end_stream(),
            may_persist: version == Version::HTTP_11 && !says_close(request.headers()),
        })?;
        Some(Self {
            conn: conn.clone(),
            exchange,
            upgradable: Upgradable::of(request),
            response: tracker::Response { may_persist: true, upgraded: false },
        })
    }

    /// The response's head is known.
    #[inline]
    pub(crate) fn answered<B>(&mut self, response: &Response<B>) {
        self.response = tracker::Response {
            // hyper ends a connection after an interim answer as the last one:
            // a 101 that nobody asked for, say.
            may_persist: !response.status().is_informational() && !says_close(response.headers()),
            upgraded: match self.upgradable {
                Upgradable::No => false,
                Upgradable::Upgrade => response.status() == StatusCode::SWITCHING_PROTOCOLS,
                Upgradable::Connect => response.status().is_success(),
            },
        };
    }
}

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        self.conn.response_ended(self.exchange, self.response);
    }
}

impl Upgradable {
    fn of<B>(request: &Request<B>) -> Self {
        // hyper puts it there when the request may be upgraded.
        if request.extensions().is_empty() || request.extensions().get::<OnUpgrade>().is_none() {
            Self::No
        } else if request.method() == Method::CONNECT {
            Self::Connect
        } else {
            Self::Upgrade
        }
    }
}

/// Whether `Connection: close` is said (RFC 9112, section 9.6).
// A message has few names, and looking at each is no dearer than a look-up.
#[inline]
fn says_close(headers: &HeaderMap) -> bool {
    headers.iter().any(|(name, value)| name == CONNECTION && names_close(value.as_bytes()))
}

/// Whether `close` is among the tokens.
#[cold]
fn names_close(value: &[u8]) -> bool {
    let mut tokens = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    tokens.any(|token| token.eq_ignore_ascii_case(b"close"))
}

/// Lives as long as a followed request body does; its drop says that the body
/// is over.
#[cfg(feature = "axum")]
#[derive(Debug)]
pub(crate) struct RequestBodyGuard {
    conn: Conn,
    exchange: Exchange,
    read_to_end: bool,
}

#[cfg(feature = "axum")]
impl RequestBodyGuard {
    /// For the body of the request that the layer was last called for. `None`
    /// if it need not be told.
    pub(crate) fn begin<B: Body>(conn: &Conn, request: &Request<B>) -> Option<Self> {
        if request.version() == Version::HTTP_2 || request.body().is_end_stream() {
            return None;
        }
        let exchange = conn.request_body_followed()?;
        Some(Self { conn: conn.clone(), exchange, read_to_end: false })
    }

    /// The body has been read to its end.
    pub(crate) fn read_to_end(mut self) {
        self.read_to_end = true;
    }
}

#[cfg(feature = "axum")]
impl Drop for RequestBodyGuard {
    fn drop(&mut self) {
        self.conn.request_body_ended(self.exchange, self.read_to_end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_is_a_token_among_others() {
        let says_close = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONNECTION, http::HeaderValue::from_static(value));
            }
            super::says_close(&headers)
        };
        assert!(!says_close(&[]));
        assert!(!says_close(&["keep-alive"]));
        assert!(!says_close(&["closed", "x-close"]));
        assert!(says_close(&["close"]));
        assert!(says_close(&["Keep-Alive,  Close"]));
        assert!(says_close(&["keep-alive", "close"]));
    }
}
