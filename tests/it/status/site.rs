//! A server with the page, clients of every kind, and what they are answered.

use std::net::SocketAddr;

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_connstate::{
    Address, Conn, ConnIo, ConnStateLayer, Connections, StatusPage, instrument_listener,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;

use crate::support::handler::handle;
use crate::support::server::{listen, new_builder};
use crate::support::start_watchdog;

/// Where the page is.
pub const PATH: &str = "/debug/connections";

/// hyper in a loop, the page at [`PATH`], and the usual handlers elsewhere.
pub struct Site {
    pub addr: SocketAddr,
    pub connections: Connections,
    pub page: StatusPage,
}

impl Site {
    pub fn start() -> Self {
        Self::with(|page| page)
    }

    pub fn with(configure: impl FnOnce(StatusPage) -> StatusPage) -> Self {
        start_watchdog();
        let listener = listen();
        let addr = listener.local_addr().unwrap();
        let mut listener = instrument_listener(listener, ());
        let connections = listener.connections();
        let page = configure(StatusPage::new(&connections));
        tokio::spawn({
            let page = page.clone();
            async move {
                loop {
                    let (io, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve(io, page.clone()));
                }
            }
        });
        Self { addr, connections, page }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// A client with an address of any kind, over a stream in memory.
    pub fn connect_from(&self, peer: impl Into<Address>) -> (DuplexStream, Conn) {
        let (client, server) = tokio::io::duplex(64 << 10);
        let local: SocketAddr = ([127, 0, 0, 1], 80).into();
        let io = ConnIo::new(server, peer, local, ());
        let conn = io.conn().clone();
        assert!(self.connections.insert(&conn));
        tokio::spawn(serve(io, self.page.clone()));
        (client, conn)
    }

    /// GET with a query.
    pub async fn get(&self, query: &str) -> Reply {
        self.ask(&format!("GET {PATH}?{query} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await
    }

    pub async fn json(&self, query: &str) -> Value {
        let reply = self.get(&format!("format=json&{query}")).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.body);
        serde_json::from_str(&reply.body).unwrap()
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: &str) -> Reply {
        exchange(&mut self.connect().await, request).await
    }
}

/// The page, or the handlers of all tests.
pub async fn serve<T>(io: ConnIo<T>, page: StatusPage)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let conn = io.conn().clone();
    let page = page.for_conn(&conn);
    let service = service_fn(move |request: Request<Incoming>| {
        let page = page.clone();
        async move {
            // All but the paths that the handlers know, for odd ones.
            match request.uri().path() {
                "/" | "/slow" | "/upgrade-held" => handle(request.map(Body::new)).await,
                _ => Ok(page.call(request).await.unwrap().map(Body::new)),
            }
        }
    });
    let service = ConnStateLayer::for_conn(&conn).layer(service);
    let _ = new_builder().serve_connection_with_upgrades(TokioIo::new(io), service).await;
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends a request and reads its answer, whose length it has to say.
pub async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> Reply {
    stream.write_all(request.as_bytes()).await.unwrap();
    let has_body = !request.starts_with("HEAD");
    read_reply(stream, has_body).await
}

pub async fn read_reply(stream: &mut (impl AsyncRead + Unpin), has_body: bool) -> Reply {
    let mut reply = Reply { status: 0, head: read_head(stream).await, body: String::new() };
    reply.status = reply.head[9..12].parse().unwrap();
    let length = reply.header("content-length").expect(&reply.head).parse().unwrap();
    if has_body {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        reply.body = String::from_utf8(body).unwrap();
    }
    reply
}

pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Over HTTP/2 in the clear.
pub async fn http2(addr: SocketAddr) -> hyper::client::conn::http2::SendRequest<Body> {
    let stream = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A GET of `/` on this stream, answered: the connection is Idle then.
pub async fn becomes_idle(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let reply = exchange(stream, "GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert_eq!(reply.body, "hello\n");
}
