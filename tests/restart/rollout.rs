//! Servers that take over from each other, and a client that goes on
//! meanwhile.
//!
//! All servers accept from one socket, each from its own descriptor of it. So
//! there is one queue of connections that wait to be accepted, and none is
//! lost in it when a server lets go of its descriptor.

use std::net::TcpListener;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::client::{self, Protocol, Sent};
use crate::stack::Stack;

/// How long a server serves before the next takes over.
const INTERVAL: Duration = Duration::from_millis(100);

/// Loads servers of this kind, and tells what became of the requests.
pub fn run(stack: Stack, protocol: Protocol) -> Sent {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let addr = socket.local_addr().unwrap();
    let mut servers = vec![Server::start(stack, &socket)];

    let (done, is_done) = channel();
    let client = std::thread::spawn(move || {
        let sent = client::load(addr, protocol, stack.is_tls());
        // The other end waits for this, or for the thread's end.
        let _ = done.send(());
        sent
    });
    while is_done.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        servers.push(Server::start(stack, &socket));
        let old = servers.len() - 2;
        servers[old].end();
    }
    let sent = client.join().expect("the client's thread");
    servers.iter_mut().for_each(Server::end);
    for server in servers {
        server.thread.join().expect("a server's thread");
    }
    sent
}

struct Server {
    end: Option<oneshot::Sender<()>>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Starts one, and waits until it accepts.
    fn start(stack: Stack, socket: &TcpListener) -> Self {
        let socket = socket.try_clone().unwrap();
        let (end, ended) = oneshot::channel();
        let (ready, is_ready) = channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(socket).unwrap();
                ready.send(()).unwrap();
                stack.serve(listener, async { drop(ended.await) }).await;
            });
        });
        is_ready.recv().expect("a server that starts");
        Self { end: Some(end), thread }
    }

    /// Has it shut down gracefully.
    fn end(&mut self) {
        self.end.take();
    }
}
