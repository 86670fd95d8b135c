//! What the fuzz targets in `fuzz/` need of the inside, here only when they
//! are built; no part of the public face.

pub use crate::tracker::model::sequence::Sequence;
pub use crate::tracker::model::streams::Streams;
use crate::tracker::model::{bytes, facts};

/// Any bytes as HTTP/2 in both directions, in any pieces.
pub fn frames(input: &[u8]) {
    bytes::check(&bytes::script(input));
}

/// Any bytes as facts.
pub fn tracker(input: &[u8]) {
    facts::check(&facts::script(input));
}
