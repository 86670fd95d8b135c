//! Where the states may be other than hyper's doings, and why.

use super::answer::{Owner, Reading};
use super::request::Framing;
use super::script::{Exchange, Next};
use crate::support::Kind;

/// Where nothing can be put around the request's body its bytes are counted,
/// and these are miscounted behind
///
/// - a head that hyper has taken a length out of, and is longer than it seems;
/// - the end of chunks that came in one go with the beginning of what is behind
///   them, so that nobody knows where that begins.
///
/// There Idle may be reported while a task that outlives the answer has the
/// body, and when the next head has begun. It has to be Idle or ended once the
/// bodies are read, like everywhere; and it may end without another word if
/// hyper finds then that it cannot keep the connection.
pub fn miscounted<'a>(
    kind: Kind,
    begun: impl Iterator<Item = &'a Exchange>,
    head_sent: bool,
) -> bool {
    let counted = |exchange: &&Exchange| match exchange.request.framing {
        Framing::LengthTwice | Framing::LengthAndChunked => false,
        Framing::Chunked | Framing::ChunkedTrailers => exchange.next == Next::After,
        _ => true,
    };
    let mut behind = begun.skip_while(counted).peekable();
    let any = behind.peek().is_some() && !kind.follows_bodies();
    any && (!head_sent || behind.any(moves_body))
}

/// Chunks behind a head that hyper has taken a length out of: where they begin
/// is not known, and the end of their head, in one read with what seems to be
/// more, is taken for theirs. What comes of them behind the answer looks like the
/// next request, so it is Active until that has come.
pub fn chunks_behind_a_longer_head(kind: Kind, begun: &[Exchange]) -> bool {
    let Some((last, before)) = begun.split_last() else { return false };
    let longer = |exchange: &Exchange| exchange.request.framing == Framing::LengthTwice;
    let chunked = matches!(last.request.framing, Framing::Chunked | Framing::ChunkedTrailers);
    before.iter().any(longer) && chunked && moves_body(last) && !kind.follows_bodies()
}

/// Whether a task has the request's body that outlives the answer.
fn moves_body(exchange: &Exchange) -> bool {
    use Reading::*;
    matches!(exchange.answer.reading, Detached | DetachedLater | HeldAndDropped)
        && exchange.request.has_body()
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
    read_later && exchange.request.framing == Framing::ChunkedTrailers && kind.follows_bodies()
}
