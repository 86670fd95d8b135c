//! The guards that say when the parts of an HTTP/1 request are over: exactly
//! once each, however they end.

#[cfg(feature = "axum")]
use std::task::{Context, Poll};
#[cfg(feature = "axum")]
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::upgrade::OnUpgrade;

#[cfg(feature = "axum")]
use super::body_wait::BodyWait;
use super::head::{RequestHead, ends_connection, say_close, say_keep_alive};
use crate::Conn;
use crate::conn::{ExchangeId, Place, RequestLength};
use crate::sync::atomic::Ordering;
use crate::tracker;

/// In a request's extensions: a layer tracks this request, and those further
/// in need not.
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
    exchange: ExchangeId,
    version: Version,
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

    /// A request has reached the layer. `None` if its end need not be recorded:
    /// HTTP/2 is followed on the wire, and another layer may track the request
    /// already.
    pub(crate) fn begin<B: Body>(
        conn: &Conn,
        request: &mut Request<B>,
        place: Place,
    ) -> Option<Self> {
        let guard = if request.version() == Version::HTTP_2 {
            if conn.count_http2_request(place) {
                conn.discount_by_head(request);
            }
            None
        } else {
            let guard = Self::begin_http1(conn, request);
            if guard.is_some() {
                conn.discount_by_head(request);
            }
            guard
        };
        if conn.settings().conn_in_requests.load(Ordering::Relaxed) {
            request.extensions_mut().insert(conn.clone());
        }
        guard
    }

    fn begin_http1<B: Body>(conn: &Conn, request: &Request<B>) -> Option<Self> {
        let version = request.version();
        let head = RequestHead::of(request);
        let has_body = !request.body().is_end_stream();
        let length = RequestLength {
            head: head.length,
            spaces: head.spaces,
            body: if has_body { request.body().size_hint().exact() } else { Some(0) },
        };
        let request_facts = tracker::Request { has_body, may_persist: head.may_persist };
        let exchange = conn.request_began(request_facts, length)?;
        Some(Self {
            conn: conn.clone(),
            exchange,
            version,
            upgradable: Upgradable::of(request),
            response: tracker::Response { may_persist: true, upgraded: false },
        })
    }

    /// The response's head is known. It says that the connection ends, if it
    /// is drained.
    #[inline]
    pub(crate) fn answered<B>(&mut self, response: &mut Response<B>) {
        let upgraded = match self.upgradable {
            Upgradable::No => false,
            Upgradable::Upgrade => response.status() == StatusCode::SWITCHING_PROTOCOLS,
            Upgradable::Connect => {
                let (status, headers) = (response.status(), response.headers());
                // hyper refuses to send a 2xx that says what its body is, and
                // hands over after a 101 to CONNECT as well.
                let has_body =
                    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
                status.is_success() && !has_body || status == StatusCode::SWITCHING_PROTOCOLS
            }
        };
        let changes = !self.conn.tracker().leaves_answers_alone();
        if changes && !upgraded && !response.status().is_informational() {
            self.change(response);
        }
        let may_persist = !ends_connection(response);
        self.response = tracker::Response { may_persist, upgraded };
    }

    /// The answer says what becomes of the connection.
    #[cold]
    fn change<B>(&self, response: &mut Response<B>) {
        if self.conn.is_draining() {
            self.end_connection(response);
        } else if !ends_connection(response) {
            if let Some(seconds) = self.conn.keep_alive_seconds() {
                say_keep_alive(response.headers_mut(), seconds);
            }
        }
    }

    fn end_connection<B>(&self, response: &mut Response<B>) {
        // The client has sent more already, which is served too.
        if self.conn.has_read_ahead() {
            return;
        }
        if self.version == Version::HTTP_10 {
            // Else hyper would add a keep-alive.
            *response.version_mut() = Version::HTTP_10;
        }
        say_close(response.headers_mut());
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

/// Lives as long as a followed request body does; its drop says that the body
/// is over.
#[cfg(feature = "axum")]
#[derive(Debug)]
pub(crate) struct RequestBodyGuard {
    conn: Conn,
    /// `None` in HTTP/2, whose bodies are followed on the wire, but for who
    /// waits for them.
    exchange: Option<ExchangeId>,
    read_to_end: bool,
    /// The handler waits for more of it, as far as its polls tell.
    waits: bool,
    /// There once the handler has waited while somebody limited that. It tells
    /// more than polls do, and takes an allocation.
    wait: Option<BodyWait>,
}

#[cfg(feature = "axum")]
impl RequestBodyGuard {
    /// For the body of the request that the layer was last called for. `None`
    /// if it need not be recorded.
    pub(crate) fn begin<B: Body>(conn: &Conn, request: &Request<B>) -> Option<Self> {
        if request.body().is_end_stream() {
            return None;
        }
        let exchange = match request.version() {
            Version::HTTP_2 => None,
            _ => Some(conn.request_body_followed()?),
        };
        Some(Self { conn: conn.clone(), exchange, read_to_end: false, waits: false, wait: None })
    }

    /// Polls the body, and notes whether the handler waits for it. Always, because
    /// a limit that is set meanwhile holds for that, too.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if let Some(wait) = &self.wait {
            return wait.poll(cx, poll);
        }
        let result = poll(cx);
        if result.is_ready() || !self.conn.limits_bodies() {
            self.set_waits(result.is_pending());
            return result;
        }
        self.set_waits(false);
        self.wait.insert(BodyWait::new(&self.conn)).poll(cx, poll)
    }

    fn set_waits(&mut self, waits: bool) {
        if waits == self.waits {
            return;
        }
        self.waits = waits;
        if waits {
            self.conn.waits_for_body(Duration::ZERO);
        } else {
            self.conn.waits_for_body_no_more(Duration::ZERO);
        }
    }

    /// The handler has got so many bytes of the body.
    pub(crate) fn got(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        if let Some(wait) = &self.wait {
            wait.goes_on();
        }
        // In HTTP/2 frames are counted as they come.
        let counted = if self.exchange.is_some() { bytes } else { 0 };
        self.conn.body_goes_on(counted);
    }

    /// The body has been read to its end.
    pub(crate) fn read_to_end(mut self) {
        self.read_to_end = true;
    }
}

#[cfg(feature = "axum")]
impl Drop for RequestBodyGuard {
    fn drop(&mut self) {
        self.set_waits(false);
        if let Some(wait) = &self.wait {
            wait.stop();
        }
        if let Some(exchange) = self.exchange {
            self.conn.request_body_ended(exchange, self.read_to_end);
        }
    }
}
