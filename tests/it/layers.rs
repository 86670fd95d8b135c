//! The layer among others: it speaks of what it sees.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_connstate::ConnStateLayer;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, mpsc};
use tower::ServiceBuilder;

use crate::support::Server;
use crate::support::handler::handle;
use crate::support::raw::serve_with;
use crate::support::server::new_builder;

type Answer = Result<Response<Body>, Infallible>;

/// Serves with the layer where `wrap` puts it.
async fn serve<S, W>(wrap: W) -> Server
where
    W: Fn(ConnStateLayer) -> S + Clone + Send + Sync + 'static,
    S: tower::Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    serve_with(move |io, conn| {
        let service = TowerToHyperService::new(wrap(ConnStateLayer::for_conn(&conn)));
        async move {
            let builder = new_builder();
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(io), service).await;
        }
    })
    .await
}

async fn handler(request: Request<Incoming>) -> Answer {
    handle(request.map(Body::new)).await
}

/// The last of the response ends in another task, after everything has been
/// flushed: the connection is idle then, and not with the next byte.
#[tokio::test(start_paused = true)]
async fn a_response_that_ends_elsewhere() {
    let end = Arc::new(Semaphore::new(0));
    let server = {
        let end = end.clone();
        serve(move |layer| {
            let end = end.clone();
            ServiceBuilder::new()
                .map_response(move |response: Response<_>| detach(response, end.clone()))
                .layer(layer)
                .service(tower::service_fn(handler))
        })
        .await
    };
    let mut peer = server.connect().await;
    peer.sees("new").await;
    for _ in 0..3 {
        peer.get("/").await;
        assert_eq!(peer.response().await.body, b"hello\n");
        peer.sees("active").await;
        end.add_permits(1);
        peer.sees("idle").await;
    }
    peer.close().await;
    peer.sees("closed").await;
}

/// Sends the body through a channel, and keeps it until there is a permit.
fn detach<B>(response: Response<B>, end: Arc<Semaphore>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    response.map(|mut body| {
        tokio::spawn(async move {
            let frame = body.frame().await.unwrap().unwrap();
            sender.send(Ok(frame)).await.unwrap();
            drop(sender);
            end.acquire().await.unwrap().forget();
            drop(body);
        });
        Body::new(StreamBody::new(futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx))))
    })
}

/// A time-out outside of the layer answers in the handler's place.
#[tokio::test(start_paused = true)]
async fn a_time_out_outside() {
    let server = serve(|layer| {
        ServiceBuilder::new()
            .map_result(|result: Result<Response<_>, tower::BoxError>| match result {
                Ok(response) => Ok::<_, tower::BoxError>(response.map(Body::new)),
                Err(_) => Ok(Response::builder().status(504).body(Body::from("late\n")).unwrap()),
            })
            .timeout(Duration::from_secs(60))
            .layer(layer)
            .service(tower::service_fn(handler))
    })
    .await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    for _ in 0..2 {
        peer.get("/slow").await;
        peer.sees("active").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        peer.sees("idle").await;
        assert!(peer.response().await.head.starts_with("HTTP/1.1 504"));
    }
}

/// A layer outside that answers by itself: the connection is not idle after a
/// request that this crate's layer has not seen, and is after the next.
#[tokio::test(start_paused = true)]
async fn an_answer_from_outside() {
    let server = serve(|layer| {
        let inner = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(Body::new))
            .layer(layer)
            .service(tower::service_fn(handler));
        tower::service_fn(move |request: Request<Incoming>| {
            let mut inner = inner.clone();
            async move {
                match request.uri().path() {
                    "/outside" => Ok(Response::new(Body::from("outside\n"))),
                    _ => tower::Service::call(&mut inner, request).await,
                }
            }
        })
    })
    .await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    peer.get("/outside").await;
    assert_eq!(peer.response().await.body, b"outside\n");
    peer.sees("active").await;
    peer.get("/").await;
    peer.sees("idle").await;
    peer.response().await;
    peer.close().await;
    peer.sees("closed").await;
}

/// A layer that waits in `poll_ready` and serves in a task of its own.
#[tokio::test(start_paused = true)]
async fn behind_a_buffer() {
    let server = serve(|layer| {
        ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(Body::new))
            .buffer::<Request<Incoming>>(4)
            .layer(layer)
            .service(tower::service_fn(handler))
    })
    .await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    for _ in 0..3 {
        peer.get("/").await;
        peer.sees("active idle").await;
        peer.response().await;
    }
    peer.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(3)).await;
    peer.sees("active idle active idle active idle").await;
    peer.close().await;
    peer.sees("closed").await;
}
