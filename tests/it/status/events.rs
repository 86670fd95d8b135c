//! The stream of events: once a second, the same for all, while anyone looks.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::site::{PATH, Site, address, becomes_idle, exchange, read_head};
use crate::support::settle;

fn ask() -> String {
    format!("GET {PATH}?format=events HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// One that is let in.
struct Viewer<T> {
    stream: T,
    buffer: String,
}

async fn look(site: &Site) -> Viewer<TcpStream> {
    Viewer::over(site.connect().await).await
}

impl<T: AsyncRead + tokio::io::AsyncWrite + Unpin> Viewer<T> {
    async fn over(mut stream: T) -> Self {
        stream.write_all(ask().as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        assert!(head.contains("cache-control: no-store"), "{head}");
        Self { stream, buffer: String::new() }
    }

    /// The next event, without its chunk's frame; `None` at the end.
    async fn event(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let event = self.buffer[..end].to_owned();
                self.buffer.drain(..end + 2);
                let start = event.find("retry: ").unwrap();
                return Some(event[start..].to_owned());
            }
            if self.buffer.ends_with("\r\n0\r\n\r\n") {
                return None;
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.buffer += std::str::from_utf8(&bytes[..read]).unwrap(),
            }
        }
    }

    async fn data(&mut self) -> Value {
        let event = self.event().await.unwrap();
        let data = event.split_once("\ndata: ").unwrap().1;
        serde_json::from_str(data).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn one_at_once_and_then_one_a_second() {
    let site = Site::start();
    let start = Instant::now();
    let mut viewer = look(&site).await;
    assert_eq!(viewer.data().await["open"], 1);
    assert!(start.elapsed() < Duration::from_millis(500));
    let (_client, _) = site.connect_from(address("10.0.0.1:1"));
    for second in 1..=3 {
        let data = viewer.data().await;
        assert_eq!(data["open"], 2);
        let elapsed = start.elapsed();
        assert!(elapsed >= Duration::from_millis(second * 1000 - 500), "{elapsed:?}");
        assert!(elapsed < Duration::from_millis(second * 1000 + 500), "{elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn computed_once_for_all() {
    let site = Site::start();
    let mut first = look(&site).await;
    first.event().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut second = look(&site).await;
    // The one that there is, at once.
    let start = Instant::now();
    let seen = second.event().await.unwrap();
    assert!(seen.contains("\nid: 1\n"), "{seen}");
    assert!(start.elapsed() < Duration::from_millis(200));
    for number in 2..5 {
        let (one, other) = (first.event().await.unwrap(), second.event().await.unwrap());
        assert!(one.contains(&format!("\nid: {number}\n")), "{one}");
        // To the byte: each has the same uptime.
        assert_eq!(one, other);
    }
}

#[tokio::test(start_paused = true)]
async fn eight_may_look() {
    let site = Site::start();
    let mut viewers = Vec::new();
    for _ in 0..8 {
        viewers.push(look(&site).await);
    }
    for _ in 0..3 {
        let reply = exchange(&mut site.connect().await, &ask()).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
        assert!(reply.body.contains("8 viewers"), "{}", reply.body);
    }
    // They may still ask.
    assert_eq!(site.get("format=json").await.status, 200);
    drop(viewers.pop());
    settle().await;
    viewers.push(look(&site).await);
    for viewer in &mut viewers {
        viewer.event().await.unwrap();
    }
}

/// One that reads nothing must not keep its place for ever.
#[tokio::test(start_paused = true)]
async fn who_reads_nothing_makes_place() {
    let site = Site::start();
    let mut stuck = Vec::new();
    for port in 1..=8 {
        let (client, conn) = site.connect_from(address(&format!("127.0.0.1:{port}")));
        stuck.push((Viewer::over(client).await, conn));
    }
    // hyper takes some hundred kilobytes for each, and the stream 64.
    tokio::time::sleep(Duration::from_secs(1200)).await;
    let mut viewer = look(&site).await;
    for _ in 0..3 {
        viewer.event().await.unwrap();
    }
    // One that comes to life again reads what was on its way, and the end.
    let (mut late, _conn) = stuck.pop().unwrap();
    let mut read = 0;
    while late.event().await.is_some() {
        read += 1;
    }
    assert!(read < 1200, "{read}");
}

#[tokio::test(start_paused = true)]
async fn no_task_runs_when_nobody_looks() {
    let site = Site::start();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    settle().await;
    let before = tasks();
    for _ in 0..3 {
        let (mut one, mut other) = (look(&site).await, look(&site).await);
        assert_eq!(tasks(), before + 3, "two connections and the sampler");
        one.event().await;
        other.event().await;
        drop((one, other));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(tasks(), before);
    }
}

/// A viewer's connection is Active for as long as it looks.
#[tokio::test(start_paused = true)]
async fn a_drain_is_not_held_up() {
    let site = Site::start();
    let mut viewer = look(&site).await;
    assert_eq!(viewer.data().await["draining"], false);
    let connections = site.connections.clone();
    let drained = tokio::spawn(async move { connections.drain(Duration::from_secs(60)).await });
    let start = Instant::now();
    assert_eq!(viewer.data().await["draining"], true);
    assert_eq!(viewer.event().await, None);
    let drained = drained.await.unwrap();
    assert_eq!(drained.forced, 0, "{drained}");
    assert!(start.elapsed() < Duration::from_secs(5));

    // One alone, too.
    let site = Site::start();
    let (client, conn) = site.connect_from(address("127.0.0.1:1"));
    let mut viewer = Viewer::over(client).await;
    viewer.event().await.unwrap();
    conn.drain();
    viewer.event().await.unwrap();
    assert_eq!(viewer.event().await, None);
    conn.closed().await;
}

/// A server that scales to zero does so while somebody watches it.
#[tokio::test(start_paused = true)]
async fn to_watch_is_not_to_use() {
    let site = Site::start();
    let mut viewer = look(&site).await;
    viewer.event().await;
    let start = Instant::now();
    let idle = site.connections.idle_for(Duration::from_secs(30));
    tokio::select! {
        () = idle => {}
        () = async {
            loop {
                viewer.event().await.unwrap();
                site.get("format=json").await;
            }
        } => {}
    }
    assert!(start.elapsed() < Duration::from_secs(35));
}

/// The first event has a past already: what the connections say of themselves.
#[tokio::test(start_paused = true)]
async fn the_last_minute() {
    let site = Site::start();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let mut stay = Vec::new();
    for second in 0..10 {
        for _ in 0..second {
            stay.push(site.connect().await);
        }
        let mut goes = site.connect().await;
        becomes_idle(&mut goes).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut viewer = look(&site).await;
    let history = &viewer.data().await["history"];
    let sums = |history: &Value, of: &str| -> u64 {
        history[of].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum()
    };
    let (accepted, closed) = (sums(history, "accepted"), sums(history, "closed"));
    assert_eq!(history["open"].as_array().unwrap().len(), 60);
    assert_eq!((accepted, closed), (45 + 10 + 1, 10));
    let open: Vec<_> =
        history["open"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect();
    assert_eq!(open[59], 46);
    assert_eq!(open[40], 0);
    assert!(open[40..].is_sorted());
    // And then what is seen.
    drop(stay);
    for _ in 0..3 {
        viewer.event().await;
    }
    let data = viewer.data().await;
    let history = &data["history"];
    assert_eq!(history["open"].as_array().unwrap().len(), 60);
    assert_eq!(history["open"][59], 1);
    assert_eq!(sums(history, "closed"), 55);
    // Others who ask see the same past.
    assert_eq!(site.json("show=summary").await["summary"]["history"], *history);
}
