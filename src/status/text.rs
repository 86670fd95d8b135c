//! Text: for curl, and for what reads nginx's `stub_status`.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::time::Duration;

use super::Column;
use super::rows::Page;
use super::summary::{STATES, Summary};
use crate::conn::now;
use crate::connections::closed::ClosedConn;
use crate::{CloseReason, ConnState};

/// What one answer has.
pub(super) struct Document<'a> {
    pub(super) summary: Option<&'a Summary>,
    pub(super) page: Option<&'a Page>,
    pub(super) closed: Option<&'a [ClosedConn]>,
    pub(super) columns: &'a [Column],
}

impl fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(summary) = self.summary {
            stub_status(summary, f)?;
            f.write_char('\n')?;
            overview(summary, f)?;
        }
        if let Some(page) = self.page {
            rows(page, self.columns, f)?;
        }
        if let Some(closed) = self.closed {
            last_closed(closed, f)?;
        }
        Ok(())
    }
}

/// To the letter, spaces at the ends of lines included: there are programs
/// that read it. What nginx calls writing is Active here or Hijacked, and
/// waiting is Idle.
fn stub_status(summary: &Summary, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let of = |state| summary.counts.get(state);
    writeln!(f, "Active connections: {} ", summary.counts.total())?;
    writeln!(f, "server accepts handled requests")?;
    writeln!(f, " {0} {0} {1} ", summary.accepted, summary.requests)?;
    writeln!(
        f,
        "Reading: {} Writing: {} Waiting: {} ",
        of(ConnState::New),
        of(ConnState::Active) + of(ConnState::Hijacked),
        of(ConnState::Idle),
    )
}

fn overview(summary: &Summary, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let draining = if summary.draining { ", draining" } else { "" };
    writeln!(f, "up {}{draining}", Time(summary.uptime))?;
    let mut states = Table::new(&["", "new", "active", "idle", "hijacked", "all"]);
    for (protocol, counts) in summary.by_protocol {
        let numbers = STATES.map(|state| counts.get(state).to_string());
        let all = counts.total().to_string();
        states.row(std::iter::once(protocol.to_string()).chain(numbers).chain([all]));
    }
    write!(f, "\n{states}")?;
    let counted = |heading, rows: Vec<(String, u64)>, f: &mut fmt::Formatter<'_>| {
        let mut table = Table::new(&[heading, ""]);
        for (name, count) in rows {
            table.row([name, count.to_string()]);
        }
        if table.rows.len() > 1 { write!(f, "\n{table}") } else { Ok(()) }
    };
    let listeners = summary.listeners.iter();
    counted("listener", listeners.map(|(at, n)| (at.to_string(), *n as u64)).collect(), f)?;
    let peers = summary.peers.iter();
    counted("peer", peers.map(|(peer, n)| (peer.to_string(), *n as u64)).collect(), f)?;
    let reasons = summary.reasons.iter();
    counted("ended", reasons.map(|(reason, n)| (reason_words(*reason), *n)).collect(), f)
}

fn rows(page: &Page, columns: &[Column], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if page.rows.is_empty() {
        return writeln!(f, "\nno connection matches");
    }
    let names = ["id", "peer", "state", "for", "age", "protocol", "requests", "bytes in"];
    let own = columns.iter().map(|column| &*column.name);
    let mut table = Table::new(&names.into_iter().chain(own).collect::<Vec<_>>());
    for row in &page.rows {
        let cells = [
            row.id.to_string(),
            row.peer.to_string(),
            row.state.to_string(),
            Time(row.state_for).to_string(),
            Time(row.age).to_string(),
            match row.tls {
                Some(version) => format!("{}, TLS {version}", row.protocol),
                None => row.protocol.to_string(),
            },
            row.requests.to_string(),
            row.bytes_received.map_or("-".to_owned(), |bytes| bytes.to_string()),
        ];
        let own = row.more.iter().map(|value| value.as_deref().unwrap_or("-").to_owned());
        table.row(cells.into_iter().chain(own));
    }
    write!(f, "\n{table}")?;
    match page.next() {
        Some(id) => writeln!(f, "{} of {}; more: after={id}", page.rows.len(), page.matched),
        None => Ok(()),
    }
}

fn last_closed(closed: &[ClosedConn], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if closed.is_empty() {
        return Ok(());
    }
    let mut table =
        Table::new(&["closed", "peer", "was", "ago", "lasted", "protocol", "requests", "why"]);
    for conn in closed {
        table.row([
            conn.id.to_string(),
            conn.remote_addr.to_string(),
            conn.state.to_string(),
            Time(now().saturating_duration_since(conn.closed_at)).to_string(),
            Time(conn.closed_at.saturating_duration_since(conn.accepted_at)).to_string(),
            conn.protocol.to_string(),
            conn.requests.to_string(),
            conn.reason.to_string(),
        ]);
    }
    write!(f, "\n{table}")
}

/// Columns as wide as what is in them.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|name| printable(name).into_owned()).collect()] }
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell).into_owned()).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.rows.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count())).max()
        };
        let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:width$}  ");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A time in two units at most: `3d 4h`, `12.3s`.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => write!(f, "{:.1}s", self.0.as_millis() as f64 / 1000.0),
            60..3600 => write!(f, "{}m {}s", seconds / 60, seconds % 60),
            3600..86400 => write!(f, "{}h {}m", seconds / 3600, seconds / 60 % 60),
            _ => write!(f, "{}d {}h", seconds / 86400, seconds / 3600 % 24),
        }
    }
}

/// Replaces what would move a terminal's cursor, or turn its text around.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let unprintable = |char: char| {
        char.is_control()
            || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if text.contains(unprintable) {
        Cow::Owned(text.replace(unprintable, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// One for I/O errors of all kinds.
pub(super) fn reason_words(reason: CloseReason) -> String {
    match reason {
        CloseReason::Io(_) => "I/O error".to_owned(),
        reason => reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let text = |milliseconds| Time(Duration::from_millis(milliseconds)).to_string();
        assert_eq!(text(0), "0.0s");
        assert_eq!(text(12_345), "12.3s");
        assert_eq!(text(61_000), "1m 1s");
        assert_eq!(text(3_661_000), "1h 1m");
        assert_eq!(text(90_000_000), "1d 1h");
    }

    #[test]
    fn codes() {}
}
