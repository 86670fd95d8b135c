//! Who may look, unless the program decides for itself.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::uri::Authority;
use http::{Extensions, HeaderMap, StatusCode, header};

use super::reply::Refusal;
use crate::{Address, Conn};

/// A guard of the program's own.
pub(super) type Guard = Arc<dyn Fn(&Parts, Option<&Conn>) -> bool + Send + Sync>;

/// Who asks, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) conn: Option<Conn>,
    address: Option<Address>,
}

impl Visitor {
    /// From the connection that the page was made for, or the request's
    /// extensions.
    pub(super) fn of(conn: Option<&Conn>, extensions: &Extensions) -> Self {
        let conn = conn.or_else(|| extensions.get()).cloned();
        #[cfg(feature = "axum")]
        let conn = conn.or_else(|| {
            let info = extensions.get::<axum::extract::ConnectInfo<Conn>>();
            info.map(|axum::extract::ConnectInfo(conn)| conn.clone())
        });
        let address = conn.as_ref().map(|conn| conn.remote_addr().clone());
        // A listener that is not instrumented.
        #[cfg(feature = "axum")]
        let address = address.or_else(|| {
            let info = extensions.get::<axum::extract::ConnectInfo<std::net::SocketAddr>>();
            info.map(|axum::extract::ConnectInfo(address)| Address::from(*address))
        });
        Self { conn, address }
    }
}

/// Only this machine, and only itself: not a proxy for somebody else, nor a
/// browser for a page that it has from elsewhere.
pub(super) fn only_local(parts: &Parts, visitor: &Visitor) -> Result<(), Refusal> {
    match &visitor.address {
        None => {
            return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, UNKNOWN_PEER));
        }
        Some(Address::Ip(address)) if address.ip().to_canonical().is_loopback() => {}
        // Who reaches it is on this machine, and may open the file.
        #[cfg(unix)]
        Some(Address::Unix(_)) => {}
        Some(_) => {
            return Err(forbidden(
                "this page is for clients on the same machine; StatusPage::allow lets others in",
            ));
        }
    }
    if let Some(name) = forwarded(&parts.headers) {
        return Err(forbidden(format!(
            "the request came through a proxy (it has a header `{name}`), so who asks is not \
             known; StatusPage::allow lets it in"
        )));
    }
    if !is_local_host(parts) {
        return Err(forbidden(
            "the Host is neither `localhost` nor an IP address; StatusPage::allow lets other \
             names in",
        ));
    }
    Ok(())
}

const UNKNOWN_PEER: &str = "the page does not know whose request this is, and refuses it. Give it \
    the connection: serve the router with `into_make_service_with_conn_state()` (axum), use \
    `StatusPage::for_conn(&conn)` (a service for each connection), turn on \
    `InstrumentedListener::conn_in_requests(true)` (`serve`), or decide with `StatusPage::allow`";

/// A browser says that another site's page makes this request. The address bar
/// is no site, and links lead here; but such a page must neither read nor take
/// up a place among the viewers.
pub(super) fn not_cross_site(headers: &HeaderMap) -> Result<(), Refusal> {
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    let mode = headers.get("sec-fetch-mode").map(|value| value.as_bytes());
    match site {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) if mode == Some(b"navigate") => Ok(()),
        Some(_) => Err(forbidden("another site asks for this in a browser")),
    }
}

/// What proxies add: not one of them is sent by a client on its own.
fn forwarded(headers: &HeaderMap) -> Option<&str> {
    headers.keys().map(|name| name.as_str()).find(|name| {
        name.starts_with("x-forwarded") || name.starts_with("x-original-") || PROXIES.contains(name)
    })
}

const PROXIES: &[&str] = &[
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-proxyuser-ip",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-ray",
    "cdn-loop",
    "fastly-client-ip",
    "fly-client-ip",
    "x-azure-clientip",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "tailscale-user-login",
];

/// A name may be anyone's, and lead here all the same (DNS rebinding).
fn is_local_host(parts: &Parts) -> bool {
    let mut hosts = parts.headers.get_all(header::HOST).into_iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return false,
        (Some(host), None) => match Authority::try_from(host.as_bytes()) {
            Ok(authority) => Some(authority),
            Err(_) => return false,
        },
        (None, None) => None,
    };
    // HTTP/2 has it in the URI, HTTP/1 may have it in both.
    let of_uri = parts.uri.authority();
    (host.is_some() || of_uri.is_some())
        && host.as_ref().is_none_or(is_local_name)
        && of_uri.is_none_or(is_local_name)
}

fn is_local_name(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    !authority.as_str().contains('@')
        && (host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok())
}

pub(super) fn forbidden(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, message)
}
