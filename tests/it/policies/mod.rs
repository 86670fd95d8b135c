//! Time-outs, ages and limits: each fires in its window and not before, on
//! every stack, and what must survive does.
//!
//! The streams are in memory and the clock is paused, so a window is exact; but in
//! `sockets`.

mod ages;
mod bench;
mod bodies;
mod changes;
mod drips;
mod frames;
mod heads;
mod idle;
mod keepers;
mod limits;
mod opening;
mod places;
mod readiness;
mod sockets;
mod survivors;
mod takers;
mod tunnels;
mod writes;
