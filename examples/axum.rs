//! An axum router whose handlers know their connection, and a shutdown (Ctrl-C)
//! that loses no request.
//!
//! ```console
//! $ cargo run --example axum --features axum
//! listening on http://127.0.0.1:8080
//! Client: 127.0.0.1:39778 - new state: new
//! Client: 127.0.0.1:39778 - new state: active
//! Client: 127.0.0.1:39778 - new state: idle
//! Client: 127.0.0.1:39778 - new state: active
//! Client: 127.0.0.1:39778 - new state: idle
//! Client: 127.0.0.1:39778 - new state: closed
//! ^C
//! 0 drained, 0 closed by force, 0 broken off, 0 hijacked left
//! ```
//!
//! when in another terminal:
//!
//! ```console
//! $ curl localhost:8080 localhost:8080/address
//! request 1 of connection 1, which is active and speaks HTTP/1
//! 127.0.0.1:39778
//! ```
//!
//! Another address than 127.0.0.1:8080 goes as the first argument.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
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

    let drain = listener.connections().drain(Duration::from_secs(20));

    let app = Router::new().route("/", get(connection)).route("/address", get(address));
    let server = axum::serve(listener, app.into_make_service_with_conn_state());
    let drained = drain.run(server, async { drop(tokio::signal::ctrl_c().await) }).await?;
    println!("{drained}");
    Ok(())
}

/// Tells the client about its connection.
async fn connection(conn: Conn) -> String {
    format!(
        "request {} of connection {}, which is {} and speaks {}\n",
        conn.requests(),
        conn.id(),
        conn.state(),
        conn.protocol(),
    )
}

/// As with a plain `TcpListener`.
async fn address(ConnectInfo(address): ConnectInfo<SocketAddr>) -> String {
    format!("{address}\n")
}
