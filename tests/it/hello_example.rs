//! What the README shows first, with curl where there is one. (`examples` compares
//! the headers of all examples, and needs curl.)

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The example as `cargo test` has built it, or built now.
fn hello() -> PathBuf {
    let path = std::env::current_exe().unwrap();
    let target = path.parent().and_then(|deps| deps.parent()).unwrap();
    let hello = target.join("examples").join(format!("hello{}", std::env::consts::EXE_SUFFIX));
    if !hello.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let built = Command::new(cargo).args(["build", "--example", "hello"]).status().unwrap();
        assert!(built.success());
    }
    hello
}

struct Server {
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn prints_what_go_prints() {
    let child = Command::new(hello())
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut server = Server { process: child };
    let mut first = String::new();
    BufReader::new(server.process.stderr.take().unwrap()).read_line(&mut first).unwrap();
    let url = first.trim().strip_prefix("listening on ").unwrap().to_owned();

    let answer = match Command::new("curl").args(["--silent", "--noproxy", "*", &url]).output() {
        Ok(curl) => curl.stdout,
        Err(_) => {
            // No curl on this machine: the same by hand.
            let mut client = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
            let mut answer = vec![0; 1024];
            let length = client.read(&mut answer).unwrap();
            answer[..length].to_vec()
        }
    };
    assert!(answer.ends_with(b"Hello, World!\n"));

    let lines = BufReader::new(server.process.stdout.take().unwrap()).lines().take(4);
    let lines: Vec<_> = lines.map(Result::unwrap).collect();
    let client = lines[0].split(' ').nth(1).unwrap();
    assert!(client.starts_with("127.0.0.1:"), "{client}");
    let expected = ["new", "active", "idle", "closed"]
        .map(|state| format!("Client: {client} - new state: {state}"));
    assert_eq!(lines, expected);
}
