//! A server's process, as its client sees it.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::time::TimeValLike;
use nix::time::ClockId;
use nix::unistd::Pid;

pub struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    cpu_clock: ClockId,
    pub addr: SocketAddr,
}

impl Process {
    /// Starts a server, which prints its port.
    pub fn start(mut command: Command) -> Result<Self, Box<dyn Error>> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().ok_or("no standard input")?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let cpu_clock = ClockId::pid_cpu_clock_id(Pid::from_raw(child.id().try_into()?))?;
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self { child, stdin, stdout: BufReader::new(stdout), cpu_clock, addr };
        let port = process.line()?.parse()?;
        process.addr.set_port(port);
        Ok(process)
    }

    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Err("a server has ended".into());
        }
        Ok(line.trim().to_owned())
    }

    /// How many events its hook has counted.
    pub fn events(&mut self) -> Result<u64, Box<dyn Error>> {
        self.stdin.write_all(b"\n")?;
        Ok(self.line()?.parse()?)
    }

    /// The CPU time of all its threads, in the system too.
    pub fn cpu_time(&self) -> Result<Duration, Box<dyn Error>> {
        let time = self.cpu_clock.now()?;
        Ok(Duration::from_nanos(time.num_nanoseconds().try_into()?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // There is nobody to tell if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
