//! Upgrades and CONNECT over HTTP/1: the stream passes to someone else.

use hyper_connstate::CloseReason;

use crate::support::raw::{serve_without_shutdown, serve_without_upgrades};
use crate::support::{Peer, everywhere};

const UPGRADE: &str = "host: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

async fn idle(peer: &mut Peer) {
    peer.sees("new").await;
    peer.get("/").await;
    peer.sees("active idle").await;
    peer.response().await;
}

/// The stream was handed over, and is gone.
async fn dropped_unused(peer: &mut Peer) {
    let conn = peer.conn();
    conn.closed().await;
    assert_eq!(conn.close_reason(), Some(CloseReason::ServerClosed), "{:?}", peer.kind);
    assert_eq!(peer.rest().await, b"");
    // Terminal: no Closed follows.
    peer.sees("").await;
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_taken() {
    everywhere!(async |mut peer: Peer| {
        idle(&mut peer).await;
        peer.send(format!("GET /upgrade HTTP/1.1\r\n{UPGRADE}")).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101"));
        peer.sees("active hijacked").await;
        peer.send("hello").await;
        assert_eq!(peer.read(5).await, b"hello");
        peer.sees("").await;
        peer.close().await;
        // Terminal: no Closed follows.
        peer.sees("").await;
    });
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_as_the_first_request_with_data_behind_it() {
    everywhere!(async |mut peer: Peer| {
        peer.send(format!("GET /upgrade HTTP/1.1\r\n{UPGRADE}early")).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101"));
        assert_eq!(peer.read(5).await, b"early");
        peer.sees("new active hijacked").await;
        peer.reset().await;
        peer.sees("").await;
    });
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_nobody_takes() {
    everywhere!(async |mut peer: Peer| {
        idle(&mut peer).await;
        peer.send(format!("GET /upgrade-ignored HTTP/1.1\r\n{UPGRADE}")).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101"));
        peer.sees("active hijacked").await;
        dropped_unused(&mut peer).await;
    });
}

/// hyper ends the connection after a 101 that has no upgrade to it.
#[tokio::test(start_paused = true)]
async fn an_upgrade_that_nobody_asked_for() {
    everywhere!(async |mut peer: Peer| {
        idle(&mut peer).await;
        peer.get("/upgrade").await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101"));
        peer.sees("active closed").await;
        assert_eq!(peer.rest().await, b"");
    });
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_asked_for_and_refused() {
    everywhere!(async |mut peer: Peer| {
        idle(&mut peer).await;
        for path in ["/", "/status/426", "/"] {
            peer.send(format!("GET {path} HTTP/1.1\r\n{UPGRADE}")).await;
            peer.sees("active idle").await;
            peer.response().await;
        }
        peer.close().await;
        peer.sees("closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_connect_taken() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("CONNECT test:443 HTTP/1.1\r\nhost: test:443\r\n\r\n").await;
        assert!(peer.head().await.starts_with("HTTP/1.1 200"));
        peer.sees("active hijacked").await;
        peer.send("through the tunnel").await;
        assert_eq!(peer.read(18).await, b"through the tunnel");
        peer.close().await;
        peer.sees("").await;
    });
}

/// Scanners send CONNECT to servers whose fallback answers 200.
#[tokio::test(start_paused = true)]
async fn a_connect_that_nobody_takes() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("CONNECT nobody:443 HTTP/1.1\r\nhost: nobody:443\r\n\r\n").await;
        assert!(peer.head().await.starts_with("HTTP/1.1 200"));
        peer.sees("active hijacked").await;
        dropped_unused(&mut peer).await;
    });
}

/// Without upgrades hyper gives the stream to nobody. What it has promised the
/// client is the same.
#[tokio::test(start_paused = true)]
async fn an_upgrade_where_hyper_was_not_told_to() {
    let server = serve_without_upgrades().await;
    let mut peer = server.connect().await;
    idle(&mut peer).await;
    peer.send(format!("GET /upgrade HTTP/1.1\r\n{UPGRADE}")).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101"));
    peer.sees("active hijacked").await;
    dropped_unused(&mut peer).await;
}

/// The old way: hyper is asked to leave the stream, and gives it back.
#[tokio::test(start_paused = true)]
async fn into_inner_after_without_shutdown() {
    let server = serve_without_shutdown().await;
    let mut peer = server.connect().await;
    idle(&mut peer).await;
    peer.send(format!("GET /upgrade-ignored HTTP/1.1\r\n{UPGRADE}hello")).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101"));
    assert_eq!(peer.read(5).await, b"hello");
    peer.sees("active hijacked").await;
    peer.close().await;
    peer.sees("").await;
}

#[cfg(feature = "axum")]
mod websocket {
    use axum::Router;
    use axum::extract::ws::{WebSocket, WebSocketUpgrade};
    use axum::routing::get;
    use futures_util::{SinkExt, StreamExt};
    use hyper_connstate::axum::ConnStateServiceExt;
    use hyper_connstate::instrument_listener;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::tungstenite::Message;

    use crate::support::{Recorder, start_watchdog};

    async fn echo(mut socket: WebSocket) {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn through_axum() {
        start_watchdog();
        let recorder = Recorder::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let listener = instrument_listener(listener, recorder.clone());
        let upgrade = async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo);
        let app = Router::new().route("/", get(upgrade));
        tokio::spawn(async move {
            axum::serve(listener, app.into_make_service_with_conn_state()).await
        });

        let tcp = TcpStream::connect(addr).await.unwrap();
        let client = tcp.local_addr().unwrap().to_string();
        let (mut socket, _) = tokio_tungstenite::client_async("ws://test/", tcp).await.unwrap();
        recorder.sees(&client, "new active hijacked", "opened").await;
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        socket.close(None).await.unwrap();
        while socket.next().await.is_some() {}
        recorder.sees(&client, "", "closed").await;
    }
}
