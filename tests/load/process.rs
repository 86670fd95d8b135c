//! The process of the clients: this program once more, told by its
//! environment what to do.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rlimit::Resource;

const SERVERS: &str = "LOAD_SERVERS";
const COUNT: &str = "LOAD_COUNT";
const SEED: &str = "LOAD_SEED";

/// What the clients are told.
#[derive(Clone, Debug)]
pub struct Orders {
    pub servers: Vec<ServerAt>,
    pub count: usize,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct ServerAt {
    pub addr: SocketAddr,
    pub tls: bool,
}

impl Orders {
    /// In the clients' process: what it is to do. `None` in any other.
    pub fn given() -> Option<Self> {
        let servers = std::env::var(SERVERS).ok()?;
        let servers = servers.split(',').map(|server| match server.strip_prefix("tls:") {
            Some(addr) => ServerAt { addr: addr.parse().unwrap(), tls: true },
            None => ServerAt { addr: server.parse().unwrap(), tls: false },
        });
        let number = |name: &str| std::env::var(name).unwrap().parse().unwrap();
        Some(Self { servers: servers.collect(), count: number(COUNT) as usize, seed: number(SEED) })
    }

    /// Starts a process that runs the test `entry` of this program.
    pub fn start(&self, entry: &str) -> Clients {
        let servers = self.servers.iter().map(|server| match server.tls {
            true => format!("tls:{}", server.addr),
            false => server.addr.to_string(),
        });
        let servers: Vec<_> = servers.collect();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([entry, "--exact", "--ignored", "--nocapture"])
            .env(SERVERS, servers.join(","))
            .env(COUNT, self.count.to_string())
            .env(SEED, self.seed.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Clients { child, input, output }
    }
}

/// A process of clients. It goes when this does.
pub struct Clients {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Clients {
    /// Waits for the clients to say `word`, and returns the number they say
    /// with it.
    pub fn hear(&mut self, word: &str) -> usize {
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.output.read_line(&mut line).unwrap();
            assert!(length > 0, "the clients ended without a word of {word:?}");
            // The test harness may have begun the line.
            if let Some((_, rest)) = line.split_once(&format!("clients: {word} ")) {
                return rest.trim().parse().unwrap();
            }
        }
    }

    /// Lets the clients go on.
    pub fn go_on(&mut self) {
        self.input.write_all(b"go on\n").unwrap();
    }

    pub fn join(mut self) {
        std::io::copy(&mut self.output, &mut std::io::sink()).unwrap();
        assert!(self.child.wait().unwrap().success(), "the clients failed");
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the clients' process: says `word` and a number.
pub fn say(word: &str, number: usize) {
    println!("clients: {word} {number}");
    std::io::stdout().flush().unwrap();
}

/// In the clients' process: waits to be let on.
pub fn wait() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// How many connections there can be at once: `wanted`, or fewer if this
/// process may not have that many files open.
pub fn room_for(wanted: usize) -> usize {
    const OTHERS: usize = 200;
    let limit = rlimit::increase_nofile_limit((wanted + OTHERS) as u64).unwrap() as usize;
    let room = wanted.min(limit.saturating_sub(OTHERS));
    if room < wanted {
        let (_, hard) = Resource::NOFILE.get().unwrap();
        eprintln!("ONLY {room} OF {wanted} CONNECTIONS: this process may have {hard} files open");
    }
    room
}

/// How many files this process has open; 0 where the system does not tell.
pub fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
