//! hyper's client. Workers wait for a moment, send a request and wait for its
//! answer. In HTTP/1 each has a connection of its own, in HTTP/2 a few share
//! one.
//!
//! Each request is sent once. If hyper hands one back because the connection
//! was over before any of it was written, that one has not been sent yet, and
//! goes out on the next connection.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

use crate::support::tls;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How many requests are sent, if there is time for so many.
const REQUESTS: usize = 1000;
const TIME: Duration = Duration::from_secs(4);

const WORKERS: usize = 12;
/// How many of them share a connection in HTTP/2.
const SHARE: usize = 3;
/// How long a worker waits before it sends, at most.
const THINK: Duration = Duration::from_millis(12);
/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many connections in a row may be over before a request was written.
const CONNECTIONS: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Sent {
    pub answered: usize,
    /// Why the others were not.
    pub failed: Vec<String>,
}

/// Sends all of them.
pub fn load(addr: SocketAddr, protocol: Protocol, is_tls: bool) -> Sent {
    // One thread: hyper looks whether a connection lasts and then sends, and
    // on another thread it could be over by then.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let share = if protocol == Protocol::Http2 { SHARE } else { 1 };
    let next = Rc::new(Cell::new(0));
    LocalSet::new().block_on(&runtime, async {
        let mut workers = Vec::new();
        for _ in 0..WORKERS / share {
            let tls = is_tls.then(|| connector(protocol));
            let client = Client { addr, protocol, tls, connection: RefCell::default() };
            let client = Rc::new(client);
            for _ in 0..share {
                workers.push(tokio::task::spawn_local(work(client.clone(), next.clone())));
            }
        }
        let mut all = Sent::default();
        for worker in workers {
            let sent = worker.await.expect("a worker");
            all.answered += sent.answered;
            all.failed.extend(sent.failed);
        }
        all
    })
}

fn connector(protocol: Protocol) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(tls::identity().0.into()).expect("a certificate");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    TlsConnector::from(Arc::new(config))
}

async fn work(client: Rc<Client>, next: Rc<Cell<usize>>) -> Sent {
    let begin = Instant::now();
    let mut sent = Sent::default();
    while next.get() < REQUESTS && begin.elapsed() < TIME {
        let body = Bytes::from(format!("request {}", next.get()));
        next.set(next.get() + 1);
        tokio::time::sleep(THINK.mul_f64(fastrand::f64())).await;
        let answered = tokio::time::timeout(PATIENCE, client.exchange(body)).await;
        match answered.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(()) => sent.answered += 1,
            Err(error) => sent.failed.push(messages(&*error)),
        }
    }
    sent
}

/// The message of an error and of what has caused it.
fn messages(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

struct Client {
    addr: SocketAddr,
    protocol: Protocol,
    tls: Option<TlsConnector>,
    connection: RefCell<Option<Connection>>,
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// Sends one request, and looks at its answer.
    async fn exchange(&self, body: Bytes) -> Result<(), BoxError> {
        for _ in 0..CONNECTIONS {
            let mut connection = match self.kept().await {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let response = match connection.send(self.addr, body.clone()).await {
                Ok(response) => response,
                Err(mut error) => match error.take_message() {
                    Some(_unsent) => continue,
                    None => return Err(error.into_error().into()),
                },
            };
            let status = response.status();
            let answer = response.into_body().collect().await?.to_bytes();
            if status != StatusCode::OK || answer != body {
                return Err(format!("{status} with {} bytes", answer.len()).into());
            }
            if self.protocol == Protocol::Http1 {
                self.keep(connection);
            }
            return Ok(());
        }
        Err("no connection lasted".into())
    }

    /// The connection that is there, if it is not over. One of HTTP/1 is taken
    /// out, and is kept again once the answer has come.
    async fn kept(&self) -> Option<Connection> {
        let mut connection = match self.connection.take()? {
            Connection::Http1(connection) => Connection::Http1(connection),
            Connection::Http2(connection) => {
                self.keep(Connection::Http2(connection.clone()));
                Connection::Http2(connection)
            }
        };
        let ready = match &mut connection {
            Connection::Http1(connection) => connection.ready().await,
            Connection::Http2(connection) => connection.ready().await,
        };
        ready.is_ok().then_some(connection)
    }

    fn keep(&self, connection: Connection) {
        self.connection.replace(Some(connection));
    }

    async fn connect(&self) -> Result<Connection, BoxError> {
        let tcp = TcpStream::connect(self.addr).await?;
        tcp.set_nodelay(true)?;
        match &self.tls {
            None => self.speak(tcp).await,
            Some(tls) => {
                let name = ServerName::try_from("localhost")?;
                self.speak(tls.connect(name, tcp).await?).await
            }
        }
    }

    async fn speak<T>(&self, io: T) -> Result<Connection, BoxError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(io);
        // How a connection ends is seen by its requests.
        match self.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection);
                Ok(Connection::Http1(sender))
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                self.keep(Connection::Http2(sender.clone()));
                Ok(Connection::Http2(sender))
            }
        }
    }
}

impl Connection {
    async fn send(
        &mut self,
        addr: SocketAddr,
        body: Bytes,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        let request = Request::post(match self {
            Self::Http1(_) => "/".to_owned(),
            Self::Http2(_) => format!("http://{addr}/"),
        });
        let request = request.header("host", addr.to_string()).body(Full::new(body));
        let request = request.expect("a request");
        match self {
            Self::Http1(connection) => connection.try_send_request(request).await,
            Self::Http2(connection) => connection.try_send_request(request).await,
        }
    }
}
