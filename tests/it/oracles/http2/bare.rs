//! hyper without this crate, which is asked whether streams are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::handler::Desk;
use crate::oracles::wire::{Client, Near};
use crate::support::frames::frame;
use crate::support::server::new_builder;

/// A connection of hyper's.
pub struct Bare {
    shutdown: oneshot::Sender<()>,
    ended: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// What hyper says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has ended.
    Ended,
    /// It has open streams.
    Open,
    /// It has none.
    Quiet,
    /// It has none, but has lost count of them. h2 does so where a client
    /// resets a stream whose answer waits for room in a window; where
    /// assertions are on, h2 finds out itself when the connection is dropped.
    Miscounted,
    /// The question could not be asked: a header block was open.
    NotAsked,
}

impl Bare {
    pub fn serve(near: Near, desk: Arc<Desk>) -> Self {
        let (shutdown, told) = oneshot::channel();
        let ended = Arc::<AtomicBool>::default();
        let done = ended.clone();
        let task = tokio::spawn(async move {
            let handle =
                move |request: Request<Incoming>| desk.clone().handle(request.map(Body::new));
            let service = TowerToHyperService::new(tower::service_fn(handle));
            let builder = new_builder();
            let conn = builder.serve_connection_with_upgrades(TokioIo::new(near), service);
            let mut conn = std::pin::pin!(conn);
            let mut told = std::pin::pin!(told);
            tokio::select! {
                biased;
                _ = conn.as_mut() => {}
                _ = told.as_mut() => {
                    conn.as_mut().graceful_shutdown();
                    let _ = conn.await;
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        Self { shutdown, ended, task }
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Asks; the connection is of no use afterwards.
    pub async fn ask(mut self, client: &mut Client) -> Answer {
        client.read_all().await;
        if self.has_ended() {
            return Answer::Ended;
        }
        let before = client.received.len();
        let (shutdown, _) = oneshot::channel();
        let _ = std::mem::replace(&mut self.shutdown, shutdown).send(());
        client.read_all().await;
        // A client answers the PING that comes with it.
        for (kind, flags, payload) in frames(&client.received, before) {
            if kind == 0x6 && flags & 0x1 == 0 {
                client.send(&frame(0x6, 0x1, 0, &payload));
            }
        }
        client.read_all().await;
        if self.has_ended() {
            let fails = |frame: &(u8, u8, Vec<u8>)| frame.0 == 0x7 && frame.2[4..8] != [0; 4];
            let failed = frames(&client.received, before).iter().any(fails);
            return if failed { Answer::NotAsked } else { Answer::Quiet };
        }
        client.close();
        match self.task.await {
            Err(error) if error.is_panic() => Answer::Miscounted,
            _ => Answer::Open,
        }
    }
}

/// The server's frames behind so many bytes: type, flags and payload.
fn frames(received: &[u8], before: usize) -> Vec<(u8, u8, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(rest) = received.get(at..) {
        let Some([a, b, c, kind, flags, ..]) = rest.first_chunk::<9>() else { break };
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some(payload) = rest.get(9..9 + length) else { break };
        if at >= before {
            frames.push((*kind, *flags, payload.to_vec()));
        }
        at += 9 + length;
    }
    frames
}
