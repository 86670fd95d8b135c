//! A way between client and server that takes its time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How much may be under way in each direction, as a sender's congestion window
/// has it.
const WINDOW: usize = 64 << 10;

const PACKET: usize = 8 << 10;

/// What the relay's sockets hold. Left to the system, they would take a whole
/// upload.
const SOCKET_BUFFER: u32 = 32 << 10;

/// Ends when it is dropped.
pub struct Relay {
    pub addr: SocketAddr,
    accepts: JoinHandle<()>,
}

impl Relay {
    pub async fn start(server: SocketAddr, delay: Duration) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(SOCKET_BUFFER)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(128)?;
        let addr = listener.local_addr()?;
        let accepts = tokio::spawn(accept(listener, server, delay));
        Ok(Self { addr, accepts })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, delay: Duration) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(async move {
            // What goes wrong here is seen as an answer that is missing.
            if let Ok(server) = dial(server).await {
                let _ = connect(client, server, delay).await;
            }
        });
    }
}

async fn dial(server: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.connect(server).await
}

/// Carries both directions until both have ended, or one is reset.
async fn connect(mut client: TcpStream, mut server: TcpStream, delay: Duration) -> io::Result<()> {
    for stream in [&client, &server] {
        // Nothing here waits for more to send.
        stream.set_nodelay(true)?;
    }
    let reset = Notify::new();
    let is_reset = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let both = async {
            tokio::join!(
                carry(client_reads, server_writes, delay, &reset),
                carry(server_reads, client_writes, delay, &reset),
            )
        };
        tokio::select! {
            _ = both => false,
            () = reset.notified() => true,
        }
    };
    if is_reset {
        // What was given out before is with the other end already, which finds
        // the reset behind it.
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    Ok(())
}

enum Packet {
    Data(Vec<u8>, OwnedSemaphorePermit),
    Fin,
    Reset,
}

async fn carry(from: ReadHalf<'_>, to: WriteHalf<'_>, delay: Duration, reset: &Notify) {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::join!(send(from, sender, delay), deliver(to, receiver, delay, reset));
}

/// Takes what is sent.
async fn send(
    mut from: ReadHalf<'_>,
    under_way: mpsc::UnboundedSender<(Instant, Packet)>,
    delay: Duration,
) {
    let window = Arc::new(Semaphore::new(WINDOW));
    let mut chunk = vec![0; PACKET];
    loop {
        let Ok(mut room) = window.clone().acquire_many_owned(PACKET as u32).await else { return };
        let packet = match from.read(&mut chunk).await {
            Ok(0) => Packet::Fin,
            Ok(length) => {
                drop(room.split(PACKET - length));
                Packet::Data(chunk[..length].to_vec(), room)
            }
            Err(_) => Packet::Reset,
        };
        let ends = !matches!(packet, Packet::Data(..));
        if under_way.send((Instant::now() + delay, packet)).is_err() || ends {
            return;
        }
    }
}

/// Gives it out in its time.
async fn deliver(
    mut to: WriteHalf<'_>,
    mut under_way: mpsc::UnboundedReceiver<(Instant, Packet)>,
    delay: Duration,
    reset: &Notify,
) {
    while let Some((at, packet)) = under_way.recv().await {
        tokio::time::sleep_until(at).await;
        match packet {
            Packet::Data(bytes, room) => {
                if to.write_all(&bytes).await.is_err() {
                    // The other end has answered with a reset, which has its
                    // own way to go.
                    tokio::time::sleep(delay).await;
                    return reset.notify_one();
                }
                drop(room);
            }
            Packet::Fin => drop(to.shutdown().await),
            Packet::Reset => return reset.notify_one(),
        }
    }
}
