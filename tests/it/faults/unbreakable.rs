//! Whatever a program does to a connection, and in whatever runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_connstate::CloseReason::{ClosedByProgram, ShutdownDrained};
use hyper_connstate::{
    Address, CloseReason, Conn, ConnIo, ConnState, ConnStateLayer, instrument_listener,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::support::frames::*;
use crate::support::handler::{BIG, handle, released};
use crate::support::owners::Owner;
use crate::support::raw::serve_with;
use crate::support::server::listen;
use crate::support::{Kind, Peer, Server, everywhere, settle, start_watchdog};

macro_rules! service {
    ($conn:expr) => {
        ConnStateLayer::for_conn($conn)
            .layer(service_fn(|request: Request<Incoming>| handle(request.map(Body::new))))
    };
}

// === Runtimes without a timer, and no runtime

mod without_a_timer {
    use super::*;

    /// A runtime that a program has turned only the I/O of on, and a server
    /// with nothing that needs more.
    fn run(scenario: impl AsyncFn(TcpStream, Conn)) {
        start_watchdog();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = listen();
            let addr = listener.local_addr().unwrap();
            let mut listener = instrument_listener(listener, ());
            let client = TcpStream::connect(addr).await.unwrap();
            let (io, conn) = listener.accept().await.unwrap();
            let service = service!(&conn);
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection_with_upgrades(TokioIo::new(io), service).await;
            });
            scenario(client, conn).await;
        });
    }

    async fn becomes(conn: &Conn, state: ConnState) {
        while conn.state() != state {
            tokio::task::yield_now().await;
        }
    }

    async fn rests() {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    }

    async fn ends(mut client: TcpStream, conn: &Conn, reason: CloseReason) {
        conn.closed().await;
        assert_eq!(conn.close_reason(), Some(reason));
        client.read_to_end(&mut Vec::new()).await.unwrap();
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";

    #[test]
    fn close() {
        run(async |client, conn| {
            rests().await;
            conn.close();
            ends(client, &conn, ClosedByProgram).await;
        });
        run(async |mut client, conn| {
            client.write_all(GET).await.unwrap();
            becomes(&conn, ConnState::Idle).await;
            rests().await;
            conn.close();
            ends(client, &conn, ClosedByProgram).await;
        });
        run(async |mut client, conn| {
            client.write_all(&[opening(), get(1, "/")].concat()).await.unwrap();
            while conn.requests() == 0 || conn.state() != ConnState::Idle {
                tokio::task::yield_now().await;
            }
            conn.close();
            let mut read = Vec::new();
            client.read_to_end(&mut read).await.unwrap();
            assert!(read.ends_with(&goaway(1)), "{read:?}");
            ends(client, &conn, ClosedByProgram).await;
        });
        run(async |mut client, conn| {
            client.write_all(b"GET /wait/for-ever HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
            becomes(&conn, ConnState::Active).await;
            rests().await;
            conn.close();
            conn.closed().await;
            assert_eq!(conn.close_reason(), Some(ClosedByProgram));
        });
    }

    #[test]
    fn drain() {
        run(async |client, conn| {
            rests().await;
            conn.drain();
            ends(client, &conn, ShutdownDrained).await;
        });
        run(async |mut client, conn| {
            client.write_all(GET).await.unwrap();
            becomes(&conn, ConnState::Idle).await;
            conn.drain();
            ends(client, &conn, ShutdownDrained).await;
        });
        run(async |mut client, conn| {
            client.write_all(b"GET /wait/drain HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
            becomes(&conn, ConnState::Active).await;
            rests().await;
            conn.drain();
            rests().await;
            released("drain").notify_one();
            ends(client, &conn, ShutdownDrained).await;
        });
        run(async |mut client, conn| {
            client.write_all(&[opening(), get(1, "/wait/drain2")].concat()).await.unwrap();
            while conn.requests() == 0 {
                tokio::task::yield_now().await;
            }
            conn.drain();
            rests().await;
            released("drain2").notify_one();
            ends(client, &conn, ShutdownDrained).await;
        });
    }

    /// Bytes of the server's are on their way, and its client takes none.
    #[test]
    fn drain_of_a_client_that_does_not_read() {
        run(async |mut client, conn| {
            let room = [window_update(0, 1 << 24), settings_of_window(1 << 24)].concat();
            let bytes = [opening(), room, get(1, "/big"), get(3, "/big")].concat();
            client.write_all(&bytes).await.unwrap();
            while conn.requests() < 2 {
                tokio::task::yield_now().await;
            }
            rests().await;
            conn.drain();
            rests().await;
            let mut read = Vec::new();
            client.read_to_end(&mut read).await.unwrap();
            assert!(read.len() > 2 * BIG);
            assert!(read.ends_with(&goaway(3)));
            ends(client, &conn, ShutdownDrained).await;
        });
    }

    fn settings_of_window(bytes: u32) -> Vec<u8> {
        const INITIAL_WINDOW_SIZE: u16 = 0x4;
        let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &bytes.to_be_bytes()].concat();
        frame(0x4, 0, 0, &setting)
    }

    /// The server closes it, with bytes of the client's unread.
    #[test]
    fn an_answer_while_the_client_uploads() {
        run(async |mut client, conn| {
            let head =
                b"POST /status/413 HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\n";
            client.write_all(head).await.unwrap();
            client.write_all(&[0; 1000]).await.unwrap();
            ends(client, &conn, CloseReason::ServerClosed).await;
        });
    }
}

/// A futures executor, or a test, that polls by hand.
mod without_a_runtime {
    use super::*;

    use crate::support::Woken;

    /// Polls until it is done, or waits.
    fn poll<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> Poll<T> {
        loop {
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(woken.clone());
            let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
            if poll.is_ready() || !woken.is_woken() {
                return poll;
            }
        }
    }

    fn read(client: &mut tokio::io::DuplexStream) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 1024];
        let mut buf = ReadBuf::new(&mut bytes);
        let poll = Pin::new(client).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
        let read = poll.is_ready().then(|| buf.filled().to_vec());
        drop(bytes.split_off(0));
        read
    }

    fn write(client: &mut tokio::io::DuplexStream, bytes: &[u8]) {
        let poll = Pin::new(client).poll_write(&mut Context::from_waker(Waker::noop()), bytes);
        assert!(matches!(poll, Poll::Ready(Ok(length)) if length == bytes.len()));
    }

    fn ends(end: fn(&Conn), reason: CloseReason) {
        start_watchdog();
        let (mut client, server) = tokio::io::duplex(4096);
        let io = ConnIo::new(server, Address::Unknown, Address::Unknown, ());
        let conn = io.conn().clone();
        let service = service!(&conn);
        let mut http = Box::pin(http1::Builder::new().serve_connection(TokioIo::new(io), service));
        write(&mut client, b"GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        assert!(poll(&mut http).is_pending());
        assert_eq!(conn.state(), ConnState::Idle);
        assert!(read(&mut client).unwrap().starts_with(b"HTTP/1.1 200"));
        end(&conn);
        assert!(poll(&mut http).is_ready());
        assert_eq!(read(&mut client), Some(Vec::new()));
        drop(http);
        assert!(poll(&mut Box::pin(conn.closed())).is_ready());
        assert_eq!(conn.close_reason(), Some(reason));
    }

    #[test]
    fn close() {
        ends(Conn::close, ClosedByProgram);
    }

    #[test]
    fn drain() {
        ends(Conn::drain, ShutdownDrained);
    }
}

// === Bodies that are held for long

/// A request's body is dropped when its connection has served 65,536 more.
/// The request that is then being served has nothing to do with it.
#[cfg(all(feature = "serve", feature = "axum"))]
#[tokio::test(start_paused = true)]
async fn a_body_held_over_65536_requests() {
    use hyper_connstate::axum::ConnStateServiceExt;
    use hyper_connstate::{Accept, serve};

    struct One(Option<tokio::io::DuplexStream>);

    impl Accept for One {
        type Io = tokio::io::DuplexStream;
        type Addr = Address;

        async fn accept(&mut self) -> std::io::Result<(tokio::io::DuplexStream, Address)> {
            match self.0.take() {
                Some(stream) => Ok((stream, Address::Unknown)),
                None => std::future::pending().await,
            }
        }

        fn local_addr(&self) -> std::io::Result<Address> {
            Ok(Address::Unknown)
        }
    }

    start_watchdog();
    // The first request's body is kept here, the last one's is read by a task.
    let held: Arc<Mutex<Option<Body>>> = Arc::default();
    let app = tower::service_fn({
        let held = held.clone();
        move |request: axum::extract::Request| {
            match request.uri().path() {
                "/hold" => *held.lock().unwrap() = Some(request.into_body()),
                "/detach" => drop(tokio::spawn(axum::body::to_bytes(request.into_body(), 10))),
                _ => {}
            }
            std::future::ready(Ok::<_, std::convert::Infallible>(
                http::Response::new(Body::empty()),
            ))
        }
    });
    let app = axum::Router::new().fallback_service(app);
    let (mut client, stream) = tokio::io::duplex(1 << 20);
    let recorder = crate::support::Recorder::default();
    let listener = instrument_listener(One(Some(stream)), recorder.clone());
    tokio::spawn(serve(listener, app.into_make_service_with_conn_state()).into_future());

    let exchange = async |client: &mut tokio::io::DuplexStream, requests: &[u8], count| {
        const END: &[u8] = b"\r\n\r\n";
        client.write_all(requests).await.unwrap();
        let mut bytes = vec![0; 64 << 10];
        let (mut ends, mut matched) = (0, 0);
        while ends < count {
            let length = client.read(&mut bytes).await.unwrap();
            assert!(length > 0, "the server closed");
            for byte in &bytes[..length] {
                matched = if *byte == END[matched] { matched + 1 } else { 0 };
                if matched == END.len() {
                    (ends, matched) = (ends + 1, 0);
                }
            }
        }
        assert_eq!(ends, count);
    };

    // hyper reads a body that is there already, whoever has it.
    const HEAD: &str = "HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\n";
    exchange(&mut client, format!("POST /hold {HEAD}hello").as_bytes(), 1).await;
    settle().await;
    let conn = recorder.conn("unknown");
    assert_eq!(conn.state(), ConnState::Active);
    const AT_ONCE: usize = 256;
    let mut left = (1 << 16) - 1;
    while left > 0 {
        let count = left.min(AT_ONCE);
        exchange(&mut client, &b"GET / HTTP/1.1\r\n\r\n".repeat(count), count).await;
        left -= count;
    }
    assert_eq!(conn.requests(), 1 << 16);
    settle().await;
    assert_eq!(conn.state(), ConnState::Idle);

    // Answered, and its body is still coming.
    exchange(&mut client, format!("POST /detach {HEAD}he").as_bytes(), 1).await;
    settle().await;
    assert_eq!(conn.state(), ConnState::Active);
    assert!(held.lock().unwrap().take().is_some());
    settle().await;
    assert_eq!(conn.state(), ConnState::Active, "the first body's end was taken for this one's");
    client.write_all(b"llo").await.unwrap();
    settle().await;
    assert_eq!(conn.state(), ConnState::Idle);
}

// === A new waker at each poll

/// Polls what is inside with another waker each time, as `FuturesUnordered`,
/// `select` and instrumentation may do.
struct NewWakers<F> {
    inner: Pin<Box<F>>,
    polls: Arc<AtomicUsize>,
}

struct Forward(Waker);

impl Wake for Forward {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }
}

impl<F: Future> Future for NewWakers<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        let waker = Waker::from(Arc::new(Forward(cx.waker().clone())));
        self.inner.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// Not with a paused clock, which would stand still while a task wakes itself.
async fn polls_at_the_end(request: &[u8], end: fn(&Conn)) -> usize {
    let polls = Arc::new(AtomicUsize::new(0));
    let server = serve_with({
        let polls = polls.clone();
        move |io, conn| {
            let polls = polls.clone();
            async move {
                let service = service!(&conn);
                let builder = auto::Builder::new(TokioExecutor::new());
                let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
                let inner = Box::pin(connection);
                let _ = NewWakers { inner, polls }.await;
            }
        }
    })
    .await;
    let mut peer = server.connect().await;
    peer.send(request).await;
    let conn = peer.conn_once_there().await;
    while conn.requests() == 0 || conn.state() == ConnState::Active {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let before = polls.load(Ordering::Relaxed);
    // The client does not close its side, so it lingers for all of its time.
    end(&conn);
    conn.closed().await;
    polls.load(Ordering::Relaxed) - before
}

#[tokio::test]
async fn a_new_waker_at_each_poll() {
    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    let http2 = [opening(), settings_ack(), get(1, "/")].concat();
    let polls = tokio::join!(
        polls_at_the_end(GET, Conn::close),
        polls_at_the_end(&http2, Conn::close),
        polls_at_the_end(GET, Conn::drain),
        polls_at_the_end(&http2, Conn::drain),
    );
    let polls: [usize; 4] = polls.into();
    assert!(polls.iter().all(|polls| *polls <= 30), "{polls:?}");
}

/// The server shuts down by itself, and lingers.
#[tokio::test]
async fn a_new_waker_at_each_poll_after_an_answer_to_an_upload() {
    let request = b"POST /status/413 HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\n\r\nbody";
    let polls = polls_until_closed(request).await;
    assert!(polls <= 30, "{polls}");
}

async fn polls_until_closed(request: &[u8]) -> usize {
    let polls = Arc::new(AtomicUsize::new(0));
    let server = serve_with({
        let polls = polls.clone();
        move |io, conn| {
            let polls = polls.clone();
            async move {
                let service = service!(&conn);
                let inner =
                    Box::pin(http1::Builder::new().serve_connection(TokioIo::new(io), service));
                let _ = NewWakers { inner, polls }.await;
            }
        }
    })
    .await;
    let mut peer = server.connect().await;
    peer.send(request).await;
    peer.conn_once_there().await.closed().await;
    polls.load(Ordering::Relaxed)
}

// === Values

/// What runs longer than that is stuck.
fn does_not_hang(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    if is_done.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("it hangs");
    }
    thread.join().unwrap();
}

fn new_conn() -> (ConnIo<tokio::io::DuplexStream>, Conn) {
    let io = ConnIo::new(tokio::io::duplex(64).1, Address::Unknown, Address::Unknown, ());
    let conn = io.conn().clone();
    (io, conn)
}

/// Asks its own connection whenever it can.
#[derive(Debug)]
struct Curious(Conn);

impl Curious {
    fn asks(&self) {
        let count = self.0.get::<usize>().unwrap_or(0);
        self.0.insert(count + 1);
    }
}

impl Clone for Curious {
    fn clone(&self) -> Self {
        self.asks();
        Self(self.0.clone())
    }
}

impl Drop for Curious {
    fn drop(&mut self) {
        self.asks();
    }
}

#[test]
fn a_value_that_asks_its_own_connection() {
    does_not_hang(|| {
        let (io, conn) = new_conn();
        assert!(conn.insert(Curious(conn.clone())).is_none());
        drop(conn.get::<Curious>());
        assert_eq!(conn.get::<usize>(), Some(2));
        drop(conn.insert(Curious(conn.clone())));
        assert_eq!(conn.get::<usize>(), Some(3));
        drop(conn.remove::<Curious>());
        assert_eq!(conn.get::<usize>(), Some(4));
        assert!(conn.remove::<Curious>().is_none());
        // Dropped with the connection's end.
        conn.insert(Curious(conn.clone()));
        drop(io);
        assert!(conn.get::<Curious>().is_none());
        assert_eq!(conn.get::<usize>(), None);
    });
}

/// A value that has its connection, and something to see when it is dropped.
#[derive(Clone)]
struct OfItsOwn {
    #[allow(dead_code)]
    conn: Conn,
    #[allow(dead_code)]
    alive: Arc<()>,
}

fn insert_one_of_its_own(conn: &Conn) -> Weak<()> {
    let alive = Arc::new(());
    let weak = Arc::downgrade(&alive);
    conn.insert(OfItsOwn { conn: conn.clone(), alive });
    weak
}

#[tokio::test(start_paused = true)]
async fn a_value_that_holds_its_own_connection() {
    everywhere!(async |mut peer: Peer| {
        peer.get("/").await;
        peer.sees("new active idle").await;
        let value = insert_one_of_its_own(&peer.conn());
        assert!(value.upgrade().is_some());
        peer.close().await;
        peer.conn().closed().await;
        settle().await;
        assert!(value.upgrade().is_none(), "{:?}", peer.kind);
        assert!(peer.conn().get::<OfItsOwn>().is_none());
    });
}

/// It lives as long as the new owner does.
#[tokio::test(start_paused = true)]
async fn a_value_of_a_hijacked_connection() {
    everywhere!(async |mut peer: Peer| {
        peer.send(
            "GET /owner/holds HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        )
        .await;
        peer.sees("new active hijacked").await;
        let value = insert_one_of_its_own(&peer.conn());
        settle().await;
        assert!(peer.conn().get::<OfItsOwn>().is_some());
        Owner::Holds.release();
        peer.conn().closed().await;
        settle().await;
        assert!(value.upgrade().is_none(), "{:?}", peer.kind);
    });
}

/// The hook at Closed is the last that sees them.
#[tokio::test(start_paused = true)]
async fn values_are_there_at_closed() {
    let seen = Arc::new(Mutex::new(None));
    let hook = {
        let seen = seen.clone();
        move |conn: &Conn, state: ConnState| match state {
            ConnState::New => drop(conn.insert("mine")),
            ConnState::Closed => *seen.lock().unwrap() = conn.get::<&str>(),
            _ => {}
        }
    };
    let io = ConnIo::new(tokio::io::duplex(64).1, Address::Unknown, Address::Unknown, hook);
    let conn = io.conn().clone();
    drop(io);
    assert_eq!(*seen.lock().unwrap(), Some("mine"));
    assert_eq!(conn.get::<&str>(), None);
}

#[test]
fn nothing_is_kept_after_the_end() {
    let (io, conn) = new_conn();
    assert_eq!(conn.insert(1_u8), None);
    assert_eq!(conn.insert(2_u8), Some(1));
    drop(io);
    assert_eq!(conn.insert(3_u8), None);
    assert_eq!(conn.get::<u8>(), None);
    assert_eq!(conn.remove::<u8>(), None);
    assert!(insert_one_of_its_own(&conn).upgrade().is_none());
    // Taken out of sight counts as its end.
    let (io, conn) = new_conn();
    let value = insert_one_of_its_own(&conn);
    drop(io.into_inner());
    assert!(value.upgrade().is_none());
    assert!(insert_one_of_its_own(&conn).upgrade().is_none());
}

// === idle_for

#[tokio::test(start_paused = true)]
async fn idle_for_no_time_beside_an_active_connection() {
    for kind in Kind::all() {
        let server = Server::start(kind).await;
        server.connections.idle_for(Duration::ZERO).await;
        let mut peer = server.connect().await;
        peer.get("/wait/idle").await;
        peer.sees("new active").await;
        let idle = tokio::spawn({
            let connections = server.connections.clone();
            async move { connections.idle_for(Duration::ZERO).await }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!idle.is_finished(), "{kind:?}");
        released("idle").notify_one();
        peer.sees("idle").await;
        tokio::time::timeout(Duration::from_secs(1), idle).await.unwrap().unwrap();
        server.connections.idle_for(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn idle_for_no_time_beside_a_hijacked_connection() {
    let server = Server::start(Kind::Tower).await;
    let mut peer = server.connect().await;
    peer.send(
        "GET /owner/holds HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    )
    .await;
    peer.sees("new active hijacked").await;
    let idle = server.connections.idle_for(Duration::ZERO);
    assert!(tokio::time::timeout(Duration::from_secs(60), idle).await.is_err());
    Owner::Holds.release();
    let idle = server.connections.idle_for(Duration::ZERO);
    tokio::time::timeout(Duration::from_secs(1), idle).await.unwrap();
}
