//! At most so many connections for each client address: those above are
//! answered with 429 and closed.
//!
//! ```console
//! $ cargo run --example limit_per_ip
//! ```
//!
//! Another address than 127.0.0.1:8080 goes as the first argument.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Mutex;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_connstate::{Conn, ConnState, instrument_listener, serve};
use tokio::net::TcpListener;

const LIMIT: usize = 4;

/// Goes with a connection that is one too many.
#[derive(Clone)]
struct TooMany;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(addr).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);

    let open = Mutex::new(HashMap::new());
    let limit = move |conn: &Conn, state: ConnState| {
        let Some(ip) = conn.remote_addr().ip() else { return };
        // Answered: that was all it gets, over HTTP/2 too.
        if state == ConnState::Idle && conn.requests() > 0 && conn.get::<TooMany>().is_some() {
            conn.close();
        }
        let mut open = open.lock().unwrap();
        let count = open.entry(ip).or_insert(0);
        match state {
            ConnState::New => *count += 1,
            state if state.is_terminal() => *count -= 1,
            _ => return,
        }
        if state == ConnState::New && *count > LIMIT {
            conn.insert(TooMany);
        }
        if *count == 0 {
            open.remove(&ip);
        }
    };

    // A service for each connection, which knows it.
    let make_service = tower::service_fn(async |conn: Conn| {
        Ok::<_, Infallible>(tower::service_fn(move |_: Request<Incoming>| answer(conn.clone())))
    });
    serve(instrument_listener(listener, limit), make_service).await.map(drop)
}

async fn answer(conn: Conn) -> Result<Response<String>, Infallible> {
    let mut response = Response::new("Hello, World!\n".to_owned());
    if conn.get::<TooMany>().is_some() {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        *response.body_mut() = format!("no more than {LIMIT} connections each\n");
    }
    Ok(response)
}
