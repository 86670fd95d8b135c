//! An axum app with load of its own, and the page that shows what its
//! connections are doing.
//!
//! ```console
//! $ cargo run --example dashboard --features axum,status
//! open http://localhost:8080/debug/connections
//! ```
//!
//! In a browser you see some sixty clients come, ask, wait and go. Now be one of
//! them, in another terminal:
//!
//! ```console
//! $ curl localhost:8080/slow                        # Active for ten seconds
//! $ telnet localhost 8080                           # New, for as long as you type nothing
//! $ curl localhost:8080/debug/connections           # the same as text
//! $ curl 'localhost:8080/debug/connections?format=json&state=idle&sort=-state_for&limit=3'
//! ```
//!
//! The page's buttons close and drain; Ctrl-C drains all. Another address than
//! 127.0.0.1:8080 goes as the first argument, and `quiet` as the second leaves
//! the load out:
//!
//! ```console
//! $ cargo run --example dashboard --features axum,status -- 127.0.0.1:8080 quiet
//! open http://localhost:8080/debug/connections
//! ^C
//! 0 drained, 0 closed by force, 0 broken off, 0 hijacked left
//! ```
//!
//! ```console
//! $ curl --silent localhost:8080/debug/connections | head -4
//! Active connections: 1
//! server accepts handled requests
//!  1 1 1
//! Reading: 0 Writing: 1 Waiting: 0
//! ```

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_connstate::axum::ConnStateServiceExt;
use hyper_connstate::{Conn, StatusPage, instrument_listener};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    eprintln!("open http://localhost:{}/debug/connections", addr.port());

    let listener = instrument_listener(listener, ());
    let connections = listener.connections();
    // All that the page needs. Whoever may look may act, too: on this machine.
    let page = StatusPage::new(&connections)
        .allow_actions(|_parts, _conn| true)
        .column("user", |conn| conn.get::<User>().map(|User(name)| name.to_owned()));
    let app = Router::new()
        .route("/", get(hello))
        .route("/slow", get(slow))
        .route("/upload", post(upload))
        .route("/stream", get(stream_lines))
        .nest_service("/debug/connections", page);

    if std::env::args().nth(2).as_deref() != Some("quiet") {
        tokio::spawn(load(addr));
    }
    let drain = connections.drain(Duration::from_secs(5));
    let server = axum::serve(listener, app.into_make_service_with_conn_state());
    let drained = drain.run(server, async { drop(tokio::signal::ctrl_c().await) }).await?;
    eprintln!("{drained}");
    Ok(())
}

/// What the program knows of a connection, for a column of the page.
#[derive(Clone)]
struct User(&'static str);

async fn hello(conn: Conn) -> String {
    let names = ["ada", "grace", "edsger", "barbara", "donald"];
    conn.insert(User(names[conn.id().get() as usize % names.len()]));
    format!("request {} of connection {}\n", conn.requests(), conn.id())
}

async fn slow() -> &'static str {
    sleep(Duration::from_secs(10)).await;
    "that took a while\n"
}

async fn upload(body: Bytes) -> String {
    format!("{} bytes\n", body.len())
}

/// A line a second for half a minute.
async fn stream_lines() -> Body {
    Body::from_stream(stream::unfold(0, async |line| {
        sleep(Duration::from_secs(1)).await;
        (line < 30).then(|| (Ok::<_, Infallible>(format!("{line}\n")), line + 1))
    }))
}

/// Clients of many kinds, which come and go.
async fn load(addr: SocketAddr) {
    loop {
        for _ in 0..fastrand::u32(0..4) {
            match fastrand::u32(0..100) {
                0..35 => drop(tokio::spawn(keeps(addr))),
                35..55 => drop(tokio::spawn(asks(addr, "GET /", 0))),
                55..65 => drop(tokio::spawn(multiplexes(addr))),
                65..75 => drop(tokio::spawn(asks(addr, "GET /slow", 12))),
                75..80 => drop(tokio::spawn(asks(addr, "GET /stream", 35))),
                80..90 => drop(tokio::spawn(asks(addr, "\0\0 no HTTP at all", 1))),
                _ => drop(tokio::spawn(says_nothing(addr))),
            }
        }
        sleep(Duration::from_millis(fastrand::u64(100..1200))).await;
    }
}

/// From one of several addresses, where the system has more than one for
/// itself.
async fn connect(to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    let from = [127, 0, 0, fastrand::u8(1..12).min(fastrand::u8(1..12))];
    let _ = socket.bind((from, 0).into());
    match socket.connect(to).await {
        Ok(stream) => Some(stream),
        Err(_) => TcpStream::connect(to).await.ok(),
    }
}

/// HTTP/1, a request now and then.
async fn keeps(addr: SocketAddr) -> Option<()> {
    let mut stream = connect(addr).await?;
    let mut answer = [0; 4096];
    for _ in 0..fastrand::u32(1..20) {
        let body = "x".repeat(fastrand::usize(0..3000));
        let head = format!(
            "POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let request = if fastrand::bool() { head + &body } else { get_request("GET /") };
        stream.write_all(request.as_bytes()).await.ok()?;
        if stream.read(&mut answer).await.ok()? == 0 {
            return None;
        }
        sleep(Duration::from_millis(fastrand::u64(200..9000))).await;
    }
    // Some are rude: bytes unread make a reset.
    if fastrand::bool() {
        stream.write_all(get_request("GET /").as_bytes()).await.ok()?;
        sleep(Duration::from_millis(50)).await;
    }
    Some(())
}

/// One request, and away after so many seconds.
async fn asks(addr: SocketAddr, request: &str, patience: u64) -> Option<()> {
    let mut stream = connect(addr).await?;
    stream.write_all(get_request(request).as_bytes()).await.ok()?;
    sleep(Duration::from_secs(patience) + Duration::from_millis(20)).await;
    Some(())
}

async fn says_nothing(addr: SocketAddr) -> Option<()> {
    let _stream = connect(addr).await?;
    sleep(Duration::from_secs(fastrand::u64(5..40))).await;
    Some(())
}

/// HTTP/2, several requests at once.
async fn multiplexes(addr: SocketAddr) -> Option<()> {
    let stream = TokioIo::new(connect(addr).await?);
    let executor = TokioExecutor::new();
    let (sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(executor, stream).await.ok()?;
    tokio::spawn(connection);
    for _ in 0..fastrand::u32(3..30) {
        let path = if fastrand::u32(0..4) == 0 { "slow" } else { "" };
        let request = Request::get(format!("http://localhost/{path}")).body(Empty::new()).ok()?;
        let mut sender = sender.clone();
        tokio::spawn(async move {
            let answer = sender.send_request(request).await.ok()?;
            answer.into_body().collect().await.ok()
        });
        sleep(Duration::from_millis(fastrand::u64(100..4000))).await;
    }
    Some(())
}

fn get_request(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}
