//! The handlers of one script, behind one service.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::answer::{Answer, Body, Length, Owner, Reading};

/// How each request is answered, and what is known of it.
pub struct Desk(Vec<Case>);

pub struct Case {
    answer: Answer,
    pub before: Arc<Notify>,
    pub middle: Arc<Notify>,
    pub task: Arc<Notify>,
    /// The handler has been called.
    pub called: AtomicBool,
    /// hyper would hand the stream over.
    pub upgradable: AtomicBool,
}

impl Desk {
    pub fn new(answers: impl Iterator<Item = Answer>) -> Arc<Self> {
        let case = |answer| Case {
            answer,
            before: Arc::default(),
            middle: Arc::default(),
            task: Arc::default(),
            called: AtomicBool::new(false),
            upgradable: AtomicBool::new(false),
        };
        Arc::new(Self(answers.map(case).collect()))
    }

    pub fn case(&self, index: usize) -> &Case {
        &self.0[index]
    }

    pub async fn handle(
        self: Arc<Self>,
        mut request: Request<AxumBody>,
    ) -> Result<Response<AxumBody>, Infallible> {
        let name = request.uri().host().unwrap_or(request.uri().path());
        let index =
            name.trim_start_matches('/').strip_prefix('e').map(|index| index.parse::<usize>());
        let Some(Ok(index)) = index else {
            return Ok(Response::new(AxumBody::from("probed\n")));
        };
        let case: &Case = &self.0[index];
        let answer = &case.answer;
        case.called.store(true, Ordering::Relaxed);
        let upgrade = request.extensions().get::<hyper::upgrade::OnUpgrade>().is_some();
        case.upgradable.store(upgrade, Ordering::Relaxed);
        if upgrade && answer.owner != Owner::None {
            tokio::spawn(own(hyper::upgrade::on(&mut request), answer.owner));
        }

        let mut carried = None;
        let mut body = request.into_body();
        match answer.reading {
            Reading::Not => drop(body),
            Reading::Some => drop(body.frame().await),
            Reading::All => drop(body.collect().await),
            Reading::Carried => carried = Some(body),
            Reading::Detached => drop(tokio::spawn(body.collect())),
            Reading::DetachedLater => {
                let task = case.task.clone();
                tokio::spawn(async move {
                    task.notified().await;
                    drop(body.collect().await);
                });
            }
            Reading::HeldAndDropped => {
                let task = case.task.clone();
                tokio::spawn(async move {
                    task.notified().await;
                    drop(body);
                });
            }
        }
        if answer.waits {
            case.before.notified().await;
        }
        Ok(answer.response(&case.middle, carried))
    }
}

impl Answer {
    fn response(&self, middle: &Arc<Notify>, carried: Option<AxumBody>) -> Response<AxumBody> {
        let body = if self.body == Body::Full && carried.is_none() {
            AxumBody::from(vec![b'a'; self.size])
        } else {
            let middle = middle.clone();
            let wait = Box::pin(async move { middle.notified().await });
            let wait = self.halts.then_some(wait as Wait);
            let (left, of) = (self.size, self.body);
            AxumBody::new(Pieces { left, size: left, of, wait, started: false, _carried: carried })
        };
        let mut response = Response::new(body);
        *response.status_mut() = http::StatusCode::from_u16(self.status).unwrap();
        if self.http10 {
            *response.version_mut() = Version::HTTP_10;
        }
        let headers = response.headers_mut();
        let mut lengths = |lengths: &[usize]| {
            for length in lengths {
                headers.append(header::CONTENT_LENGTH, HeaderValue::from(*length));
            }
        };
        match self.length {
            Length::Unsaid => {}
            Length::Right => lengths(&[self.size]),
            Length::More => lengths(&[self.size + 10]),
            Length::Less => lengths(&[self.size / 2]),
            Length::Conflicting => lengths(&[self.size, self.size + 1]),
        }
        if self.coding {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if let Some(connection) = self.connection {
            headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
        }
        if self.status == 101 {
            headers.append(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("echo"));
        }
        response
    }
}

async fn own(upgrade: hyper::upgrade::OnUpgrade, owner: Owner) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut stream = hyper_util::rt::TokioIo::new(upgraded);
    match owner {
        Owner::None | Owner::Drops => {}
        Owner::Keeps => {
            std::future::pending::<()>().await;
            drop(stream);
        }
        Owner::Echoes => {
            let mut buf = [0; 1024];
            while let Ok(length @ 1..) = stream.read(&mut buf).await {
                if stream.write_all(&buf[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A body in pieces.
struct Pieces {
    left: usize,
    size: usize,
    of: Body,
    /// To be waited for after the first piece.
    wait: Option<Wait>,
    started: bool,
    _carried: Option<AxumBody>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.started {
            if let Some(wait) = &mut self.wait {
                std::task::ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match self.of {
                Body::Fails => {
                    return Poll::Ready(Some(Err(io::Error::other("a body's error (wanted)"))));
                }
                Body::Panics => panic!("a body's panic (wanted)"),
                _ => {}
            }
        }
        self.started = true;
        let length = self.left.min((self.size / 2).clamp(1, 64 << 10));
        self.left -= length;
        if length > 0 {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'a'; length])))));
        }
        if self.of != Body::Trailers {
            return Poll::Ready(None);
        }
        self.of = Body::Unknown;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self.of {
            Body::Full | Body::Known => http_body::SizeHint::with_exact(self.left as u64),
            _ => http_body::SizeHint::default(),
        }
    }
}
