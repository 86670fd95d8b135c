//! hyper's settings that change the flow.

use std::time::Duration;

use crate::support::frames::*;
use crate::support::raw::serve_plain;
use crate::support::server::new_builder;
use crate::support::{Kind, Peer, Server};

async fn kept(peer: &mut Peer) {
    peer.get("/").await;
    peer.sees("active idle").await;
    peer.response().await;
}

#[tokio::test(start_paused = true)]
async fn http1_only() {
    let server = serve_plain(new_builder().http1_only()).await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    kept(&mut peer).await;
    peer.close().await;
    peer.sees("closed").await;

    // hyper does not answer a preface that it does not want.
    let mut peer = server.connect().await;
    peer.sees("new").await;
    peer.send(opening()).await;
    peer.sees("active closed").await;
}

#[tokio::test(start_paused = true)]
async fn http2_only() {
    let server = serve_plain(new_builder().http2_only()).await;
    let mut peer = server.connect().await;
    // The server's SETTINGS come before the client has said anything.
    assert_eq!(peer.frame().await.kind, 0x4);
    peer.sees("new").await;
    peer.send(opening()).await;
    peer.sees("active idle").await;
    peer.send(get(1, "/")).await;
    peer.sees("active idle").await;
    peer.close().await;
    peer.sees("closed").await;

    let mut peer = server.connect().await;
    peer.sees("new").await;
    peer.send([opening(), get(1, "/")].concat()).await;
    peer.sees("active idle active idle").await;

    let mut peer = server.connect().await;
    peer.sees("new").await;
    peer.get("/").await;
    peer.sees("active closed").await;
}

#[tokio::test(start_paused = true)]
async fn no_keep_alive() {
    let server = Server::configured(|mut builder| {
        builder.http1().keep_alive(false);
        builder
    })
    .await;
    for request in [
        "GET / HTTP/1.1\r\nhost: test\r\n\r\n",
        "GET /big-chunked HTTP/1.1\r\nhost: test\r\n\r\n",
        "GET /big-stream HTTP/1.1\r\nhost: test\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello",
        "POST /ignore HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello",
        "POST /ignore HTTP/1.1\r\nhost: test\r\ncontent-length: 50\r\n\r\nhello",
    ] {
        let mut peer = server.connect().await;
        peer.sees("new").await;
        peer.send(request).await;
        peer.response().await;
        peer.sees("active closed").await;
    }
}

#[tokio::test(start_paused = true)]
async fn half_close() {
    let server = Server::configured(|mut builder| {
        builder.http1().half_close(true);
        builder
    })
    .await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    kept(&mut peer).await;
    kept(&mut peer).await;
    // A request and the end of file at once: answered, then closed.
    peer.get("/").await;
    peer.half_close().await;
    peer.response().await;
    peer.sees("active idle closed").await;

    // The end of file while the handler runs.
    let mut peer = server.connect().await;
    peer.sees("new").await;
    peer.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nhalf").await;
    peer.sees("active").await;
    peer.send("half").await;
    peer.half_close().await;
    assert_eq!(peer.response().await.body, b"halfhalf");
    peer.sees("closed").await;

    // Without the setting hyper gives up on a client that does that.
    let server = Server::start(Kind::Tower).await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    peer.get("/slow").await;
    peer.half_close().await;
    peer.sees("active closed").await;
}

#[tokio::test(start_paused = true)]
async fn header_read_timeout() {
    let server = Server::configured(|mut builder| {
        builder.http1().header_read_timeout(Duration::from_secs(60));
        builder
    })
    .await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    kept(&mut peer).await;
    kept(&mut peer).await;
    peer.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody").await;
    peer.sees("active idle").await;
    // It runs while the connection is idle, and while a head comes in.
    tokio::time::sleep(Duration::from_secs(50)).await;
    peer.sees("").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    peer.sees("closed").await;

    let mut peer = server.connect().await;
    peer.sees("new").await;
    peer.send("GET / HT").await;
    peer.sees("active").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    peer.sees("closed").await;
}

/// hyper does not flush between answers to pipelined requests, and nothing is
/// Idle before its answer is out: a run of them is one `active idle`.
#[tokio::test(start_paused = true)]
async fn pipeline_flush() {
    let server = Server::configured(|mut builder| {
        builder.http1().pipeline_flush(true);
        builder
    })
    .await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    peer.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(5)).await;
    peer.sees("active idle").await;
    for _ in 0..5 {
        assert_eq!(peer.response().await.body, b"hello\n");
    }
    kept(&mut peer).await;
    // The answer to the first is held back until the second is answered.
    let requests = ["/", "/slow"].map(|path| format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"));
    peer.send(requests.concat()).await;
    peer.sees("active").await;
    peer.close().await;
    peer.sees("closed").await;
}

#[tokio::test(start_paused = true)]
async fn small_buffers() {
    let server = Server::configured(|mut builder| {
        builder.http1().max_buf_size(8192);
        builder
    })
    .await;
    let mut peer = server.connect().await;
    peer.sees("new").await;
    for path in ["/big", "/big-stream", "/big-chunked", "/big"] {
        peer.get(path).await;
        peer.sees("active").await;
        peer.response().await;
        peer.sees("idle").await;
    }
    // A head that does not fit is answered by hyper itself.
    peer.send(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(10_000))).await;
    peer.sees("active closed").await;
}

#[tokio::test(start_paused = true)]
async fn vectored_writes_or_not() {
    for vectored in [true, false] {
        let server = Server::configured(move |mut builder| {
            builder.http1().writev(vectored);
            builder
        })
        .await;
        let mut peer = server.connect().await;
        peer.sees("new").await;
        for path in ["/", "/big-stream", "/chunked", "/"] {
            peer.get(path).await;
            peer.response().await;
            peer.sees("active idle").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_stream_at_a_time() {
    let server = Server::configured(|mut builder| {
        builder.http2().max_concurrent_streams(1);
        builder
    })
    .await;
    let mut peer = server.connect().await;
    peer.send(opening()).await;
    peer.sees("new active idle").await;
    for stream in [1, 3, 5] {
        peer.send(get(stream, "/")).await;
        peer.sees("active idle").await;
    }
}

mod graceful_shutdown {
    use super::*;
    use crate::support::raw::Graceful;

    #[tokio::test(start_paused = true)]
    async fn of_a_new_connection() {
        let server = Graceful::start().await;
        let peer = server.connect().await;
        peer.sees("new").await;
        server.shut_down();
        peer.sees("closed").await;
    }

    #[tokio::test(start_paused = true)]
    async fn of_an_idle_connection() {
        let server = Graceful::start().await;
        let mut peer = server.connect().await;
        peer.sees("new").await;
        kept(&mut peer).await;
        server.shut_down();
        peer.sees("closed").await;
    }

    /// As in Go, the last request of a connection that was kept so far may end
    /// in Idle and at once in Closed; where it cannot have been kept it ends
    /// in Closed alone.
    #[tokio::test(start_paused = true)]
    async fn of_an_active_connection() {
        let post = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nhalf";
        for kept_before in [false, true] {
            let server = Graceful::start().await;
            let mut peer = server.connect().await;
            peer.sees("new").await;
            if kept_before {
                kept(&mut peer).await;
            }
            peer.send(post).await;
            peer.sees("active").await;
            server.shut_down();
            peer.sees("").await;
            peer.send("half").await;
            assert_eq!(peer.response().await.body, b"halfhalf");
            peer.sees("closed").await;
        }

        let server = Graceful::start().await;
        let mut peer = server.connect().await;
        peer.sees("new").await;
        kept(&mut peer).await;
        peer.get("/big").await;
        peer.sees("active").await;
        server.shut_down();
        peer.sees("").await;
        peer.response().await;
        peer.sees("idle closed").await;
    }

    #[tokio::test(start_paused = true)]
    async fn of_half_a_head() {
        let server = Graceful::start().await;
        let mut peer = server.connect().await;
        peer.sees("new").await;
        kept(&mut peer).await;
        peer.send("GET / HT").await;
        peer.sees("active").await;
        server.shut_down();
        peer.sees("closed").await;
    }

    #[tokio::test(start_paused = true)]
    async fn of_http2() {
        // Idle: closed after the client has seen the GOAWAY and answered the
        // PING that comes with it.
        let server = Graceful::start().await;
        let mut peer = server.connect().await;
        peer.send(opening()).await;
        peer.sees("new active idle").await;
        server.shut_down();
        peer.sees("").await;
        peer.answer_ping().await;
        peer.sees("closed").await;

        // Active: the open stream is served, later ones are not.
        let server = Graceful::start().await;
        let mut peer = server.connect().await;
        peer.send([opening(), post(1, "/echo")].concat()).await;
        peer.sees("new active idle active").await;
        server.shut_down();
        peer.answer_ping().await;
        peer.sees("").await;
        peer.send(get(3, "/")).await;
        peer.sees("").await;
        peer.send(data(1, b"x", END_STREAM)).await;
        peer.sees("idle closed").await;
    }
}
