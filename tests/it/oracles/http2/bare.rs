//! hyper without this crate, which is asked whether streams are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::oneshot;

use super::handler::Desk;
use crate::oracles::wire::{Client, Near};
use crate::support::frames::frame;
use crate::support::server::new_builder;

/// A connection of hyper's.
pub struct Bare {
    shutdown: oneshot::Sender<()>,
    ended: Arc<AtomicBool>,
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
}

impl Bare {
    pub fn serve(near: Near, desk: Arc<Desk>) -> Self {
        let (shutdown, told) = oneshot::channel();
        let ended = Arc::<AtomicBool>::default();
        let done = ended.clone();
        tokio::spawn(async move {
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
        Self { shutdown, ended }
    }

    fn has_ended(&self) -> bool {
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
        for payload in pings(&client.received, before) {
            client.send(&frame(0x6, 0x1, 0, &payload));
        }
        client.read_all().await;
        if self.has_ended() { Answer::Quiet } else { Answer::Open }
    }
}

/// The PINGs of the server's behind so many bytes.
fn pings(received: &[u8], before: usize) -> Vec<Vec<u8>> {
    let mut pings = Vec::new();
    let mut at = 0;
    while let Some([a, b, c, kind, flags, ..]) =
        received.get(at..).and_then(|rest| rest.first_chunk::<9>())
    {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some(payload) = received.get(at + 9..at + 9 + length) else { break };
        if at >= before && *kind == 0x6 && flags & 0x1 == 0 {
            pings.push(payload.to_vec());
        }
        at += 9 + length;
    }
    pings
}
