//! What a visitor may do, where the program lets it.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::Buf;
use http::request::Parts;
use http::{Response, StatusCode, header};
use http_body::Body;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::body::StatusBody;
use super::guard::{Guard, Visitor, forbidden};
use super::json;
use super::query::Format;
use super::reply::{Refusal, reply};
use crate::{Conn, ConnId, Connections};

/// How much of a body is read, and how long it may take to come.
const LONGEST_BODY: usize = 4096;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a drain of all takes at most, unless it is said.
const DRAIN_TIMEOUT: u64 = 30;
const LONGEST_DRAIN: u64 = 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Close(ConnId),
    Drain(ConnId),
    CloseIdle,
    DrainAll { timeout: Duration },
}

/// What was done.
struct Done {
    action: &'static str,
    connections: usize,
}

impl Serialize for Done {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(2))?;
        object.serialize_entry("action", self.action)?;
        object.serialize_entry("connections", &self.connections)?;
        object.end()
    }
}

/// By its head: whether the request may act. What it wants is in its body.
pub(super) fn check(
    parts: &Parts,
    visitor: &Visitor,
    guard: Option<&Guard>,
) -> Result<(), Refusal> {
    let Some(guard) = guard else {
        let message = "this page only shows; StatusPage::allow_actions lets visitors act";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message)
            .with_header(header::ALLOW, "GET, HEAD"));
    };
    // A form of another site can send neither.
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let message = "an action takes `Content-Type: application/json`";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let mut sites = parts.headers.get_all("sec-fetch-site").into_iter();
    if sites.next().is_none_or(|site| site != "same-origin") || sites.next().is_some() {
        return Err(forbidden(
            "an action takes `Sec-Fetch-Site: same-origin`, which browsers send from this page if \
             it is at localhost, at a loopback address or has come by HTTPS",
        ));
    }
    if !guard(parts, visitor.conn.as_ref()) {
        return Err(forbidden("the guard given to StatusPage::allow_actions refuses this request"));
    }
    Ok(())
}

pub(super) async fn act(
    connections: &Connections,
    body: impl Body,
) -> Result<Response<StatusBody>, Refusal> {
    let read = tokio::time::timeout(BODY_TIMEOUT, read(body)).await;
    let late = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    let action = Action::parse(&read.map_err(late)??)?;
    let done = action.run(connections)?;
    Ok(reply(StatusCode::OK, Format::Json, json::to_bytes(&done).freeze()))
}

async fn read(body: impl Body) -> Result<Vec<u8>, Refusal> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx).map(bytes_of)).await {
        bytes.extend_from_slice(&frame?);
        if bytes.len() > LONGEST_BODY {
            let message = format!("an action takes at most {LONGEST_BODY} bytes");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
    }
    Ok(bytes)
}

/// Frames of any kind of data, and errors of any kind: neither is kept.
fn bytes_of<D: Buf, E>(
    frame: Option<Result<http_body::Frame<D>, E>>,
) -> Option<Result<Vec<u8>, Refusal>> {
    frame.map(|frame| match frame {
        Ok(frame) => Ok(frame.into_data().map_or_else(
            |_trailers| Vec::new(),
            |mut data| {
                let mut bytes = vec![0; data.remaining()];
                data.copy_to_slice(&mut bytes);
                bytes
            },
        )),
        Err(_) => Err(bad("the body broke off")),
    })
}

impl Action {
    fn parse(json: &[u8]) -> Result<Self, Refusal> {
        let Ok(Value::Object(fields)) = serde_json::from_slice(json) else {
            return Err(bad(
                "an action is a JSON object such as {\"action\": \"close\", \"id\": 17}",
            ));
        };
        let known = ["action", "id", "timeout_seconds"];
        if fields.keys().any(|name| !known.contains(&name.as_str())) {
            return Err(bad("an action has the fields action, id and timeout_seconds, no others"));
        }
        let number = |name: &str| match fields.get(name) {
            None => Ok(None),
            Some(value) => {
                value.as_u64().map(Some).ok_or_else(|| bad(format!("`{name}` is no whole number")))
            }
        };
        let (id, timeout) = (number("id")?, number("timeout_seconds")?);
        let one = || id.map(ConnId::from).ok_or_else(|| bad("`id` says which connection"));
        let name = fields.get("action").and_then(Value::as_str).unwrap_or("");
        let action = match name {
            "close" => Self::Close(one()?),
            "drain" => Self::Drain(one()?),
            "close_idle" => Self::CloseIdle,
            "drain_all" => {
                let seconds = timeout.unwrap_or(DRAIN_TIMEOUT);
                if seconds > LONGEST_DRAIN {
                    return Err(bad(format!("`timeout_seconds` is at most {LONGEST_DRAIN}")));
                }
                Self::DrainAll { timeout: Duration::from_secs(seconds) }
            }
            _ => return Err(bad("`action` is one of close, drain, close_idle, drain_all")),
        };
        // Somebody may have meant one of them.
        if id.is_some() && matches!(action, Self::CloseIdle | Self::DrainAll { .. }) {
            return Err(bad(format!("`{name}` is of all connections, and takes no `id`")));
        }
        if timeout.is_some() && !matches!(action, Self::DrainAll { .. }) {
            return Err(bad(format!("`{name}` takes no `timeout_seconds`")));
        }
        Ok(action)
    }

    fn run(self, connections: &Connections) -> Result<Done, Refusal> {
        let find = |id: ConnId| {
            let gone =
                || Refusal::new(StatusCode::NOT_FOUND, format!("no connection {id} is open"));
            connections.get(id).ok_or_else(gone)
        };
        let one = |action, conn: Conn, does: fn(&Conn)| {
            does(&conn);
            Done { action, connections: 1 }
        };
        Ok(match self {
            Self::Close(id) => one("close", find(id)?, Conn::close),
            Self::Drain(id) => one("drain", find(id)?, Conn::drain),
            Self::CloseIdle => Done { action: "close_idle", connections: connections.close_idle() },
            Self::DrainAll { timeout } => {
                if connections.is_draining() {
                    let message = "the connections are being drained already";
                    return Err(Refusal::new(StatusCode::CONFLICT, message));
                }
                let drain = connections.drain(timeout);
                tokio::spawn(async move {
                    let _ = drain.await;
                });
                Done { action: "drain_all", connections: connections.len() }
            }
        })
    }
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_strictly() {
        let parse = |json: &str| Action::parse(json.as_bytes()).map_err(|refusal| refusal.message);
        let id = ConnId::from(17);
        assert_eq!(parse(r#"{"action": "close", "id": 17}"#), Ok(Action::Close(id)));
        assert_eq!(parse(r#"{"action": "drain", "id": 17}"#), Ok(Action::Drain(id)));
        assert_eq!(parse(r#"{"action": "close_idle"}"#), Ok(Action::CloseIdle));
        let timeout = Duration::from_secs(5);
        assert_eq!(
            parse(r#"{"action": "drain_all", "timeout_seconds": 5}"#),
            Ok(Action::DrainAll { timeout })
        );
        for wrong in [
            "",
            "null",
            "[]",
            "{}",
            "{",
            r#"{"action": "close"}"#,
            r#"{"action": "close", "id": "17"}"#,
            r#"{"action": "close", "id": -1}"#,
            r#"{"action": "close", "id": 1.5}"#,
            r#"{"action": "close", "id": 99999999999999999999}"#,
            r#"{"action": "close_idle", "id": 17}"#,
            r#"{"action": "close", "id": 17, "timeout_seconds": 1}"#,
            r#"{"action": "drain_all", "timeout_seconds": 3601}"#,
            r#"{"action": "close_all"}"#,
            r#"{"action": "close", "id": 17, "force": true}"#,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&"[".repeat(4096)).is_err());
    }
}
