//! Many connections at once, over in-memory streams.

pub mod cases;
pub mod client;
pub mod report;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use client::{Client, Protocol};
use hyper_connstate::{
    Accept, Conn, ConnState, ConnStateLayer, Connections, InstrumentedListener, instrument_listener,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tower::service_fn;

use crate::support::stacks::{hello, spawn};

/// What serves the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    Bare,
    Foreign,
    Serve,
}

impl Stack {
    pub const ALL: [Self; 3] = [Self::Bare, Self::Foreign, Self::Serve];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper-util",
            Self::Foreign => "a loop of one's own",
            Self::Serve => "`serve`",
        }
    }
}

/// A server, its connections, and their clients' ends.
pub struct Population {
    protocol: Protocol,
    accepting: mpsc::Sender<DuplexStream>,
    clients: Vec<Client>,
    /// Where the stack has such a thing.
    pub connections: Option<Connections>,
}

impl Population {
    /// A server that is ready, with room for so many connections.
    pub async fn new(stack: Stack, protocol: Protocol, count: usize) -> Self {
        let (accepting, streams) = mpsc::channel(1);
        let connections = spawn_server(stack, Streams(streams));
        let clients = Vec::with_capacity(count);
        let population = Self { protocol, accepting, clients, connections };
        settle().await;
        population
    }

    /// Opens connections, each of which is served a request, until there is no
    /// more room.
    pub async fn fill(&mut self) {
        while self.clients.len() < self.clients.capacity() {
            let (client, server) = tokio::io::duplex(BUFFER);
            self.accepting.send(server).await.expect("a server");
            self.clients.push(Client::connect(self.protocol, client).await);
        }
        settle().await;
    }

    /// Each connection is served a request, in turn, so many times.
    pub async fn pass(&mut self, times: usize) {
        for _ in 0..times {
            for client in &mut self.clients {
                client.request().await;
            }
        }
        settle().await;
    }
}

/// As much as a request or an answer takes.
const BUFFER: usize = 256;

/// Lets the connections' tasks come to wait.
async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

static EVENTS: AtomicU64 = AtomicU64::new(0);

pub fn count(_: &Conn, _: ConnState) {
    EVENTS.fetch_add(1, Ordering::Relaxed);
}

/// How many events have been reported.
pub fn events() -> u64 {
    EVENTS.load(Ordering::Relaxed)
}

fn spawn_server(stack: Stack, mut streams: Streams) -> Option<Connections> {
    if stack == Stack::Bare {
        tokio::spawn(async move {
            while let Ok((io, _)) = streams.accept().await {
                spawn(io, service_fn(hello));
            }
        });
        return None;
    }
    let listener = instrument_listener(streams, count);
    let connections = listener.connections();
    if stack == Stack::Foreign {
        tokio::spawn(accept_in_a_loop(listener));
    } else {
        let serve = hyper_connstate::serve(listener, service_fn(hello)).http(|http| {
            // A timer switches on a time-out of hyper's, which the others do
            // not have.
            http.http1().header_read_timeout(None);
        });
        tokio::spawn(serve.into_future());
    }
    Some(connections)
}

async fn accept_in_a_loop(mut listener: InstrumentedListener<Streams>) {
    while let Ok((io, conn)) = listener.accept().await {
        let layer = ConnStateLayer::for_conn(&conn);
        spawn(io, layer.layer(service_fn(hello)));
    }
}

struct Streams(mpsc::Receiver<DuplexStream>);

impl Accept for Streams {
    type Io = DuplexStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        let stream = self.0.recv().await.ok_or(io::ErrorKind::NotConnected)?;
        Ok((stream, self.local_addr()?))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 8080)))
    }
}
