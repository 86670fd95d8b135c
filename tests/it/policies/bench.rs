//! A server with policies, and clients that say what they are told to.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_connstate::{
    Address, CloseReason, Conn, ConnState, Connections, Hook, InstrumentedListener, Policies,
    Policy, instrument_listener,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::oracles::stack;
use crate::oracles::wire::{Client, Near, Wires, settle, wire};
use crate::support::Kind;
use crate::support::frames;

pub use crate::oracles::stack::run;

pub const SECOND: Duration = Duration::from_secs(1);

/// How late a time-out of this length may fire.
pub fn slack(timeout: Duration) -> Duration {
    (timeout / 16).max(Duration::from_millis(100)) + Duration::from_millis(15)
}

/// What was reported of all connections.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    pub fn words(&self) -> String {
        self.0.lock().unwrap().join(" ")
    }
}

impl Hook for Log {
    fn on_state(&self, _: &Conn, state: ConnState) {
        self.push(state.to_string());
    }

    fn on_end(&self, _: &Conn, reason: CloseReason) {
        self.push(format!("({reason:?})"));
    }
}

/// A server, in a runtime whose clock is paused.
pub struct Bench {
    kind: Kind,
    pub connections: Connections,
    pub log: Log,
    /// The policies that have run out.
    pub expired: Log,
    sender: mpsc::UnboundedSender<(Near, Address)>,
    /// Of the requests that were served.
    pub served: Log,
}

impl Bench {
    pub fn new(kind: Kind, policies: Policies) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (log, expired, served) = (Log::default(), Log::default(), Log::default());
        let on_expiry = {
            let expired = expired.clone();
            move |_: &Conn, policy: Policy| expired.push(policy.to_string())
        };
        let listener = instrument_listener(Wires(receiver), log.clone())
            .policies(policies.on_expiry(on_expiry));
        let connections = listener.connections();
        serve(kind, listener, &served);
        Self { kind, connections, log, expired, sender, served }
    }

    /// Another server of the same registry.
    pub fn beside(&self) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let listener = instrument_listener(Wires(receiver), self.log.clone())
            .with_connections(self.connections.clone());
        serve(self.kind, listener, &self.served);
        Self {
            kind: self.kind,
            connections: self.connections.clone(),
            log: self.log.clone(),
            expired: self.expired.clone(),
            sender,
            served: self.served.clone(),
        }
    }

    /// The client's end of a connection from an address, before any handshake.
    pub fn dial_from(&self, address: Address) -> crate::oracles::wire::Far {
        let (near, far) = wire();
        self.sender.send((near, address)).ok().unwrap();
        far
    }

    /// A client that speaks HTTP/1, over TLS where the server does.
    pub async fn http1(&self) -> Client {
        let far = self.dial_from(Address::Unknown);
        Client::new(far, self.kind.is_tls().then_some("http/1.1")).await
    }

    /// A client that speaks HTTP/2, and has said nothing.
    pub async fn silent_http2(&self) -> Client {
        let far = self.dial_from(Address::Unknown);
        Client::new(far, self.kind.is_tls().then_some("h2")).await
    }

    /// A client that speaks HTTP/2.
    pub async fn http2(&self) -> Client {
        let mut client = self.silent_http2().await;
        client.send(&[frames::PREFACE, &frames::settings()].concat());
        client.read_all().await;
        client.send(&frames::settings_ack());
        client.read_all().await;
        client
    }
}

fn serve(kind: Kind, listener: InstrumentedListener<Wires>, served: &Log) {
    let served = served.clone();
    stack::serve_listener(kind, listener, move |request| handle(request, served.clone()));
}

/// A path is `/what/seconds/bytes`.
async fn handle(request: Request<Body>, served: Log) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut parts = path.split('/').skip(1);
    let what = parts.next().unwrap_or_default();
    let time = Duration::from_secs(parts.next().and_then(|part| part.parse().ok()).unwrap_or(0));
    let bytes = parts.next().and_then(|part| part.parse().ok()).unwrap_or(5);
    served.push(path.clone());
    let body = match what {
        "slow" => {
            tokio::time::sleep(time).await;
            Body::from("slow")
        }
        "big" => Body::from(vec![b'a'; bytes]),
        // Says something, then nothing for a while.
        "events" => {
            let event = |text: &'static str| Ok::<_, Infallible>(text);
            let later = async move {
                tokio::time::sleep(time).await;
                event("data: two\n\n")
            };
            let first = futures_util::stream::once(async move { event("data: one\n\n") });
            Body::from_stream(futures_util::StreamExt::chain(
                first,
                futures_util::stream::once(later),
            ))
        }
        "upload" => match request.into_body().collect().await {
            Ok(body) => Body::from(format!("got {}", body.to_bytes().len())),
            Err(error) => {
                served.push(format!("error:{}", innermost(&error)));
                Body::from("no body")
            }
        },
        // Reads nothing for a while.
        "lazy" => {
            tokio::time::sleep(time).await;
            let body = request.into_body().collect().await;
            Body::from(format!("got {}", body.map_or(0, |body| body.to_bytes().len())))
        }
        // Reads for a second, and not for a while.
        "busy" => {
            let mut body = request.into_body();
            let first = tokio::time::timeout(SECOND, (&mut body).collect()).await;
            assert!(first.is_err());
            tokio::time::sleep(time).await;
            let rest = body.collect().await;
            Body::from(format!("got {}", rest.map_or(0, |rest| rest.to_bytes().len())))
        }
        "panic" => panic!("a handler's panic (wanted)"),
        _ if request.method() == http::Method::CONNECT => {
            tokio::spawn(echo(request));
            Body::empty()
        }
        "tunnel" | "ticks" => {
            if what == "ticks" {
                tokio::spawn(tick(request, time));
            } else {
                tokio::spawn(echo(request));
            }
            let response = Response::builder()
                .status(101)
                .header("connection", "upgrade")
                .header("upgrade", "echo");
            return Ok(response.body(Body::empty()).unwrap());
        }
        _ => Body::from("hello"),
    };
    Ok(Response::new(body))
}

async fn upgraded(request: Request<Body>) -> impl AsyncRead + AsyncWrite + Unpin {
    let upgraded = hyper::upgrade::on(request).await.expect("an upgrade");
    hyper_util::rt::TokioIo::new(upgraded)
}

async fn echo(request: Request<Body>) {
    let (mut read, mut write) = tokio::io::split(upgraded(request).await);
    let _ = tokio::io::copy(&mut read, &mut write).await;
}

/// Says something now and then, and hears nothing.
async fn tick(request: Request<Body>, every: Duration) {
    let mut stream = upgraded(request).await;
    loop {
        tokio::time::sleep(every).await;
        if stream.write_all(b"tick").await.is_err() {
            return;
        }
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

pub const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";

pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").into_bytes()
}

/// What a client sends, and waits for.
pub trait Talk {
    /// Sends, and reads what comes of it.
    async fn say(&mut self, bytes: &[u8]) -> String;

    /// What it has received and not looked at.
    fn heard(&mut self) -> String;

    /// Waits until the server has ended the connection, and returns how long it
    /// took.
    async fn wait_end(&mut self) -> Duration;

    /// Asserts that the server ends the connection then, and not before.
    async fn ends_after(&mut self, timeout: Duration, since: Instant);

    /// Asserts that the server does not end the connection for so long.
    async fn lives_for(&mut self, time: Duration);

    /// Sends one part after the other, one at each of these intervals, until
    /// there are no more or the server has ended the connection.
    async fn drip(&mut self, parts: impl IntoIterator<Item = Vec<u8>>, every: Duration);
}

impl Talk for Client {
    async fn say(&mut self, bytes: &[u8]) -> String {
        self.send(bytes);
        self.read_all().await;
        self.heard()
    }

    fn heard(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.received)).into_owned()
    }

    async fn wait_end(&mut self) -> Duration {
        let start = Instant::now();
        while !self.ended {
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.read(usize::MAX);
            assert!(start.elapsed() < 1_000 * SECOND, "never ended");
        }
        start.elapsed()
    }

    async fn ends_after(&mut self, timeout: Duration, since: Instant) {
        self.wait_end().await;
        let after = since.elapsed();
        let window = timeout..=timeout + slack(timeout);
        assert!(window.contains(&after), "ended after {after:?} instead of {window:?}");
        // The client leaves too.
        self.close();
        tokio::time::sleep(SECOND).await;
    }

    async fn lives_for(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.read(usize::MAX);
            assert!(!self.ended, "ended after {:?}", start.elapsed());
        }
    }

    async fn drip(&mut self, parts: impl IntoIterator<Item = Vec<u8>>, every: Duration) {
        for part in parts {
            if self.ended {
                return;
            }
            self.send(&part);
            let start = Instant::now();
            while start.elapsed() < every && !self.ended {
                tokio::time::sleep(Duration::from_millis(10)).await;
                self.read(usize::MAX);
            }
        }
    }
}

/// One byte after the other.
pub fn bytes(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    bytes.iter().map(|byte| vec![*byte])
}

/// For each kind of server.
pub fn on_each<F: Future<Output = ()>>(
    kinds: impl IntoIterator<Item = Kind>,
    test: impl Fn(Kind) -> F,
) {
    for kind in kinds {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(async {
                test(kind).await;
                settle().await;
            });
        }));
        if let Err(panic) = done {
            println!("on {kind:?}");
            std::panic::resume_unwind(panic);
        }
    }
}
