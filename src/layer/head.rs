//! What the heads of HTTP/1 messages say of their connection (RFC 9112, section
//! 9).

use http::header::{CONNECTION, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};

/// What is of interest in a request's head.
pub(super) struct RequestHead {
    /// Nothing about it ends the connection, and all that hyper writes after it
    /// is the answer.
    pub(super) may_persist: bool,
    /// How many bytes it takes as clients write it: with a space behind each
    /// colon, and lines that end in CR LF.
    pub(super) length: u64,
    /// How many of these a client may leave out.
    pub(super) spaces: u64,
}

impl RequestHead {
    #[inline]
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        const VERSION: usize = "HTTP/1.1".len();
        const LINE_END: usize = "\r\n".len();
        let uri = request.uri();
        let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
        let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len());
        let target = uri.path_and_query().map_or(0, |path| path.as_str().len());
        let line = request.method().as_str().len() + scheme + authority + target + VERSION;
        let mut head = Self {
            may_persist: request.version() == Version::HTTP_11,
            length: (line + "  ".len() + 2 * LINE_END) as u64,
            spaces: 2,
        };
        // A message has few headers, and looking at each is no dearer than
        // looking some of them up.
        for (name, value) in request.headers() {
            head.length += (name.as_str().len() + ": ".len() + value.len() + LINE_END) as u64;
            head.spaces += 2;
            // A request with both Transfer-Encoding and Content-Length is the
            // last one of its connection (RFC 9112, section 6.1), and hyper
            // has taken the length away.
            head.may_persist &= !ends(name, value) && name != EXPECT && name != TRANSFER_ENCODING;
        }
        head
    }
}

/// Whether hyper ends the connection after this answer, as far as its head
/// tells.
#[inline]
pub(super) fn ends_connection<B>(response: &Response<B>) -> bool {
    // An interim answer as the last one (a 101 that nobody asked for, say), or
    // one that may have to end with the connection.
    response.status().is_informational()
        || response.version() != Version::HTTP_11
        || response.headers().iter().any(|(name, value)| ends(name, value))
}

#[inline]
fn ends(name: &HeaderName, value: &HeaderValue) -> bool {
    name == CONNECTION && names(value, "close")
}

/// Whether this is among the tokens.
#[cold]
fn names(value: &HeaderValue, option: &str) -> bool {
    let mut tokens = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    tokens.any(|token| token.eq_ignore_ascii_case(option.as_bytes()))
}

/// Has an answer say that it is the last one of its connection.
pub(super) fn say_close(headers: &mut HeaderMap) {
    let close = HeaderValue::from_static("close");
    let mut connection = headers.get_all(CONNECTION).iter();
    if connection.any(|value| names(value, "close")) {
        return;
    }
    if headers.get_all(CONNECTION).iter().any(|value| names(value, "keep-alive")) {
        headers.insert(CONNECTION, close);
    } else {
        headers.append(CONNECTION, close);
    }
}

/// Has an answer say how long its connection is kept, unless it does already.
pub(super) fn say_keep_alive(headers: &mut HeaderMap, seconds: u64) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

    if let Ok(value) = HeaderValue::try_from(format!("timeout={seconds}")) {
        headers.entry(KEEP_ALIVE).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_is_a_token_among_others() {
        let ends = |values: &[&'static str]| {
            let mut response = Response::new(());
            for value in values {
                response.headers_mut().append(CONNECTION, HeaderValue::from_static(value));
            }
            ends_connection(&response)
        };
        assert!(!ends(&[]));
        assert!(!ends(&["keep-alive"]));
        assert!(!ends(&["closed", "x-close"]));
        assert!(ends(&["close"]));
        assert!(ends(&["Keep-Alive,  Close"]));
        assert!(ends(&["keep-alive", "close"]));
    }

    #[test]
    fn close_is_said_once_and_not_beside_keep_alive() {
        let said = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONNECTION, HeaderValue::from_static(value));
            }
            say_close(&mut headers);
            let values = headers.get_all(CONNECTION).iter();
            values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(said(&[]), ["close"]);
        assert_eq!(said(&["close"]), ["close"]);
        assert_eq!(said(&["keep-alive"]), ["close"]);
        assert_eq!(said(&["upgrade"]), ["upgrade", "close"]);
    }

    #[test]
    fn heads_are_as_long_as_they_are_written() {
        for (uri, head) in [
            ("/a?b", "POST /a?b HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n"),
            ("http://h:1/a", "POST http://h:1/a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n"),
        ] {
            let request = Request::post(uri).header("host", "x").header("content-length", "3");
            let found = RequestHead::of(&request.body(()).unwrap());
            assert_eq!(found.length, head.len() as u64);
            // Neither CR nor the spaces behind colons.
            assert_eq!(found.spaces, 2 * 2 + 2);
            assert!(found.may_persist);
        }
    }

    #[test]
    fn what_is_no_plain_exchange_does_not_persist() {
        let persists = |name, value| {
            let request = Request::post("/").header(name, value).body(()).unwrap();
            RequestHead::of(&request).may_persist
        };
        assert!(persists("content-length", "3"));
        assert!(!persists("transfer-encoding", "chunked"));
        assert!(!persists("expect", "100-continue"));
        assert!(!persists("connection", "close"));
    }
}
