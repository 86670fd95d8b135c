//! `serve`: what goes into it, and what it goes on through.
//! (The other tests run against it too.)
#![cfg(feature = "serve")]

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_connstate::{
    Accept, Address, CloseReason, Conn, ConnState, Connections, instrument_listener, serve,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::support::frames::*;
use crate::support::server::{handle_incoming, listen};
use crate::support::{Kind, Recorder, Server, settle, start_watchdog};

/// Starts `serve` with what `run` makes of the listener.
fn start<F>(
    run: impl FnOnce(hyper_connstate::InstrumentedListener<tokio::net::TcpListener>) -> F,
) -> Server
where
    F: Future<Output: Send> + Send + 'static,
{
    start_watchdog();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let recorder = Recorder::default();
    let listener = instrument_listener(listener, recorder.clone());
    let connections = listener.connections();
    tokio::spawn(run(listener));
    Server { kind: Kind::Serve, addr, recorder, connections }
}

/// A timer is installed, so hyper's time-outs work as they are set.
#[tokio::test(start_paused = true)]
async fn hypers_settings() {
    let server = start(|listener| {
        let service = tower::service_fn(handle_incoming);
        let server = serve(listener, service).http(|http| {
            http.http1().header_read_timeout(Duration::from_secs(60)).half_close(true);
            http.http2().keep_alive_interval(Duration::from_secs(10)).max_concurrent_streams(1);
        });
        server.into_future()
    });
    let mut peer = server.connect().await;
    peer.send("GET / HT").await;
    peer.sees("new active").await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    peer.sees("closed").await;

    let mut peer = server.connect().await;
    peer.send([opening(), get(1, "/slow"), get(3, "/")].concat()).await;
    peer.end_of_stream(3).await;
    // A peer that answers no PING is dead.
    tokio::time::sleep(Duration::from_secs(60)).await;
    peer.sees("new active idle active closed").await;
}

/// A make-service: the service of each connection knows it.
#[tokio::test(start_paused = true)]
async fn a_make_service() {
    let server = start(|listener| {
        let make = tower::service_fn(async |conn: Conn| {
            let service = tower::service_fn(move |_: Request<Incoming>| {
                let answer = format!("{} {}", conn.remote_addr(), conn.requests());
                std::future::ready(Ok::<_, Infallible>(Response::new(answer)))
            });
            Ok::<_, Infallible>(service)
        });
        serve(listener, make).into_future()
    });
    let mut peer = server.connect().await;
    for count in 1..3 {
        peer.get("/").await;
        assert_eq!(peer.response().await.body, format!("{} {count}", peer.name()).as_bytes());
    }
    peer.sees("new active idle active idle").await;
}

/// One that has no service, or is slow to have one, is that connection's
/// trouble alone.
#[tokio::test(start_paused = true)]
async fn a_make_service_that_fails() {
    let server = start(|listener| {
        let count = Arc::new(AtomicUsize::new(0));
        let make = tower::service_fn(move |_: Conn| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            async move {
                match number {
                    0 => return Err(io::Error::other("no service (wanted)")),
                    1 => tokio::time::sleep(Duration::from_secs(20)).await,
                    _ => {}
                }
                Ok(tower::service_fn(handle_incoming))
            }
        });
        serve(listener, make).into_future()
    });
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let mut peer = server.connect().await;
        peer.try_send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        settle().await;
        let states = server.recorder.states(peer.name());
        outcomes.push((states.len(), peer));
    }
    let mut lengths: Vec<_> = outcomes.iter().map(|(length, _)| *length).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [1, 2, 3]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    for (length, peer) in &outcomes {
        if *length == 1 {
            peer.sees("new active idle").await;
        }
    }
}

/// One that hangs holds its connection for half a minute, whether the client
/// waits or has gone.
#[tokio::test(start_paused = true)]
async fn a_make_service_that_hangs() {
    for leaves in [false, true] {
        let server = start(|listener| {
            let make = tower::service_fn(|_: Conn| async {
                std::future::pending::<()>().await;
                Ok::<_, io::Error>(tower::service_fn(handle_incoming))
            });
            serve(listener, make).into_future()
        });
        let mut peer = server.connect().await;
        let start = Instant::now();
        if leaves {
            peer.close().await;
        } else {
            peer.get("/").await;
        }
        settle().await;
        let conn = peer.conn();
        assert_eq!(conn.state(), ConnState::New);
        conn.closed().await;
        assert_eq!(start.elapsed().as_secs(), 30);
        assert_eq!(conn.close_reason(), Some(CloseReason::TimedOut));
        peer.sees("new closed").await;
    }
}

/// A client that does not say which protocol it speaks has half a minute for
/// it; hyper-util would give it all the time in the world.
#[tokio::test(start_paused = true)]
async fn a_protocol_that_stays_unknown() {
    let server = Server::start(Kind::Serve).await;
    for (bytes, states) in [("", ""), ("P", "active"), ("PRI * HTTP/2.0\r\n\r\nS", "active")] {
        let mut peer = server.connect().await;
        let start = Instant::now();
        peer.send(bytes).await;
        peer.sees(&format!("new {states}")).await;
        let conn = peer.conn();
        conn.closed().await;
        assert_eq!(start.elapsed().as_secs(), 30);
        assert_eq!(conn.close_reason(), Some(CloseReason::TimedOut));
        peer.sees("closed").await;
    }
}

#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn routers() {
    use std::net::SocketAddr;

    use axum::Router;
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use hyper_connstate::axum::ConnStateServiceExt;

    async fn conn(ConnectInfo(conn): ConnectInfo<Conn>) -> String {
        conn.remote_addr().to_string()
    }
    async fn addr(ConnectInfo(addr): ConnectInfo<SocketAddr>) -> String {
        addr.to_string()
    }
    let app = || {
        Router::new()
            .route("/", get(async || "hello"))
            .route("/conn", get(conn))
            .route("/addr", get(addr))
    };

    let with_conn_state =
        start(|listener| serve(listener, app().into_make_service_with_conn_state()).into_future());
    let connect_info = start(|listener| {
        serve(listener, app().into_make_service_with_connect_info::<Conn>()).into_future()
    });
    let make_service = start(|listener| serve(listener, app().into_make_service()).into_future());
    let router = start(|listener| serve(listener, app()).into_future());

    for (server, paths) in [
        (with_conn_state, &["/", "/conn", "/addr"][..]),
        (connect_info, &["/", "/conn"]),
        (make_service, &["/"]),
        (router, &["/"]),
    ] {
        let mut peer = server.connect().await;
        peer.sees("new").await;
        for (index, path) in paths.iter().enumerate() {
            peer.get(path).await;
            let answer = peer.response().await;
            assert!(answer.head.starts_with("HTTP/1.1 200"), "{}", answer.head);
            let expected = if *path == "/" { "hello" } else { peer.name() };
            assert_eq!(String::from_utf8(answer.body).unwrap(), expected);
            peer.sees("active idle").await;
            assert_eq!(peer.conn().requests(), index as u64 + 1);
        }
    }
}

/// A service's error ends its own connection, and a panic does.
#[tokio::test(start_paused = true)]
async fn services_that_fail() {
    let server = start(|listener| {
        let service =
            tower::service_fn(async |request: Request<Incoming>| match request.uri().path() {
                "/error" => Err(io::Error::other("a service's error (wanted)")),
                "/panic" => panic!("a service's panic (wanted)"),
                _ => Ok(Response::new(Body::from("fine"))),
            });
        serve(listener, service).into_future()
    });
    let mut peer = server.connect().await;
    peer.get("/").await;
    peer.sees("new active idle").await;
    for path in ["/error", "/panic"] {
        let mut other = server.connect().await;
        other.get(path).await;
        other.sees("new active closed").await;
    }
    peer.get("/").await;
    peer.sees("active idle").await;
}

struct Failing(mpsc::Receiver<io::Result<DuplexStream>>);

impl Accept for Failing {
    type Io = DuplexStream;
    type Addr = Address;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Address)> {
        let stream = self.0.recv().await.unwrap()?;
        Ok((stream, Address::Unknown))
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Unknown)
    }
}

/// Errors of one connection are passed over; an error that does not pass is
/// returned.
#[tokio::test(start_paused = true)]
async fn a_listener_that_fails() {
    let recorder = Recorder::default();
    let (connect, incoming) = mpsc::channel(8);
    let listener = instrument_listener(Failing(incoming), recorder.clone());
    let service = tower::service_fn(handle_incoming);
    let server = tokio::spawn(serve(listener, service).into_future());

    connect.send(Err(io::ErrorKind::ConnectionAborted.into())).await.unwrap();
    connect.send(Err(io::ErrorKind::ConnectionReset.into())).await.unwrap();
    let (_client, stream) = tokio::io::duplex(8);
    connect.send(Ok(stream)).await.unwrap();
    recorder.sees("unknown", "new", "accepted").await;
    assert!(!server.is_finished());

    connect.send(Err(io::Error::other("gone for good"))).await.unwrap();
    let error = server.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "gone for good");
}

/// When something has run out the loop waits longer each time, and goes on as
/// soon as one of its connections leaves room.
#[tokio::test(start_paused = true)]
async fn a_listener_that_has_run_out() {
    let recorder = Recorder::default();
    let (connect, incoming) = mpsc::channel(64);
    let listener = instrument_listener(Failing(incoming), recorder.clone());
    let connections: Connections = listener.connections();
    tokio::spawn(serve(listener, tower::service_fn(handle_incoming)).into_future());
    let (client, stream) = tokio::io::duplex(8);
    connect.send(Ok(stream)).await.unwrap();
    recorder.sees("unknown", "new", "accepted").await;

    let run_out = || Err(io::ErrorKind::OutOfMemory.into());
    for _ in 0..20 {
        connect.send(run_out()).await.unwrap();
    }
    let start = tokio::time::Instant::now();
    while connect.capacity() < connect.max_capacity() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // 5 + 10 + … + 640 ms, then a second each.
    let took = start.elapsed().as_secs();
    assert!((11..=14).contains(&took), "{took}");

    // In the middle of a pause of a second, room comes free.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = tokio::time::Instant::now();
    drop(client);
    let (_client, stream) = tokio::io::duplex(8);
    connect.send(Ok(stream)).await.unwrap();
    recorder.sees("unknown", "closed new", "room").await;
    assert_eq!(connections.len(), 1);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

/// A make-service that never comes to an end holds up neither `close` nor a
/// shutdown.
#[tokio::test(start_paused = true)]
async fn a_make_service_that_never_ends() {
    let server = start(|listener| {
        let make = tower::service_fn(|_: Conn| async {
            std::future::pending::<()>().await;
            Ok::<_, Infallible>(tower::service_fn(handle_incoming))
        });
        serve(listener, make).into_future()
    });
    let peer = server.connect().await;
    peer.sees("new").await;
    peer.conn().close();
    peer.sees("closed").await;
    let peer = server.connect().await;
    peer.sees("new").await;
    server.connections.drain(Duration::from_secs(10)).await;
    peer.sees("closed").await;
}

/// With `pipeline_flush` and a request in its buffer hyper does not touch the
/// stream while a handler runs.
#[tokio::test(start_paused = true)]
async fn a_connection_that_hyper_does_not_touch() {
    let server = start(|listener| {
        let server = serve(listener, tower::service_fn(handle_incoming)).http(|http| {
            http.http1().pipeline_flush(true);
        });
        server.into_future()
    });
    for drain in [false, true] {
        let mut peer = server.connect().await;
        peer.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n".repeat(2)).await;
        peer.sees("new active").await;
        if drain {
            let result = server.connections.drain(Duration::from_secs(10)).await;
            assert_eq!(result.forced, 1);
        } else {
            peer.conn().close();
        }
        peer.sees("closed").await;
    }
}
