//! A hook that panics changes nothing that a client sees, takes no other
//! connection down, and does not abort the process.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper_connstate::ConnState::{self, Active, Closed, Hijacked, Idle, New};
use hyper_connstate::{Address, Conn, ConnIo, Hook};

use crate::support::frames::*;
use crate::support::server::{new_builder, serve_connection};
use crate::support::{Kind, Peer, Recorder, Server, start_watchdog};

/// Records, then panics at one of the states.
struct Panics {
    recorder: Recorder,
    at: ConnState,
}

impl Hook for Panics {
    fn on_state(&self, conn: &Conn, state: ConnState) {
        self.recorder.on_state(conn, state);
        assert!(state != self.at, "a hook's panic (wanted)");
    }
}

async fn start(kind: Kind, at: ConnState) -> Server {
    let recorder = Recorder::default();
    let hook = Panics { recorder: recorder.clone(), at };
    Server::start_with(kind, recorder, hook, |builder| builder).await
}

async fn kept(peer: &mut Peer) {
    peer.get("/").await;
    assert_eq!(peer.response().await.body, b"hello\n");
    peer.sees("active idle").await;
}

#[tokio::test(start_paused = true)]
async fn in_each_state() {
    for kind in Kind::all() {
        for at in [New, Active, Idle, Hijacked, Closed] {
            let server = start(kind, at).await;

            // HTTP/1, two requests, closed by the client.
            let mut peer = server.connect().await;
            peer.sees("new").await;
            kept(&mut peer).await;
            kept(&mut peer).await;
            peer.close().await;
            peer.sees("closed").await;

            // HTTP/2.
            let mut peer = server.connect_alpn("h2").await;
            peer.send([opening(), get(1, "/")].concat()).await;
            peer.end_of_stream(1).await;
            peer.sees("new active idle active idle").await;
            peer.close().await;
            peer.sees("closed").await;

            // An upgrade.
            let mut peer = server.connect().await;
            peer.send("GET /upgrade HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhi")
                .await;
            peer.head().await;
            assert_eq!(peer.read(2).await, b"hi");
            peer.sees("new active hijacked").await;

            // A handler's panic.
            let mut peer = server.connect().await;
            peer.sees("new").await;
            kept(&mut peer).await;
            peer.get("/panic").await;
            peer.sees("active closed").await;
        }
    }
}

/// One hook's panic does not keep the state from the others.
#[tokio::test(start_paused = true)]
async fn among_other_hooks() {
    let recorder = Recorder::default();
    let panics = |_: &Conn, _: ConnState| panic!("a hook's panic (wanted)");
    let hook = (panics, Some(Arc::new(recorder.clone())), None::<Recorder>, panics);
    let server = Server::start_with(Kind::Tower, recorder, hook, |builder| builder).await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    kept(&mut peer).await;
    peer.close().await;
    peer.sees("closed").await;
}

/// The stream is dropped while the handler's panic unwinds, and the hook
/// panics on top of it.
#[test]
fn in_drop_while_a_handlers_panic_unwinds() {
    start_watchdog();
    let unwinding = Arc::new(AtomicBool::new(false));
    let recorder = Recorder::default();
    let hook = {
        let (unwinding, recorder) = (unwinding.clone(), recorder.clone());
        move |conn: &Conn, state: ConnState| {
            recorder.on_state(conn, state);
            if state == Closed {
                unwinding.store(std::thread::panicking(), Ordering::Relaxed);
                panic!("a hook's panic (wanted)");
            }
        }
    };

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        // The connection is a local of the future that panics, so it is the
        // unwinding that drops it.
        runtime.block_on(async {
            use hyper_connstate::{Address, ConnIo};
            use tokio::io::AsyncWriteExt;

            let (mut client, server) = tokio::io::duplex(1024);
            let io = ConnIo::new(server, Address::Unknown, Address::Unknown, hook);
            let conn = io.conn().clone();
            client.write_all(b"GET /panic HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
            serve_connection(&new_builder(), io, &conn).await;
        });
    }));
    let payload = caught.unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"a handler's panic (wanted)"));
    assert!(unwinding.load(Ordering::Relaxed));
    assert_eq!(recorder.states("unknown"), [New, Active, Closed]);
}

/// A hook whose panic has a payload that panics when dropped.
#[tokio::test(start_paused = true)]
async fn with_a_payload_that_panics() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("a payload's panic (wanted)");
            }
        }
    }
    let recorder = Recorder::default();
    let bombs = |_: &Conn, _: ConnState| std::panic::panic_any(Bomb);
    let hook = (recorder.clone(), bombs);
    let server = Server::start_with(Kind::Tower, recorder, hook, |builder| builder).await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    kept(&mut peer).await;
    peer.close().await;
    peer.sees("closed").await;
}

/// What a panic carries panics when dropped, and what that carries too.
struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(Bomb);
    }
}

#[test]
fn a_payload_that_always_panics() {
    let (_client, stream) = tokio::io::duplex(1024);
    let hook = |_: &Conn, state: ConnState| {
        if state == ConnState::New {
            panic_any(Bomb)
        }
    };
    let io = catch_unwind(AssertUnwindSafe(|| {
        ConnIo::new(stream, Address::Unknown, Address::Unknown, hook)
    }));
    let Ok(io) = io.map_err(std::mem::forget) else { panic!("a hook's panic came through") };
    let conn = io.conn().clone();
    drop(io);
    assert_eq!(conn.state(), ConnState::Closed);
}
