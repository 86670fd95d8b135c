//! The handlers that every test server has.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::owners::Owner;

thread_local! {
    /// By key; a test has a thread, and its server runs there.
    static RELEASED: RefCell<HashMap<String, Arc<Notify>>> = RefCell::default();
}

/// Lets a request for `/wait/KEY` or `/parts/KEY` go on.
pub fn released(key: &str) -> Arc<Notify> {
    RELEASED.with_borrow_mut(|keys| keys.entry(key.to_owned()).or_default().clone())
}

pub const BIG: usize = 3 << 20;

/// Answers as the path says.
pub async fn handle(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    if let Some(code) = path.strip_prefix("/status/") {
        return Ok(status(code.parse().unwrap()));
    }
    if let Some(key) = path.strip_prefix("/wait/") {
        released(key).notified().await;
        return Ok(Response::new(Body::from("waited\n")));
    }
    // The second part of the answer waits.
    if let Some(key) = path.strip_prefix("/parts/") {
        let released = released(key);
        let one = async { Ok::<_, Infallible>(Bytes::from("one\n")) };
        let two = async move {
            released.notified().await;
            Ok(Bytes::from("two\n"))
        };
        let parts = futures_util::stream::once(one).chain(futures_util::stream::once(two));
        return Ok(Response::new(Body::from_stream(parts)));
    }
    if let Some(owner) = path.strip_prefix("/owner/") {
        Owner::named(owner).unwrap().own(request);
        return Ok(upgrade_response());
    }
    let response = match path.as_str() {
        "/" => Response::new(Body::from("hello\n")),
        "/empty" => Response::new(Body::empty()),
        "/60k" => Response::new(Body::from(vec![b'x'; 60_000])),
        // Fits into the sockets, but not into one of them.
        "/150k" => Response::new(Body::from(vec![b'x'; 150 << 10])),
        "/big" => Response::new(Body::from(vec![b'x'; BIG])),
        // A body of known length whose stream does not know its own end.
        "/big-stream" => {
            let mut response = Response::new(Body::new(Unending::new(BIG)));
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(BIG));
            response
        }
        "/chunked" => Response::new(frames(vec!["one", "two", "three"], None)),
        "/big-chunked" => Response::new(Body::from_stream(futures_stream(BIG))),
        "/trailers" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-checksum", HeaderValue::from_static("1"));
            let mut response = Response::new(frames(vec!["body"], Some(trailers)));
            response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-checksum"));
            response
        }
        "/echo" => {
            let body = request.into_body().collect().await;
            match body {
                Ok(body) => Response::new(Body::new(Full::new(body.to_bytes()))),
                Err(_) => status(400),
            }
        }
        "/read-some" => {
            // Takes one frame of the body and leaves the rest.
            let _ = request.body_mut().frame().await;
            Response::new(Body::from("some\n"))
        }
        // Answers, and reads the request's body afterwards, elsewhere.
        "/detach" => {
            let body = request.into_body();
            tokio::spawn(async move {
                let _ = body.collect().await;
            });
            Response::new(Body::from("later\n"))
        }
        "/ignore" => Response::new(Body::from("ignored\n")),
        "/slow" => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Response::new(Body::from("late\n"))
        }
        // Its body never ends.
        "/stream" => Response::new(Body::new(StreamBody::new(Stuck))),
        "/panic" => panic!("a handler's panic (wanted)"),
        "/panic-late" => Response::new(Body::new(Panicking { sent: false })),
        "/body-error" => Response::new(Body::new(Failing { sent: false })),
        "/close" => {
            let mut response = Response::new(Body::from("bye\n"));
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
        "/huge-head" => huge_head(),
        "/upgrade" => upgrade(request),
        "/upgrade-held" => {
            tokio::spawn(hold(hyper::upgrade::on(&mut request)));
            upgrade_response()
        }
        "/upgrade-ignored" => {
            let mut response = upgrade_response();
            response.extensions_mut().clear();
            response
        }
        _ if request.method() == http::Method::CONNECT => connect(request),
        _ => status(404),
    };
    Ok(response)
}

fn status(code: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// Over HTTP/2 it takes several frames.
fn huge_head() -> Response<Body> {
    let mut response = Response::new(Body::from("huge\n"));
    for part in 0..6 {
        let name = http::HeaderName::try_from(format!("x-part-{part}")).unwrap();
        // Nothing that Huffman's code makes much shorter.
        let value = HeaderValue::try_from("~^{}|".repeat(700)).unwrap();
        response.headers_mut().insert(name, value);
    }
    response
}

fn upgrade_response() -> Response<Body> {
    let mut response = status(101);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("echo"));
    response
}

/// Answers 101, then echoes what it gets until the client is done.
fn upgrade(mut request: Request<Body>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(echo(upgrade));
    upgrade_response()
}

/// Answers CONNECT with 200, then echoes; but not to a host called `nobody`,
/// whose tunnel is answered and left, nor to `held`, whose tunnel is kept and
/// not touched, nor to one that names another owner.
fn connect(mut request: Request<Body>) -> Response<Body> {
    if let Some(owner) = request.uri().host().and_then(Owner::named) {
        owner.own(request);
        return status(200);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    match request.uri().host() {
        Some("nobody") => {}
        Some("held") => drop(tokio::spawn(hold(upgrade))),
        _ => drop(tokio::spawn(echo(upgrade))),
    }
    status(200)
}

/// Keeps the stream, and does not touch it.
async fn hold(upgrade: hyper::upgrade::OnUpgrade) {
    let upgraded = upgrade.await;
    std::future::pending::<()>().await;
    drop(upgraded);
}

async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut stream = hyper_util::rt::TokioIo::new(upgraded);
    let mut buf = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut buf).await {
        if stream.write_all(&buf[..length]).await.is_err() {
            return;
        }
    }
}

type FrameResult = Result<Frame<Bytes>, Infallible>;

fn frames(chunks: Vec<&'static str>, trailers: Option<HeaderMap>) -> Body {
    let chunks = chunks.into_iter().map(|chunk| Frame::data(Bytes::from(chunk)));
    let frames: Vec<FrameResult> = chunks.chain(trailers.map(Frame::trailers)).map(Ok).collect();
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

fn futures_stream(length: usize) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
    futures_util::stream::iter((0..length / 4096).map(|_| Ok(Bytes::from(vec![b'x'; 4096]))))
}

/// A stream that gives `left` bytes, and knows that it is done only when it is
/// asked for more.
struct Unending {
    left: usize,
}

impl Unending {
    fn new(left: usize) -> Self {
        Self { left }
    }
}

impl http_body::Body for Unending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        let length = self.left.min(64 << 10);
        self.left -= length;
        Poll::Ready((length > 0).then(|| Ok(Frame::data(Bytes::from(vec![b'x'; length])))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left as u64)
    }
}

struct Stuck;

impl futures_util::Stream for Stuck {
    type Item = FrameResult;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        Poll::Pending
    }
}

struct Panicking {
    sent: bool,
}

impl http_body::Body for Panicking {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        assert!(!self.sent, "a body's panic (wanted)");
        self.sent = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from("some")))))
    }
}

struct Failing {
    sent: bool,
}

impl http_body::Body for Failing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if std::mem::replace(&mut self.sent, true) {
            return Poll::Ready(Some(Err(std::io::Error::other("a body's error (wanted)"))));
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from("some")))))
    }
}
