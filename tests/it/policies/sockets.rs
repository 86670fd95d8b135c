//! Least rates on real sockets, which take what there is to be written in steps:
//! they say that they have room when a good part of their buffer is free.

#![cfg(feature = "serve")]

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use hyper::service::service_fn;
use hyper_connstate::{Connections, Policies, Policy};

use super::bench::{GET, SECOND};

/// There is always more of it.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'.'; 1 << 16])))))
    }
}

/// Has a client talk to a server whose answers never end.
fn with_client<T: Send + 'static>(
    policies: Policies,
    client: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> (T, Connections) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = hyper_connstate::instrument_listener(listener, ()).policies(policies);
        let connections = listener.connections();
        let service = service_fn(async |_| Ok::<_, Infallible>(Response::new(Endless)));
        let server = tokio::spawn(async move { hyper_connstate::serve(listener, service).await });
        let done = tokio::task::spawn_blocking(move || client(address)).await.unwrap();
        server.abort();
        (done, connections)
    })
}

fn connect(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(GET).unwrap();
    client
}

#[test]
fn a_client_that_is_fast_enough() {
    let policies = Policies::new().min_write_rate(1_000, SECOND / 2);
    let (read, connections) = with_client(policies, |address| {
        let mut client = connect(address);
        let mut buffer = [0; 5_000];
        let start = Instant::now();
        let mut read = 0;
        // A hundred times as fast as it has to be.
        while start.elapsed() < 3 * SECOND {
            client.read_exact(&mut buffer).unwrap();
            read += buffer.len();
            std::thread::sleep(SECOND / 20);
        }
        read
    });
    assert!(read > 3_000);
    assert_eq!(connections.expired(Policy::WriteTimeout), 0);
}

#[test]
fn a_client_that_takes_nothing() {
    let policies = Policies::new().min_write_rate(20_000_000, SECOND / 2);
    let (waited, connections) = with_client(policies, |address| {
        let mut client = connect(address);
        let start = Instant::now();
        // Nothing is read before the end: what is there is thrown away then.
        let mut byte = [0];
        while start.elapsed() < 20 * SECOND {
            std::thread::sleep(SECOND / 10);
            match client.write_all(b"x") {
                Ok(()) => {}
                Err(error) => {
                    assert!(matches!(
                        error.kind(),
                        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                    ));
                    break;
                }
            }
        }
        let waited = start.elapsed();
        let _ = client.read(&mut byte);
        waited
    });
    assert!(waited >= SECOND / 2 && waited < 20 * SECOND, "{waited:?}");
    assert_eq!(connections.expired(Policy::WriteTimeout), 1);
    let _: Duration = waited;
}
