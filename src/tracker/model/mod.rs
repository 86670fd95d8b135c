//! The contract, written a second time: plainly, and without a look at how the
//! tracker does it.
//!
//! The property tests and the fuzz targets compare the tracker with this. Both
//! get their scripts from arbitrary bytes, so that what one of them finds can
//! be given to the other.
//!
//! - [`sequence`]: which states may follow one another.
//! - [`facts`]: a script of facts, and what has to be reported for them.
//! - [`bytes`]: a script of bytes in both directions, and the same in pieces.
//! - [`streams`]: which HTTP/2 streams are open.

pub(crate) mod bytes;
pub(crate) mod exchange;
pub(crate) mod facts;
pub(crate) mod sequence;
pub(crate) mod streams;
