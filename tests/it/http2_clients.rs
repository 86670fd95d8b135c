//! HTTP/2 with real clients: the `h2` crate, and hyper's client.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::handler::BIG;
use crate::support::{Peer, everywhere};

async fn h2_client(peer: &mut Peer) -> SendRequest<Bytes> {
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .handshake(peer.take_stream())
        .await
        .unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("http://test{path}"))
        .version(Version::HTTP_2)
        .body(())
        .unwrap()
}

async fn read_to_end(mut body: h2::RecvStream) -> usize {
    let mut length = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        length += chunk.len();
        body.flow_control().release_capacity(chunk.len()).unwrap();
    }
    body.trailers().await.unwrap();
    length
}

#[tokio::test(start_paused = true)]
async fn answers_of_every_kind() {
    everywhere!("h2", async |mut peer: Peer| {
        peer.sees("new").await;
        let mut client = h2_client(&mut peer).await;
        peer.sees("active idle").await;
        for (path, expected) in
            [("/", 6), ("/empty", 0), ("/chunked", 11), ("/trailers", 4), ("/status/204", 0)]
        {
            let (response, _) = client.send_request(request(Method::GET, path), true).unwrap();
            let body = response.await.unwrap().into_body();
            assert_eq!(read_to_end(body).await, expected, "{path}");
            peer.sees("active idle").await;
        }
        drop(client);
        peer.sees("closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_big_answer_and_flow_control() {
    for path in ["/big", "/big-stream", "/big-chunked"] {
        everywhere!("h2", async |mut peer: Peer| {
            let mut client = h2_client(&mut peer).await;
            peer.sees("new active idle").await;
            let (response, _) = client.send_request(request(Method::GET, path), true).unwrap();
            let body = response.await.unwrap().into_body();
            peer.sees("active").await;
            assert_eq!(read_to_end(body).await, BIG);
            peer.sees("idle").await;
            drop(client);
            peer.sees("closed").await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn two_overlapping_requests() {
    everywhere!("h2", async |mut peer: Peer| {
        let mut client = h2_client(&mut peer).await;
        peer.sees("new active idle").await;
        let (first, mut body) = client.send_request(request(Method::POST, "/echo"), false).unwrap();
        peer.sees("active").await;
        let (second, _) = client.send_request(request(Method::GET, "/"), true).unwrap();
        assert_eq!(read_to_end(second.await.unwrap().into_body()).await, 6);
        peer.sees("").await;
        body.send_data(Bytes::from("hello"), true).unwrap();
        assert_eq!(read_to_end(first.await.unwrap().into_body()).await, 5);
        peer.sees("idle").await;
        drop((client, body));
        peer.sees("closed").await;
    });
}

/// Extended CONNECT (RFC 8441): Active as long as the tunnel is open.
#[tokio::test(start_paused = true)]
async fn an_extended_connect_tunnel() {
    everywhere!("h2", async |mut peer: Peer| {
        let mut client = h2_client(&mut peer).await;
        peer.sees("new active idle").await;
        let mut connect = request(Method::CONNECT, "/socket");
        connect.extensions_mut().insert(h2::ext::Protocol::from("websocket"));
        let (response, mut to_server) = client.send_request(connect, false).unwrap();
        let mut from_server = response.await.unwrap().into_body();
        peer.sees("active").await;
        to_server.send_data(Bytes::from("hello"), false).unwrap();
        assert_eq!(from_server.data().await.unwrap().unwrap(), "hello");
        peer.sees("").await;

        // Another request comes and goes.
        let (other, _) = client.send_request(request(Method::GET, "/"), true).unwrap();
        assert_eq!(read_to_end(other.await.unwrap().into_body()).await, 6);
        peer.sees("").await;

        to_server.send_data(Bytes::new(), true).unwrap();
        // The server ends its side too, with an empty frame.
        assert!(from_server.data().await.is_none_or(|data| data.unwrap().is_empty()));
        peer.sees("idle").await;
        drop((client, to_server, from_server));
        peer.sees("closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn hypers_own_client() {
    everywhere!("h2", async |mut peer: Peer| {
        let io = TokioIo::new(peer.take_stream());
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        peer.sees("new active idle").await;
        for _ in 0..3 {
            let request = Request::get("http://test/").body(Empty::<Bytes>::new()).unwrap();
            let response = client.send_request(request).await.unwrap();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello\n");
            peer.sees("active idle").await;
        }
        drop(client);
        peer.sees("closed").await;
    });
}
