//! Exactly one terminal event, however a connection is let go.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_connstate::ConnState::{self, Active, Closed, Hijacked, Idle, New};
use hyper_connstate::{Address, Conn, ConnIo, ConnStateLayer, instrument_listener};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::frames::*;
use crate::support::raw::serve_with;
use crate::support::server::{listen, new_builder, serve_connection};
use crate::support::{Kind, Peer, Recorder, Server, settle, start_watchdog};

/// A peer in each of the states that a live connection can be in, and the
/// state it is left in.
async fn peers_in_every_state(server: &Server) -> Vec<(Peer, ConnState)> {
    let mut peers = Vec::new();

    let peer = server.connect().await;
    peer.sees("new").await;
    peers.push((peer, New));

    let mut peer = server.connect().await;
    peer.send("GET / HT").await;
    peer.sees("new active").await;
    peers.push((peer, Active));

    let mut peer = server.connect().await;
    peer.get("/slow").await;
    peer.sees("new active").await;
    peers.push((peer, Active));

    let mut peer = server.connect().await;
    peer.get("/stream").await;
    peer.head().await;
    peer.sees("new active").await;
    peers.push((peer, Active));

    let mut peer = server.connect().await;
    peer.get("/").await;
    peer.sees("new active idle").await;
    peers.push((peer, Idle));

    let mut peer = server.connect_alpn("h2").await;
    peer.send([opening(), get(1, "/slow")].concat()).await;
    peer.sees("new active idle active").await;
    peers.push((peer, Active));

    let mut peer = server.connect_alpn("h2").await;
    peer.send([opening(), get(1, "/")].concat()).await;
    peer.sees("new active idle active idle").await;
    peers.push((peer, Idle));

    let mut peer = server.connect().await;
    let upgrade = "host: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    peer.send(format!("GET /upgrade HTTP/1.1\r\n{upgrade}")).await;
    peer.sees("new active hijacked").await;
    peers.push((peer, Hijacked));

    peers
}

/// The runtime is dropped with connections in every state.
#[test]
fn the_runtime_is_dropped() {
    for kind in Kind::all() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let (recorder, peers) = runtime.block_on(async {
            let server = Server::start(kind).await;
            let peers = peers_in_every_state(&server).await;
            (server.recorder, peers)
        });
        drop(runtime);
        for (peer, state) in &peers {
            let states = recorder.states(peer.name());
            let last = if *state == Hijacked { Hijacked } else { Closed };
            assert_eq!(states.last(), Some(&last), "{kind:?}: {states:?}");
            assert_eq!(states.iter().filter(|state| state.is_terminal()).count(), 1);
            assert_eq!(peer.conn().state(), last);
        }
    }
}

/// The tasks of connections are aborted in every state.
#[tokio::test(start_paused = true)]
async fn the_task_is_aborted() {
    let tasks = Arc::new(std::sync::Mutex::new(Vec::new()));
    let server = {
        let tasks = tasks.clone();
        serve_with(move |io, conn| {
            let task = tokio::spawn(async move {
                let builder = new_builder();
                serve_connection(&builder, io, &conn).await;
            });
            tasks.lock().unwrap().push(task);
            std::future::ready(())
        })
        .await
    };
    let peers = peers_in_every_state(&server).await;
    for task in tasks.lock().unwrap().drain(..) {
        task.abort();
    }
    for (peer, state) in &peers {
        // An upgraded stream is another task's by now.
        peer.sees(if *state == Hijacked { "" } else { "closed" }).await;
    }
}

/// A multi-threaded runtime is dropped in the middle of a lot of work.
#[test]
fn a_busy_runtime_is_dropped() {
    start_watchdog();
    let recorder = Recorder::default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let server = Server::start_with(Kind::Tower, recorder.clone(), recorder.clone(), |b| b);
        let server = Arc::new(server.await);
        for _ in 0..64 {
            let (server, requests) = (server.clone(), requests.clone());
            tokio::spawn(async move {
                let mut peer = server.connect().await;
                loop {
                    peer.get("/").await;
                    peer.response().await;
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while requests.load(Ordering::Relaxed) < 2_000 {
            tokio::task::yield_now().await;
        }
    });
    drop(runtime);
    let all = recorder.all();
    assert_eq!(all.len(), 64);
    for states in all {
        assert_eq!(states.first(), Some(&New));
        assert_eq!(states.last(), Some(&Closed));
        let middle = &states[1..states.len() - 1];
        for (index, state) in middle.iter().enumerate() {
            assert_eq!(*state, if index % 2 == 0 { Active } else { Idle });
        }
    }
}

/// Accepting in a `select!` that is always about to be cancelled.
#[tokio::test]
async fn accept_is_cancelled() {
    let recorder = Recorder::default();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let mut listener = instrument_listener(listener, recorder.clone());
    let clients = tokio::spawn(async move {
        for _ in 0..200 {
            drop(TcpStream::connect(addr).await.unwrap());
        }
    });
    let mut accepted = 0;
    while accepted < 200 {
        tokio::select! {
            result = listener.accept() => {
                let (_io, conn) = result.unwrap();
                assert_eq!(conn.state(), New);
                accepted += 1;
            }
            () = tokio::task::yield_now() => {}
        }
    }
    clients.await.unwrap();
    let all = recorder.all();
    assert_eq!(all.len(), 200);
    assert!(all.iter().all(|states| *states == [New, Closed]));
}

fn duplex(recorder: &Recorder) -> (tokio::io::DuplexStream, ConnIo<tokio::io::DuplexStream>) {
    let (client, server) = tokio::io::duplex(1024);
    (client, ConnIo::new(server, Address::Unknown, Address::Unknown, recorder.clone()))
}

/// Taking the stream out is a hijack, from wherever the connection is.
#[tokio::test(start_paused = true)]
async fn into_inner() {
    let recorder = Recorder::default();
    let (mut client, io) = duplex(&recorder);
    let mut server = io.into_inner();
    recorder.sees("unknown", "new active hijacked", "from New").await;
    server.write_all(b"hello").await.unwrap();
    client.read_exact(&mut [0; 5]).await.unwrap();
    drop((client, server));
    recorder.sees("unknown", "", "dropped").await;

    let recorder = Recorder::default();
    let (mut client, mut io) = duplex(&recorder);
    client.write_all(b"x").await.unwrap();
    io.read_u8().await.unwrap();
    recorder.sees("unknown", "new active", "read").await;
    io.into_inner();
    recorder.sees("unknown", "hijacked", "from Active").await;
}

/// A stream that nobody serves, and one whose client is gone.
#[tokio::test(start_paused = true)]
async fn an_in_memory_stream() {
    let recorder = Recorder::default();
    let (client, io) = duplex(&recorder);
    recorder.sees("unknown", "new", "accepted").await;
    drop(io);
    recorder.sees("unknown", "closed", "dropped").await;
    drop(client);

    let recorder = Recorder::default();
    let (mut client, io) = duplex(&recorder);
    let conn = io.conn().clone();
    tokio::spawn(async move {
        let builder = new_builder();
        serve_connection(&builder, io, &conn).await;
    });
    client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    recorder.sees("unknown", "new active idle", "answered").await;
    drop(client);
    recorder.sees("unknown", "closed", "gone").await;
}

/// A hook that keeps the handle, and one that drops the last part of its own
/// connection's request.
#[tokio::test(start_paused = true)]
async fn the_handle_outlives_the_connection() {
    let server = Server::start(Kind::Tower).await;
    let mut peer = server.connect().await;
    peer.get("/").await;
    peer.sees("new active idle").await;
    let conn = peer.conn();
    peer.close().await;
    peer.sees("closed").await;
    assert_eq!(conn.state(), Closed);
    assert_eq!(conn.requests(), 1);
    settle().await;
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(conn.accepted_at() < tokio::time::Instant::now().into_std());
}

/// The socket is closed when Closed is reported, not after it.
#[tokio::test(start_paused = true)]
async fn the_socket_is_closed_first() {
    struct Stream(Arc<std::sync::atomic::AtomicBool>);
    impl Drop for Stream {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = dropped.clone();
    let hook = move |_: &Conn, state: ConnState| {
        assert_eq!(seen.load(Ordering::Relaxed), state == Closed, "{state}");
    };
    // The assertion is in a hook, whose panics are caught: let it be counted.
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let hook = move |conn: &Conn, state: ConnState| {
        hook(conn, state);
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let stream = Stream(dropped);
    let io = ConnIo::new(stream, Address::Unknown, Address::Unknown, hook);
    drop(io);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

/// A client that is gone before the server comes to look again, as curl is on
/// a busy machine, was served all the same: Idle is reported, as in Go. Not if
/// the connection would not have been kept.
#[tokio::test]
async fn a_client_that_is_gone_as_soon_as_it_is_answered() {
    for (connection, expected) in
        [("keep-alive", &[New, Active, Idle, Closed][..]), ("close", &[New, Active, Closed])]
    {
        let (mut client, stream) = tokio::io::duplex(1024);
        let recorder = Recorder::default();
        let io = ConnIo::new(stream, Address::Unknown, Address::Unknown, recorder.clone());
        let service =
            ConnStateLayer::for_conn(io.conn()).layer(service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new("hello".to_owned()))
            }));
        let mut http = Box::pin(http1::Builder::new().serve_connection(TokioIo::new(io), service));
        let mut context = Context::from_waker(Waker::noop());

        let request = format!("GET / HTTP/1.1\r\nhost: test\r\nconnection: {connection}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let answered = http.as_mut().poll(&mut context);
        assert_eq!(answered.is_pending(), connection == "keep-alive");
        assert!(client.read(&mut [0; 1024]).await.unwrap() > 0);
        drop(client);
        if answered.is_pending() {
            assert!(http.as_mut().poll(&mut context).is_ready());
        }
        drop(http);
        assert_eq!(recorder.all(), [expected], "{connection}");
    }
}
