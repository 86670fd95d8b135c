//! Frames in, crossings out.

use super::frames::*;
use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub(super) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, b"block")
}

pub(super) fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, b"block")
}

pub(super) fn end(stream: u32) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, b"data")
}

pub(super) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0; 4])
}

fn goaway(last: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[&last.to_be_bytes()[..], &[0; 4], b"debug data"].concat())
}

fn goaway_for_an_error(last: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[&last.to_be_bytes()[..], &1_u32.to_be_bytes()].concat())
}

/// Read from the client, written by the server, or flushed.
enum Step {
    Read(Vec<u8>),
    Write(Vec<u8>),
    Flush,
}

use Step::{Flush, Read, Write};

fn run(steps: &[Step], split: usize) -> String {
    let mut http2 = Http2::default();
    let mut crossings = String::new();
    let mut note = |fact| match fact {
        Fact::StreamsOpened => crossings.push('('),
        Fact::StreamsClosed => crossings.push(')'),
        _ => {}
    };
    for step in steps {
        match step {
            Read(bytes) => bytes.chunks(split).for_each(|chunk| http2.read(chunk, &mut note)),
            Write(bytes) => bytes.chunks(split).for_each(|chunk| {
                http2.written(chunk);
            }),
            Flush => http2.flushed().into_iter().for_each(&mut note),
        }
    }
    crossings
}

#[track_caller]
fn check(steps: &[Step], expected: &str) {
    for split in (1..40).chain([usize::MAX]) {
        assert_eq!(run(steps, split), expected, "in pieces of {split}");
    }
}

#[test]
fn an_answer_counts_when_it_is_flushed() {
    check(&[Read(get(1)), Write(post(1)), Write(end(1))], "(");
    check(&[Read(get(1)), Write(end(1)), Flush], "()");
    check(&[Read(get(1)), Write(get(1)), Flush, Read(get(3)), Write(get(3)), Flush], "()()");
    check(&[Read(get(1)), Write(reset(1))], "(");
    check(&[Read(get(1)), Write(reset(1)), Flush], "()");
}

#[test]
fn a_client_ends_streams_as_it_is_read() {
    check(&[Read(get(1)), Read(reset(1))], "()");
    // The server's end was flushed before.
    check(&[Read(post(1)), Write(end(1)), Flush, Read(end(1))], "()");
    // It was not.
    check(&[Read(post(1)), Write(end(1)), Read(end(1))], "(");
    check(&[Read(post(1)), Write(end(1)), Read(end(1)), Flush], "()");
    check(&[Read(post(1)), Write(end(1)), Read(reset(1))], "()");
    // Trailers.
    check(&[Read(post(1)), Write(end(1)), Flush, Read(get(1))], "()");
}

#[test]
fn overlapping_streams_are_one_crossing() {
    let read = [get(1), post(3), get(5)].concat();
    let write = [end(1), end(5), end(3)].concat();
    check(&[Read(read), Write(write), Flush, Read(end(3))], "()");
    // A stream that opens before the last one's end is flushed.
    check(&[Read(get(1)), Write(end(1)), Read(get(3)), Flush, Write(end(3)), Flush], "()");
}

#[test]
fn header_blocks_in_pieces() {
    let block = [
        frame(HEADERS, END_STREAM, 1, b"one"),
        frame(CONTINUATION, 0, 1, b""),
        frame(CONTINUATION, END_HEADERS, 1, b"three"),
    ];
    check(&[Read(block[..2].concat())], "");
    check(&[Read(block.concat()), Write(end(1)), Flush], "()");
    check(&[Read(post(1)), Read(end(1)), Write(block[..2].concat()), Flush], "(");
    check(&[Read(post(1)), Read(end(1)), Write(block.concat()), Flush], "()");
}

#[test]
fn what_opens_no_stream() {
    check(&[Read(frame(0x2, 0, 1, &[0; 5]))], "");
    check(&[Read(frame(0x4, 0, 0, &[0; 6]))], "");
    check(&[Read(frame(0xbe, 0xff, 1, b"unknown"))], "");
    check(&[Read(frame(CONTINUATION, END_HEADERS, 1, b"without a beginning"))], "");
    // Even ids are the server's.
    check(&[Read(get(2))], "");
    // Ids do not come back.
    check(&[Read(get(5)), Read(reset(5)), Read(get(3)), Read(get(5))], "()");
    // The reserved bit is no part of the id.
    check(&[Read(get(1 | 1 << 31)), Read(reset(1))], "()");
    check(&[Read(reset(1)), Read(end(1)), Write(end(1)), Flush], "");
}

#[test]
fn goaway_ends_the_streams_above() {
    let open = || Read([get(1), get(3), post(5)].concat());
    check(&[open(), Write(goaway(3)), Flush, Write(end(3)), Flush], "(");
    check(&[open(), Write(goaway(3)), Flush, Write([end(1), end(3)].concat()), Flush], "()");
    check(&[open(), Write(goaway(0))], "(");
    check(&[open(), Write(goaway(0)), Flush], "()");
    // Later ones never open.
    check(&[Write(goaway(1)), Flush, Read(get(1)), Read(get(3)), Write(end(1)), Flush], "()");
    // The first of two, as in a graceful shutdown, ends nothing.
    check(&[open(), Write(goaway(i32::MAX as u32)), Flush], "(");
    // The client's is about streams of the server's.
    check(&[open(), Read(goaway(0))], "(");
}

/// However many streams a client opens and resets, what is kept is bounded by
/// those that are open.
/// The server gives up on the client: those streams were not served.
#[test]
fn goaway_for_an_error_is_no_end() {
    check(&[Read(get(1)), Write(goaway_for_an_error(0)), Flush], "(");
    check(&[Read(get(1)), Write(goaway_for_an_error(1)), Flush, Read(reset(1)), Flush], "(");
    check(&[Read(get(1)), Write(end(1)), Flush, Write(goaway_for_an_error(1)), Flush], "()");
}

#[test]
fn a_header_block_of_another_stream() {
    let start = frame(HEADERS, END_STREAM, 1, b"bl");
    let end = frame(CONTINUATION, END_HEADERS, 3, b"ock");
    check(&[Read(start), Read(end)], "");
}

#[test]
fn floods_leave_nothing_behind() {
    let mut http2 = Http2::default();
    // One that stays open all the time, in front.
    http2.read(&post(1), |_| {});
    for index in 1..100_000 {
        let stream = 2 * index + 1;
        http2.read(&[get(stream), reset(stream)].concat(), |_| {});
    }
    assert!(http2.streams.list.capacity() <= 8, "{}", http2.streams.list.capacity());

    // A thousand at a time, ended in the worst order.
    let mut stream = 1_000_001;
    for _ in 0..20 {
        let streams: Vec<_> = (0..1000).map(|index| stream + 2 * index).collect();
        stream += 2000;
        for stream in &streams {
            http2.read(&get(*stream), |_| {});
        }
        for stream in streams {
            http2.written(&end(stream));
            assert!(http2.streams.list.len() <= 2 * 1001);
        }
        http2.flushed();
        assert_eq!(http2.streams.open, 1);
    }
    assert!(http2.streams.list.capacity() <= 2048);
}

/// A header block that has begun, and how far it has come, as `[` and `]`.
fn blocks(steps: &[Step], split: usize) -> String {
    let mut http2 = Http2::default();
    let mut facts = String::new();
    for step in steps {
        let Read(bytes) = step else { panic!("only the client sends") };
        for chunk in bytes.chunks(split) {
            http2.read(chunk, |fact| {
                facts.push(match fact {
                    Fact::HeaderBlock { open: true } => '[',
                    Fact::HeaderBlock { open: false } => ']',
                    Fact::StreamsOpened => '(',
                    Fact::StreamsClosed => ')',
                    Fact::DataRead { .. } => '.',
                    fact => panic!("{fact:?}"),
                });
            });
        }
    }
    facts
}

/// Whether a head is under way.
fn in_head(facts: &str) -> bool {
    facts.rfind('[') > facts.rfind(']')
}

#[test]
fn a_header_block_that_has_begun_opens_no_stream() {
    let begun = Read(frame(HEADERS, END_STREAM, 1, b"a block that"));
    let more = || Read(frame(CONTINUATION, 0, 1, b" goes on and on"));
    let end = Read(frame(CONTINUATION, END_HEADERS, 1, b"."));
    let whole = || Read(get(3));
    let steps = [begun, more(), more(), end, whole()];
    for split in (1..40).chain([usize::MAX]) {
        assert_eq!(blocks(&steps[..1], split), "[", "in pieces of {split}");
        // Dripped: never out of it in between.
        assert_eq!(blocks(&steps[..3], split), "[", "in pieces of {split}");
        assert_eq!(blocks(&steps[..4], split), "[(]", "in pieces of {split}");
        let all = blocks(&steps, split);
        assert!(all.starts_with("[(]") && !in_head(&all), "{all} in pieces of {split}");
    }
    // Nothing of the kind is said of blocks that come whole.
    assert_eq!(blocks(&[whole(), Read(post(5))], usize::MAX), "(");
}

#[test]
fn a_head_begins_with_the_first_byte_of_a_frame() {
    for (frame, head) in
        [(get(1), 9 + 1), (frame(DATA, 0, 1, b"data"), 9), (frame(0x6, 0, 0, b"PING ..."), 9)]
    {
        for cut in 1..frame.len() {
            let (start, rest) = frame.split_at(cut);
            let said = blocks(&[Read(start.to_vec())], usize::MAX);
            assert_eq!(in_head(&said), cut < head || frame[3] == HEADERS, "{cut} of {frame:?}");
            let said = blocks(&[Read(start.to_vec()), Read(rest.to_vec())], usize::MAX);
            assert!(!in_head(&said), "{cut} of {frame:?}");
        }
    }
}

#[test]
fn data_is_counted_without_its_padding() {
    let data = |bytes: &[u8], split| {
        let mut http2 = Http2::default();
        let mut data = 0;
        for chunk in bytes.chunks(split) {
            http2.read(chunk, |fact| {
                if let Fact::DataRead { length } = fact {
                    data += length;
                }
            });
        }
        data
    };
    let plain = frame(DATA, 0, 1, b"data");
    let padded = frame(DATA, PADDED, 1, b"\x03data...");
    let empty = frame(DATA, PADDED, 1, b"\x03...");
    for split in 1..30 {
        assert_eq!(data(&plain, split), 4);
        assert_eq!(data(&padded, split), 4);
        assert_eq!(data(&empty, split), 0);
        assert_eq!(data(&[&*plain, &padded, &empty].concat(), split), 8);
    }
    // What there is of a frame counts before its end.
    assert_eq!(data(&plain[..9 + 2], 30), 2);
    assert_eq!(data(&padded[..9 + 2], 30), 0);
    // More padding than there is room for is an error, and no body.
    assert_eq!(data(&frame(DATA, PADDED, 1, b"\xffdata"), 30), 0);
}

/// Written for as long as something is unfinished, the server's bytes come to
/// the end of the frame or of the header block, and no further.
#[test]
fn what_is_unfinished() {
    let block = [frame(HEADERS, 0, 1, b"a"), frame(CONTINUATION, 0, 1, b"")];
    let units = [
        frame(DATA, 0, 1, b"data"),
        frame(DATA, END_STREAM, 1, b""),
        [block.concat(), frame(CONTINUATION, END_HEADERS, 1, b"block")].concat(),
        goaway(1),
    ];
    let bytes = units.concat();
    let mut boundaries = vec![0];
    for unit in &units {
        boundaries.push(boundaries.last().unwrap() + unit.len());
    }
    for cut in 0..=bytes.len() {
        let mut http2 = Http2::default();
        http2.written(&bytes[..cut]);
        let mut at = cut;
        while http2.unfinished() > 0 {
            let next = at + http2.unfinished();
            http2.written(&bytes[at..next]);
            at = next;
        }
        let expected = boundaries.iter().find(|boundary| **boundary >= cut);
        assert_eq!(Some(&at), expected, "cut at {cut}");
    }
}

/// What GOAWAY may name: what the server has been given, but for what an
/// earlier GOAWAY has sent away.
#[test]
fn the_last_stream() {
    let mut http2 = Http2::default();
    let read = |http2: &mut Http2, bytes: Vec<u8>| http2.read(&bytes, |_| {});
    assert_eq!((http2.last_stream(), http2.highest_stream()), (0, MAX_STREAM));
    read(&mut http2, [get(1), get(3)].concat());
    assert_eq!(http2.last_stream(), 3);
    http2.written(&goaway(MAX_STREAM));
    read(&mut http2, get(5));
    assert_eq!((http2.last_stream(), http2.highest_stream()), (5, MAX_STREAM));
    // Nobody got it.
    read(&mut http2, [end(5), get(7)].concat());
    http2.withdraw_read();
    assert_eq!(http2.last_stream(), 5);
    http2.written(&goaway(3));
    assert_eq!((http2.last_stream(), http2.highest_stream()), (3, 3));
    read(&mut http2, get(9));
    assert_eq!(http2.last_stream(), 3);
}
