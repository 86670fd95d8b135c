//! What a request asks to see.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use super::cidr::Cidr;
use super::reply::Refusal;
use crate::{ConnId, ConnState, Protocol};

/// How many rows an answer has at most.
pub(super) const MOST_ROWS: usize = 1000;

const DEFAULT_ROWS: usize = 100;

/// Longer ones are not looked at.
const LONGEST_QUERY: usize = 4096;

/// How long a value may be in a message that says what is wrong with it.
const LONGEST_ECHO: usize = 60;

/// What is asked for, all of it checked.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) format: Format,
    pub(super) show: Show,
    pub(super) filter: Filter,
    pub(super) sort: Sort,
    pub(super) limit: usize,
    /// The last row of the page before.
    pub(super) after: Option<ConnId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    Script,
    Style,
    Json,
    Text,
    OpenMetrics,
    Events,
}

/// Which parts of the answer are wanted (JSON and text).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Show {
    pub(super) summary: bool,
    pub(super) rows: bool,
    pub(super) closed: bool,
}

/// Which connections are rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Any if empty.
    pub(super) states: Vec<ConnState>,
    /// Any if empty.
    pub(super) protocols: Vec<Protocol>,
    pub(super) peer: Option<Cidr>,
    pub(super) min_age: Option<Duration>,
    pub(super) idle_for: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) by: SortBy,
    pub(super) descending: bool,
}

/// By the field of that name in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SortBy {
    Id,
    Peer,
    State,
    StateFor,
    Age,
    Protocol,
    Requests,
    BytesReceived,
}

impl Query {
    pub(super) fn parse(uri: &Uri, headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut query = Self {
            format: Format::accepted(headers),
            show: Show { summary: true, rows: true, closed: true },
            filter: Filter::default(),
            sort: Sort { by: SortBy::Id, descending: false },
            limit: DEFAULT_ROWS,
            after: None,
        };
        let text = uri.query().unwrap_or("");
        if text.len() > LONGEST_QUERY {
            return Err(Refusal::new(
                StatusCode::URI_TOO_LONG,
                format!("the query has {} bytes; at most {LONGEST_QUERY} are read", text.len()),
            ));
        }
        let mut seen = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if seen.contains(&name) {
                return Err(bad(format!("`{}` is given twice", echo(&name))));
            }
            query.set(&name, &value)?;
            seen.push(name);
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        // An empty field of a form: not asked for.
        let given = !value.is_empty();
        match name {
            "format" => self.format = one_of(name, value, FORMATS)?,
            "asset" => self.format = one_of(name, value, ASSETS)?,
            "show" => {
                let parts = some_of(name, value, PARTS)?;
                let shows = |part| parts.contains(&part);
                self.show = Show { summary: shows(0), rows: shows(1), closed: shows(2) };
            }
            "state" if given => self.filter.states = some_of(name, value, STATES)?,
            "protocol" if given => self.filter.protocols = some_of(name, value, PROTOCOLS)?,
            "peer" if given => {
                let range = Cidr::parse(value).ok_or_else(|| {
                    wrong(name, value, "an IP address, or a range of them such as 10.0.0.0/8")
                })?;
                self.filter.peer = Some(range);
            }
            "min_age" if given => self.filter.min_age = Some(duration(name, value)?),
            "idle_for" if given => self.filter.idle_for = Some(duration(name, value)?),
            "sort" if given => {
                let (descending, by) = match value.strip_prefix('-') {
                    Some(by) => (true, by),
                    None => (false, value),
                };
                self.sort = Sort { by: one_of(name, by, SORTS)?, descending };
            }
            "limit" if given => {
                let expected = "a number from 1 to 1000";
                let limit = number(value).ok_or_else(|| wrong(name, value, expected))?;
                self.limit = usize::try_from(limit)
                    .ok()
                    .filter(|limit| (1..=MOST_ROWS).contains(limit))
                    .ok_or_else(|| wrong(name, value, expected))?;
            }
            "after" if given => {
                let id = number(value)
                    .ok_or_else(|| wrong(name, value, "the id of the last row that you have"))?;
                self.after = Some(ConnId::from(id));
            }
            "state" | "protocol" | "peer" | "min_age" | "idle_for" | "sort" | "limit" | "after" => {
            }
            _ => {
                return Err(bad(format!(
                    "there is no parameter `{}`; there are format, show, state, protocol, peer, \
                     min_age, idle_for, sort, limit and after",
                    echo(name)
                )));
            }
        }
        Ok(())
    }
}

type Names<T> = &'static [(&'static str, T)];

const FORMATS: Names<Format> = &[
    ("html", Format::Html),
    ("json", Format::Json),
    ("text", Format::Text),
    ("openmetrics", Format::OpenMetrics),
    ("events", Format::Events),
];

const ASSETS: Names<Format> = &[("page.js", Format::Script), ("page.css", Format::Style)];

const PARTS: Names<u8> = &[("summary", 0), ("rows", 1), ("closed", 2)];

const STATES: Names<ConnState> = &[
    ("new", ConnState::New),
    ("active", ConnState::Active),
    ("idle", ConnState::Idle),
    ("hijacked", ConnState::Hijacked),
];

const PROTOCOLS: Names<Protocol> =
    &[("http1", Protocol::Http1), ("http2", Protocol::Http2), ("unknown", Protocol::Unknown)];

const SORTS: Names<SortBy> = &[
    ("id", SortBy::Id),
    ("peer", SortBy::Peer),
    ("state", SortBy::State),
    ("state_for", SortBy::StateFor),
    ("age", SortBy::Age),
    ("protocol", SortBy::Protocol),
    ("requests", SortBy::Requests),
    ("bytes_received", SortBy::BytesReceived),
];

impl Format {
    /// What the client can make most of: a page for browsers, text for curl,
    /// which takes anything.
    fn accepted(headers: &HeaderMap) -> Self {
        let accepts = |media: &str| {
            let values = headers.get_all(header::ACCEPT).into_iter();
            values.filter_map(|value| value.to_str().ok()).any(|value| value.contains(media))
        };
        if accepts("text/html") {
            Self::Html
        } else if accepts("text/event-stream") {
            Self::Events
        } else if accepts("application/openmetrics-text") {
            Self::OpenMetrics
        } else if accepts("application/json") {
            Self::Json
        } else {
            Self::Text
        }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Events => "text/event-stream",
        })
    }
}

fn one_of<T: Copy>(name: &str, value: &str, names: Names<T>) -> Result<T, Refusal> {
    let found = names.iter().find(|(known, _)| *known == value);
    found.map(|(_, it)| *it).ok_or_else(|| {
        let known: Vec<_> = names.iter().map(|(known, _)| *known).collect();
        wrong(name, value, &format!("one of {}", known.join(", ")))
    })
}

fn some_of<T: Copy>(name: &str, value: &str, names: Names<T>) -> Result<Vec<T>, Refusal> {
    value.split(',').map(|value| one_of(name, value, names)).collect()
}

fn number(text: &str) -> Option<u64> {
    // `parse` takes a plus sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `90`, `90s`, `500ms`, `5m`, `2h`, `1d`.
fn duration(name: &str, text: &str) -> Result<Duration, Refusal> {
    let digits = text.len() - text.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let duration =
        number(count).zip(milliseconds).and_then(|(count, unit)| count.checked_mul(unit));
    duration
        .map(Duration::from_millis)
        .ok_or_else(|| wrong(name, text, "a time such as 90, 500ms, 30s, 5m, 2h or 1d"))
}

/// Undoes percent-encoding, and the plus signs of forms.
fn decode(text: &str) -> Result<Cow<'_, str>, Refusal> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'%', ..) => return Err(bad(format!("a stray % in `{}`", echo(text)))),
            (b'+', ..) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        at += 1;
    }
    let decoded = String::from_utf8(decoded);
    decoded.map(Cow::Owned).map_err(|_| bad(format!("`{}` is not UTF-8", echo(text))))
}

fn wrong(name: &str, value: &str, expected: &str) -> Refusal {
    bad(format!("`{name}` is `{}`; expected {expected}", echo(value)))
}

fn bad(message: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, message)
}

/// What was sent, short and harmless.
fn echo(text: &str) -> String {
    let mut echo = super::text::printable(text).chars().take(LONGEST_ECHO).collect::<String>();
    if text.chars().nth(LONGEST_ECHO).is_some() {
        echo.push('…');
    }
    echo
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Query, String> {
        let uri = Uri::builder().path_and_query(format!("/?{query}")).build().unwrap();
        Query::parse(&uri, &HeaderMap::new()).map_err(|refusal| refusal.message)
    }

    #[test]
    fn all_parameters() {
        let query = parse(
            "format=json&show=rows,closed&state=idle,active&protocol=http2&peer=10.0.0.0%2F8\
             &min_age=5m&idle_for=500ms&sort=-state_for&limit=1000&after=17",
        )
        .unwrap();
        assert_eq!(query.format, Format::Json);
        assert_eq!(query.show, Show { summary: false, rows: true, closed: true });
        assert_eq!(query.filter.states, [ConnState::Idle, ConnState::Active]);
        assert_eq!(query.filter.protocols, [Protocol::Http2]);
        assert_eq!(query.filter.peer, Cidr::parse("10.0.0.0/8"));
        assert_eq!(query.filter.min_age, Some(Duration::from_secs(300)));
        assert_eq!(query.filter.idle_for, Some(Duration::from_millis(500)));
        assert_eq!(query.sort, Sort { by: SortBy::StateFor, descending: true });
        assert_eq!((query.limit, query.after), (1000, Some(ConnId::from(17))));
        parse("state=&protocol=&peer=&min_age=&idle_for=&sort=&limit=&after=&&").unwrap();
    }

    #[test]
    fn what_is_wrong_is_said() {
        let says = |query: &str, says: &str| {
            let message = parse(query).unwrap_err();
            assert!(message.contains(says), "{query}: {message}");
        };
        says("stat=idle", "there is no parameter `stat`");
        says("state=idle,closed", "`state` is `closed`; expected one of new, active");
        says("protocol=spdy", "http1, http2, unknown");
        says("peer=10.0.0.0/33", "such as 10.0.0.0/8");
        says("min_age=5y", "such as 90");
        says("min_age=-1", "such as 90");
        says("min_age=18446744073709551615d", "such as 90");
        says("idle_for=s", "such as 90");
        says("sort=name", "one of id, peer");
        says("limit=0", "from 1 to 1000");
        says("limit=1001", "from 1 to 1000");
        says("limit=99999999999999999999999999", "from 1 to 1000");
        says("after=+1", "the id of the last row");
        says("limit=5&limit=6", "`limit` is given twice");
        says("state=%zz", "a stray %");
        says("state=%", "a stray %");
        says("state=%ff", "not UTF-8");
        says("format=xml", "html, json, text, openmetrics, events");
        says(&format!("state={}", "x".repeat(1000)), &format!("`{}…`", "x".repeat(60)));
        says(&format!("state={}", "x".repeat(5000)), "at most 4096");
        says("state=%1b[31m%E2%80%AE", "`\u{fffd}[31m\u{fffd}`");
    }
}
