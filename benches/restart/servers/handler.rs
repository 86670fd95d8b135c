//! The handler, the same in every server: it reads the body, takes a
//! millisecond, and sends the body back.

use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

/// So that some requests are being handled whenever a server is told to end.
const WORK: Duration = Duration::from_millis(1);

/// An error is that of a client which has gone.
pub async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    tokio::time::sleep(WORK).await;
    Ok(Response::new(Full::new(body)))
}

pub fn router() -> Router {
    let echo = async |body: Bytes| {
        tokio::time::sleep(WORK).await;
        body
    };
    Router::new().route("/", post(echo))
}
