//! An axum server that faces strangers: time-outs that attackers run into and
//! nobody else, a limit on connections for each address, and a shutdown that
//! loses no request.
//!
//! ```console
//! $ cargo run --example internet --features axum
//! listening on http://127.0.0.1:8080
//! 127.0.0.1:39778: header_timeout
//! ^C
//! 0 drained, 0 closed by force, 0 broken off, 0 hijacked left
//! ```
//!
//! when in another terminal:
//!
//! ```console
//! $ curl localhost:8080
//! Hello, World!
//! $ (printf 'GET / HT'; sleep 12) | curl --silent telnet://localhost:8080
//! HTTP/1.1 408 Request Timeout
//! connection: close
//! content-length: 0
//! ```
//!
//! Another address than 127.0.0.1:8080 goes as the first argument.

use std::time::Duration;

use axum::{Router, routing::get};
use hyper_connstate::axum::ConnStateServiceExt;
use hyper_connstate::{Policies, Refusal, instrument_listener};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let policies = Policies::internet()
        .max_connections(10_000)
        .max_connections_per_ip(100)
        .refusal(Refusal::too_many_requests().retry_after(Duration::from_secs(10)))
        .on_expiry(|conn, policy| eprintln!("{}: {policy}", conn.remote_addr()));
    let listener = instrument_listener(TcpListener::bind(addr).await?, ()).policies(policies);
    eprintln!("listening on http://{}", listener.local_addr()?);

    let drain = listener.connections().drain(Duration::from_secs(20));
    let app = Router::new().route("/", get("Hello, World!\n"));
    let server = axum::serve(listener, app.into_make_service_with_conn_state());
    let drained = drain.run(server, async { drop(tokio::signal::ctrl_c().await) }).await?;
    eprintln!("{drained}");
    Ok(())
}
