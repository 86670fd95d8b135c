//! What clients are told that are refused.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

/// What a refused client is told:
/// [`Policies::refusal`](crate::Policies::refusal).
///
/// Over HTTP/1 it gets a response with `Connection: close`, over HTTP/2 a GOAWAY
/// with `ENHANCE_YOUR_CALM`. The service is never called. The client is told
/// after the TLS handshake and after the first byte of its request. Before that
/// it would not listen, or its request would make the system throw the response
/// away. It may take five seconds for each; then the connection is closed.
///
/// At most 256 connections of a registry are told at once. Others are closed
/// without a word, so that refusing costs less than serving.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a refusal does nothing unless policies have it"]
pub struct Refusal(Option<Words>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Words {
    status: StatusCode,
    retry_after: Option<Duration>,
}

/// How many are told at once.
pub(crate) const MOST_TOLD: usize = 256;

impl Refusal {
    /// The connection is closed without a word.
    pub fn close() -> Self {
        Self(None)
    }

    /// `503 Service Unavailable`: for a server that is full.
    pub fn unavailable() -> Self {
        Self::answer(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// `429 Too Many Requests` (RFC 6585, section 4): for a client that has too
    /// many connections.
    pub fn too_many_requests() -> Self {
        Self::answer(StatusCode::TOO_MANY_REQUESTS)
    }

    /// A response with this status. A 1xx, which is not final, becomes `503`.
    pub fn answer(status: StatusCode) -> Self {
        let last = !status.is_informational();
        let status = if last { status } else { StatusCode::SERVICE_UNAVAILABLE };
        Self(Some(Words { status, retry_after: None }))
    }

    /// Adds `Retry-After` with this time, in whole seconds (RFC 9110, section
    /// 10.2.3).
    pub fn retry_after(mut self, time: Duration) -> Self {
        if let Some(words) = &mut self.0 {
            words.retry_after = Some(time);
        }
        self
    }

    /// The answer over HTTP/1, if there is one.
    pub(crate) fn to_http1(&self) -> Option<Farewell> {
        let Words { status, retry_after } = self.0.as_ref()?;
        let reason = status.canonical_reason().unwrap_or_default();
        let retry_after = retry_after
            .map(|time| format!("retry-after: {}\r\n", whole_seconds(time)))
            .unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 {} {reason}\r\n{retry_after}connection: close\r\ncontent-length: 0\r\n\r\n",
            status.as_str()
        );
        Some(Farewell(answer.into_bytes().into()))
    }
}

/// Rounded up: not before that.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// The last words to a client over HTTP/1.
#[derive(Clone, Debug)]
pub(crate) struct Farewell(pub(crate) Arc<[u8]>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        assert!(Refusal::close().to_http1().is_none());
        assert!(Refusal::close().retry_after(Duration::from_secs(1)).to_http1().is_none());
        let said =
            |refusal: Refusal| String::from_utf8(refusal.to_http1().unwrap().0.to_vec()).unwrap();
        assert_eq!(
            said(Refusal::too_many_requests().retry_after(Duration::from_millis(2_900))),
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: 3\r\nconnection: close\r\n\
             content-length: 0\r\n\r\n"
        );
        let odd = Refusal::answer(StatusCode::from_u16(599).unwrap());
        assert!(said(odd).starts_with("HTTP/1.1 599 \r\nconnection"));
        let interim = Refusal::answer(StatusCode::CONTINUE);
        assert_eq!(interim, Refusal::unavailable());
    }
}
