//! `Conn::close`: the connection ends soon, whatever it was waiting for, and a
//! response that has been given is never cut short.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_connstate::CloseReason::{self, ClosedByProgram};
use hyper_connstate::{Address, Conn, ConnIo, ConnState, ConnStateLayer};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::frames::*;
use crate::support::raw::serve_with;
use crate::support::server::new_builder;
use crate::support::{
    Kind, Peer, Recorder, Server, Woken, everywhere, settle, start_watchdog, tls,
};

/// Closes the connection and checks that it ends.
async fn close(peer: Peer) {
    let conn = peer.conn();
    assert_eq!(conn.close_reason(), None);
    conn.close();
    peer.sees("closed").await;
    assert_eq!(conn.close_reason(), Some(ClosedByProgram));
    conn.closed().await;
    // Again, and too late: nothing.
    conn.close();
    peer.sees("").await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_new_connection() {
    everywhere!(async |peer: Peer| {
        peer.sees("new").await;
        close(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn half_a_head() {
    everywhere!(async |mut peer: Peer| {
        peer.send("GET / HT").await;
        peer.sees("new active").await;
        close(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection() {
    everywhere!(async |mut peer: Peer| {
        peer.get("/").await;
        peer.sees("new active idle").await;
        close(peer).await;
    });
    everywhere!("h2", async |mut peer: Peer| {
        peer.send([opening(), get(1, "/")].concat()).await;
        peer.sees("new active idle active idle").await;
        close(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_handler_at_work() {
    for path in ["/slow", "/stream"] {
        everywhere!(async |mut peer: Peer| {
            peer.get(path).await;
            peer.sees("new active").await;
            close(peer).await;
        });
        everywhere!("h2", async |mut peer: Peer| {
            peer.send([opening(), get(1, path)].concat()).await;
            peer.sees("new active idle active").await;
            close(peer).await;
        });
    }
}

/// With `half_close` hyper does not read while a handler runs.
#[tokio::test(start_paused = true)]
async fn a_handler_at_work_with_half_close() {
    let server = Server::configured(|mut builder| {
        builder.http1().half_close(true);
        builder
    })
    .await;
    let mut peer = server.connect().await;
    peer.get("/slow").await;
    peer.sees("new active").await;
    close(peer).await;
    let mut peer = server.connect().await;
    peer.get("/").await;
    peer.sees("new active idle").await;
    close(peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come() {
    everywhere!(async |mut peer: Peer| {
        peer.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nhalf").await;
        peer.sees("new active").await;
        close(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read() {
    for path in ["/big", "/big-chunked"] {
        everywhere!(async |mut peer: Peer| {
            peer.get(path).await;
            peer.sees("new active").await;
            close(peer).await;
        });
    }
}

/// A hijacked stream's new owner is told by an error; the end of the stream
/// is not a state, but it can be waited for.
#[tokio::test(start_paused = true)]
async fn a_hijacked_connection() {
    everywhere!(async |mut peer: Peer| {
        let upgrade = "host: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        peer.send(format!("GET /upgrade HTTP/1.1\r\n{upgrade}hi")).await;
        peer.head().await;
        assert_eq!(peer.read(2).await, b"hi");
        peer.sees("new active hijacked").await;
        let conn = peer.conn();
        assert_eq!(conn.close_reason(), None);
        let closed = tokio::spawn({
            let conn = conn.clone();
            async move { conn.closed().await }
        });
        settle().await;
        assert!(!closed.is_finished());
        conn.close();
        closed.await.unwrap();
        assert_eq!(conn.close_reason(), Some(ClosedByProgram));
        assert_eq!(peer.rest().await, b"");
        peer.sees("").await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_hijacked_connection_whose_owner_is_done() {
    everywhere!(async |mut peer: Peer| {
        let upgrade = "host: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        peer.send(format!("GET /upgrade HTTP/1.1\r\n{upgrade}hi")).await;
        peer.head().await;
        assert_eq!(peer.read(2).await, b"hi");
        peer.sees("new active hijacked").await;
        let conn = peer.conn();
        peer.close().await;
        conn.closed().await;
        assert_eq!(conn.close_reason(), Some(CloseReason::PeerClosed));
        assert_eq!(conn.state(), ConnState::Hijacked);
    });
}

#[tokio::test(start_paused = true)]
async fn a_handshake() {
    for kind in Kind::all().into_iter().filter(|kind| kind.is_tls()) {
        let server = Server::start(kind).await;
        let tcp = TcpStream::connect(server.addr).await.unwrap();
        let client = tcp.local_addr().unwrap().to_string();
        let mut peer = Peer::new(tcp, client, kind, server.recorder.clone());
        peer.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await;
        peer.sees("new").await;
        close(peer).await;
    }
}

/// From a handler: the request that is under way is broken off.
#[tokio::test(start_paused = true)]
async fn from_a_handler() {
    let server = serve_with(async |io, conn| {
        let service = hyper::service::service_fn({
            let conn = conn.clone();
            move |_| {
                conn.close();
                std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(
                    String::from("never sent"),
                )))
            }
        });
        let service =
            tower_layer::Layer::layer(&hyper_connstate::ConnStateLayer::for_conn(&conn), service);
        let io = hyper_util::rt::TokioIo::new(io);
        let _ = new_builder().serve_connection(io, service).await;
    })
    .await;
    let mut peer = server.connect().await;
    peer.get("/").await;
    peer.sees("new active closed").await;
    assert_eq!(peer.rest().await, b"");
}

/// What was pipelined behind the answer is not begun.
#[tokio::test(start_paused = true)]
async fn with_requests_in_the_buffer() {
    for kind in Kind::all() {
        let recorder = Recorder::default();
        let hook = (recorder.clone(), close_when_idle);
        let server = Server::start_with(kind, recorder, hook, |builder| builder).await;
        let mut peer = server.connect().await;
        peer.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(3)).await;
        let answers = String::from_utf8(peer.rest().await).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200").count(), 1, "{kind:?} {answers}");
        assert!(answers.ends_with("\r\n\r\nhello\n"), "{kind:?} {answers}");
        // The client has half a second to close its side.
        tokio::time::sleep(Duration::from_millis(600)).await;
        settle().await;
        let states = peer.recorder.states(peer.name());
        assert_eq!(states.last(), Some(&ConnState::Closed), "{kind:?} {states:?}");
    }
}

fn close_when_idle(conn: &Conn, state: ConnState) {
    // HTTP/2 is idle once before its first request.
    if state == ConnState::Idle && conn.requests() > 0 {
        conn.close();
    }
}

/// The answer is in the sockets and not with the client when the connection is
/// closed, and what still comes in must not make the system throw it away.
#[tokio::test]
async fn with_bytes_under_way_in_both_directions() {
    let recorder = Recorder::default();
    let hook = (recorder.clone(), close_when_idle);
    let server = Server::start_with(Kind::Tower, recorder, hook, |builder| builder).await;
    for _ in 0..20 {
        let mut peer = server.connect().await;
        peer.get("/150k").await;
        while !peer.recorder.states(peer.name()).contains(&ConnState::Idle) {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            peer.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
            tokio::task::yield_now().await;
        }
        assert_eq!(peer.response().await.body.len(), 150 << 10);
        assert_eq!(peer.rest().await, b"");
    }
}

/// Ten thousand requests over each protocol, with `close` at every Idle: every
/// client has its whole answer.
#[test]
fn ten_thousand_answers() {
    const CLIENTS: usize = 20;
    const REQUESTS: usize = 500;

    start_watchdog();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for (kind, alpn) in [
            (Kind::Tower, "http/1.1"),
            (Kind::Tower, "h2"),
            (Kind::Tls, "http/1.1"),
            (Kind::Tls, "h2"),
        ] {
            // Handshakes take time; TLS differs in what lies below only.
            let requests = if kind.is_tls() { REQUESTS / 10 } else { REQUESTS };
            let recorder = Recorder::default();
            let hook = |conn: &Conn, state: ConnState| close_when_idle(conn, state);
            let server = Server::start_with(kind, recorder, hook, |builder| builder).await;
            let server = Arc::new(server);
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let server = server.clone();
                    tokio::spawn(async move {
                        for request in 0..requests {
                            let mut peer = server.connect_alpn(alpn).await;
                            whole_answer(&mut peer, alpn, request).await;
                        }
                    })
                })
                .collect();
            for client in clients {
                client.await.unwrap();
            }
            let wait = async {
                while !server.connections.is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
        }
    });
}

async fn whole_answer(peer: &mut Peer, alpn: &str, request: usize) {
    let (path, length) = [("/", 6), ("/chunked", 11), ("/60k", 60_000)][request % 3];
    let body = if alpn == "h2" {
        peer.send([opening(), window_update(0, 1 << 20), get(1, path)].concat()).await;
        let mut body = Vec::new();
        loop {
            let frame = peer.frame().await;
            if frame.stream == 1 && frame.kind == 0x0 {
                body.extend(frame.payload);
            }
            if frame.stream == 1 && frame.flags & END_STREAM != 0 {
                break body;
            }
        }
    } else {
        peer.get(path).await;
        peer.response().await.body
    };
    assert_eq!(body.len(), length);
    assert_eq!(peer.rest_of_frames_or_nothing(alpn).await, 0);
}

/// A socket's own end in TLS: the close is announced (close_notify), so that
/// the client can tell it from a cut.
#[tokio::test(start_paused = true)]
async fn tls_is_closed_in_good_order() {
    let recorder = Recorder::default();
    let hook = (recorder.clone(), close_when_idle);
    let server = Server::start_with(Kind::Tls, recorder, hook, |builder| builder).await;
    let tcp = TcpStream::connect(server.addr).await.unwrap();
    let mut stream = tls::connect(tcp, "http/1.1").await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // rustls gives an error for an end without close_notify.
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"hello\n"));
}

/// Closed from other threads in the middle of everything: the order of states
/// holds, and each connection ends once.
#[test]
fn from_other_threads() {
    start_watchdog();
    let recorder = Recorder::default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::start_with(Kind::Tower, recorder.clone(), recorder.clone(), |b| b);
        let server = Arc::new(server.await);
        let clients: Vec<_> = (0..32)
            .map(|index| {
                let server = server.clone();
                tokio::spawn(async move {
                    for _ in 0..40 {
                        let mut peer = server.connect().await;
                        for stream in 0..5 {
                            if index % 2 == 0 {
                                peer.try_send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
                            } else if stream == 0 {
                                peer.try_send([opening(), get(1, "/")].concat()).await;
                            } else {
                                peer.try_send(get(2 * stream + 1, "/")).await;
                            }
                        }
                        if index % 4 < 2 {
                            peer.rest().await;
                        }
                    }
                })
            })
            .collect();
        while !clients.iter().all(|client| client.is_finished()) {
            server.connections.close_idle();
            server.connections.close_all();
            tokio::task::yield_now().await;
        }
        for conn in server.connections.iter() {
            conn.close();
            conn.closed().await;
        }
    });
    let all = recorder.all();
    assert_eq!(all.len(), 32 * 40);
    for states in all {
        let words: Vec<_> = states.iter().map(ToString::to_string).collect();
        let words = words.join(" ");
        let middle = words.strip_prefix("new").and_then(|rest| rest.strip_suffix(" closed"));
        let rest = middle.unwrap_or_else(|| panic!("{words}")).replace(" active idle", "");
        assert!(rest.is_empty() || rest == " active", "{words}");
    }
}

/// A connection is polled in one task, then handed to another while its
/// handler is busy. hyper does not read with `half_close(true)`.
#[tokio::test]
async fn close_finds_the_task_that_a_connection_moved_to() {
    let (mut client, stream) = tokio::io::duplex(1024);
    let io = ConnIo::new(stream, Address::Unknown, Address::Unknown, ());
    let conn = io.conn().clone();
    let service = ConnStateLayer::for_conn(&conn).layer(service_fn(|_: Request<Incoming>| async {
        pending::<Result<Response<String>, Infallible>>().await
    }));
    let mut http = Box::pin(
        http1::Builder::new().half_close(true).serve_connection(TokioIo::new(io), service),
    );
    let old = Waker::from(Arc::new(Woken::default()));
    assert!(http.as_mut().poll(&mut Context::from_waker(&old)).is_pending());
    client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();

    let woken = Arc::new(Woken::default());
    let new = Waker::from(woken.clone());
    assert!(http.as_mut().poll(&mut Context::from_waker(&new)).is_pending());
    assert_eq!(conn.state(), ConnState::Active);
    conn.close();
    assert!(woken.is_woken(), "the task that waits was not woken");
}
