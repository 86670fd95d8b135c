//! What the crate says of its connections: in numbers, metrics and traces.

mod stats;
