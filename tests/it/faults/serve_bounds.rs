//! What `serve` bounds that hyper does not, and what it counts.
#![cfg(feature = "serve")]

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_connstate::{CloseReason, Conn, InstrumentedListener, instrument_listener, serve};
use tokio::net::TcpListener;

use crate::support::frames::*;
use crate::support::server::{handle_incoming, listen};
use crate::support::{Kind, Peer, Recorder, Server, start_watchdog};

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn start<F>(kind: Kind, run: impl FnOnce(InstrumentedListener<TcpListener>) -> F) -> Server
where
    F: Future<Output: Send> + Send + 'static,
{
    start_watchdog();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let recorder = Recorder::default();
    let listener = instrument_listener(listener, recorder.clone());
    let connections = listener.connections();
    tokio::spawn(run(listener));
    Server { kind, addr, recorder, connections }
}

/// Not before 29 seconds, and by 31.
async fn times_out(peer: &Peer) {
    sleep(28).await;
    peer.sees("").await;
    sleep(3).await;
    peer.sees("closed").await;
    assert_eq!(peer.conn().close_reason(), Some(CloseReason::TimedOut), "{:?}", peer.kind);
}

// === A make-service that hangs

type Answers = tower::util::BoxCloneService<
    http::Request<hyper::body::Incoming>,
    http::Response<axum::body::Body>,
    Infallible,
>;

/// Is never ready, or never done.
#[derive(Clone, Copy)]
struct Hangs {
    ready: bool,
}

impl tower::Service<Conn> for Hangs {
    type Response = Answers;
    type Error = Infallible;
    type Future = std::future::Pending<Result<Answers, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, _: Conn) -> Self::Future {
        std::future::pending()
    }
}

fn hanging_servers() -> Vec<Server> {
    let mut servers = Vec::new();
    for ready in [false, true] {
        servers.push(start(Kind::Serve, |listener| serve(listener, Hangs { ready }).into_future()));
        #[cfg(feature = "tls")]
        servers.push(start(Kind::ServeTls, |listener| {
            serve(listener, Hangs { ready }).tls(crate::support::tls::acceptor()).into_future()
        }));
    }
    servers
}

#[tokio::test(start_paused = true)]
async fn a_make_service_that_hangs() {
    for server in hanging_servers() {
        let peer = server.connect().await;
        peer.sees("new").await;
        times_out(&peer).await;

        let mut peer = server.connect().await;
        peer.get("/").await;
        peer.sees("new").await;
        times_out(&peer).await;
        assert_eq!(peer.rest().await, b"");
    }
}

/// Nobody reads meanwhile, so nobody sees that the client is gone.
#[tokio::test(start_paused = true)]
async fn a_make_service_that_hangs_and_a_client_that_has_gone() {
    for server in hanging_servers() {
        let mut peer = server.connect().await;
        peer.sees("new").await;
        peer.close().await;
        times_out(&peer).await;
        assert!(server.connections.is_empty());
    }
}

/// A slow one is not cut off.
#[tokio::test(start_paused = true)]
async fn a_make_service_that_takes_its_time() {
    let server = start(Kind::Serve, |listener| {
        let make = tower::service_fn(async |_: Conn| {
            sleep(29).await;
            Ok::<_, Infallible>(tower::service_fn(handle_incoming))
        });
        serve(listener, make).into_future()
    });
    let mut peer = server.connect().await;
    peer.get("/").await;
    peer.sees("new").await;
    sleep(30).await;
    peer.sees("active idle").await;
    assert_eq!(peer.response().await.body, b"hello\n");
}

// === A client that does not say which protocol it speaks

fn kinds() -> impl Iterator<Item = Kind> {
    Kind::all().into_iter().filter(|kind| format!("{kind:?}").starts_with("Serve"))
}

async fn has_said(bytes: &[u8], states: &str) {
    for kind in kinds() {
        let server = Server::start(kind).await;
        let mut peer = server.connect_alpn("h2").await;
        peer.send(bytes).await;
        peer.sees(states).await;
        times_out(&peer).await;
        peer.rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client() {
    has_said(b"", "new").await;
}

#[tokio::test(start_paused = true)]
async fn one_byte() {
    has_said(b"P", "new active").await;
}

#[tokio::test(start_paused = true)]
async fn half_a_preface() {
    has_said(&PREFACE[..PREFACE.len() / 2], "new active").await;
    has_said(&PREFACE[..PREFACE.len() - 1], "new active").await;
}

/// A byte now and then does not make the time longer.
#[tokio::test(start_paused = true)]
async fn a_preface_that_trickles_in() {
    for kind in kinds() {
        let server = Server::start(kind).await;
        let mut peer = server.connect_alpn("h2").await;
        peer.sees("new").await;
        for (index, byte) in PREFACE[..14].iter().enumerate() {
            peer.send([*byte]).await;
            peer.sees(if index == 0 { "active" } else { "" }).await;
            sleep(2).await;
        }
        sleep(4).await;
        peer.sees("closed").await;
        assert_eq!(peer.conn().close_reason(), Some(CloseReason::TimedOut));
    }
}

/// The bound ends where the protocol is known.
#[tokio::test(start_paused = true)]
async fn a_client_that_has_said_it() {
    for kind in kinds() {
        let server = Server::start(kind).await;
        let mut http2 = server.connect_alpn("h2").await;
        http2.send(opening()).await;
        http2.sees("new active idle").await;
        let mut http1 = server.connect().await;
        http1.get("/").await;
        http1.sees("new active idle").await;
        let mut slow = server.connect().await;
        slow.get("/slow").await;
        slow.sees("new active").await;
        sleep(100).await;
        http2.sees("").await;
        http1.sees("").await;
        slow.sees("").await;
    }
}

// === Layers in layers

#[cfg(feature = "axum")]
mod layers {
    use super::*;

    use axum::Router;
    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use http::Request;
    use hyper::body::Incoming;
    use hyper_connstate::ConnStateLayer;
    use hyper_connstate::axum::ConnStateServiceExt;
    use tower::{Layer, ServiceExt};

    /// Answers with how many requests have been counted.
    fn app() -> Router {
        Router::new().route("/", get(count))
    }

    async fn count(ConnectInfo(conn): ConnectInfo<Conn>) -> String {
        conn.requests().to_string()
    }

    async fn counts_each_once(server: Server) {
        for alpn in ["http/1.1", "h2"] {
            let mut peer = server.connect_alpn(alpn).await;
            if alpn == "h2" {
                peer.send([opening(), settings_ack()].concat()).await;
            }
            for number in 1..=3 {
                if alpn == "h2" {
                    peer.send(super::get(2 * number - 1, "/")).await;
                    peer.end_of_stream(2 * number - 1).await;
                } else {
                    peer.get("/").await;
                    assert_eq!(peer.response().await.body, number.to_string().as_bytes());
                }
                assert_eq!(peer.conn().requests(), u64::from(number), "{alpn}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_in_a_router() {
        counts_each_once(start(Kind::Serve, |listener| {
            let app = app().layer(ConnStateLayer::new());
            serve(listener, app.into_make_service_with_connect_info::<Conn>()).into_future()
        }))
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn two_in_a_router() {
        counts_each_once(start(Kind::Serve, |listener| {
            let app = app().layer(ConnStateLayer::new()).layer(ConnStateLayer::new());
            serve(listener, app.into_make_service_with_connect_info::<Conn>()).into_future()
        }))
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_in_a_router_that_is_tracked() {
        counts_each_once(start(Kind::Serve, |listener| {
            let app = app().layer(ConnStateLayer::new());
            serve(listener, app.into_make_service_with_conn_state()).into_future()
        }))
        .await;
        counts_each_once(start(Kind::Axum, |listener| {
            let app = app().layer(ConnStateLayer::new());
            axum::serve(listener, app.into_make_service_with_conn_state()).into_future()
        }))
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_a_make_service_adds() {
        counts_each_once(start(Kind::Serve, |listener| {
            let make = tower::service_fn(async |conn: Conn| {
                let info = axum::Extension(ConnectInfo(conn.clone()));
                let service = ConnStateLayer::for_conn(&conn).layer(info.layer(app()));
                Ok::<_, Infallible>(service.map_request(|request: Request<Incoming>| request))
            });
            serve(listener, make).into_future()
        }))
        .await;
    }

    /// Those of a loop of one's own: found inside of made, and the other way.
    #[tokio::test(start_paused = true)]
    async fn found_and_made() {
        use crate::support::raw::serve_with;
        use crate::support::server::new_builder;
        use hyper_util::rt::TokioIo;
        use hyper_util::service::TowerToHyperService;

        for found_inside in [true, false] {
            let server = serve_with(move |io, conn| async move {
                let info = axum::Extension(ConnectInfo(conn.clone()));
                let made = ConnStateLayer::for_conn(&conn);
                let app = app()
                    .layer(axum::middleware::map_request(async |request: Request<Body>| request));
                let io = TokioIo::new(io);
                if found_inside {
                    let service = made.layer(info.layer(ConnStateLayer::new().layer(app)));
                    let service = TowerToHyperService::new(service);
                    let _ = new_builder().serve_connection(io, service).await;
                } else {
                    let service = info.layer(ConnStateLayer::new().layer(made.layer(app)));
                    let service = TowerToHyperService::new(service);
                    let _ = new_builder().serve_connection(io, service).await;
                }
            })
            .await;
            counts_each_once(server).await;
        }
    }
}
