//! What Go's client and nghttp2's make of it: they read every split.
//!
//! Not run by default, since they have to be there:
//!
//! ```text
//! cargo test --all-features --test it goaway::tools -- --ignored --nocapture
//! ```
//!
//! Go comes through `tools/find-go`; nghttp2's is `nghttp`, of Debian's package
//! nghttp2-client.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_connstate::{Accept, Conn, ConnState, instrument_listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::stream::{ALL, Shape, Shaped};
use crate::support::handler::released;
use crate::support::server::{new_builder, serve_connection};
use crate::support::start_watchdog;

/// Sockets whose writes take few bytes at a time.
struct Listener(TcpListener, Shape);

impl Accept for Listener {
    type Io = Shaped<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(Self::Io, SocketAddr)> {
        let (tcp, addr) = self.0.accept().await?;
        // Each split is a packet of its own.
        tcp.set_nodelay(true)?;
        Ok((Shaped::new(tcp, self.1).0, addr))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stack {
    Loop,
    #[cfg(feature = "serve")]
    Serve,
}

impl Stack {
    const ALL: &'static [Self] = &[
        Self::Loop,
        #[cfg(feature = "serve")]
        Self::Serve,
    ];

    async fn start(
        self,
        chunk: usize,
        hook: impl Fn(&Conn, ConnState) + Send + Sync + 'static,
    ) -> SocketAddr {
        start_watchdog();
        let shape = Shape { chunk, ..Shape::PLAIN };
        let listener = Listener(TcpListener::bind("127.0.0.1:0").await.unwrap(), shape);
        let addr = listener.local_addr().unwrap();
        let mut listener = instrument_listener(listener, hook);
        match self {
            Self::Loop => drop(tokio::spawn(async move {
                loop {
                    let (io, conn) = listener.accept().await.unwrap();
                    tokio::spawn(async move { serve_connection(&new_builder(), io, &conn).await });
                }
            })),
            #[cfg(feature = "serve")]
            Self::Serve => drop(tokio::spawn(async move {
                let service = tower::service_fn(crate::support::server::handle_incoming);
                let serve = hyper_connstate::serve(listener, service);
                serve.http(|http| *http = new_builder()).await.map(drop)
            })),
        }
        addr
    }
}

fn chunks() -> impl Iterator<Item = usize> {
    (1..=17).chain([ALL])
}

/// Its client, built once. `None`, with a message, if there is no Go.
async fn go_client() -> Option<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = Command::new(package.join("tools/find-go")).output().await.unwrap();
    if !found.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&found.stderr));
        return None;
    }
    let go = String::from_utf8(found.stdout).unwrap();
    let client = package.join("target/go/goaway-client");
    let built = Command::new(go.trim())
        .args(["build", "-o"])
        .arg(&client)
        .arg(".")
        .current_dir(package.join("tests/it/goaway/client"))
        .env("GOCACHE", package.join("target/go/cache"))
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "")
        .status()
        .await
        .unwrap();
    assert!(built.success());
    Some(client)
}

/// Ends each connection at every third time that it is idle behind a request.
fn at_every_third_idle(end: fn(&Conn)) -> impl Fn(&Conn, ConnState) + Send + Sync {
    move |conn, state| {
        if state == ConnState::Idle && conn.requests() > 0 && conn.requests() % 3 == 0 {
            end(conn);
        }
    }
}

async fn check_go(end: fn(&Conn), method: &str) {
    const REQUESTS: usize = 60;
    /// About as long as a drain waits for silence.
    const THINK: &str = "12ms";

    let Some(client) = go_client().await else { return };
    for stack in Stack::ALL {
        for chunk in chunks() {
            let addr = stack.start(chunk, at_every_third_idle(end)).await;
            let path = if method == "POST" { "/echo" } else { "/" };
            let mut command = Command::new(&client);
            command.args(["-method", method, "-requests", &REQUESTS.to_string()]);
            command.args(["-think", THINK]);
            command.args(["-url", &format!("http://{addr}{path}")]);
            let output = command.kill_on_drop(true).output().await.unwrap();
            let what = format!("{stack:?}, {chunk}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{what}");
            let counted = String::from_utf8(output.stdout).unwrap();
            let (failed, connections) = counted.trim().split_once(' ').unwrap();
            assert_eq!(failed, "0", "{what}");
            // Its connections did come to an end.
            assert!(connections.parse::<usize>().unwrap() > 1, "{what}: {connections} connections");
        }
    }
}

#[tokio::test]
#[ignore = "takes Go"]
async fn go_is_drained() {
    check_go(Conn::drain, "POST").await;
}

#[tokio::test]
#[ignore = "takes Go"]
async fn go_is_closed_on() {
    check_go(Conn::close, "GET").await;
}

/// What it prints of each frame. `None`, with a message, if there is none.
async fn nghttp(addr: SocketAddr, path: &str) -> Option<String> {
    let mut command = Command::new("nghttp");
    // Without its own PRIORITY frames and what they are for.
    command.args(["--null-out", "--verbose", "--no-dep", &format!("http://{addr}{path}")]);
    command.stdout(Stdio::piped()).kill_on_drop(true);
    match command.output().await {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            eprintln!("skipped: nghttp: {error}");
            None
        }
    }
}

fn goaway(last_stream: &str) -> String {
    format!("last_stream_id={last_stream}, error_code=NO_ERROR(0x00)")
}

#[tokio::test]
#[ignore = "takes nghttp"]
async fn nghttp_is_drained() {
    for stack in Stack::ALL {
        for chunk in chunks() {
            let active = Arc::<Mutex<Option<Conn>>>::default();
            let addr = stack
                .start(chunk, {
                    let active = active.clone();
                    move |conn, state| {
                        if state == ConnState::Active {
                            *active.lock().unwrap() = Some(conn.clone());
                        }
                    }
                })
                .await;
            let drain = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let conn = active.lock().unwrap().clone().expect("a request");
                conn.drain();
                tokio::time::sleep(Duration::from_millis(300)).await;
                released("nghttp").notify_one();
            };
            let (printed, ()) = tokio::join!(nghttp(addr, "/wait/nghttp"), drain);
            let Some(printed) = printed else { return };
            assert!(printed.contains(":status: 200"), "{stack:?}, {chunk}: {printed}");
            assert!(printed.contains(&goaway("2147483647")), "{stack:?}, {chunk}: {printed}");
        }
    }
}

/// Before its request is looked at.
#[tokio::test]
#[ignore = "takes nghttp"]
async fn nghttp_is_closed_on() {
    for stack in Stack::ALL {
        for chunk in chunks() {
            let hook = |conn: &Conn, state: ConnState| {
                if state == ConnState::Idle {
                    conn.close();
                }
            };
            let addr = stack.start(chunk, hook).await;
            let Some(printed) = nghttp(addr, "/").await else { return };
            assert!(printed.contains(&goaway("0")), "{stack:?}, {chunk}: {printed}");
            assert!(!printed.contains(":status:"), "{stack:?}, {chunk}: {printed}");
        }
    }
}
