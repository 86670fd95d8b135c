//! What a connection is said to be doing, against what the h2 crate says of
//! the same connection: a client and a server of h2's, and any programme.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::{Reason, client, server};
use http::{HeaderMap, Request, Response};
use hyper_connstate::{Address, Conn, ConnIo, ConnState};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::DuplexStream;

use crate::support::Recorder;

/// A step of either side. A stream is named by a number that is taken modulo
/// how many there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open { end: bool },
    ClientData { stream: usize, end: bool },
    ClientTrailers { stream: usize },
    ClientResets { stream: usize },
    ClientDrops { stream: usize },
    Answer { stream: usize, end: bool },
    ServerData { stream: usize, end: bool },
    ServerTrailers { stream: usize },
    ServerResets { stream: usize },
    ServerDrops { stream: usize },
    ServerGoesAway,
    Pause,
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let stream = || 0..8_usize;
    let with_end = || (0..8_usize, any::<bool>());
    prop_oneof![
        4 => any::<bool>().prop_map(|end| Open { end }),
        2 => with_end().prop_map(|(stream, end)| ClientData { stream, end }),
        1 => stream().prop_map(|stream| ClientTrailers { stream }),
        1 => stream().prop_map(|stream| ClientResets { stream }),
        1 => stream().prop_map(|stream| ClientDrops { stream }),
        4 => with_end().prop_map(|(stream, end)| Answer { stream, end }),
        2 => with_end().prop_map(|(stream, end)| ServerData { stream, end }),
        1 => stream().prop_map(|stream| ServerTrailers { stream }),
        1 => stream().prop_map(|stream| ServerResets { stream }),
        1 => stream().prop_map(|stream| ServerDrops { stream }),
        // Once or twice in a programme.
        1 => prop::bool::weighted(0.2).prop_map(|goes| if goes { ServerGoesAway } else { Pause }),
        6 => Just(Pause),
    ]
}

/// A stream as the client has it.
struct Asked {
    answer: client::ResponseFuture,
    body: h2::SendStream<Bytes>,
}

/// A stream as the server has it.
struct Served {
    request: Request<h2::RecvStream>,
    respond: server::SendResponse<Bytes>,
    body: Option<h2::SendStream<Bytes>>,
}

/// Both ends of a connection, polled by hand.
struct Pair {
    client: client::Connection<DuplexStream>,
    send: client::SendRequest<Bytes>,
    server: server::Connection<ConnIo<DuplexStream>, Bytes>,
    conn: Conn,
    recorder: Recorder,
    asked: Vec<Asked>,
    served: Vec<Served>,
    /// The server has said all that it will.
    over: bool,
}

impl Pair {
    fn open() -> Self {
        let recorder = Recorder::default();
        let (client_io, server_io) = tokio::io::duplex(1 << 20);
        let io = ConnIo::new(server_io, Address::Unknown, Address::Unknown, recorder.clone());
        let conn = io.conn().clone();
        let mut client = Box::pin(client::Builder::new().handshake(client_io));
        let mut server = Box::pin(server::handshake(io));
        let (mut opened, mut accepted) = (None, None);
        while opened.is_none() || accepted.is_none() {
            opened = opened.or_else(|| ready(client.as_mut()));
            accepted = accepted.or_else(|| ready(server.as_mut()));
        }
        let (send, client) = opened.unwrap().unwrap();
        Self {
            client,
            send,
            server: accepted.unwrap().unwrap(),
            conn,
            recorder,
            asked: Vec::new(),
            served: Vec::new(),
            over: false,
        }
    }

    /// Polls both ends until all that is under way has arrived.
    fn settle(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..8 {
            let _ = Pin::new(&mut self.client).poll(&mut cx);
            while !self.over {
                match self.server.poll_accept(&mut cx) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        self.served.push(Served { request, respond, body: None });
                    }
                    Poll::Ready(None | Some(Err(_))) => self.over = true,
                    Poll::Pending => break,
                }
            }
        }
    }

    fn step(&mut self, step: Step) {
        // What an end may not do any more, h2 refuses.
        match step {
            Step::Open { end } => {
                let request = Request::post("http://test/").body(()).unwrap();
                let mut cx = Context::from_waker(Waker::noop());
                if let Poll::Ready(Ok(())) = self.send.poll_ready(&mut cx) {
                    if let Ok((answer, body)) = self.send.send_request(request, end) {
                        self.asked.push(Asked { answer, body });
                    }
                }
            }
            Step::ClientData { stream, end } => {
                if let Some(asked) = pick(&mut self.asked, stream) {
                    let _ = asked.body.send_data(Bytes::from_static(b"data"), end);
                }
            }
            Step::ClientTrailers { stream } => {
                if let Some(asked) = pick(&mut self.asked, stream) {
                    let _ = asked.body.send_trailers(HeaderMap::new());
                }
            }
            Step::ClientResets { stream } => {
                if let Some(asked) = pick(&mut self.asked, stream) {
                    asked.body.send_reset(Reason::CANCEL);
                }
            }
            Step::ClientDrops { stream } => {
                if !self.asked.is_empty() {
                    let Asked { answer, body } = self.asked.remove(stream % self.asked.len());
                    drop(answer);
                    drop(body);
                }
            }
            Step::Answer { stream, end } => {
                if let Some(served) = pick(&mut self.served, stream) {
                    if served.body.is_none() {
                        served.body = served.respond.send_response(Response::new(()), end).ok();
                    }
                }
            }
            Step::ServerData { stream, end } => {
                if let Some(Served { body: Some(body), .. }) = pick(&mut self.served, stream) {
                    let _ = body.send_data(Bytes::from_static(b"data"), end);
                }
            }
            Step::ServerTrailers { stream } => {
                if let Some(Served { body: Some(body), .. }) = pick(&mut self.served, stream) {
                    let _ = body.send_trailers(HeaderMap::new());
                }
            }
            Step::ServerResets { stream } => {
                if let Some(served) = pick(&mut self.served, stream) {
                    match &mut served.body {
                        Some(body) => body.send_reset(Reason::CANCEL),
                        None => served.respond.send_reset(Reason::CANCEL),
                    }
                }
            }
            Step::ServerDrops { stream } => {
                if !self.served.is_empty() {
                    let Served { request, .. } = self.served.remove(stream % self.served.len());
                    drop(request);
                }
            }
            Step::ServerGoesAway => self.server.graceful_shutdown(),
            Step::Pause => {
                self.settle();
                self.compare();
            }
        }
    }

    fn compare(&self) {
        if self.over {
            return;
        }
        let open = self.server.has_streams();
        let expected = if open { ConnState::Active } else { ConnState::Idle };
        assert_eq!(self.conn.state(), expected, "by h2: {}", open);
    }
}

fn pick<T>(streams: &mut [T], index: usize) -> Option<&mut T> {
    let count = streams.len().max(1);
    streams.get_mut(index % count)
}

fn ready<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

proptest! {
    #[test]
    fn active_while_h2_has_streams(programme in vec(step(), 1..80)) {
        let mut pair = Pair::open();
        pair.step(Step::Pause);
        for step in programme {
            pair.step(step);
        }
        pair.step(Step::Pause);

        let Pair { client, server, conn, recorder, .. } = pair;
        drop(client);
        drop(server);
        prop_assert_eq!(conn.state(), ConnState::Closed);
        let all = recorder.states(&conn.remote_addr().to_string());
        let ends = all.iter().filter(|state| state.is_terminal()).count();
        prop_assert_eq!(ends, 1);
    }
}
