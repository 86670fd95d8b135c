//! What a stream makes of the operations that are asked of it.

use std::io::ErrorKind;

/// All that there is.
pub const ALL: usize = usize::MAX;

/// What a stream makes of the operations that are asked of it.
///
/// They are numbered from 0, across both directions. Those that have nothing
/// to do (a read while the client is silent, a flush after a flush) count for
/// nothing: whoever asks for more of them sees the same stream.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many bytes a read gives, in turn; the last goes on for ever.
    pub reads: &'static [usize],
    /// How many bytes a write takes, in turn; the last goes on for ever.
    pub writes: &'static [usize],
    /// The first read gives so many bytes, the first write takes so many.
    pub first: Option<(usize, usize)>,
    pub vectored: bool,
    pub pending: Pending,
    /// Pending operations are woken when nothing else is left to do; or at
    /// once.
    pub wakes_late: bool,
    /// Writes go into a buffer, from which each poll of a flush sends so many
    /// bytes: as TLS does it.
    pub buffered: Option<usize>,
    pub fault: Option<(usize, Fault)>,
}

/// Which operations are pending first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    Never,
    Each,
    Once(usize),
    /// This one, and all after it, for ever.
    From(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This operation fails, and nothing else does.
    Once(ErrorKind),
    /// It fails, as do all that follow.
    Lasting(ErrorKind),
    /// If it is a write, it takes nothing.
    TakesNothing,
}

impl Plan {
    pub const PLAIN: Self = Self {
        reads: &[ALL],
        writes: &[ALL],
        first: None,
        vectored: true,
        pending: Pending::Never,
        wakes_late: true,
        buffered: None,
        fault: None,
    };
    /// A byte at a time.
    pub const CRUMBS: Self = Self { reads: &[1], writes: &[1], ..Self::PLAIN };
}
