//! What the oracles have found, as small as it gets, on every stack.

use super::http1::answer::{Answer, Body, Length, Owner, Reading};
use super::http1::request::{Expect, Framing, Request};
use super::http1::script::Script as Http1;
use super::http1::script::{End, Exchange, Next};
use super::http2::frame::{Block, Frame, Headers, Padding};
use super::http2::script::Script as Http2;
use super::http2::script::Step::{self, Pause, Send};
use super::search::Script;
use crate::support::Kind;

/// Runs it everywhere, and says of all stacks where it fails.
fn check<S: Script>(script: impl Fn(Kind) -> S) {
    let mut report = String::new();
    for kind in Kind::all() {
        let script = script(kind);
        if let Err(fault) = script.run() {
            report += &format!("\n{}: {}\n{script}", fault.rule, fault.what);
        }
    }
    assert!(report.is_empty(), "{report}");
}

/// HTTP/1, first without and then with the program closing the connection at
/// the last Idle.
fn http1(exchanges: &[Exchange]) {
    for end in [End::Closes, End::HalfCloses] {
        check(|kind| Http1 { kind, exchanges: exchanges.to_vec(), close_at: None, end });
    }
    for close_at in 1..=exchanges.len() {
        check(|kind| Http1 {
            kind,
            exchanges: exchanges.to_vec(),
            close_at: Some(close_at),
            end: End::Closes,
        });
    }
}

fn http2(steps: &[Step]) {
    check(|kind| Http2 { kind, settings: true, steps: steps.to_vec() });
}

/// A request with a body of five bytes.
fn post() -> Exchange {
    let request = Request { method: "POST", framing: Framing::Length, body: 5, ..Request::GET };
    Exchange { request, ..Exchange::PLAIN }
}

/// The same, whose body comes after a pause.
fn post_in_parts() -> Exchange {
    Exchange { pieces: 1, ..post() }
}

fn connect(owner: Owner) -> Exchange {
    Exchange {
        request: Request { method: "CONNECT", ..Request::GET },
        answer: Answer { owner, ..Answer::PLAIN },
        ..Exchange::PLAIN
    }
}

fn switching(request: Request, owner: Owner) -> Exchange {
    Exchange {
        request,
        answer: Answer { status: 101, size: 0, owner, ..Answer::PLAIN },
        ..Exchange::PLAIN
    }
}

const UPGRADE: Request = Request { upgrade: true, ..Request::GET };

const OWNERS: [Owner; 4] = [Owner::None, Owner::Drops, Owner::Keeps, Owner::Echoes];

// === HTTP/1: Idle in the fast path

#[test]
fn a_length_and_chunks_on_a_kept_connection() {
    let mut both = post();
    both.request.framing = Framing::LengthAndChunked;
    http1(&[Exchange::PLAIN, both]);
}

#[test]
fn an_answer_in_http10_of_unknown_length_on_a_kept_connection() {
    for body in [Body::Unknown, Body::Trailers] {
        let answer = Answer { http10: true, body, ..Answer::PLAIN };
        http1(&[Exchange::PLAIN, Exchange { answer, ..Exchange::PLAIN }]);
    }
}

#[test]
fn a_refused_answer_behind_a_100_on_a_kept_connection() {
    let mut refused = post();
    refused.request.expect = Expect::Patient;
    (refused.answer.body, refused.answer.length) = (Body::Unknown, Length::Conflicting);
    http1(&[Exchange::PLAIN, refused]);
}

#[test]
fn an_answer_in_http10_while_a_task_reads_the_body() {
    for body in [Body::Unknown, Body::Trailers] {
        for reading in [Reading::Detached, Reading::DetachedLater, Reading::HeldAndDropped] {
            let answer = Answer { http10: true, body, reading, ..Answer::PLAIN };
            http1(&[Exchange { answer, ..post_in_parts() }]);
        }
    }
}

// === HTTP/1: Idle before the answer is out

fn waiting_for_the_client() -> Exchange {
    let answer = Answer { reading: Reading::Detached, size: 200_000, ..Answer::PLAIN };
    Exchange { answer, slow: true, next: Next::Glued, ..post_in_parts() }
}

#[test]
fn the_next_request_comes_with_the_end_of_a_body_while_the_answer_waits() {
    http1(&[waiting_for_the_client(), Exchange::PLAIN]);
}

#[test]
fn the_next_answer_is_refused_while_the_one_before_waits() {
    let answer = Answer { body: Body::Unknown, length: Length::Conflicting, ..Answer::PLAIN };
    http1(&[waiting_for_the_client(), Exchange { answer, ..Exchange::PLAIN }]);
}

#[test]
fn the_next_request_is_there_when_a_body_is_drained_while_the_answer_waits() {
    for framing in [Framing::Length, Framing::Chunked] {
        for reading in [Reading::Not, Reading::Some] {
            let mut first = post();
            first.request.framing = framing;
            (first.answer.reading, first.answer.size) = (reading, 200_000);
            first.next = Next::Glued;
            http1(&[first.clone(), Exchange::PLAIN]);
            (first.request.expect, first.answer.waits) = (Expect::Impatient, true);
            http1(&[first, Exchange::PLAIN]);
        }
    }
}

// === HTTP/1: a body that is read after the answer

#[test]
fn a_task_reads_the_body_after_the_answer() {
    for framing in [Framing::Length, Framing::Chunked, Framing::ChunkedTrailers] {
        for reading in [Reading::Detached, Reading::DetachedLater, Reading::HeldAndDropped] {
            let mut exchange = post_in_parts();
            (exchange.request.framing, exchange.answer.reading) = (framing, reading);
            http1(&[exchange.clone()]);
            http1(&[Exchange::PLAIN, exchange]);
        }
    }
}

#[test]
fn a_task_reads_a_body_that_is_not_asked_for() {
    let mut exchange = post();
    (exchange.request.expect, exchange.answer.reading) = (Expect::Patient, Reading::Detached);
    http1(&[exchange]);
}

#[test]
fn a_body_comes_before_the_layer_is_called() {
    // Its head is in hyper's buffer while the request before is served.
    let answer = Answer { waits: true, ..Answer::PLAIN };
    let first = Exchange { answer, next: Next::Glued, ..Exchange::PLAIN };
    let mut second = post_in_parts();
    second.request.body = 100_000;
    http1(&[first, second]);
}

#[test]
fn chunks_behind_trailers_in_one_go() {
    let mut first = post();
    (first.request.framing, first.next) = (Framing::ChunkedTrailers, Next::Glued);
    for framing in [Framing::Chunked, Framing::ChunkedTrailers, Framing::Length] {
        let mut second = post_in_parts();
        (second.request.framing, second.answer.reading) = (framing, Reading::Detached);
        http1(&[first.clone(), second]);
    }
}

#[test]
fn the_next_head_in_parts_behind_chunks() {
    for framing in [Framing::Chunked, Framing::ChunkedTrailers] {
        let mut first = post_in_parts();
        first.request.framing = framing;
        http1(&[first, Exchange { cut_head: true, ..Exchange::PLAIN }]);
    }
}

#[test]
fn a_length_said_twice() {
    // So the head is longer than hyper says.
    for body in [5, 5_000] {
        for reading in [Reading::All, Reading::Detached, Reading::HeldAndDropped] {
            let mut first = post_in_parts();
            (first.request.framing, first.request.body) = (Framing::LengthTwice, body);
            first.answer.reading = reading;
            http1(&[first, Exchange { cut_head: true, ..Exchange::PLAIN }]);
        }
    }
}

// === HTTP/1: streams that are handed over

#[test]
fn a_tunnel_whatever_its_owner_does() {
    for owner in OWNERS {
        http1(&[Exchange::PLAIN, connect(owner)]);
    }
}

#[test]
fn an_upgrade_whatever_its_owner_does() {
    for owner in OWNERS {
        http1(&[Exchange::PLAIN, switching(UPGRADE, owner)]);
    }
}

#[test]
fn a_tunnel_whose_answer_is_refused() {
    for expect in [Expect::No, Expect::Patient, Expect::Impatient] {
        for owner in OWNERS {
            let mut tunnel = connect(owner);
            let connect = tunnel.request;
            tunnel.request = Request { expect, ..post().request };
            tunnel.request.method = connect.method;
            tunnel.answer.length = Length::Right;
            http1(&[tunnel]);
        }
    }
}

#[test]
fn a_101_to_connect() {
    let request = Request { method: "CONNECT", ..Request::GET };
    for owner in OWNERS {
        http1(&[switching(request.clone(), owner)]);
    }
}

#[test]
fn an_upgrade_or_a_tunnel_with_a_body() {
    for reading in [Reading::All, Reading::Not, Reading::Detached, Reading::HeldAndDropped] {
        for owner in OWNERS {
            for pieces in [0, 1] {
                let mut upgrade = switching(Request { upgrade: true, ..post().request }, owner);
                (upgrade.answer.reading, upgrade.pieces) = (reading, pieces);
                http1(&[upgrade]);
                let mut tunnel = connect(owner);
                tunnel.request = Request { method: "CONNECT", ..post().request };
                (tunnel.answer.reading, tunnel.pieces) = (reading, pieces);
                http1(&[tunnel]);
            }
        }
    }
}

// === HTTP/2: streams that h2 has reset before they opened

fn get(stream: u32) -> Headers {
    Headers {
        stream,
        block: Block::Get,
        path: "/now",
        length: None,
        end_stream: true,
        parts: 1,
        padding: Padding::None,
        on: None,
    }
}

/// The first of two frames, which h2 answers with RST_STREAM at once.
fn half_on_itself() -> Step {
    Send(Frame::Headers(Headers { parts: 2, on: Some(1), ..get(1) }))
}

fn half_malformed() -> Step {
    Send(Frame::Headers(Headers { parts: 2, block: Block::Connection, ..get(1) }))
}

fn headers(stream: u32) -> Step {
    Send(Frame::Headers(get(stream)))
}

const ON_ITSELF: Step = Send(Frame::Priority { stream: 1, on: 1 });
const RESET: Step = Send(Frame::Reset { stream: 1, code: 8 });

/// It was reset; its headers come; another stream is served.
fn used_again(reset_by_the_server: Step) {
    let first = reset_by_the_server;
    http2(&[first.clone(), Pause, headers(1), Pause, headers(3), Pause]);
    http2(&[first.clone(), headers(1), Pause, headers(3), Pause]);
    // The client resets it too.
    http2(&[first.clone(), Pause, RESET, Pause, headers(1), Pause, headers(3), Pause]);
    http2(&[first.clone(), RESET, headers(1), Pause, headers(3), Pause]);
    http2(&[first, RESET, Pause, headers(1), Pause, headers(3), Pause]);
}

#[test]
fn headers_after_a_priority_on_itself() {
    used_again(ON_ITSELF);
}

#[test]
fn headers_after_half_of_a_block_on_itself() {
    used_again(half_on_itself());
}

#[test]
fn headers_after_half_of_a_malformed_block() {
    used_again(half_malformed());
}
