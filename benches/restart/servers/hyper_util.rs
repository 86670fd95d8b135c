//! hyper-util's `GracefulShutdown`, in an accept loop as in its documentation.

use std::io;
use std::pin::pin;

use hyper::service::service_fn;
use hyper_connstate::Accept;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};

use super::handler::echo;
use super::setup::{Setup, TIMEOUT};

pub async fn serve(setup: Setup) -> io::Result<()> {
    let (mut listener, tls, terminated) = setup.split();
    let mut terminated = pin!(terminated);
    let graceful = GracefulShutdown::new();
    loop {
        let (tcp, _) = tokio::select! {
            biased;
            () = &mut terminated => break,
            accepted = Accept::accept(&mut listener) => accepted?,
        };
        let watcher = graceful.watcher();
        match tls.clone() {
            Some(tls) => drop(tokio::spawn(async move {
                // One that fails is the client's affair.
                if let Ok(stream) = tls.accept(tcp).await {
                    serve_connection(stream, watcher).await;
                }
            })),
            None => drop(tokio::spawn(serve_connection(tcp, watcher))),
        }
    }
    drop(listener);
    // What is left then is broken off, as everywhere.
    let _ = tokio::time::timeout(TIMEOUT, graceful.shutdown()).await;
    Ok(())
}

async fn serve_connection<I>(io: I, watcher: Watcher)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service_fn(echo));
    // An error is seen by the client, which counts it.
    let _ = watcher.watch(connection.into_owned()).await;
}
