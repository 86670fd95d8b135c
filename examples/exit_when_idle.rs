//! A daemon that exits when nobody has used it for a while: started by a
//! socket unit or a scale-to-zero platform, and started again when needed.
//!
//! ```console
//! $ cargo run --example exit_when_idle -- 127.0.0.1:8080 5
//! ```
//!
//! The arguments are the address and the seconds to wait (10 if left out).

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

    let listener = TcpListener::bind(addr).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);

    // Connections that are kept open without a request do not count as use.
    let listener = instrument_listener(listener, ());
    let connections = listener.connections();
    let unused = async move { connections.idle_for(wait).await };

    let service = tower::service_fn(hello);
    let drained = serve(listener, service).with_graceful_shutdown(unused).await?;
    println!("nobody was here for {wait:?}: {drained}");
    Ok(())
}

async fn hello(_request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("Hello, World!\n".to_owned()))
}
