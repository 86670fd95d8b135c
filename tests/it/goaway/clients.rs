//! What real clients make of it: the h2 crate's and hyper's.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_connstate::{Conn, ConnState};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::stack::Server;
use super::stream::{Shape, Shaped};
use crate::oracles::wire::{connect, wire};
use crate::support::handler::released;
use crate::support::{Recorder, start_watchdog};

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection whose server's stream has this shape.
async fn dial(server: Server, shape: Shape) -> (Box<dyn Stream>, Recorder) {
    start_watchdog();
    let (near, far) = wire();
    let (stream, _) = Shaped::new(near, shape);
    let recorder = Recorder::default();
    server.serve(stream, {
        let recorder = recorder.clone();
        move |conn: &Conn, state: ConnState| hyper_connstate::Hook::on_state(&recorder, conn, state)
    });
    let stream: Box<dyn Stream> =
        if server.is_tls() { Box::new(connect(far, "h2").await) } else { Box::new(far) };
    (stream, recorder)
}

fn conn(recorder: &Recorder) -> Conn {
    recorder.conn("unknown")
}

pub fn request<B>(path: &str, body: B) -> Request<B> {
    Request::get(format!("http://test{path}")).body(body).unwrap()
}

pub fn shapes() -> Vec<Shape> {
    let mut random = fastrand::Rng::with_seed(1);
    (1..=17).map(|chunk| Shape { chunk, ..Shape::random(&mut random) }).collect()
}

pub type Connection = JoinHandle<Result<(), h2::Error>>;

pub async fn h2_client(stream: Box<dyn Stream>) -> (SendRequest<Bytes>, Connection) {
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    (client.ready().await.unwrap(), connection)
}

pub async fn h2_answer(response: h2::client::ResponseFuture) -> Result<usize, h2::Error> {
    let mut body = response.await?.into_body();
    let mut length = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        length += chunk.len();
        body.flow_control().release_capacity(chunk.len())?;
    }
    Ok(length)
}

#[tokio::test(start_paused = true)]
async fn h2_is_drained() {
    for server in Server::all() {
        for shape in shapes() {
            let (stream, recorder) = dial(server, shape).await;
            let (mut client, connection) = h2_client(stream).await;
            let (waits, _) = client.send_request(request("/wait/h2", ()), true).unwrap();
            // A header block in parts takes its time, a few bytes at a time.
            let path = if shape.chunk % 8 == 1 { "/huge-head" } else { "/trailers" };
            let (first, _) = client.send_request(request(path, ()), true).unwrap();
            let waits = tokio::spawn(h2_answer(waits));
            h2_answer(first).await.unwrap();
            let conn = conn(&recorder);
            conn.drain();
            // It does not know yet.
            let (late, _) = client.send_request(request("/chunked", ()), true).unwrap();
            assert_eq!(h2_answer(late).await.unwrap(), "onetwothree".len(), "{server:?} {shape:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
            // It does now, and takes no more.
            assert!(client.clone().ready().await.is_err(), "{server:?} {shape:?}");
            released("h2").notify_one();
            assert_eq!(waits.await.unwrap().unwrap(), "waited\n".len());
            connection.await.unwrap().unwrap();
            conn.closed().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h2_is_closed_on() {
    for server in Server::all() {
        for shape in shapes() {
            let (stream, recorder) = dial(server, shape).await;
            let (mut client, connection) = h2_client(stream).await;
            let (first, _) = client.send_request(request("/", ()), true).unwrap();
            assert_eq!(h2_answer(first).await.unwrap(), "hello\n".len());
            tokio::time::sleep(Duration::from_millis(10)).await;
            let conn = conn(&recorder);
            assert_eq!(conn.state(), ConnState::Idle, "{server:?} {shape:?}");
            conn.close();
            let (late, _) = client.send_request(request("/", ()), true).unwrap();
            let error = h2_answer(late).await.unwrap_err();
            // It may be sent again (RFC 9113, section 6.8).
            assert!(error.is_go_away() && error.is_remote(), "{server:?} {shape:?}: {error:?}");
            assert_eq!(error.reason(), Some(h2::Reason::NO_ERROR), "{server:?} {shape:?}");
            connection.await.unwrap().unwrap();
            drop(client);
            conn.closed().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hyper_is_drained() {
    for server in Server::all() {
        for shape in shapes() {
            let (stream, recorder) = dial(server, shape).await;
            let (mut client, connection) = hyper_client(stream).await;
            let waits = client.send_request(request("/wait/hyper", Empty::new()));
            let waits = tokio::spawn(waits);
            let first = client.send_request(request("/trailers", Empty::new())).await.unwrap();
            assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "body");
            let conn = conn(&recorder);
            conn.drain();
            match client.send_request(request("/", Empty::new())).await {
                Ok(late) => {
                    let late = late.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(late, "hello\n", "{server:?} {shape:?}");
                }
                // Its task was faster than the request, which it has not sent.
                Err(error) => assert!(server.is_managed() && is_refused(&error), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            // A client's pool asks this before each request.
            let refused = client.send_request(request("/", Empty::new())).await.unwrap_err();
            assert!(refused.is_canceled() || is_refused(&refused), "{server:?}: {refused:?}");
            released("hyper").notify_one();
            let waited = waits.await.unwrap().unwrap();
            assert_eq!(waited.into_body().collect().await.unwrap().to_bytes(), "waited\n");
            connection.await.unwrap().unwrap();
            drop(client);
            conn.closed().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hyper_is_closed_on() {
    for server in Server::all() {
        for shape in shapes() {
            let (stream, recorder) = dial(server, shape).await;
            let (mut client, connection) = hyper_client(stream).await;
            let first = client.send_request(request("/", Empty::new())).await.unwrap();
            assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "hello\n");
            tokio::time::sleep(Duration::from_millis(10)).await;
            let conn = conn(&recorder);
            conn.close();
            let error = client.send_request(request("/", Empty::new())).await.unwrap_err();
            assert!(is_refused(&error), "{server:?} {shape:?}: {error:?}");
            connection.await.unwrap().unwrap();
            drop(client);
            conn.closed().await;
        }
    }
}

/// The server says that it has not looked at the request.
fn is_refused(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let error = source.and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_some_and(|error| error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR))
}

type HyperClient = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

async fn hyper_client(
    stream: Box<dyn Stream>,
) -> (HyperClient, JoinHandle<Result<(), hyper::Error>>) {
    let io = TokioIo::new(stream);
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    (client, tokio::spawn(connection))
}
