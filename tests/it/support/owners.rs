//! New owners of hijacked streams, who do with them as they like.

use std::time::Duration;

use axum::body::Body;
use http::Request;
use tokio::io::AsyncWriteExt;

use super::handler::released;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A WebSocket that only pushes: it never reads.
    Pushes,
    /// A proxy that dials first: it has the stream, and does not touch it.
    Holds,
    /// It does not even ask for the stream.
    NeverAwaits,
    /// It has the stream, and the request with its body.
    HoldsRequest,
    /// It has done with the stream at once.
    Drops,
}

impl Owner {
    pub const ALL: [Self; 5] =
        [Self::Pushes, Self::Holds, Self::NeverAwaits, Self::HoldsRequest, Self::Drops];

    /// Those that keep the stream until they are released.
    pub const HOLDERS: [Self; 3] = [Self::Holds, Self::NeverAwaits, Self::HoldsRequest];

    /// In a path (`/owner/NAME`), or as the host of a CONNECT.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pushes => "pushes",
            Self::Holds => "holds",
            Self::NeverAwaits => "never-awaits",
            Self::HoldsRequest => "holds-request",
            Self::Drops => "drops",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|owner| owner.name() == name)
    }

    /// Has one of this test's owners drop what it holds.
    pub fn release(self) {
        released(self.name()).notify_one();
    }

    pub fn own(self, mut request: Request<Body>) {
        let upgrade = hyper::upgrade::on(&mut request);
        let released = released(self.name());
        tokio::spawn(async move {
            match self {
                Self::Pushes => {
                    let Ok(upgraded) = upgrade.await else { return };
                    let mut stream = hyper_util::rt::TokioIo::new(upgraded);
                    while stream.write_all(b"push\n").await.is_ok() {
                        tokio::time::sleep(Duration::from_secs(10)).await;
                    }
                }
                Self::Holds => {
                    let stream = upgrade.await;
                    released.notified().await;
                    drop(stream);
                }
                Self::NeverAwaits => {
                    released.notified().await;
                    drop(upgrade);
                }
                Self::HoldsRequest => {
                    let stream = upgrade.await;
                    released.notified().await;
                    drop((stream, request));
                }
                Self::Drops => drop(upgrade.await),
            }
        });
    }
}
