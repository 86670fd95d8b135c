//! Requests per second and CPU time per request on loopback sockets: hyper
//! without this crate and with it, and Go's `net/http`.
//!
//! ```console
//! $ cargo run --release --manifest-path benches/Cargo.toml --bin throughput
//! ```
//!
//! Times are noisy, and more so on a machine that others use. So only ratios
//! are reported as results: of two servers in the same round of the same run.
//! `--rounds` and `--seconds` (a slice's length) say how many and how long;
//! with `--write` the tables and the plots go into BENCHMARKS.md.

mod sockets;
mod support;

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::time::TimeValLike;
use nix::time::ClockId;
use nix::unistd::Pid;
use sockets::child::Process;
use sockets::client::{Connection, Protocol};
use sockets::report::{self, Results, Run, Slice};
use sockets::server::Server;
use support::{environment, go};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const PROTOCOLS: [Protocol; 2] =
    [Protocol::Http1 { connections: 32 }, Protocol::Http2 { connections: 4, streams: 16 }];

/// Before a slice is counted: what other servers have driven from the caches
/// comes back.
const WARM_UP: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throughput: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result {
    let (mut write, mut rounds, mut seconds) = (false, 36, 0.2);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("write") => write = true,
            Long("rounds") => rounds = args.value()?.parse()?,
            Long("seconds") => seconds = args.value()?.parse()?,
            // How it runs itself.
            Long("server") => {
                let name = args.value()?.string()?;
                let server = Server::from_argument(&name).ok_or("there is no such server")?;
                return Ok(server.run()?);
            }
            _ => return Err(arg.unexpected().into()),
        }
    }
    if !(1..=500).contains(&rounds) {
        return Err("--rounds: a number from 1 to 500".into());
    }
    let slice = Duration::try_from_secs_f64(seconds).map_err(|_| "--seconds: a number above 0")?;
    if slice < WARM_UP {
        return Err("--seconds: 0.05 or more".into());
    }
    let go = go::build("throughput").inspect_err(|why| eprintln!("Go is left out: {why}"));
    // Before this process is bound to one core, and sees no other.
    let machine = environment::machine();
    let run = Run { machine, rounds, slice, pinned: pin_servers(), go: go.as_ref().ok() };

    let mut servers = start_servers(&run)?;
    pin_client(run.pinned);
    let mut results = Results::new();
    for round in 1..=rounds {
        eprint!("\rround {round} of {rounds}");
        for (index, protocol) in PROTOCOLS.into_iter().enumerate() {
            fastrand::shuffle(&mut servers);
            for up in &mut servers {
                let named = |error| format!("{}, {}: {error}", up.server.name(), protocol.name());
                let slice = load(&mut up.process, &mut up.connections[index], slice);
                let slice = slice.map_err(named)?;
                results.entry((index, up.server)).or_default().push(slice);
            }
        }
    }
    eprintln!();
    report::report(&run, &PROTOCOLS, &results, write)
}

/// A server that is up, with its connections by protocol.
struct Up {
    server: Server,
    process: Process,
    connections: Vec<Vec<Connection>>,
}

fn start_servers(run: &Run<'_>) -> Result<Vec<Up>> {
    let mut servers = Vec::new();
    for server in Server::ALL {
        let command = match (server.is_go(), run.go) {
            (true, None) => continue,
            (true, Some(go)) => {
                let mut command = Command::new(&go.program);
                command.env("GOMAXPROCS", "1");
                command.args((server == Server::GoHook).then_some("hook"));
                command
            }
            (false, _) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--server", &server.argument()]);
                command
            }
        };
        let named = |error| format!("{}: {error}", server.name());
        let process = Process::start(command).map_err(named)?;
        let connections = PROTOCOLS.map(|protocol| protocol.connect(process.addr));
        let connections = connections.into_iter().collect::<Result<_>>().map_err(named)?;
        servers.push(Up { server, process, connections });
    }
    Ok(servers)
}

/// Loads one server for a while.
fn load(process: &mut Process, connections: &mut [Connection], slice: Duration) -> Result<Slice> {
    connections.iter_mut().try_for_each(Connection::send)?;
    run_for(connections, WARM_UP)?;

    // As many requests are under way before as after.
    let (events, cpu_time) = (process.events()?, process.cpu_time()?);
    let (begin, client) = (Instant::now(), own_cpu_time()?);
    let requests = run_for(connections, slice)?;
    let (elapsed, client) = (begin.elapsed(), own_cpu_time()? - client);
    let cpu_time = process.cpu_time()? - cpu_time;
    let events = process.events()? - events;

    for connection in connections {
        connection.receive()?;
    }
    Ok(Slice { requests, elapsed, cpu_time, client_cpu_time: client, events })
}

fn run_for(connections: &mut [Connection], time: Duration) -> Result<usize> {
    let begin = Instant::now();
    let mut requests = 0;
    while begin.elapsed() < time {
        for connection in &mut *connections {
            requests += connection.receive()?;
            connection.send()?;
        }
    }
    Ok(requests)
}

fn own_cpu_time() -> Result<Duration> {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now()?;
    Ok(Duration::from_nanos(time.num_nanoseconds().try_into()?))
}

// === which core ===

/// The cores of the servers and of the client, if there are two.
type Cores = Option<(usize, usize)>;

/// Puts this process, and so those that it starts, on one core.
fn pin_servers() -> Cores {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
    let (client, servers) = (cores.next()?, cores.next()?);
    pin(servers).then_some((servers, client))
}

fn pin_client(cores: Cores) {
    if let Some((_, client)) = cores {
        pin(client);
    }
}

fn pin(core: usize) -> bool {
    let mut set = CpuSet::new();
    set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).is_ok()
}
