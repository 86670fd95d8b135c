//! A proxy for CONNECT (RFC 9110, section 9.3.6): tunnels are Hijacked, and a
//! shutdown (Ctrl-C) gives them ten seconds before it ends them too.
//!
//! ```console
//! $ cargo run --example proxy
//! proxy on http://127.0.0.1:8080
//! 127.0.0.1:39778: new
//! 127.0.0.1:39778: active
//! 127.0.0.1:39778: hijacked
//! 127.0.0.1:39778: gone, closed by the peer
//! ^C
//! 0 drained, 0 closed by force, 0 broken off, 0 hijacked left
//! ```
//!
//! when in another terminal (with `cargo run --example hello -- 127.0.0.1:8081` in
//! a third):
//!
//! ```console
//! $ curl --proxytunnel --proxy localhost:8080 http://localhost:8081
//! Hello, World!
//! ```
//!
//! Another address than 127.0.0.1:8080 goes as the first argument.

use std::convert::Infallible;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_connstate::{CloseReason, Conn, ConnState, Hook, instrument_listener, serve};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

struct Log;

impl Hook for Log {
    fn on_state(&self, conn: &Conn, state: ConnState) {
        println!("{}: {state}", conn.remote_addr());
    }

    fn on_end(&self, conn: &Conn, reason: CloseReason) {
        println!("{}: gone, {reason}", conn.remote_addr());
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let listener = instrument_listener(TcpListener::bind(addr).await?, Log);
    eprintln!("proxy on http://{}", listener.local_addr()?);

    let drained = serve(listener, tower::service_fn(connect))
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .drain_timeout(Duration::from_secs(10))
        .force_hijacked(true)
        .await?;
    println!("{drained}");
    Ok(())
}

async fn connect(mut request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let status = |status| Response::builder().status(status).body(String::new()).expect("valid");
    let target = request.uri().authority().map(ToString::to_string);
    let (&Method::CONNECT, Some(target)) = (request.method(), target) else {
        return Ok(status(StatusCode::METHOD_NOT_ALLOWED));
    };
    let Ok(mut server) = TcpStream::connect(target).await else {
        return Ok(status(StatusCode::BAD_GATEWAY));
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(client) = upgrade.await {
            // Whichever side fails, both are over.
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut server).await;
        }
    });
    Ok(status(StatusCode::OK))
}
