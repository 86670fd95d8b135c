//! 5,000 connections that send a byte of a head now and then do not slow
//! others. Shown by work, not by time: what serves one client never touches
//! the connection of another, and it takes as many turns and polls to accept
//! and serve a client as without them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

use hyper_connstate::{Accept, Address, Conn, ConnState, Connections, instrument_listener};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

use crate::alone;
use crate::support::server::{new_builder, serve_connection};
use crate::support::{settle, start_watchdog};

const SLOW: usize = 5_000;
const REQUESTS: usize = 1_000;

/// A server's end of a connection, which counts how often it is polled.
struct Counted {
    stream: DuplexStream,
    polls: Arc<AtomicUsize>,
}

impl Counted {
    fn polled(self: Pin<&mut Self>) -> Pin<&mut DuplexStream> {
        self.polls.fetch_add(1, SeqCst);
        Pin::new(&mut self.get_mut().stream)
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.polled().poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.polled().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.polled().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.polled().poll_shutdown(cx)
    }
}

/// Takes connections from a channel.
struct Listener(mpsc::UnboundedReceiver<Counted>);

impl Accept for Listener {
    type Io = Counted;
    type Addr = Address;

    async fn accept(&mut self) -> io::Result<(Counted, Address)> {
        match self.0.recv().await {
            Some(counted) => Ok((counted, Address::Unknown)),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Unknown)
    }
}

#[derive(Clone, Copy, Debug)]
enum Loop {
    Own,
    #[cfg(feature = "serve")]
    Serve,
}

struct Server {
    accept: mpsc::UnboundedSender<Counted>,
    connections: Connections,
    reports: Arc<AtomicUsize>,
}

impl Server {
    fn start(kind: Loop) -> Self {
        let (accept, accepted) = mpsc::unbounded_channel();
        let reports = Arc::new(AtomicUsize::new(0));
        let count = reports.clone();
        let hook = move |_: &Conn, _: ConnState| {
            count.fetch_add(1, SeqCst);
        };
        let mut listener = instrument_listener(Listener(accepted), hook);
        let connections = listener.connections();
        match kind {
            Loop::Own => tokio::spawn(async move {
                loop {
                    let (io, conn) = listener.accept().await.unwrap();
                    tokio::spawn(async move { serve_connection(&new_builder(), io, &conn).await });
                }
            }),
            #[cfg(feature = "serve")]
            Loop::Serve => tokio::spawn(async move {
                let service = tower::service_fn(crate::support::server::handle_incoming);
                let serve = hyper_connstate::serve(listener, service);
                drop(serve.http(|http| *http = new_builder()).await);
            }),
        };
        Self { accept, connections, reports }
    }

    fn connect(&self, polls: &Arc<AtomicUsize>) -> DuplexStream {
        let (client, stream) = tokio::io::duplex(1024);
        self.accept.send(Counted { stream, polls: polls.clone() }).ok().unwrap();
        client
    }
}

/// What it takes to accept and serve an ordinary client.
#[derive(Debug, PartialEq, Eq)]
struct Effort {
    /// How many turns other tasks get from the connect to the first answer.
    turns: usize,
    /// How often its stream is polled.
    polls: usize,
    reports: usize,
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";

async fn exchange(client: &mut DuplexStream, answer: &mut [u8]) {
    client.write_all(GET).await.unwrap();
    client.read_exact(answer).await.unwrap();
}

/// Serves an ordinary client while so many slow ones are there.
async fn effort(kind: Loop, slow: usize) -> Effort {
    let server = Server::start(kind);
    let slow_polls = Arc::new(AtomicUsize::new(0));
    let mut slow: Vec<_> = (0..slow).map(|_| server.connect(&slow_polls)).collect();
    let head = b"GET / HTTP/1.1\r\nhost: test\r\nx-slow: ";
    let mut drip = head.iter().chain(std::iter::repeat(&b'x'));
    let mut drip = async || {
        let byte = *drip.next().unwrap();
        let (polls, reports) = (slow_polls.load(SeqCst), server.reports.load(SeqCst));
        for client in &mut slow {
            client.write_all(&[byte]).await.unwrap();
        }
        settle().await;
        // A byte is read, and that there is no more is seen.
        let polls = slow_polls.load(SeqCst) - polls;
        assert!(polls <= 3 * slow.len(), "{kind:?}: {polls} polls for {} bytes", slow.len());
        server.reports.load(SeqCst) - reports
    };
    // Accepted, and active at the first byte; the others change nothing.
    let reported = drip().await;
    assert_eq!(server.connections.counts().active, reported / 2, "{kind:?}");
    for _ in 0..20 {
        assert_eq!(drip().await, 0, "{kind:?}");
    }

    let at_rest = slow_polls.load(SeqCst);
    let before = server.reports.load(SeqCst);
    let polls = Arc::new(AtomicUsize::new(0));
    let mut client = server.connect(&polls);
    client.write_all(GET).await.unwrap();
    let mut turns = 0;
    let mut answer = vec![0; 4096];
    let length = loop {
        tokio::select! {
            biased;
            length = client.read(&mut answer) => break length.unwrap(),
            () = tokio::task::yield_now() => turns += 1,
        }
    };
    for _ in 1..REQUESTS {
        exchange(&mut client, &mut answer[..length]).await;
    }
    settle().await;
    assert_eq!(slow_polls.load(SeqCst), at_rest, "{kind:?}: slow connections were polled");
    let reports = server.reports.load(SeqCst) - before;
    Effort { turns, polls: polls.load(SeqCst), reports }
}

#[test]
fn five_thousand_slow_clients_cost_others_nothing() {
    let _alone = alone();
    start_watchdog();
    let kinds = [
        Loop::Own,
        #[cfg(feature = "serve")]
        Loop::Serve,
    ];
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        for kind in kinds {
            let undisturbed = effort(kind, 0).await;
            assert_eq!(undisturbed.reports, 1 + 2 * REQUESTS);
            assert_eq!(effort(kind, SLOW).await, undisturbed, "{kind:?}");
        }
    });
}

/// On sockets: while they are there and send, clients come, are served and
/// go, and no slow one is reported as anything but Active.
#[cfg(unix)]
#[test]
fn five_thousand_slow_sockets() {
    use crate::checker::Checker;
    use crate::clients::Client;
    use crate::process::{ServerAt, room_for};
    use crate::support::{self, Kind, Recorder};

    let _alone = alone();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let kinds = Kind::all().into_iter().filter(|kind| !kind.is_tls());
    // Both sides of them are here.
    let slow = room_for(2 * SLOW) / 2;
    const CLIENTS: usize = 50;
    const EACH: usize = 20;
    for (index, kind) in kinds.enumerate() {
        // All of them with one stack, and some with the others.
        let slow = if index == 0 { slow } else { slow / 10 };
        let checker = Arc::new(Checker::new(slow + CLIENTS));
        let hook = checker.clone();
        let server = support::Server::start_with(kind, Recorder::default(), hook, |http| http);
        let server = runtime.block_on(server);
        let at = ServerAt { addr: server.addr, tls: false };
        let mut clients: Vec<_> = (0..slow).map(|_| Client::connect(at)).collect();
        clients.iter_mut().for_each(|client| client.send("G"));

        for part in clients.chunks_mut(slow.div_ceil(CLIENTS)) {
            part.iter_mut().for_each(|client| client.send("E"));
            let mut ordinary = Client::connect(at);
            for _ in 0..EACH {
                ordinary.get("/");
                assert_eq!(ordinary.response(), Some(200));
            }
        }
        let ended = |count| {
            // A watchdog ends it if that takes too long.
            while checker.count(ConnState::Closed) < count || server.connections.len() > slow {
                std::thread::yield_now();
            }
        };
        ended(CLIENTS);
        while checker.count(ConnState::Active) < slow + CLIENTS * EACH {
            std::thread::yield_now();
        }
        let counts = server.connections.counts();
        assert_eq!((counts.active, counts.total()), (slow, slow), "{kind:?}");
        assert_eq!(checker.count(ConnState::Active), slow + CLIENTS * EACH, "{kind:?}");
        assert_eq!(checker.count(ConnState::Idle), CLIENTS * EACH, "{kind:?}");

        drop(clients);
        ended(CLIENTS + slow);
        while !server.connections.is_empty() {
            std::thread::yield_now();
        }
        checker.assert_all_ended();
    }
}
