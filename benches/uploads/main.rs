//! Answers that are lost because a server gives them while its client still
//! uploads.
//!
//! ```console
//! $ cargo run --release --manifest-path benches/Cargo.toml --bin uploads
//! ```
//!
//! Servers answer 413, 401 or with a redirect, and read nothing of the upload.
//! Between them and the clients is a relay that delays each direction. Answers
//! that arrive whole are counted. `--uploads` says how many of each kind there
//! are, `--delay` (ms) how long the way is, `--size` how long an upload.
//! `--servers` and `--clients` choose some; with `--write` the table goes into
//! BENCHMARKS.md.

mod clients;
mod relay;
mod servers;
#[path = "../support/mod.rs"]
mod support;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clients::{Client, Upload};
use lexopt::prelude::*;
use relay::Relay;
use servers::{Running, Server};
use support::document::Section;
use support::{environment, go};
use tokio::sync::Semaphore;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// What a handler answers, by path.
const ANSWERS: [(&str, u16); 3] = [("/too-large", 413), ("/unauthorized", 401), ("/moved", 307)];

/// Uploads under way at once: few enough for none to wait for another's turn.
const AT_ONCE: usize = 4;

/// A client that has not got its answer by then has not got it.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
struct Options {
    servers: Vec<Server>,
    clients: Vec<Client>,
    /// For each server, client and answer.
    uploads: usize,
    delay: Duration,
    size: usize,
    write: bool,
}

fn main() -> ExitCode {
    match options().and_then(|options| measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("uploads: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options {
        servers: Server::ALL.to_vec(),
        clients: Client::ALL.to_vec(),
        uploads: 24,
        delay: Duration::from_millis(10),
        size: 1 << 20,
        write: false,
    };
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("servers") => {
                let chosen = args.value()?.string()?;
                options
                    .servers
                    .retain(|server| chosen.split(',').any(|name| name == server.argument()));
            }
            Long("clients") => {
                let chosen = args.value()?.string()?;
                options
                    .clients
                    .retain(|client| chosen.split(',').any(|name| name == client.argument()));
            }
            Long("uploads") => options.uploads = args.value()?.parse()?,
            Long("delay") => options.delay = Duration::from_millis(args.value()?.parse()?),
            Long("size") => options.size = args.value()?.parse()?,
            Long("write") => options.write = true,
            _ => return Err(arg.unexpected().into()),
        }
    }
    Ok(options)
}

fn measure(options: &Options) -> Result {
    let go = go::build("uploads").inspect_err(|why| eprintln!("Go is left out: {why}")).ok();
    let mut section = Section::new("uploads");
    let version = go.as_ref().map(|go| format!("{}, ", go.version)).unwrap_or_default();
    let machine = environment::machine();
    section.line(format!("{machine}; {version}{}.\n", environment::versions()));
    section.line(format!(
        "Answers that arrived whole, of {} each: {} uploads of {} KiB for each of 413, 401 and 307, with {} ms each way. Every second one that is written by hand is chunked. Sockets hold 32 KiB: left to the system, theirs would take a whole upload before the first answer.\n",
        options.uploads * ANSWERS.len(),
        options.uploads,
        options.size >> 10,
        options.delay.as_millis(),
    ));
    let mut head = vec!["answers that arrived"];
    head.extend(options.clients.iter().map(|client| client.name()));
    section.table_head(&head);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for server in &options.servers {
        let Some(running) = server.start(go.as_ref())? else { continue };
        let mut row = vec![server.name().to_owned()];
        for client in &options.clients {
            let arrived = runtime.block_on(upload_all(options, &running, *client))?;
            row.push(arrived.to_string());
        }
        section.row(&row);
    }
    if options.write { section.write() } else { Ok(()) }
}

/// Returns how many answers arrived whole.
async fn upload_all(options: &Options, server: &Running, client: Client) -> Result<usize> {
    let relay = Relay::start(server.addr, options.delay).await?;
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut uploads = Vec::new();
    for (path, status) in ANSWERS {
        for index in 0..options.uploads {
            let chunked = index % 2 == 1;
            let upload = Upload { addr: relay.addr, path, size: options.size, chunked };
            let turns = turns.clone();
            uploads.push(tokio::spawn(async move {
                let _turn = turns.acquire().await.ok()?;
                let answer =
                    tokio::time::timeout(PATIENCE, client.send(upload)).await.ok()?.ok()?;
                (answer.status == status && answer.body == servers::BODY.as_bytes()).then_some(())
            }));
        }
    }
    let mut arrived = 0;
    for upload in uploads {
        arrived += usize::from(upload.await?.is_some());
    }
    Ok(arrived)
}
