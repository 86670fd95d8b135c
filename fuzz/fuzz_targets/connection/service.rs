//! Handlers: the last letter of a request's path says what they do.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_connstate::{Conn, ConnState};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::executor::Spawner;
use crate::transport::Wire;

/// What the message of a panic starts with that is part of the script.
pub const WANTED: &str = "wanted";

/// What all handlers of a connection share, and the script sees.
#[derive(Default)]
pub struct Handlers {
    pub begun: AtomicUsize,
    pub ended: AtomicUsize,
    /// An answer that gives the stream away has been made.
    pub upgraded: AtomicBool,
    /// And hyper will do so.
    pub handed_over: AtomicBool,
    pub gate: Gate,
    below: Mutex<Option<(Conn, Wire)>>,
}

impl Handlers {
    /// Called where it is known when the stream is hijacked.
    pub fn set_up(&self, conn: Conn, wire: Wire) {
        *self.below.lock().unwrap() = Some((conn, wire));
    }

    /// Lets go of what has these handlers too.
    pub fn finish(&self) {
        self.below.lock().unwrap().take();
    }

    /// The new owner of a stream has used it.
    fn check_hijacked(&self) {
        let Some((conn, wire)) = self.below.lock().unwrap().clone() else { return };
        // hyper gives a stream away without waiting for its last flush.
        if !wire.state().has_waited {
            assert_eq!(conn.state(), ConnState::Hijacked);
        }
    }
}

/// Handlers wait here until the script lets them go on.
#[derive(Default)]
pub struct Gate(Mutex<(usize, Vec<Waker>)>);

impl Gate {
    pub fn open(&self, times: usize) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = gate.0.saturating_add(times);
        let wakers = std::mem::take(&mut gate.1);
        drop(gate);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn poll_pass(&self, cx: &Context<'_>) -> Poll<()> {
        let mut gate = self.0.lock().unwrap();
        if gate.0 > 0 {
            gate.0 -= 1;
            return Poll::Ready(());
        }
        gate.1.push(cx.waker().clone());
        Poll::Pending
    }
}

/// Counts a request as ended.
struct Ends(Arc<Handlers>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// What becomes of a stream that was given away.
#[derive(Clone, Copy)]
pub enum NewOwner {
    Echoes,
    Keeps,
    Drops,
    /// Nobody asks for it.
    Nobody,
}

pub async fn handle(
    mut request: Request<Incoming>,
    handlers: Arc<Handlers>,
    spawner: Spawner,
    owner: NewOwner,
) -> io::Result<Response<Answer>> {
    handlers.begun.fetch_add(1, Ordering::Relaxed);
    let ends = Ends(handlers.clone());
    let pass = || poll_fn(|cx| handlers.gate.poll_pass(cx));
    let data = |bytes: &'static [u8]| Part::Data(Bytes::from_static(bytes));
    let letter = request.uri().path().as_bytes().last().copied().unwrap_or(b'/');
    let answer = |parts: Vec<Part>| {
        Response::new(Answer {
            parts: parts.into(),
            // Upper case: its length is not known.
            sized: !letter.is_ascii_uppercase() && letter != b'k',
            knows_its_end: letter != b'l',
            handlers: handlers.clone(),
            _ends: ends,
        })
    };

    if request.method() == Method::CONNECT {
        give_away(&mut request, &handlers, &spawner, owner);
        return Ok(answer(Vec::new()));
    }
    Ok(match letter.to_ascii_lowercase() {
        b'w' => {
            pass().await;
            answer(vec![data(b"waited")])
        }
        b'e' => match request.into_body().collect().await {
            Ok(body) => answer(vec![Part::Data(body.to_bytes())]),
            Err(_) => answer(vec![data(b"broken")]),
        },
        // Takes one frame of the body and leaves the rest.
        b'r' => {
            let _ = request.body_mut().frame().await;
            answer(vec![data(b"some")])
        }
        b's' => answer(vec![data(b"one"), Part::Yield, data(b"two"), Part::Wait, data(b"three")]),
        b't' => answer(vec![Part::Wait, data(b"body"), Part::Trailers]),
        b'b' | b'l' => answer(vec![Part::Data(Bytes::from(vec![b'x'; 20_000]))]),
        b'n' => answer(Vec::new()),
        b'c' => {
            let mut response = answer(vec![data(b"bye")]);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
        b'u' => {
            give_away(&mut request, &handlers, &spawner, owner);
            let mut response = answer(Vec::new());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
            response
        }
        // Says that more will come than does.
        b'k' => {
            let mut response = answer(vec![data(b"short")]);
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("100"));
            response
        }
        b'i' => {
            let mut response = answer(Vec::new());
            *response.status_mut() = StatusCode::EARLY_HINTS;
            response
        }
        b'4' => {
            let mut response = answer(Vec::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        b'p' => panic!("{WANTED}: a handler"),
        b'q' => answer(vec![data(b"some"), Part::Panic]),
        b'x' => return Err(io::Error::other("a handler's")),
        b'y' => answer(vec![data(b"some"), Part::Error]),
        _ => answer(vec![data(b"hello")]),
    })
}

fn give_away(
    request: &mut Request<Incoming>,
    handlers: &Arc<Handlers>,
    spawner: &Spawner,
    owner: NewOwner,
) {
    handlers.upgraded.store(true, Ordering::Relaxed);
    let possible = request.extensions().get::<hyper::upgrade::OnUpgrade>().is_some();
    let hijacks = request.version() != Version::HTTP_2;
    handlers.handed_over.fetch_or(possible && hijacks, Ordering::Relaxed);
    if let NewOwner::Nobody = owner {
        return;
    }
    let upgrade = hyper::upgrade::on(&mut *request);
    let handlers = handlers.clone();
    spawner.spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut stream = TokioIo::new(upgraded);
        match owner {
            NewOwner::Echoes => {
                let mut buf = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut buf).await {
                    if stream.write_all(&buf[..length]).await.is_err() {
                        return;
                    }
                    // (What was read may have come from hyper's buffer.)
                    if hijacks {
                        handlers.check_hijacked();
                    }
                }
            }
            NewOwner::Keeps => std::future::pending().await,
            NewOwner::Drops | NewOwner::Nobody => {}
        }
    });
}

enum Part {
    Data(Bytes),
    Trailers,
    /// Comes back to it at once.
    Yield,
    /// Waits for the script.
    Wait,
    Error,
    Panic,
}

/// A response's body.
pub struct Answer {
    parts: VecDeque<Part>,
    sized: bool,
    knows_its_end: bool,
    handlers: Arc<Handlers>,
    _ends: Ends,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(part) = self.parts.pop_front() else { return Poll::Ready(None) };
        Poll::Ready(Some(match part {
            Part::Data(bytes) => Ok(Frame::data(bytes)),
            Part::Trailers => Ok(Frame::trailers(hyper::HeaderMap::new())),
            Part::Yield => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Part::Wait => {
                if self.handlers.gate.poll_pass(cx).is_pending() {
                    self.parts.push_front(Part::Wait);
                    return Poll::Pending;
                }
                return self.poll_frame(cx);
            }
            Part::Error => Err(io::Error::other("a body's")),
            Part::Panic => panic!("{WANTED}: a body"),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.sized && self.knows_its_end && self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.parts.iter().map(|part| match part {
            Part::Data(bytes) => Some(bytes.len() as u64),
            _ => None,
        });
        match length.sum::<Option<u64>>() {
            Some(length) if self.sized => SizeHint::with_exact(length),
            _ => SizeHint::default(),
        }
    }
}
