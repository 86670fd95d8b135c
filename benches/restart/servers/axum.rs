//! `axum::serve` with its own graceful shutdown.

use std::io;

use super::handler::router;
use super::setup::{Setup, TIMEOUT};
use super::tls::TlsListener;

pub async fn serve(setup: Setup) -> io::Result<()> {
    let (listener, tls, terminated) = setup.split();
    let (told, terminating) = tokio::sync::oneshot::channel();
    let terminated = async move {
        terminated.await;
        // The other end is held below until the end.
        let _ = told.send(());
    };
    let late = async move {
        if terminating.await.is_ok() {
            tokio::time::sleep(TIMEOUT).await;
        }
    };
    match tls {
        None => {
            let server = axum::serve(listener, router()).with_graceful_shutdown(terminated);
            until(late, server.into_future()).await
        }
        Some(tls) => {
            let listener = TlsListener::plain(listener, tls)?;
            let server = axum::serve(listener, router()).with_graceful_shutdown(terminated);
            until(late, server.into_future()).await
        }
    }
}

async fn until(
    late: impl Future<Output = ()>,
    server: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    tokio::select! {
        ended = server => ended,
        () = late => Ok(()),
    }
}
