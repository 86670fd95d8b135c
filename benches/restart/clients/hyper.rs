//! hyper's client, with hyper-util's pool, which is told not to try again.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::Error as ClientError;
use hyper_util::rt::TokioExecutor;

use super::Load;
use super::dial::Dialer;
use crate::identity;
use crate::outcome::{Failure, Outcome};
use crate::protocol::Protocol;

type Pool = Client<Dialer, Full<Bytes>>;

pub fn run(load: &Load) -> Result<Outcome, Box<dyn Error>> {
    let tls = load.certificate.as_deref().map(|path| identity::connector(path, load.protocol));
    let dialer = Dialer { addr: load.addr, tls: tls.transpose()? };
    // One thread: hyper looks whether an HTTP/2 connection lasts and then
    // sends, and on another thread it could be over by then.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let pools: Vec<Pool> = (0..load.clients)
            .map(|_| {
                Client::builder(TokioExecutor::new())
                    .http2_only(load.protocol == Protocol::Http2)
                    .retry_canceled_requests(false)
                    .build(dialer.clone())
            })
            .collect();
        let next = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..load.workers)
            .map(|worker| {
                let pool = pools[worker % pools.len()].clone();
                tokio::spawn(work(load.clone(), pool, next.clone()))
            })
            .collect();
        let mut outcome = Outcome::default();
        for worker in workers {
            outcome.add(&worker.await?);
        }
        Ok(outcome)
    })
}

async fn work(load: Load, pool: Pool, next: Arc<AtomicUsize>) -> Outcome {
    let scheme = if load.certificate.is_some() { "https" } else { "http" };
    let uri = format!("{scheme}://{}/", load.addr);
    let mut outcome = Outcome::default();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= load.requests {
            return outcome;
        }
        tokio::time::sleep(load.think.mul_f64(fastrand::f64())).await;
        match exchange(&pool, &uri, number, load.timeout).await {
            Ok(()) => outcome.answered(),
            Err(error) => outcome.failed(failure(&*error), messages(&*error)),
        }
    }
}

/// One request and its answer.
async fn exchange(
    pool: &Pool,
    uri: &str,
    number: usize,
    timeout: Duration,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let body = Bytes::from(format!("request {number}"));
    let request = Request::post(uri).body(Full::new(body.clone()))?;
    let answered = async {
        let response = pool.request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        if status != StatusCode::OK || answer != body {
            return Err(format!("{status} with {} bytes", answer.len()).into());
        }
        Ok(())
    };
    tokio::time::timeout(timeout, answered).await?
}

fn failure(error: &(dyn Error + Send + Sync + 'static)) -> Failure {
    // The innermost says most.
    let causes: Vec<_> = causes(error).collect();
    causes.into_iter().rev().find_map(of_one).unwrap_or(Failure::Other)
}

fn of_one(error: &(dyn Error + 'static)) -> Option<Failure> {
    if error.is::<tokio::time::error::Elapsed>() {
        return Some(Failure::Timeout);
    }
    if error.downcast_ref().is_some_and(ClientError::is_connect) {
        return Some(Failure::Connect);
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return if error.is_canceled() || error.is_closed() {
            Some(Failure::Unsent)
        } else if error.is_incomplete_message() {
            Some(Failure::Eof)
        } else {
            None
        };
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return if error.reason() == Some(h2::Reason::REFUSED_STREAM) {
            Some(Failure::Refused)
        } else if error.is_go_away() {
            Some(if error.is_remote() { Failure::Refused } else { Failure::Eof })
        } else if error.is_reset() {
            Some(Failure::Reset)
        } else {
            None
        };
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Some(Failure::Reset),
        io::ErrorKind::UnexpectedEof => Some(Failure::Eof),
        _ => None,
    }
}

fn messages(error: &(dyn Error + Send + Sync + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn causes<'a>(
    error: &'a (dyn Error + Send + Sync + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let first: &'a (dyn Error + 'static) = error;
    successors(Some(first), |&error| error.source())
}
