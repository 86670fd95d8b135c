//! Why a connection ended: the first cause, whichever way hyper then takes.

use std::time::Duration;

use hyper_connstate::CloseReason::{self, PeerClosed, ServerClosed, TimedOut};
use hyper_connstate::ConnState;

use crate::support::frames::*;
use crate::support::handler::released;
use crate::support::server::Builder;
use crate::support::{Kind, Peer, Recorder, Server, everywhere};

async fn ended(peer: &Peer, expected: CloseReason) {
    let conn = peer.conn();
    conn.closed().await;
    assert_eq!(conn.close_reason(), Some(expected), "{:?}", peer.kind);
    assert_eq!(peer.recorder.reason(peer.name()), Some(expected), "{:?}", peer.kind);
}

/// The kinds whose hyper can be configured.
fn configurable() -> impl Iterator<Item = Kind> {
    Kind::all().into_iter().filter(|kind| !format!("{kind:?}").starts_with("Axum"))
}

async fn start(kind: Kind, configure: impl FnOnce(&mut Builder) + Send + 'static) -> Server {
    let recorder = Recorder::default();
    Server::start_with(kind, recorder.clone(), recorder, |mut builder| {
        configure(&mut builder);
        builder
    })
    .await
}

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

// === hyper's time-outs

/// `serve` hears from hyper that it was one.
#[cfg(feature = "serve")]
mod header_read_timeout {
    use super::*;

    async fn each(scenario: impl AsyncFn(Peer)) {
        for kind in configurable().filter(|kind| format!("{kind:?}").starts_with("Serve")) {
            let server = start(kind, |builder| {
                builder.http1().header_read_timeout(Duration::from_secs(10));
            })
            .await;
            scenario(server.connect().await).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn on_an_idle_connection() {
        each(async |mut peer| {
            for _ in 0..2 {
                peer.get("/").await;
                peer.response().await;
            }
            peer.sees("new active idle active idle").await;
            sleep(9).await;
            peer.sees("").await;
            sleep(2).await;
            peer.sees("closed").await;
            ended(&peer, TimedOut).await;
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn on_half_a_head() {
        each(async |mut peer| {
            peer.send("GET / HT").await;
            peer.sees("new active").await;
            sleep(11).await;
            peer.sees("closed").await;
            ended(&peer, TimedOut).await;
        })
        .await;
        each(async |mut peer| {
            peer.get("/").await;
            peer.sees("new active idle").await;
            peer.send("GET / HT").await;
            peer.sees("active").await;
            sleep(11).await;
            peer.sees("closed").await;
            ended(&peer, TimedOut).await;
        })
        .await;
    }

    /// A client that goes before that has gone.
    #[tokio::test(start_paused = true)]
    async fn that_does_not_run_out() {
        each(async |mut peer| {
            peer.get("/").await;
            peer.response().await;
            peer.send("GET / HT").await;
            peer.sees("new active idle active").await;
            sleep(5).await;
            peer.close().await;
            ended(&peer, PeerClosed).await;
        })
        .await;
    }
}

async fn with_pings(scenario: impl AsyncFn(Peer)) {
    for kind in configurable() {
        let server = start(kind, |builder| {
            builder.http2().keep_alive_interval(Duration::from_secs(10));
        })
        .await;
        scenario(server.connect_alpn("h2").await).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_unanswered_on_an_idle_connection() {
    with_pings(async |mut peer| {
        peer.send(opening()).await;
        peer.sees("new active idle").await;
        sleep(60).await;
        peer.sees("closed").await;
        ended(&peer, TimedOut).await;
    })
    .await;
    with_pings(async |mut peer| {
        peer.send([opening(), settings_ack(), get(1, "/")].concat()).await;
        peer.end_of_stream(1).await;
        peer.sees("new active idle active idle").await;
        sleep(60).await;
        peer.sees("closed").await;
        ended(&peer, TimedOut).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_ping_unanswered_with_open_streams() {
    for path in ["/slow", "/stream", "/big"] {
        with_pings(async |mut peer| {
            peer.send([opening(), get(1, path), get(3, path)].concat()).await;
            peer.sees("new active idle active").await;
            sleep(60).await;
            peer.sees("closed").await;
            ended(&peer, TimedOut).await;
        })
        .await;
    }
    // An answer that was given is not why.
    with_pings(async |mut peer| {
        peer.send([opening(), get(1, "/"), get(3, "/slow")].concat()).await;
        peer.end_of_stream(1).await;
        peer.sees("new active idle active").await;
        sleep(60).await;
        peer.sees("closed").await;
        ended(&peer, TimedOut).await;
    })
    .await;
    // In the middle of a header block.
    with_pings(async |mut peer| {
        let half = frame(0x1, END_STREAM, 1, &block("GET", "/")[..4]);
        peer.send([opening(), half].concat()).await;
        peer.sees("new active idle").await;
        sleep(60).await;
        peer.sees("closed").await;
        ended(&peer, TimedOut).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pings_that_are_answered() {
    with_pings(async |mut peer| {
        peer.send([opening(), get(1, "/slow")].concat()).await;
        peer.sees("new active idle active").await;
        for _ in 0..10 {
            peer.sees("").await;
            sleep(10).await;
            peer.answer_ping().await;
        }
        peer.send(reset(1)).await;
        peer.sees("idle").await;
        peer.close().await;
        ended(&peer, PeerClosed).await;
    })
    .await;
}

// === A client's GOAWAY

fn goaway_for(code: u32) -> Vec<u8> {
    let payload = [0_u32.to_be_bytes(), code.to_be_bytes()].concat();
    frame(0x7, 0, 0, &payload)
}

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test(start_paused = true)]
async fn a_goaway() {
    for code in [NO_ERROR, INTERNAL_ERROR, ENHANCE_YOUR_CALM] {
        everywhere!("h2", async |mut peer: Peer| {
            peer.send([opening(), get(1, "/")].concat()).await;
            peer.end_of_stream(1).await;
            peer.sees("new active idle active idle").await;
            assert_eq!(peer.conn().goaway_code(), None);
            peer.send(goaway_for(code)).await;
            peer.sees("closed").await;
            ended(&peer, PeerClosed).await;
            assert_eq!(peer.conn().goaway_code(), Some(code), "{:?}", peer.kind);
        });
    }
}

/// What the client has asked for is answered first.
#[tokio::test(start_paused = true)]
async fn a_goaway_while_a_request_is_served() {
    everywhere!("h2", async |mut peer: Peer| {
        peer.send([opening(), get(1, "/wait/goaway"), goaway_for(NO_ERROR)].concat()).await;
        peer.sees("new active idle active").await;
        released("goaway").notify_one();
        peer.end_of_stream(1).await;
        peer.sees("idle closed").await;
        ended(&peer, PeerClosed).await;
        assert_eq!(peer.conn().goaway_code(), Some(NO_ERROR));
    });
}

/// Broken off by the client, with an error code.
#[tokio::test(start_paused = true)]
async fn a_goaway_for_an_error_while_a_request_is_served() {
    everywhere!("h2", async |mut peer: Peer| {
        let bytes = [opening(), get(1, "/slow"), goaway_for(INTERNAL_ERROR)].concat();
        peer.send(bytes).await;
        peer.conn_once_there().await;
        ended(&peer, PeerClosed).await;
        assert_eq!(peer.conn().goaway_code(), Some(INTERNAL_ERROR));
    });
}

/// A client that says it and goes; also before it has read the server's word.
#[tokio::test(start_paused = true)]
async fn a_goaway_and_gone() {
    for _ in 0..20 {
        for bytes in [
            [opening(), goaway_for(NO_ERROR)].concat(),
            [opening(), get(1, "/"), goaway_for(NO_ERROR)].concat(),
            [opening(), get(1, "/slow"), goaway_for(NO_ERROR)].concat(),
        ] {
            everywhere!("h2", async |mut peer: Peer| {
                peer.send(&bytes).await;
                peer.half_close().await;
                peer.conn_once_there().await;
                ended(&peer, PeerClosed).await;
                assert_eq!(peer.conn().goaway_code(), Some(NO_ERROR));
            });
        }
        everywhere!("h2", async |mut peer: Peer| {
            peer.send([opening(), get(1, "/")].concat()).await;
            peer.end_of_stream(1).await;
            peer.sees("new active idle active idle").await;
            peer.send(goaway_for(NO_ERROR)).await;
            peer.close().await;
            ended(&peer, PeerClosed).await;
        });
    }
}

/// It has none to say.
#[tokio::test(start_paused = true)]
async fn no_goaway() {
    everywhere!("h2", async |mut peer: Peer| {
        peer.send([opening(), get(1, "/")].concat()).await;
        peer.end_of_stream(1).await;
        peer.sees("new active idle active idle").await;
        peer.close().await;
        ended(&peer, PeerClosed).await;
        assert_eq!(peer.conn().goaway_code(), None);
    });
}

// === Upgrade with Connection: close

#[tokio::test(start_paused = true)]
async fn an_upgrade_refused_by_a_server_that_is_told_to_close() {
    for connection in ["upgrade, close", "close, upgrade", "close"] {
        for path in ["/", "/150k", "/chunked"] {
            everywhere!(async |mut peer: Peer| {
                peer.send(format!(
                    "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: {connection}\r\n\
                     upgrade: echo\r\n\r\n"
                ))
                .await;
                assert!(peer.response().await.head.starts_with("HTTP/1.1 200"));
                peer.sees("new active closed").await;
                ended(&peer, ServerClosed).await;
            });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_refused_with_connection_close() {
    everywhere!(async |mut peer: Peer| {
        peer.send(
            "GET /close HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
        )
        .await;
        peer.response().await;
        peer.sees("new active closed").await;
        ended(&peer, ServerClosed).await;
        assert_eq!(peer.conn().state(), ConnState::Closed);
    });
}
