//! The page itself, which is the same for everyone: its script asks for what it
//! shows.

use super::query::Format;

/// `None` if the format is none of the page's files.
pub(super) fn file(format: Format) -> Option<&'static str> {
    match format {
        Format::Html => Some(include_str!("page.html")),
        Format::Script => Some(include_str!("page.js")),
        Format::Style => Some(include_str!("page.css")),
        _ => None,
    }
}
