//! Graceful shutdown: Ctrl-C drains and prints the result, a second Ctrl-C
//! closes what is left.
//!
//! ```console
//! $ cargo run --example graceful
//! listening on http://127.0.0.1:8080
//! Client: 127.0.0.1:39778 - new
//! Client: 127.0.0.1:39778 - active
//! ^C
//! draining Connections { counts: StateCounts { new: 0, active: 1, idle: 0, hijacked: 0 }, .. }; Ctrl-C again to close by force
//! ^C
//! closing 1 connections
//! Client: 127.0.0.1:39778 - closed: closed by the program
//! 0 drained, 0 closed by force, 1 broken off, 0 hijacked left
//! ```
//!
//! when in another terminal, before the first Ctrl-C:
//!
//! ```console
//! $ curl localhost:8080/slow &
//! ```
//!
//! Without the second Ctrl-C the slow request is answered, and the connection is
//! drained. Another address than 127.0.0.1:8080 goes as the first argument.

use std::convert::Infallible;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_connstate::{Conn, ConnState, Connections, instrument_listener, serve};
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(addr).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);

    let listener =
        instrument_listener(listener, |conn: &Conn, state: ConnState| match conn.close_reason() {
            Some(reason) => println!("Client: {} - {state}: {reason}", conn.remote_addr()),
            None => println!("Client: {} - {state}", conn.remote_addr()),
        });
    let connections = listener.connections();

    let drained = serve(listener, tower::service_fn(answer))
        .with_graceful_shutdown(shutdown(connections))
        .drain_timeout(Duration::from_secs(60))
        .await?;
    println!("{drained}");
    Ok(())
}

/// Resolves at the first Ctrl-C; the second closes everything.
async fn shutdown(connections: Connections) {
    if ctrl_c().await.is_err() {
        // No signals here: serve for ever.
        std::future::pending::<()>().await;
    }
    println!("draining {connections:?}; Ctrl-C again to close by force");
    tokio::spawn(async move {
        if ctrl_c().await.is_ok() {
            println!("closing {} connections", connections.close_all());
        }
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    if request.uri().path() == "/slow" {
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    Ok(Response::new("Hello, World!\n".to_owned()))
}
