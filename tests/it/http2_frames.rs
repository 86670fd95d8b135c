//! HTTP/2 by hand-made frames: what Go's server reports, at every pause of the
//! client.

use crate::support::frames::*;
use crate::support::{Peer, Server, everywhere};

/// Sends the preface and SETTINGS, and waits for the connection to be idle.
async fn open(peer: &mut Peer) {
    peer.sees("new").await;
    peer.send(opening()).await;
    peer.sees("active idle").await;
    peer.send(settings_ack()).await;
    peer.sees("").await;
}

async fn close_idle(mut peer: Peer) {
    peer.close().await;
    peer.sees("closed").await;
}

#[tokio::test(start_paused = true)]
async fn preface_and_settings_only() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        assert_eq!(peer.conn().protocol(), hyper_connstate::Protocol::Http2);
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_preface_in_two_parts() {
    everywhere!("h2", async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send(&PREFACE[..10]).await;
        peer.sees("active").await;
        peer.send(&PREFACE[10..]).await;
        peer.sees("idle").await;
        peer.send(settings()).await;
        peer.sees("").await;
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn half_a_preface_and_gone() {
    everywhere!("h2", async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send(&PREFACE[..23]).await;
        peer.sees("active").await;
        peer.close().await;
        peer.sees("closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_request() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        for stream in [1, 3, 5] {
            peer.send(get(stream, "/")).await;
            peer.sees("active idle").await;
            peer.end_of_stream(stream).await;
        }
        assert_eq!(peer.conn().requests(), 3);
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn preface_and_request_in_one_go() {
    everywhere!("h2", async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send([opening(), get(1, "/")].concat()).await;
        peer.sees("active idle active idle").await;
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn overlapping_streams() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send(post(1, "/echo")).await;
        peer.sees("active").await;
        peer.send(get(3, "/")).await;
        peer.end_of_stream(3).await;
        peer.sees("").await;
        peer.send(data(1, b"hello", END_STREAM)).await;
        peer.sees("idle").await;
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_hundred_overlapping_streams() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        let streams = || (0..100).map(|index| 2 * index + 1);
        peer.send(streams().flat_map(|stream| post(stream, "/echo")).collect::<Vec<_>>()).await;
        peer.sees("active").await;
        let ends = streams().flat_map(|stream| data(stream, b"x", END_STREAM));
        peer.send(ends.collect::<Vec<_>>()).await;
        peer.sees("idle").await;
        assert_eq!(peer.conn().requests(), 100);
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_no_requests() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send([ping(), priority(1), window_update(0, 1 << 20), settings()].concat()).await;
        peer.sees("").await;
        peer.send(frame(0xbe, 0xff, 0, b"an unknown type")).await;
        peer.sees("").await;
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn the_only_stream_is_reset() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        for stream in [1, 3] {
            peer.send(get(stream, "/slow")).await;
            peer.sees("active").await;
            peer.send(reset(stream)).await;
            peer.sees("idle").await;
        }
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn twenty_streams_opened_and_reset_at_once() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        let streams = (0..20).map(|index| 2 * index + 1);
        let frames = streams.flat_map(|stream| [get(stream, "/slow"), reset(stream)].concat());
        peer.send(frames.collect::<Vec<_>>()).await;
        peer.sees(&"active idle ".repeat(20)).await;
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_later() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send(post(1, "/echo")).await;
        peer.sees("active").await;
        peer.send(data(1, b"half", 0)).await;
        peer.sees("").await;
        peer.send(data(1, b"half", END_STREAM)).await;
        peer.sees("idle").await;
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_in_trailers() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send(post(1, "/echo")).await;
        peer.send(data(1, b"body", 0)).await;
        peer.sees("active").await;
        let trailers = b"\x00\x01x\x011";
        peer.send(frame(0x1, END_STREAM | END_HEADERS, 1, trailers)).await;
        peer.sees("idle").await;
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn an_empty_data_frame_ends_a_body() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send(post(1, "/echo")).await;
        peer.sees("active").await;
        peer.send(data(1, b"", END_STREAM)).await;
        peer.sees("idle").await;
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_header_block_in_several_frames() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        let block = block("GET", "/");
        // END_STREAM stands on the first frame and counts with the last.
        peer.send(frame(0x1, END_STREAM, 1, &block[..3])).await;
        peer.sees("").await;
        peer.send(continuation(1, &block[3..5], 0)).await;
        peer.sees("").await;
        peer.send(continuation(1, &block[5..], END_HEADERS)).await;
        peer.sees("active idle").await;
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_frame_byte_by_byte() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        let request = get(1, "/");
        let (last, start) = request.split_last().unwrap();
        for byte in start {
            peer.send([*byte]).await;
        }
        peer.sees("").await;
        peer.send([*last]).await;
        peer.sees("active idle").await;
        close_idle(peer).await;
    });
}

/// The handler answers and does not read the body: h2 resets the stream.
#[tokio::test(start_paused = true)]
async fn the_server_answers_before_the_body_ended() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send(post(1, "/ignore")).await;
        peer.sees("active idle").await;
        peer.end_of_stream(1).await;
        close_idle(peer).await;
    });
}

/// The body is read after the answer: the stream is open until it ends.
#[tokio::test(start_paused = true)]
async fn the_body_ends_after_the_answer() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send(post(1, "/detach")).await;
        peer.sees("active").await;
        peer.end_of_stream(1).await;
        peer.sees("").await;
        peer.send(data(1, b"late", END_STREAM)).await;
        peer.sees("idle").await;
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn the_handler_panics() {
    for path in ["/panic", "/panic-late"] {
        everywhere!("h2", async |mut peer: Peer| {
            open(&mut peer).await;
            for stream in [1, 3] {
                peer.send(get(stream, path)).await;
                peer.sees("active idle").await;
            }
            close_idle(peer).await;
        });
    }
}

/// Go reports Idle here before Closed; this crate does not, because the
/// requests were not served.
#[tokio::test(start_paused = true)]
async fn the_connection_breaks_with_open_streams() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send(get(1, "/slow")).await;
        peer.sees("active").await;
        peer.reset().await;
        peer.sees("closed").await;
    });
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send(get(1, "/slow")).await;
        peer.sees("active").await;
        peer.close().await;
        peer.sees("closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn the_client_says_goaway() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send(post(1, "/echo")).await;
        peer.sees("active").await;
        peer.send(goaway(0)).await;
        peer.sees("").await;
        peer.send(data(1, b"x", END_STREAM)).await;
        // Served to its end, and then closed by the server.
        peer.sees("idle closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_protocol_error_with_and_without_open_streams() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send(data(1, b"on a stream that was never opened", 0)).await;
        peer.sees("closed").await;
    });
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send(get(1, "/slow")).await;
        peer.sees("active").await;
        peer.send(data(5, b"on a stream that was never opened", 0)).await;
        peer.sees("closed").await;
    });
}

/// The requests were not served, so the connection was not idle before it was
/// closed: the server's GOAWAY says that it has not looked at them.
#[tokio::test(start_paused = true)]
async fn a_request_that_makes_the_server_close() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        peer.send(frame(0x1, END_STREAM | END_HEADERS, 1, &[0xff; 9])).await;
        peer.sees("active closed").await;
    });
}

/// A header block that goes on in another stream's frame never ends.
#[tokio::test(start_paused = true)]
async fn a_continuation_of_another_stream() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        let block = block("GET", "/");
        peer.send(frame(0x1, END_STREAM, 1, &block[..3])).await;
        peer.send(continuation(3, &block[3..], END_HEADERS)).await;
        peer.sees("closed").await;
    });
}

/// A CONNECT tunnel (RFC 9113, section 8.5) is a stream like any other.
#[tokio::test(start_paused = true)]
async fn a_connect_tunnel() {
    everywhere!("h2", async |mut peer: Peer| {
        open(&mut peer).await;
        let mut block = b"\x02\x07CONNECT".to_vec();
        block.extend(b"\x01\x09test:4433");
        peer.send(frame(0x1, END_HEADERS, 1, &block)).await;
        peer.sees("active").await;
        peer.send(data(1, b"through the tunnel", 0)).await;
        let echoed = loop {
            let frame = peer.frame().await;
            if frame.kind == 0x0 && frame.stream == 1 {
                break frame.payload;
            }
        };
        assert_eq!(echoed, b"through the tunnel");
        peer.sees("").await;
        peer.send(data(1, b"", END_STREAM)).await;
        peer.sees("idle").await;
        close_idle(peer).await;
    });
}

/// Streams above the server's limit are refused, and a flood of them leaves
/// nothing behind.
#[tokio::test(start_paused = true)]
async fn more_streams_than_the_server_takes() {
    let server = Server::configured(|mut builder| {
        builder.http2().max_concurrent_streams(1);
        builder
    })
    .await;
    let mut peer = server.connect().await;
    open(&mut peer).await;
    peer.send(get(1, "/slow")).await;
    peer.sees("active").await;
    peer.send([get(3, "/"), get(5, "/")].concat()).await;
    peer.end_of_stream(3).await;
    peer.end_of_stream(5).await;
    peer.sees("").await;
    peer.send(reset(1)).await;
    peer.sees("idle").await;
    peer.send(get(7, "/")).await;
    peer.sees("active idle").await;
    close_idle(peer).await;
}
