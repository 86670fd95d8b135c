//! A plain hyper server that prints what its connections are doing.
//!
//! ```console
//! $ cargo run --example hello
//! listening on http://127.0.0.1:8080
//! Client: 127.0.0.1:39778 - new state: new
//! Client: 127.0.0.1:39778 - new state: active
//! Client: 127.0.0.1:39778 - new state: idle
//! Client: 127.0.0.1:39778 - new state: closed
//! ```
//!
//! when in another terminal:
//!
//! ```console
//! $ curl localhost:8080
//! Hello, World!
//! ```
//!
//! Another address than 127.0.0.1:8080 goes as the first argument.

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_connstate::{Conn, ConnState, ConnStateLayer, instrument_listener};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(addr).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);

    let mut listener = instrument_listener(listener, |conn: &Conn, state: ConnState| {
        println!("Client: {} - new state: {state}", conn.remote_addr());
    });

    loop {
        let (io, conn) = listener.accept().await?;
        let service = ConnStateLayer::for_conn(&conn).layer(service_fn(hello));
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
            if let Err(error) = connection.await {
                eprintln!("Client: {} - {error}", conn.remote_addr());
            }
        });
    }
}

async fn hello(_request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("Hello, World!\n".to_owned()))
}
