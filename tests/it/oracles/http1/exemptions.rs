//! Where the states may be other than hyper's doings, and why.

use super::answer::{Owner, Reading};
use super::request::Framing;
use super::script::{Exchange, Next};
use crate::support::Kind;

/// Idle may be reported while the request's body is still to come or to be
/// read: a task has it that outlives the answer, and this stack cannot put
/// anything around the body (`ConnStateLayer`, "Request bodies"). It has to be
/// Idle or ended once the body is read, like everywhere; and it may end without
/// another word if hyper finds then that it cannot keep the connection.
pub fn body_outlives_answer(kind: Kind, exchange: &Exchange) -> bool {
    let moved = matches!(
        exchange.answer.reading,
        Reading::Detached | Reading::DetachedLater | Reading::HeldAndDropped
    );
    moved && exchange.request.has_body() && !follows_bodies(kind)
}

/// Whether this crate puts something around requests' bodies.
fn follows_bodies(kind: Kind) -> bool {
    #[cfg(feature = "axum")]
    if kind == Kind::AxumLayer {
        return false;
    }
    // `serve` has everything in its hands.
    !matches!(kind, Kind::Tower | Kind::Hyper | Kind::Tls)
}

/// A handler that has taken the request's `OnUpgrade` and then answers neither
/// 101 nor a 2xx to CONNECT. hyper hands the stream over nevertheless if it
/// would otherwise end the connection behind that answer, and tells nobody; the
/// new owner's reads and writes look like hyper's own. What is reported from
/// then on may be anything that comes in order.
pub fn handed_over_otherwise(exchange: &Exchange) -> bool {
    let Exchange { request, answer, .. } = exchange;
    let switches = answer.status == 101
        || (request.method == "CONNECT" && (200..300).contains(&answer.status));
    answer.owner != Owner::None && !switches
}

/// The beginning of a head that comes in one go with the end of the request
/// before: what hyper has in its buffer is not to be seen, and so it is Idle
/// until the next bytes come, as in Go (Active is reported at the first byte
/// that is *read* while Idle).
pub fn begun_behind_another(before: &Exchange) -> bool {
    before.next == Next::Glued
}

/// Trailers of a request whose body is read when the answer is out already.
/// hyper has read them, and would answer a further request, but gives them to
/// the reader only when the next request's head has come: until then the body
/// is not over for the task that has it, and where bodies are followed the
/// connection is Active.
pub fn trailers_behind_answer(kind: Kind, exchange: &Exchange) -> bool {
    let read_later = matches!(exchange.answer.reading, Reading::Detached | Reading::DetachedLater);
    read_later && exchange.request.framing == Framing::ChunkedTrailers && follows_bodies(kind)
}
