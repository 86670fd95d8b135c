//! Listeners of every kind, and what a handle knows of its connection.

use std::io;
use std::sync::{Arc, Mutex};

use hyper_connstate::{
    Accept, Address, Conn, ConnIo, ConnState, Hook, Protocol, instrument_listener,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::support::server::{listen, new_builder, serve_connection};
use crate::support::{Kind, Peer, Recorder, Server};

async fn serve<T>(io: ConnIo<T>, conn: Conn)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    serve_connection(&new_builder(), io, &conn).await;
}

#[tokio::test(start_paused = true)]
async fn tcp() {
    let server = Server::start(Kind::Tower).await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    let conn = peer.conn();
    assert_eq!(conn.remote_addr().socket_addr(), Some(peer.address()));
    assert_eq!(conn.remote_addr().to_string(), peer.name());
    assert_eq!(conn.local_addr().socket_addr(), Some(server.addr));
    assert_eq!((conn.protocol(), conn.requests()), (Protocol::Unknown, 0));
    peer.get("/").await;
    peer.sees("active idle").await;
    assert_eq!((conn.protocol(), conn.requests()), (Protocol::Http1, 1));
    assert_eq!(conn.state(), ConnState::Idle);

    let other = server.connect().await;
    other.sees("new").await;
    assert_ne!(other.conn().id(), conn.id());
    assert_ne!(other.conn(), conn);
    assert_eq!(peer.conn(), conn);
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn unix() {
    use tokio::net::{UnixListener, UnixStream};

    let dir = std::env::temp_dir().join(format!("hyper-connstate-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("socket");
    let _ = std::fs::remove_file(&path);
    let recorder = Recorder::default();
    let mut listener = instrument_listener(UnixListener::bind(&path).unwrap(), recorder.clone());
    let mut client = UnixStream::connect(&path).await.unwrap();
    let (io, conn) = listener.accept().await.unwrap();
    // As Go prints a client without a name of its own.
    assert_eq!(conn.remote_addr().to_string(), "@");
    assert_eq!(conn.local_addr().to_string(), path.to_str().unwrap());
    tokio::spawn(serve(io, conn));
    recorder.sees("@", "new", "accepted").await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    recorder.sees("@", "active idle", "answered").await;
    client.read_u8().await.unwrap();
    drop(client);
    recorder.sees("@", "closed", "closed").await;
    std::fs::remove_dir_all(&dir).unwrap();
}

struct InMemory(mpsc::Receiver<DuplexStream>);

impl Accept for InMemory {
    type Io = DuplexStream;
    type Addr = Address;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Address)> {
        let stream = self.0.recv().await;
        stream
            .map(|stream| (stream, Address::Unknown))
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn local_addr(&self) -> io::Result<Address> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_of_the_users_own() {
    let recorder = Recorder::default();
    let (connect, incoming) = mpsc::channel(1);
    let mut listener = instrument_listener(InMemory(incoming), recorder.clone());
    let (mut client, stream) = tokio::io::duplex(1024);
    connect.send(stream).await.unwrap();
    let (io, conn) = listener.accept().await.unwrap();
    assert_eq!(conn.local_addr().to_string(), "unknown");
    tokio::spawn(serve(io, conn));
    client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    recorder.sees("unknown", "new active idle", "answered").await;
    drop(client);
    recorder.sees("unknown", "closed", "closed").await;

    drop(connect);
    assert_eq!(listener.accept().await.unwrap_err().kind(), io::ErrorKind::NotConnected);
}

/// Values that the hook puts there are seen by whoever has the handle.
#[tokio::test(start_paused = true)]
async fn values() {
    #[derive(Clone, Debug, PartialEq)]
    struct Tenant(&'static str);

    let recorder = Recorder::default();
    let hook = |conn: &Conn, state: ConnState| match state {
        ConnState::New => assert!(conn.insert(Tenant("acme")).is_none()),
        ConnState::Active => assert_eq!(conn.get(), Some(Tenant("acme"))),
        _ => {}
    };
    let hook = (recorder.clone(), hook);
    let server = Server::start_with(Kind::Tower, recorder, hook, |builder| builder).await;
    let mut peer = server.connect().await;
    peer.get("/").await;
    peer.sees("new active idle").await;
    let conn = peer.conn();
    assert_eq!(conn.get::<u32>(), None);
    assert_eq!(conn.insert(Tenant("other")), Some(Tenant("acme")));
    assert_eq!(conn.remove(), Some(Tenant("other")));
    assert_eq!(conn.get::<Tenant>(), None);
    // Each connection has its own.
    let other = server.connect().await;
    other.sees("new").await;
    assert_eq!(other.conn().get(), Some(Tenant("acme")));
}

/// Hooks of a tuple are called from left to right.
#[tokio::test(start_paused = true)]
async fn hooks_in_order() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let named = |name: &'static str| {
        let calls = calls.clone();
        move |_: &Conn, state: ConnState| calls.lock().unwrap().push(format!("{name} {state}"))
    };
    let shared: Arc<dyn Hook> = Arc::new(named("third"));
    let hook = (named("first"), Some(named("second")), shared, ());
    let (_client, server) = tokio::io::duplex(8);
    drop(ConnIo::new(server, Address::Unknown, Address::Unknown, hook));
    let expected = ["first new", "second new", "third new", "first closed", "second closed"];
    assert_eq!(calls.lock().unwrap()[..5], expected);
    assert_eq!(calls.lock().unwrap().len(), 6);
}

/// `get_ref` and friends reach the stream inside.
#[tokio::test(start_paused = true)]
async fn the_stream_inside() {
    let listener = listen();
    let mut listener = instrument_listener(listener, ());
    let addr = listener.get_ref().local_addr().unwrap();
    let client = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (mut io, conn) = listener.accept().await.unwrap();
    io.get_ref().set_nodelay(true).unwrap();
    assert_eq!(io.get_mut().peer_addr().unwrap(), client.local_addr().unwrap());
    assert_eq!(io.conn(), &conn);
    assert!(tokio::io::AsyncWrite::is_write_vectored(&io));
    assert_eq!(io.into_inner().local_addr().unwrap(), addr);
    assert_eq!(conn.state(), ConnState::Hijacked);
    listener.into_inner().local_addr().unwrap();
}

/// A peer that says nothing costs the others nothing.
#[tokio::test(start_paused = true)]
async fn connections_do_not_mix() {
    let server = Server::start(Kind::Tower).await;
    let silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.get("/slow").await;
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..20 {
        peers.push(server.connect().await);
    }
    for peer in &mut peers {
        peer.get("/").await;
    }
    for peer in &mut peers {
        peer.sees("new active idle").await;
    }
    silent.sees("new").await;
    slow.sees("new active").await;
}
