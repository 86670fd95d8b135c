//! A connection is Hijacked once the answer that hands it over is in the
//! socket, whatever its new owner does; and it can be ended without him.

use std::time::Duration;

use hyper_connstate::CloseReason::{ClosedByProgram, PeerClosed, ServerClosed, ShutdownForced};
use hyper_connstate::{Conn, ConnState, Drained};

use crate::support::owners::Owner;
use crate::support::{Kind, Peer, Recorder, Server, everywhere, settle};

const UPGRADE: &str = "host: test\r\nconnection: upgrade\r\nupgrade: echo\r\n";

fn upgrade(owner: Owner) -> String {
    format!("GET /owner/{} HTTP/1.1\r\n{UPGRADE}\r\n", owner.name())
}

fn connect(owner: Owner) -> String {
    let host = owner.name();
    format!("CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n\r\n")
}

/// Stands for "however long".
const LONG: Duration = Duration::from_secs(3600);

/// Whether a stream of this stack can be closed without its owner.
fn can_be_closed(kind: Kind) -> bool {
    cfg!(feature = "tls") || !kind.is_tls()
}

async fn hijack(peer: &mut Peer, request: &str) {
    peer.get("/").await;
    peer.sees("new active idle").await;
    peer.response().await;
    peer.send(request).await;
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101") || head.starts_with("HTTP/1.1 200"), "{head}");
    peer.sees("active hijacked").await;
}

/// It was hijacked at once, and nothing more happens to it.
async fn is_owned(peer: &mut Peer, owner: Owner) {
    if owner == Owner::Drops {
        peer.conn().closed().await;
        assert_eq!(peer.conn().close_reason(), Some(ServerClosed), "{:?}", peer.kind);
        assert_eq!(peer.rest().await, b"");
    } else {
        tokio::time::sleep(LONG).await;
        assert_eq!(peer.conn().close_reason(), None, "{:?} {owner:?}", peer.kind);
    }
    peer.sees("").await;
    assert_eq!(peer.conn().state(), ConnState::Hijacked);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_whatever_its_owner_does() {
    for owner in Owner::ALL {
        everywhere!(async |mut peer: Peer| {
            hijack(&mut peer, &upgrade(owner)).await;
            is_owned(&mut peer, owner).await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_whatever_its_owner_does() {
    for owner in Owner::ALL {
        everywhere!(async |mut peer: Peer| {
            hijack(&mut peer, &connect(owner)).await;
            is_owned(&mut peer, owner).await;
        });
    }
}

/// Followed bodies (axum) do not keep the stream from its owner, who may hold
/// them.
#[tokio::test(start_paused = true)]
async fn an_upgrade_with_a_body() {
    for owner in Owner::ALL {
        everywhere!(async |mut peer: Peer| {
            let head = format!("POST /owner/{} HTTP/1.1\r\n{UPGRADE}", owner.name());
            hijack(&mut peer, &format!("{head}content-length: 5\r\n\r\nhello")).await;
            is_owned(&mut peer, owner).await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_with_a_body_that_nobody_reads() {
    for owner in Owner::ALL {
        everywhere!(async |mut peer: Peer| {
            let head = connect(owner);
            let head = head.trim_end();
            hijack(&mut peer, &format!("{head}\r\ncontent-length: 5\r\n\r\nhello")).await;
            is_owned(&mut peer, owner).await;
        });
    }
}

/// The client's going away is the owner's business, who may find out late.
#[tokio::test(start_paused = true)]
async fn an_owner_who_finds_out_late() {
    everywhere!(async |mut peer: Peer| {
        hijack(&mut peer, &upgrade(Owner::Holds)).await;
        peer.close().await;
        tokio::time::sleep(LONG).await;
        assert_eq!(peer.conn().close_reason(), None);
        Owner::Holds.release();
        peer.conn().closed().await;
        assert_eq!(peer.conn().close_reason(), Some(ServerClosed));
        peer.sees("").await;
    });
    everywhere!(async |mut peer: Peer| {
        hijack(&mut peer, &upgrade(Owner::Pushes)).await;
        peer.reset().await;
        peer.conn().closed().await;
        let reason = peer.conn().close_reason().unwrap();
        assert_ne!(reason, ServerClosed);
        assert_ne!(reason, PeerClosed);
        peer.sees("").await;
    });
}

// === Conn::close

/// The client sees the end, and so does whoever waits for it.
async fn closes(peer: &mut Peer) {
    let conn = peer.conn();
    let closed = tokio::spawn({
        let conn = conn.clone();
        async move { conn.closed().await }
    });
    settle().await;
    assert!(!closed.is_finished());
    conn.close();
    closed.await.unwrap();
    assert_eq!(conn.close_reason(), Some(ClosedByProgram), "{:?}", peer.kind);
    let rest = peer.rest().await;
    assert!(rest.chunks(5).all(|chunk| chunk == b"push\n"), "{rest:?}");
    peer.sees("").await;
}

#[tokio::test(start_paused = true)]
async fn close_ends_a_stream_that_nobody_touches() {
    for owner in Owner::ALL.into_iter().filter(|owner| *owner != Owner::Drops) {
        for request in [upgrade(owner), connect(owner)] {
            everywhere!(async |mut peer: Peer| {
                if can_be_closed(peer.kind) {
                    hijack(&mut peer, &request).await;
                    closes(&mut peer).await;
                }
            });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_all_ends_them_too() {
    for kind in Kind::all().into_iter().filter(|kind| can_be_closed(*kind)) {
        let server = Server::start(kind).await;
        let mut peer = server.connect().await;
        hijack(&mut peer, &upgrade(Owner::Holds)).await;
        assert_eq!(server.connections.close_all(), 1);
        peer.conn().closed().await;
        assert_eq!(peer.rest().await, b"");
        assert!(server.connections.is_empty());
    }
}

/// The answer is out by then, and arrives.
#[tokio::test(start_paused = true)]
async fn closed_by_the_hook_that_hears_of_it() {
    for kind in Kind::all().into_iter().filter(|kind| can_be_closed(*kind)) {
        let recorder = Recorder::default();
        let close = |conn: &Conn, state: ConnState| {
            if state == ConnState::Hijacked {
                conn.close();
            }
        };
        let hook = (recorder.clone(), close);
        let server = Server::start_with(kind, recorder, hook, |builder| builder).await;
        for owner in Owner::HOLDERS {
            let mut peer = server.connect().await;
            hijack(&mut peer, &upgrade(owner)).await;
            peer.conn().closed().await;
            assert_eq!(peer.conn().close_reason(), Some(ClosedByProgram));
            assert_eq!(peer.rest().await, b"");
        }
    }
}

#[cfg(unix)]
mod unix_sockets {
    use super::*;

    use std::path::PathBuf;

    use hyper::body::Incoming;
    use hyper_connstate::{ConnIo, ConnStateLayer, instrument_listener};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};

    use crate::support::server::{handle_incoming, new_builder};
    use crate::support::start_watchdog;

    async fn serve<T>(io: ConnIo<T>)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service =
            hyper::service::service_fn(|request: http::Request<Incoming>| handle_incoming(request));
        let service = ConnStateLayer::for_conn(io.conn()).layer(service);
        let _ = new_builder().serve_connection_with_upgrades(TokioIo::new(io), service).await;
    }

    struct Socket(PathBuf);

    impl Socket {
        fn new(name: &str) -> (Self, UnixListener) {
            let file = format!("hyper-connstate-{}-{name}.sock", std::process::id());
            let path = std::env::temp_dir().join(file);
            let listener = UnixListener::bind(&path).unwrap();
            (Self(path), listener)
        }
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    async fn check(mut client: impl AsyncRead + AsyncWrite + Unpin, conn: Conn) {
        client.write_all(upgrade(Owner::Holds).as_bytes()).await.unwrap();
        let mut head = [0; 12];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        settle().await;
        assert_eq!(conn.state(), ConnState::Hijacked);
        conn.close();
        conn.closed().await;
        assert_eq!(conn.close_reason(), Some(ClosedByProgram));
        // TLS has it as an error, since nobody has said close_notify.
        let _ = client.read_to_end(&mut Vec::new()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn plain() {
        start_watchdog();
        let (path, listener) = Socket::new("plain");
        let mut listener = instrument_listener(listener, ());
        let client = UnixStream::connect(&path.0).await.unwrap();
        let (io, conn) = listener.accept().await.unwrap();
        tokio::spawn(serve(io));
        check(client, conn).await;
    }

    #[cfg(feature = "tls")]
    #[tokio::test(start_paused = true)]
    async fn tls() {
        use crate::support::tls;

        start_watchdog();
        let (path, listener) = Socket::new("tls");
        let mut listener = instrument_listener(listener, ());
        let (send, served) = tokio::sync::oneshot::channel();
        let client = UnixStream::connect(&path.0).await.unwrap();
        let handshake = listener.accept_handshake().await.unwrap();
        tokio::spawn(async move {
            let acceptor = tls::acceptor();
            let io = handshake.complete(|stream| acceptor.accept(stream)).await.unwrap();
            send.send(io.conn().clone()).unwrap();
            serve(io).await;
        });
        let client = tls::connect(client, "http/1.1").await;
        check(client, served.await.unwrap()).await;
    }
}

// === Descriptors

#[cfg(target_os = "linux")]
mod descriptors {
    use super::*;

    use std::net::SocketAddr;

    /// As /proc/net/tcp has it.
    fn in_hexadecimal(addr: SocketAddr) -> String {
        let SocketAddr::V4(addr) = addr else { panic!("{addr}") };
        format!("{:08X}:{:04X}", u32::from_ne_bytes(addr.ip().octets()), addr.port())
    }

    /// The number by which the system knows the server's socket.
    fn inode(server: SocketAddr, client: SocketAddr) -> String {
        let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let ends = [in_hexadecimal(server), in_hexadecimal(client)];
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.find(|line| line[1..3] == ends).unwrap()[9].to_owned()
    }

    fn descriptors_of(inode: &str) -> usize {
        let link = format!("socket:[{inode}]");
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        all.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
            .filter(|target| target.to_str() == Some(&link))
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_left_behind() {
        for kind in Kind::all().into_iter().filter(|kind| can_be_closed(*kind)) {
            for owner in Owner::HOLDERS {
                for program_closes in [false, true] {
                    let server = Server::start(kind).await;
                    let mut peer = server.connect().await;
                    hijack(&mut peer, &upgrade(owner)).await;
                    let inode = inode(server.addr, peer.address());
                    // One of them is there to end it with.
                    assert_eq!(descriptors_of(&inode), 2, "{kind:?}");
                    if program_closes {
                        peer.conn().close();
                        assert_eq!(descriptors_of(&inode), 1, "{kind:?}");
                    }
                    owner.release();
                    peer.conn().closed().await;
                    settle().await;
                    assert_eq!(descriptors_of(&inode), 0, "{kind:?}");
                }
            }
        }
    }

    /// Only what is hijacked has a second one.
    #[tokio::test(start_paused = true)]
    async fn one_is_enough_for_the_others() {
        for kind in Kind::all() {
            let server = Server::start(kind).await;
            let mut peer = server.connect().await;
            peer.get("/").await;
            peer.sees("new active idle").await;
            assert_eq!(descriptors_of(&inode(server.addr, peer.address())), 1, "{kind:?}");
        }
    }
}

// === A drain beside it

fn count(drained: Drained) -> [usize; 4] {
    [drained.drained, drained.forced, drained.broken, drained.hijacked]
}

const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_drain_tells_the_owner_and_leaves_it_to_him() {
    for kind in Kind::all() {
        for owner in Owner::HOLDERS {
            let server = Server::start(kind).await;
            let mut peer = server.connect().await;
            hijack(&mut peer, &upgrade(owner)).await;
            let conn = peer.conn();
            let told = tokio::spawn(async move { conn.draining().await });
            settle().await;
            assert!(!told.is_finished());
            assert_eq!(count(server.connections.drain(TIMEOUT).await), [0, 0, 0, 1]);
            told.await.unwrap();
            tokio::time::sleep(LONG).await;
            assert_eq!(peer.conn().close_reason(), None);
            owner.release();
            peer.conn().closed().await;
            assert_eq!(peer.conn().close_reason(), Some(ServerClosed));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_owner() {
    for kind in Kind::all() {
        for owner in Owner::HOLDERS {
            let server = Server::start(kind).await;
            let mut peer = server.connect().await;
            hijack(&mut peer, &upgrade(owner)).await;
            let drain = server.connections.drain(TIMEOUT).wait_for_hijacked(true);
            let drain = tokio::spawn(drain.into_future());
            tokio::time::sleep(TIMEOUT / 2).await;
            assert!(!drain.is_finished());
            owner.release();
            assert_eq!(count(drain.await.unwrap()), [1, 0, 0, 0], "{kind:?} {owner:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_what_the_owner_keeps() {
    for kind in Kind::all().into_iter().filter(|kind| can_be_closed(*kind)) {
        for owner in Owner::HOLDERS {
            let server = Server::start(kind).await;
            let mut peer = server.connect().await;
            hijack(&mut peer, &upgrade(owner)).await;
            let drained = server.connections.drain(TIMEOUT).force_hijacked(true).await;
            assert_eq!(count(drained), [0, 1, 0, 0], "{kind:?} {owner:?}");
            assert_eq!(peer.conn().close_reason(), Some(ShutdownForced));
            assert_eq!(peer.rest().await, b"");
        }
    }
}
