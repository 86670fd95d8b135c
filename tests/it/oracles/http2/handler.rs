//! What the server does with a request, by its path.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

/// Lets handlers that wait go on, in their order.
pub struct Desk(Semaphore);

impl Desk {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Semaphore::new(0)))
    }

    pub fn release(&self) {
        self.0.add_permits(1);
    }

    async fn wait(&self) {
        self.0.acquire().await.unwrap().forget();
    }

    pub async fn handle(
        self: Arc<Self>,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Infallible> {
        if request.method() == Method::CONNECT {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let Ok(upgraded) = upgrade.await else { return };
                let mut stream = hyper_util::rt::TokioIo::new(upgraded);
                let mut buf = [0; 64];
                while let Ok(1..) = stream.read(&mut buf).await {}
            });
            return Ok(Response::new(Body::empty()));
        }
        let path = request.uri().path().to_owned();
        let body = request.into_body();
        let text = || Body::from("hello\n");
        Ok(Response::new(match path.as_str() {
            "/wait" => {
                self.wait().await;
                text()
            }
            "/never" => std::future::pending().await,
            // More than fits into a window.
            "/big" => Body::from(vec![b'x'; 150_000]),
            "/echo" => match body.collect().await {
                Ok(body) => Body::from(body.to_bytes()),
                Err(_) => return Ok(status(400)),
            },
            // Answers, and leaves the body.
            "/early" => {
                drop(body);
                text()
            }
            "/detach" => {
                tokio::spawn(body.collect());
                text()
            }
            "/fails" => {
                let pieces = [Ok(Bytes::from("some")), Err(io::Error::other("(wanted)"))];
                Body::from_stream(stream::iter(pieces))
            }
            "/panics" => panic!("a handler's panic (wanted)"),
            "/trailers" => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", HeaderValue::from_static("1"));
                let frames = [Frame::data(Bytes::from("body")), Frame::trailers(trailers)];
                Body::new(StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>))))
            }
            // Its second piece waits.
            "/halts" => {
                let desk = self.clone();
                let one = stream::once(async { Ok::<_, Infallible>(Bytes::from("one")) });
                let two = stream::once(async move {
                    desk.wait().await;
                    Ok(Bytes::from("two"))
                });
                Body::from_stream(one.chain(two))
            }
            // Reads nothing, and keeps the body until it has answered.
            _ => text(),
        }))
    }
}

fn status(code: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}
