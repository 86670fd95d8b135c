//! Requests that were sent behind others.

use std::time::Duration;

use hyper_connstate::{Conn, ConnState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::http1::{self, wait};
use crate::support::handler::released;
use crate::support::{Kind, Peer, Recorder, Server, settle};

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

/// How each of these answers begins, whole as they all are.
fn closes(answers: &str) -> Vec<bool> {
    let answers = answers.split("HTTP/1.1 200 OK").skip(1);
    answers.map(|answer| answer.contains("connection: close")).collect()
}

#[tokio::test(start_paused = true)]
async fn two_and_a_drain_while_the_first_waits() {
    for kind in Kind::all() {
        for all in [false, true] {
            for together in [false, true] {
                let mut peer = http1::Peer::connect(kind).await;
                let first = "GET /wait/first HTTP/1.1\r\nhost: test\r\n\r\n";
                if together {
                    peer.send(&format!("{first}{REQUEST}"));
                } else {
                    peer.send(first);
                    wait(Duration::from_millis(10)).await;
                    peer.send(REQUEST);
                }
                wait(Duration::from_millis(10)).await;
                if all {
                    let drain = peer.connections.drain(Duration::from_secs(60));
                    tokio::spawn(drain.into_future());
                } else {
                    peer.conn().drain();
                }
                wait(Duration::from_secs(3)).await;
                released("first").notify_one();
                let answers = peer.received().await;
                assert_eq!(closes(&answers), [false, true], "{kind:?}: {answers}");
                assert!(answers.contains("\r\n\r\nwaited\n"), "{kind:?}: {answers}");
                assert!(answers.ends_with("\r\n\r\nhello\n"), "{kind:?}: {answers}");
                assert!(peer.is_ended().await, "{kind:?}");
            }
        }
    }
}

/// The one behind has only begun: it is waited for.
#[tokio::test(start_paused = true)]
async fn one_and_a_half() {
    for kind in Kind::all() {
        let mut peer = http1::Peer::connect(kind).await;
        let first = "GET /wait/half HTTP/1.1\r\nhost: test\r\n\r\n";
        peer.send(&format!("{first}{}", &REQUEST[..10]));
        wait(Duration::from_millis(10)).await;
        peer.conn().drain();
        released("half").notify_one();
        let answer = peer.received().await;
        assert_eq!(closes(&answer), [false], "{kind:?}: {answer}");
        wait(Duration::from_secs(3)).await;
        peer.send(&REQUEST[10..]);
        http1::check_answer(&peer.received().await, "hello\n", true);
        assert!(peer.is_ended().await, "{kind:?}");
    }
}

/// More than a server reads at a time, on real sockets.
#[tokio::test]
async fn six_hundred_and_a_drain() {
    for kind in Kind::all() {
        let server = Server::start(kind).await;
        let mut peer = server.connect().await;
        let first = "GET /wait/six-hundred HTTP/1.1\r\nhost: test\r\n\r\n";
        peer.send(format!("{first}{}", REQUEST.repeat(600))).await;
        until(&peer, ConnState::Active).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        peer.conn().drain();
        released("six-hundred").notify_one();
        let answers = String::from_utf8(peer.rest().await).unwrap();
        let closes = closes(&answers);
        assert_eq!(closes.len(), 601, "{kind:?}");
        assert_eq!(closes.iter().position(|close| *close), Some(600), "{kind:?}");
        assert!(answers.ends_with("\r\n\r\nhello\n"), "{kind:?}");
    }
}

async fn until(peer: &Peer, state: ConnState) {
    while peer.recorder.states(peer.name()).last() != Some(&state) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// An answer that is reported as served arrives, whatever the client has sent
/// behind it and how slowly it reads.
#[tokio::test]
async fn six_hundred_and_a_close_at_the_first_idle() {
    let kinds = Kind::all().into_iter().filter(|kind| !kind.is_tls());
    for kind in kinds {
        for path in ["/60k", "/chunked"] {
            let recorder = Recorder::default();
            let hook = (recorder.clone(), |conn: &Conn, state: ConnState| {
                if state == ConnState::Idle {
                    conn.close();
                }
            });
            let server = Server::start_with(kind, recorder, hook, |builder| builder).await;
            let socket = TcpSocket::new_v4().unwrap();
            // The smallest that there is.
            socket.set_recv_buffer_size(2048).unwrap();
            let mut tcp = socket.connect(server.addr).await.unwrap();
            let first = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
            let requests = format!("{first}{}", REQUEST.repeat(600));
            tcp.write_all(requests.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;

            let mut answer = Vec::new();
            let mut chunk = [0; 512];
            loop {
                match tcp.read(&mut chunk).await {
                    Ok(0) => break,
                    Ok(length) => answer.extend_from_slice(&chunk[..length]),
                    Err(error) => panic!("{kind:?}: {error} after {} bytes", answer.len()),
                }
            }
            let answer = String::from_utf8(answer).unwrap();
            assert_eq!(closes(&answer), [false], "{kind:?}");
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            if path == "/60k" {
                assert_eq!(body.len(), 60_000, "{kind:?}");
            } else {
                assert!(body.ends_with("0\r\n\r\n"), "{kind:?}");
            }
        }
    }
}

/// The same in memory: what is behind the answer is not begun.
#[tokio::test(start_paused = true)]
async fn a_close_at_idle_with_a_request_behind_it() {
    for kind in Kind::all() {
        let recorder = Recorder::default();
        let hook = (recorder.clone(), |conn: &Conn, state: ConnState| {
            if state == ConnState::Idle {
                conn.close();
            }
        });
        let server = Server::start_with(kind, recorder, hook, |builder| builder).await;
        let mut peer = server.connect().await;
        peer.send(REQUEST.repeat(3)).await;
        let answers = String::from_utf8(peer.rest().await).unwrap();
        assert_eq!(closes(&answers), [false], "{kind:?}: {answers}");
        settle().await;
        let conn = peer.conn();
        peer.close().await;
        conn.closed().await;
        let reason = conn.close_reason();
        assert_eq!(reason, Some(hyper_connstate::CloseReason::ClosedByProgram), "{kind:?}");
    }
}
