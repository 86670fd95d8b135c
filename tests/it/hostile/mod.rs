//! Streams that are as unhelpful as the traits allow, and what a server does
//! over them: with this crate, and without it.
//!
//! A [`Plan`](plan::Plan) says what a stream makes of each operation. A
//! [`Conversation`](conversation::Conversation) says what a client sends, and
//! what has to be reported whenever it pauses. [`check`](run::check) has both
//! with a bare server and with an instrumented one, and compares.

pub mod conversation;
pub mod plan;
pub mod run;
pub mod stack;
pub mod stream;
pub mod stuck;

use std::io::ErrorKind;

use hyper_connstate::CloseReason;

/// What an error of the transport's is to the program.
pub fn reason_of(kind: ErrorKind) -> CloseReason {
    match kind {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            CloseReason::PeerReset
        }
        ErrorKind::UnexpectedEof => CloseReason::PeerClosed,
        kind => CloseReason::Io(kind),
    }
}
