//! The client that plays a script: the same against Go and against this crate.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::answers::Answers;
use super::script::{Await, Protocol, Step};
use crate::support::peer::Stream;
use crate::support::server::dial;
use crate::support::tls;

pub struct Client {
    stream: Option<Pin<Box<dyn Stream>>>,
    /// Its address, as the server sees it.
    pub name: String,
    answers: Answers,
}

impl Client {
    pub async fn connect(addr: SocketAddr, over_tls: bool, protocol: Protocol) -> Self {
        let tcp: TcpStream = dial(addr).await;
        let name = tcp.local_addr().unwrap().to_string();
        let stream: Pin<Box<dyn Stream>> = match protocol {
            Protocol::Http1 if over_tls => Box::pin(tls::connect(tcp, "http/1.1").await),
            Protocol::Http2 if over_tls => Box::pin(tls::connect(tcp, "h2").await),
            _ => Box::pin(tcp),
        };
        Self { stream: Some(stream), name, answers: Answers::default() }
    }

    pub async fn play(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send(bytes) => self.send(bytes).await,
            Step::Bytewise(bytes) => {
                for byte in bytes {
                    self.send(std::slice::from_ref(byte)).await?;
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            Step::Await(awaited) => self.wait(awaited).await,
            Step::HalfClose => {
                // The server may have closed.
                let _ = self.stream()?.shutdown().await;
                Ok(())
            }
            Step::Close => {
                self.stream()?;
                self.stream = None;
                Ok(())
            }
            Step::Reset => {
                let linger = SockRef::from(self.stream()?.tcp()).set_linger(Some(Duration::ZERO));
                linger.map_err(|error| error.to_string())?;
                self.stream = None;
                Ok(())
            }
            Step::Release(_) | Step::Pause => unreachable!("not the client's"),
        }
    }

    fn stream(&mut self) -> Result<&mut Pin<Box<dyn Stream>>, String> {
        self.stream.as_mut().ok_or_else(|| "the client has closed its stream".to_owned())
    }

    /// A server that has closed need not take it.
    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let stream = self.stream()?;
        let sent = patiently(async {
            stream.write_all(bytes).await?;
            stream.flush().await
        });
        let _: io::Result<()> = sent.await.ok_or("the server does not take it")?;
        Ok(())
    }

    async fn wait(&mut self, awaited: &Await) -> Result<(), String> {
        let mut chunk = vec![0; 64 << 10];
        while !self.answers.take(awaited)? {
            let reading = patiently(self.stream()?.read(&mut chunk));
            match reading.await.ok_or("nothing comes")? {
                Ok(length @ 1..) => self.answers.add(&chunk[..length]),
                Ok(0) | Err(_) => self.answers.ended(),
            }
        }
        Ok(())
    }
}

/// In milliseconds; longer than anything takes.
const PATIENCE: u32 = 5_000;

/// Waits, but not for ever.
///
/// A paused clock goes on whenever nothing is left to do, and bytes that
/// loopback is about to carry do not count as something to do. They may take
/// their time: a small answer behind another one is held back until the first
/// is acknowledged (40 ms, Nagle's algorithm). So this waits in many small
/// steps, and lets some real time pass in each.
async fn patiently<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    for _ in 0..PATIENCE {
        match tokio::time::timeout(Duration::from_millis(1), &mut future).await {
            Ok(output) => return Some(output),
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
    None
}
