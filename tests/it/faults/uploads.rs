//! An answer that is given while the client still uploads arrives whole.
//!
//! A server that closes a socket with bytes unread resets the connection, and
//! the reset overtakes the answer. Over loopback the answer is in the client's
//! hands by then; there the fault shows in the upload, which breaks off, and
//! in what is read after the answer: an error instead of its end.

use std::io;
use std::pin::Pin;

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper_connstate::{
    CloseReason, Conn, ConnIo, ConnStateLayer, InstrumentedListener, instrument_listener,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::frames::*;
use crate::support::handler::handle;
use crate::support::peer::Stream;
use crate::support::server::{listen, new_builder};
use crate::support::{Kind, Peer, Recorder, Server, everywhere, settle, start_watchdog};

/// The paused clock stands still while this is there, so that half a second is
/// as long as it takes.
struct StandStill(JoinHandle<()>);

impl StandStill {
    fn new() -> Self {
        Self(tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        }))
    }
}

impl Drop for StandStill {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Lets the server do what it can do.
async fn wait() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

const LENGTH: usize = 1 << 20;

fn head(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n")
}

/// Sends all of it before it reads, as simple clients do.
async fn upload(stream: &mut Pin<Box<dyn Stream>>, path: &str) -> io::Result<Vec<u8>> {
    stream.write_all(head(path, LENGTH).as_bytes()).await?;
    for _ in 0..LENGTH / (16 << 10) {
        stream.write_all(&[b'x'; 16 << 10]).await?;
        stream.flush().await?;
        wait().await;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(start_paused = true)]
async fn every_stack() {
    for path in ["/status/413", "/status/401", "/status/307", "/ignore", "/60k", "/read-some"] {
        everywhere!(async |mut peer: Peer| {
            let still = StandStill::new();
            let mut stream = peer.take_stream();
            let answer = upload(&mut stream, path).await;
            let answer = answer.unwrap_or_else(|error| panic!("{:?} {path}: {error}", peer.kind));
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 "), "{answer:?}");
            let length = answer.split("content-length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), length, "{path}");
            drop((stream, still));
            peer.conn().closed().await;
            peer.sees("new active closed").await;
            assert_eq!(peer.conn().close_reason(), Some(CloseReason::ServerClosed));
        });
    }
}

/// The answer of a client that reads first is there, too.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_the_answer_at_once() {
    everywhere!(async |mut peer: Peer| {
        let still = StandStill::new();
        peer.send(head("/status/413", LENGTH)).await;
        peer.send([b'x'; 1000]).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 413"));
        // It goes on all the same, then closes.
        for _ in 0..10 {
            peer.send([b'x'; 1000]).await;
            wait().await;
        }
        assert_eq!(peer.rest().await, b"");
        peer.close().await;
        peer.conn().closed().await;
        drop(still);
    });
}

/// Over HTTP/2 it is only the stream that ends, and the connection goes on.
#[tokio::test(start_paused = true)]
async fn over_http2() {
    everywhere!("h2", async |mut peer: Peer| {
        let still = StandStill::new();
        peer.send([opening(), settings_ack(), post(1, "/status/413")].concat()).await;
        // As much as there is room for.
        for _ in 0..4 {
            peer.send(data(1, &[b'x'; 15_000], 0)).await;
            wait().await;
        }
        peer.end_of_stream(1).await;
        peer.send(get(3, "/")).await;
        peer.end_of_stream(3).await;
        drop(still);
        peer.sees("new active idle active idle active idle").await;
    });
}

// === The switch

type Run = fn(InstrumentedListener<TcpListener>);

fn loops() -> Vec<(Kind, Run)> {
    vec![
        (Kind::Tower, |mut listener| {
            tokio::spawn(async move {
                loop {
                    let (io, conn) = listener.accept().await.unwrap();
                    tokio::spawn(serve(io, conn));
                }
            });
        }),
        #[cfg(feature = "serve")]
        (Kind::Serve, |listener| {
            let service = tower::service_fn(crate::support::server::handle_incoming);
            tokio::spawn(hyper_connstate::serve(listener, service).into_future());
        }),
        #[cfg(feature = "tls")]
        (Kind::ServeTls, |listener| {
            let service = tower::service_fn(crate::support::server::handle_incoming);
            let acceptor = crate::support::tls::acceptor();
            let serve = hyper_connstate::serve(listener, service).tls(acceptor);
            tokio::spawn(serve.into_future());
        }),
        #[cfg(feature = "axum")]
        (Kind::Axum, |listener| {
            use hyper_connstate::axum::ConnStateServiceExt;

            let app = axum::Router::new().fallback_service(tower::service_fn(handle));
            let serve = axum::serve(listener, app.into_make_service_with_conn_state());
            tokio::spawn(serve.into_future());
        }),
    ]
}

async fn serve(io: ConnIo<TcpStream>, conn: Conn) {
    let service =
        hyper::service::service_fn(|request: Request<Incoming>| handle(request.map(Body::new)));
    let service = ConnStateLayer::for_conn(&conn).layer(service);
    let _ = new_builder().serve_connection_with_upgrades(TokioIo::new(io), service).await;
}

fn start(kind: Kind, run: Run, lingers: Option<bool>) -> Server {
    start_watchdog();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let recorder = Recorder::default();
    let mut listener = instrument_listener(listener, recorder.clone());
    if let Some(lingers) = lingers {
        listener = listener.lingering_close(lingers);
    }
    let connections = listener.connections();
    run(listener);
    Server { kind, addr, recorder, connections }
}

#[tokio::test(start_paused = true)]
async fn on_unless_turned_off() {
    for (kind, run) in loops() {
        for lingers in [None, Some(true), Some(false)] {
            let server = start(kind, run, lingers);
            let mut peer = server.connect().await;
            let still = StandStill::new();
            let mut stream = peer.take_stream();
            let answer = upload(&mut stream, "/status/413").await;
            if lingers == Some(false) {
                assert!(answer.is_err(), "{kind:?}");
            } else {
                assert!(answer.unwrap().starts_with(b"HTTP/1.1 413"), "{kind:?}");
            }
            drop((stream, still));
            peer.conn().closed().await;
        }
    }
}

/// For one connection, in a loop of one's own.
#[tokio::test(start_paused = true)]
async fn turned_off_for_one_connection() {
    for lingers in [true, false] {
        let server = crate::support::raw::serve_with(move |mut io, conn| {
            io.set_lingering_close(lingers);
            serve(io, conn)
        })
        .await;
        let mut peer = server.connect().await;
        let _still = StandStill::new();
        let mut stream = peer.take_stream();
        assert_eq!(upload(&mut stream, "/status/413").await.is_ok(), lingers);
    }
}

// === Its bounds

/// What the system's own buffers may hold besides.
const BUFFERS: usize = 16 << 20;

/// A client that floods: so much is read of it, and no more; and half a second
/// later it is over.
#[tokio::test(start_paused = true)]
async fn bytes() {
    for (kind, run) in loops().into_iter().filter(|(kind, _)| !kind.is_tls()) {
        let server = start(kind, run, None);
        let mut peer = server.connect().await;
        let still = StandStill::new();
        let mut stream = peer.take_stream();
        stream.write_all(head("/status/413", 1 << 40).as_bytes()).await.unwrap();
        let chunk = vec![b'x'; 64 << 10];
        let (mut sent, mut stuck) = (0, 0);
        while stuck < 2_000 {
            match stream.tcp().try_write(&chunk) {
                Ok(length) => (sent, stuck) = (sent + length, 0),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{kind:?} {sent}");
                    stuck += 1;
                }
            }
            tokio::task::yield_now().await;
        }
        assert!((16 << 20..(16 << 20) + BUFFERS).contains(&sent), "{kind:?} {sent}");
        let start = tokio::time::Instant::now();
        drop(still);
        peer.conn().closed().await;
        assert!(start.elapsed() <= std::time::Duration::from_secs(1), "{:?}", start.elapsed());
    }
}

/// A client that never closes its side: half a second, as in Go.
#[tokio::test(start_paused = true)]
async fn time() {
    everywhere!(async |mut peer: Peer| {
        peer.send(head("/status/413", LENGTH)).await;
        peer.send([b'x'; 1000]).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 413"));
        let start = tokio::time::Instant::now();
        peer.conn().closed().await;
        assert!(start.elapsed() <= std::time::Duration::from_secs(1), "{:?}", start.elapsed());
        settle().await;
        peer.sees("new active closed").await;
    });
}
