//! What a client gets is what it would get without the crate: `Content-Length`
//! and chunks as before, in front of every kind of body.

use crate::support::raw::serve_without_layer;
use crate::support::{Kind, Peer, Server, everywhere};

const PATHS: [&str; 8] =
    ["/", "/empty", "/big", "/big-stream", "/chunked", "/trailers", "/status/204", "/status/304"];

/// The whole answer, with the date taken out.
async fn answer(peer: &mut Peer, method: &str, path: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nte: trailers\r\nconnection: close\r\n\r\n"
    );
    peer.send(request).await;
    let answer = String::from_utf8(peer.rest().await).unwrap();
    let lines = answer.split_inclusive("\r\n").filter(|line| !line.starts_with("date: "));
    lines.collect()
}

#[tokio::test(start_paused = true)]
async fn bytes_are_as_without_the_layer() {
    let bare = serve_without_layer().await;
    for kind in Kind::all() {
        let server = Server::start(kind).await;
        for path in PATHS {
            for method in ["GET", "HEAD"] {
                let expected = answer(&mut bare.connect().await, method, path).await;
                let with_layer = answer(&mut server.connect().await, method, path).await;
                assert!(expected.starts_with("HTTP/1.1 "));
                assert!(expected == with_layer, "{kind:?} {method} {path}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_length_is_sent_as_content_length() {
    everywhere!(async |mut peer: Peer| {
        peer.get("/").await;
        assert!(peer.head().await.contains("\r\ncontent-length: 6\r\n"));
    });
}

/// An empty body ends with the head; no empty DATA frame follows.
#[tokio::test(start_paused = true)]
async fn an_empty_body_ends_with_the_head() {
    use crate::support::frames::{END_STREAM, get, opening};
    use crate::support::peer::Frame;

    everywhere!("h2", async |mut peer: Peer| {
        peer.send([opening(), get(1, "/empty")].concat()).await;
        loop {
            let Frame { kind, flags, stream, .. } = peer.frame().await;
            if stream == 1 {
                assert_eq!((kind, flags & END_STREAM), (0x1, END_STREAM), "{:?}", peer.kind);
                break;
            }
        }
    });
}
