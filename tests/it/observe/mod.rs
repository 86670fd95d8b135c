//! What the crate says of its connections: in numbers, metrics and traces.

#[cfg(all(feature = "metrics", feature = "opentelemetry"))]
mod dashboard;
#[cfg(all(feature = "metrics", feature = "opentelemetry"))]
mod export;
#[cfg(all(feature = "metrics", feature = "opentelemetry"))]
mod metrics;
mod stats;
#[cfg(feature = "tracing")]
mod trace;
