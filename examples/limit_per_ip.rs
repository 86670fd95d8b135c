//! At most so many connections for each client address: those above are
//! answered with 429 and closed.
//!
//! ```console
//! $ cargo run --example limit_per_ip
//! listening on http://127.0.0.1:8080
//! 127.0.0.1:39778: max_connections_per_ip
//! ```
//!
//! when in another terminal four connections are there, and a fifth comes:
//!
//! ```console
//! $ for i in 1 2 3 4; do (sleep 3 | curl --silent telnet://localhost:8080) & done
//! $ sleep 1; curl --include localhost:8080
//! HTTP/1.1 429 Too Many Requests
//! connection: close
//! content-length: 0
//! ```
//!
//! Another address than 127.0.0.1:8080 goes as the first argument.

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_connstate::{Policies, Refusal, instrument_listener, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let policies = Policies::new()
        .max_connections_per_ip(4)
        .refusal(Refusal::too_many_requests())
        .on_refusal(|conn, limit| eprintln!("{}: {limit}", conn.remote_addr()));
    let listener = instrument_listener(TcpListener::bind(addr).await?, ()).policies(policies);
    eprintln!("listening on http://{}", listener.local_addr()?);
    serve(listener, tower::service_fn(hello)).await
}

async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("Hello, World!\n".to_owned()))
}
