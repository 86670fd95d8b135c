//! What clients do, at random.

use fastrand::Rng;

use super::clients::Client;
use super::process::ServerAt;
use crate::support::frames::{self, *};

/// One connection, from its beginning to its end.
pub fn behave(server: ServerAt, rng: &mut Rng) {
    let mut client = Client::connect(server);
    if server.tls {
        fail_a_handshake(&mut client, rng);
    } else {
        match rng.u8(..10) {
            0..6 => http1(&mut client, rng),
            6 => upgrade(&mut client, rng),
            7..9 => http2(&mut client, rng),
            _ => garbage(&mut client, rng),
        }
    }
    match rng.u8(..4) {
        0 => client.reset(),
        1 => {
            client.half_close();
            drop(client);
        }
        _ => drop(client),
    }
}

fn pick<'a>(rng: &mut Rng, choices: &[&'a str]) -> &'a str {
    choices[rng.usize(..choices.len())]
}

fn http1_post(length: usize, body: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn http1(client: &mut Client, rng: &mut Rng) {
    // Many have been here for a while.
    for _ in 0..rng.usize(..3) {
        client.get(pick(rng, &["/", "/empty", "/status/404"]));
        client.response();
    }
    match rng.u8(..14) {
        // Says nothing.
        0 => {}
        // Stops in the middle of a head.
        1 => {
            let head = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
            client.send(&head[..rng.usize(1..head.len())]);
        }
        // Stops in the middle of a body.
        2 => client.send(http1_post(100, &"x".repeat(rng.usize(..100)))),
        3 => client.send(
            "POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        ),
        // Pipelines, and reads some of the answers.
        4 => {
            let count = rng.usize(2..8);
            client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(count));
            for _ in 0..rng.usize(..=count) {
                client.response();
            }
        }
        // Half-closes behind a request.
        5 => {
            client.get("/");
            client.half_close();
            client.rest();
        }
        // Does not read a big answer, or not all of it.
        6 => {
            client.get(pick(rng, &["/150k", "/big", "/big-chunked", "/big-stream"]));
            client.read(rng.usize(..50_000));
        }
        // Does not wait for an answer that does not come.
        7 => client.get(pick(rng, &["/slow", "/stream"])),
        8 => {
            client.get(pick(rng, &["/panic", "/panic-late", "/body-error"]));
            client.rest();
        }
        9 => {
            client.send(http1_post(5, "hello"));
            client.response();
        }
        // Sends a body that nobody reads.
        10 => {
            let path = pick(rng, &["/ignore", "/read-some", "/detach"]);
            let length = rng.usize(5..100);
            client.send(format!(
                "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\nhello"
            ));
            client.response();
        }
        // The last one.
        11 => {
            let close = "GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
            let http10 = "GET / HTTP/1.0\r\n\r\n";
            client.send(pick(rng, &[close, http10]));
            client.rest();
        }
        12 => {
            client.send(
                "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n",
            );
            client.head();
            client.send("hello");
            client.response();
        }
        // A byte at a time.
        _ => {
            for byte in "GET / HTTP/1.1\r\nhost: test\r\n\r\n".bytes() {
                client.send([byte]);
            }
            client.response();
        }
    }
}

fn upgrade(client: &mut Client, rng: &mut Rng) {
    let upgrade = "host: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    match rng.u8(..6) {
        0 => {
            client.send("CONNECT nobody:443 HTTP/1.1\r\nhost: nobody:443\r\n\r\n");
            client.rest();
            return;
        }
        1 => {
            client.send("CONNECT test:443 HTTP/1.1\r\nhost: test:443\r\n\r\n");
            client.head();
        }
        2 => {
            client.send(format!("GET /upgrade-ignored HTTP/1.1\r\n{upgrade}"));
            client.rest();
            return;
        }
        // Does not wait for the answer.
        3 => return client.send(format!("GET /upgrade HTTP/1.1\r\n{upgrade}early")),
        _ => {
            client.send(format!("GET /upgrade HTTP/1.1\r\n{upgrade}"));
            client.head();
        }
    }
    for _ in 0..rng.usize(..3) {
        client.send("hello");
        assert!(client.read(5).is_none_or(|echo| echo == b"hello"));
    }
}

fn http2(client: &mut Client, rng: &mut Rng) {
    match rng.u8(..9) {
        // Half a preface.
        0 => client.send(&PREFACE[..rng.usize(1..PREFACE.len())]),
        1 => client.send(opening()),
        // Vanishes with streams open.
        2 => {
            let streams = (0..rng.u32(1..20)).map(|index| 2 * index + 1);
            let requests = streams.flat_map(|stream| get(stream, "/slow"));
            client.send([opening(), requests.collect()].concat());
        }
        // A flood of streams, each reset at once.
        3 => {
            let streams = (0..rng.u32(10..200)).map(|index| 2 * index + 1);
            let path = pick(rng, &["/slow", "/"]);
            let flood = streams.flat_map(|stream| [get(stream, path), reset(stream)].concat());
            client.send([opening(), flood.collect()].concat());
        }
        // What is not allowed.
        4 => {
            client.send([opening(), get(1, "/slow"), data(7, b"out of place", 0)].concat());
            client.rest();
        }
        // A big answer that is not read.
        5 => client.send([opening(), get(1, "/big")].concat()),
        6 => {
            client.send([opening(), get(1, "/panic"), get(3, "/")].concat());
            client.streams_end(2);
        }
        7 => {
            client.send([opening(), post_frames(1), post_frames(3), goaway(0)].concat());
            client.streams_end(2);
            client.rest();
        }
        _ => {
            client.send(opening());
            for index in 0..rng.u32(1..5) {
                client.send(get(4 * index + 1, "/"));
                client.send(post_frames(4 * index + 3));
                client.streams_end(2);
            }
        }
    }
}

fn post_frames(stream: u32) -> Vec<u8> {
    [frames::post(stream, "/echo"), data(stream, b"hello", END_STREAM)].concat()
}

fn garbage(client: &mut Client, rng: &mut Rng) {
    match rng.u8(..3) {
        0 => client.send("BOGUS REQUEST\r\n\r\n"),
        1 => client.send(std::iter::repeat_with(|| rng.u8(..)).take(100).collect::<Vec<_>>()),
        _ => client.send(CLIENT_HELLO),
    }
    // Half of them wait for what comes of it.
    if rng.bool() {
        client.half_close();
        client.rest();
    }
}

fn fail_a_handshake(client: &mut Client, rng: &mut Rng) {
    match rng.u8(..4) {
        0 => {}
        1 => client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n"),
        2 => client.send(std::iter::repeat_with(|| rng.u8(..)).take(100).collect::<Vec<_>>()),
        _ => client.send(CLIENT_HELLO),
    }
    if rng.bool() {
        client.half_close();
        client.rest();
    }
}

/// How a TLS handshake begins: a record of type handshake with a ClientHello
/// of 512 bytes, of which nothing more comes.
const CLIENT_HELLO: [u8; 11] = [0x16, 3, 1, 2, 4, 1, 0, 2, 0, 3, 3];
