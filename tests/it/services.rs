//! Four services as a new user would write them: what it takes to adopt the
//! crate, and that it does what they want of it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_connstate::instrument_listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Recorder, start_watchdog};

/// axum with a WebSocket, server-sent events and the client's address.
#[cfg(feature = "axum")]
mod chat {
    use axum::extract::ConnectInfo;
    use axum::extract::ws::{WebSocket, WebSocketUpgrade};
    use axum::response::sse::{Event, Sse};
    use axum::routing::{Router, get};
    use hyper_connstate::axum::ConnStateServiceExt;
    use hyper_connstate::{Conn, Drained, Hook};

    use super::*;

    pub async fn run(
        listener: TcpListener,
        hook: impl Hook,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<Drained> {
        let app = Router::new()
            .route("/me", get(async |ConnectInfo(me): ConnectInfo<SocketAddr>| me.to_string()))
            .route("/events", get(events))
            .route(
                "/chat",
                get(async |conn: Conn, upgrade: WebSocketUpgrade| {
                    upgrade.on_upgrade(|socket| echo(conn, socket))
                }),
            );
        let listener = instrument_listener(listener, hook);
        let drain = listener.connections().drain(Duration::from_secs(5)).wait_for_hijacked(true);
        drain.run(axum::serve(listener, app.into_make_service_with_conn_state()), shutdown).await
    }

    async fn events() -> Sse<impl futures_util::Stream<Item = Result<Event, Infallible>>> {
        Sse::new(futures_util::stream::iter([Ok(Event::default().data("one"))]))
    }

    async fn echo(conn: Conn, mut socket: WebSocket) {
        loop {
            tokio::select! {
                Some(Ok(message)) = socket.recv() => drop(socket.send(message).await),
                () = conn.draining() => break drop(socket.send("bye".into()).await),
                else => break,
            }
        }
    }
}

/// hyper with TLS.
#[cfg(feature = "tls")]
mod secure {
    use hyper::service::service_fn;
    use hyper_connstate::tokio_rustls::TlsAcceptor;
    use hyper_connstate::{Hook, serve};

    use super::*;

    pub async fn run(listener: TcpListener, tls: TlsAcceptor, hook: impl Hook) -> io::Result<()> {
        serve(instrument_listener(listener, hook), service_fn(hello)).tls(tls).await
    }

    async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
        Ok(Response::new("hello".to_owned()))
    }
}

/// Exits when nobody needs it; a health check does not count.
mod scale_to_zero {
    use hyper_connstate::{Drained, serve};

    use super::*;

    pub async fn run(listener: TcpListener, unused: Duration) -> io::Result<Drained> {
        let listener = instrument_listener(listener, ())
            .discount_requests(|_, uri, _| uri.path() == "/healthz");
        let connections = listener.connections();
        let unused = async move { connections.idle_for(unused).await };
        serve(listener, tower::service_fn(hello)).with_graceful_shutdown(unused).await
    }

    async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
        Ok(Response::new("hello".to_owned()))
    }
}

/// A proxy with CONNECT, whose tunnels have a time-out.
mod proxy {
    use hyper_connstate::hyper_util::rt::TokioIo;
    use hyper_connstate::{Hook, Policies, serve};

    use super::*;

    pub async fn run(listener: TcpListener, hook: impl Hook) -> io::Result<()> {
        let policies = Policies::internet().tunnel_idle_timeout(Duration::from_secs(60));
        let listener = instrument_listener(listener, hook).policies(policies);
        serve(listener, tower::service_fn(connect)).await
    }

    async fn connect(mut request: Request<Incoming>) -> io::Result<Response<String>> {
        let mut server = TcpStream::connect(request.uri().to_string()).await?;
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut client = TokioIo::new(upgrade.await.ok()?);
            tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()
        });
        Ok(Response::new(String::new()))
    }
}

async fn bind() -> (TcpListener, SocketAddr) {
    start_watchdog();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Sends, and reads until the answer ends so.
async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), ask: &str, end: &str) {
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        let mut chunk = [0; 1024];
        let length = stream.read(&mut chunk).await.unwrap();
        assert!(length > 0, "{:?} is not {end:?}", String::from_utf8_lossy(&answer));
        answer.extend(&chunk[..length]);
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_chat() {
    let (listener, address) = bind().await;
    let recorder = Recorder::default();
    let shutdown = std::sync::Arc::new(tokio::sync::Notify::new());
    let signal = shutdown.clone();
    let server = chat::run(listener, recorder.clone(), async move { signal.notified().await });
    let server = tokio::spawn(server);
    let mut client = TcpStream::connect(address).await.unwrap();
    let me = client.local_addr().unwrap().to_string();
    ask(&mut client, &get("/me"), &me).await;
    ask(&mut client, &get("/events"), "data: one\n\n\r\n0\r\n\r\n").await;
    drop(client);
    let url = format!("ws://{address}/chat");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    use futures_util::{SinkExt, StreamExt};
    socket.send("hi".into()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), "hi".into());
    shutdown.notify_one();
    assert_eq!(socket.next().await.unwrap().unwrap(), "bye".into());
    drop(socket);
    assert_eq!(server.await.unwrap().unwrap().total(), 1);
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn hello_over_tls() {
    let (listener, address) = bind().await;
    let acceptor = crate::support::tls::acceptor();
    tokio::spawn(secure::run(listener, acceptor, Recorder::default()));
    let mut client =
        crate::support::tls::connect(TcpStream::connect(address).await.unwrap(), "http/1.1").await;
    ask(&mut client, &get("/"), "hello").await;
}

#[tokio::test]
async fn scaled_to_zero() {
    let (listener, address) = bind().await;
    let server = tokio::spawn(scale_to_zero::run(listener, Duration::from_millis(200)));
    let mut client = TcpStream::connect(address).await.unwrap();
    ask(&mut client, &get("/"), "hello").await;
    while !server.is_finished() {
        let Ok(mut check) = TcpStream::connect(address).await else { break };
        check.write_all(get("/healthz").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.await.unwrap().unwrap().forced, 0);
}

#[tokio::test]
async fn a_tunnel() {
    let (target, target_address) = bind().await;
    tokio::spawn(async move {
        let (mut stream, _) = target.accept().await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let (listener, address) = bind().await;
    tokio::spawn(proxy::run(listener, Recorder::default()));
    let mut client = TcpStream::connect(address).await.unwrap();
    let connect = format!("CONNECT {target_address} HTTP/1.1\r\nhost: x\r\n\r\n");
    ask(&mut client, &connect, "\r\n\r\n").await;
    ask(&mut client, "ping", "ping").await;
}
