//! WebSockets through axum: an upgraded connection is Hijacked.
//!
//! ```console
//! $ cargo run --example websocket --features axum
//! listening on http://127.0.0.1:8080
//! Client: 127.0.0.1:39778 - new state: new
//! Client: 127.0.0.1:39778 - new state: active
//! Client: 127.0.0.1:39778 - new state: hijacked
//! Client: 127.0.0.1:39778 - the WebSocket has ended
//! ```
//!
//! when a client opens a WebSocket and goes. This one leaves after a second, and
//! says nothing:
//!
//! ```console
//! $ curl --silent --max-time 1 -H 'connection: upgrade' -H 'upgrade: websocket' \
//!       -H 'sec-websocket-version: 13' -H 'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==' \
//!       localhost:8080/echo
//! ```
//!
//! The page at <http://127.0.0.1:8080> opens one in a browser and has what you type
//! echoed. Another address goes as the first argument.

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::{Html, Response};
use axum::routing::{any, get};
use hyper_connstate::axum::ConnStateServiceExt;
use hyper_connstate::{Conn, ConnState, instrument_listener};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(addr).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);

    let listener = instrument_listener(listener, |conn: &Conn, state: ConnState| {
        println!("Client: {} - new state: {state}", conn.remote_addr());
    });

    let app = Router::new().route("/", get(async || Html(PAGE))).route("/echo", any(upgrade));
    axum::serve(listener, app.into_make_service_with_conn_state()).await
}

async fn upgrade(ConnectInfo(conn): ConnectInfo<Conn>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |socket| echo(conn, socket).await)
}

async fn echo(conn: Conn, mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            break;
        }
    }
    // Hijacked is a connection's last state; its new owner knows when it ends.
    println!("Client: {} - the WebSocket has ended", conn.remote_addr());
}

const PAGE: &str = r#"<!doctype html>
<title>echo</title>
<form><input autofocus><button>Send</button></form>
<pre></pre>
<script>
  const show = (line) => document.querySelector("pre").append(line + "\n");
  const socket = new WebSocket(`ws://${location.host}/echo`);
  socket.onopen = () => show("open");
  socket.onmessage = (event) => show("echo: " + event.data);
  socket.onclose = () => show("closed");
  document.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    socket.send(document.querySelector("input").value);
  };
</script>
"#;
