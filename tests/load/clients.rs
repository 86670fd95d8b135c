//! A client at its simplest: blocking, and with no wish to do right.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::process::ServerAt;

/// No client waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub fn connect(server: ServerAt) -> Self {
        let stream = TcpStream::connect(server.addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// A server may have closed already.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    pub fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"));
    }

    /// Reads what there is; `false` at the end.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&chunk[..length]);
                true
            }
            Err(error) if is_timeout(&error) => panic!("the server does not answer"),
            Err(_) => false,
        }
    }

    /// Reads so many bytes, if they come.
    pub fn read(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Reads a response's head.
    pub fn head(&mut self) -> Option<String> {
        loop {
            let end = self.buffer.windows(4).position(|part| part == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<_> = self.buffer.drain(..end + 4).collect();
                return Some(String::from_utf8_lossy(&head).to_ascii_lowercase());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads a response whose body's length is said. Returns its status.
    pub fn response(&mut self) -> Option<u16> {
        let head = self.head()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        self.read(length.map_or(0, |length| length.parse().unwrap()))?;
        head.get(9..12)?.parse().ok()
    }

    /// Reads frames until so many streams have ended.
    pub fn streams_end(&mut self, mut count: usize) -> Option<()> {
        while count > 0 {
            let header = self.read(9)?;
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            self.read(length as usize)?;
            count -= usize::from(header[3] == 0x3 || (header[3] <= 0x1 && header[4] & 0x1 != 0));
        }
        Some(())
    }

    /// Reads to the end. Returns how much there was.
    pub fn rest(&mut self) -> usize {
        while self.fill() {}
        std::mem::take(&mut self.buffer).len()
    }

    pub fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends with a TCP reset.
    pub fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
