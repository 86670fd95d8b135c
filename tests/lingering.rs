//! How many connections may linger at once. (A process of its own, because
//! they are counted over all of it.)

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_connstate::{Address, Conn, ConnIo, ConnState, ConnStateLayer};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A client in the middle of an upload, which has been answered.
async fn answered() -> (DuplexStream, Conn) {
    let (mut client, server) = tokio::io::duplex(256);
    let io = ConnIo::new(server, Address::Unknown, Address::Unknown, ());
    let conn = io.conn().clone();
    let service = service_fn(async |_: http::Request<hyper::body::Incoming>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(String::from("no")))
    });
    let service = ConnStateLayer::for_conn(&conn).layer(service);
    let http = hyper::server::conn::http1::Builder::new();
    tokio::spawn(http.serve_connection(TokioIo::new(io), service));
    client
        .write_all(b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\n\r\nbody")
        .await
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("no"), "{answer}");
    (client, conn)
}

async fn others_have_their_turn() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_1024_at_once() {
    // The clock stands still.
    let still = tokio::spawn(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    let mut clients = Vec::new();
    for _ in 0..1024 {
        clients.push(answered().await);
    }
    others_have_their_turn().await;
    assert!(clients.iter().all(|(_, conn)| conn.state() == ConnState::Active));

    // The next one gets its answer, and no time.
    let (_client, conn) = answered().await;
    conn.closed().await;

    // Of those that have done with it another can have the place.
    let (client, conn) = clients.pop().unwrap();
    drop(client);
    conn.closed().await;
    clients.push(answered().await);
    others_have_their_turn().await;
    assert_eq!(clients.last().unwrap().1.state(), ConnState::Active);

    // What is sent is read meanwhile.
    clients[0].0.write_all(&[b'x'; 10_000]).await.unwrap();

    still.abort();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (_, conn) in &clients {
        assert_eq!(conn.state(), ConnState::Closed);
    }
}
