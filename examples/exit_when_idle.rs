//! A daemon that exits when nobody has used it for a while: started by a
//! socket unit or a scale-to-zero platform, and started again when needed.
//!
//! ```console
//! $ cargo run --example exit_when_idle -- 127.0.0.1:8080 5
//! listening on http://127.0.0.1:8080
//! nobody was here for 5s: 0 drained, 0 closed by force, 0 broken off, 0 hijacked left
//! ```
//!
//! five seconds after the last request. A health check does not keep it alive:
//!
//! ```console
//! $ curl localhost:8080/healthz
//! Hello, World!
//! ```
//!
//! Nor does a client that only keeps its connection open. A request that comes in
//! the last moment is answered. The arguments are the address and the seconds to
//! wait (10 if left out).

use std::convert::Infallible;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_connstate::{instrument_listener, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:8080".to_owned());
    let wait = Duration::from_secs(args.next().map_or(Ok(10), |seconds| seconds.parse())?);

    let listener = instrument_listener(TcpListener::bind(addr).await?, ())
        .discount_requests(|_, uri, _| uri.path() == "/healthz");
    eprintln!("listening on http://{}", listener.local_addr()?);

    let connections = listener.connections();
    let unused = async move { connections.idle_for(wait).await };
    let drained = serve(listener, tower::service_fn(hello)).with_graceful_shutdown(unused).await?;
    println!("nobody was here for {wait:?}: {drained}");
    Ok(())
}

async fn hello(_request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("Hello, World!\n".to_owned()))
}
