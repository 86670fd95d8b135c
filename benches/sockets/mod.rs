//! Servers on loopback sockets, and the client that loads them.

pub mod child;
pub mod client;
pub mod report;
pub mod server;
