//! This crate's servers.

use std::net::SocketAddr;

use super::play::Subject;
use crate::support::handler::released;
use crate::support::{Kind, Server, settle};

pub struct Here(Server);

impl Here {
    pub async fn start(kind: Kind) -> Self {
        Self(Server::start(kind).await)
    }
}

impl Subject for Here {
    fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    fn is_tls(&self) -> bool {
        self.0.kind.is_tls()
    }

    async fn rest(&self, enough: &dyn Fn() -> bool) {
        // A loaded machine may take a while to carry bytes over loopback.
        for _ in 0..2_000 {
            settle().await;
            if enough() {
                break;
            }
            std::thread::yield_now();
        }
        settle().await;
    }

    fn states(&self, client: &str) -> Vec<String> {
        self.0.recorder.states(client).iter().map(ToString::to_string).collect()
    }

    fn release(&self, key: &str) {
        released(key).notify_one();
    }
}
