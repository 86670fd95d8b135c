//! The public face: what a user of the crate reaches for, and finds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hyper_connstate::ConnState::{Active, Closed, Hijacked, Idle, New};
use hyper_connstate::{
    Address, CloseReason, Conn, ConnId, ConnIo, ConnState, Connections, Hook, instrument_listener,
};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Kind, Peer, Recorder, Server, settle};

/// Notes the ends, and the states before them.
#[derive(Default)]
struct Ends {
    ends: Mutex<Vec<(ConnId, CloseReason)>>,
    before: Mutex<Vec<(ConnState, Option<ConnState>)>>,
}

impl Hook for Ends {
    fn on_state(&self, conn: &Conn, state: ConnState) {
        self.before.lock().unwrap().push((state, conn.previous_state()));
    }

    fn on_end(&self, conn: &Conn, reason: CloseReason) {
        assert!(conn.state().is_terminal());
        self.ends.lock().unwrap().push((conn.id(), reason));
        panic!("a hook's panic (wanted)");
    }
}

#[tokio::test(start_paused = true)]
async fn on_end_comes_once_when_the_stream_is_gone() {
    crate::support::quiet_panics();
    for kind in Kind::all() {
        let recorder = Recorder::default();
        let ends = Arc::new(Ends::default());
        let hook = (recorder.clone(), Some(ends.clone()));
        let server = Server::start_with(kind, recorder, hook, |builder| builder).await;
        let mut peer = server.connect().await;
        peer.get("/").await;
        peer.sees("new active idle").await;
        peer.response().await;
        peer.close().await;
        peer.sees("closed").await;
        let mut hijacked = server.connect().await;
        hijacked.send("CONNECT test:443 HTTP/1.1\r\nhost: test:443\r\n\r\n").await;
        hijacked.sees("new active hijacked").await;
        assert_eq!(ends.ends.lock().unwrap().len(), 1, "{kind:?}: its owner has the stream");
        hijacked.head().await;
        hijacked.close().await;
        hijacked.sees("").await;
        let reasons: Vec<_> = ends.ends.lock().unwrap().iter().map(|(_, reason)| *reason).collect();
        assert_eq!(reasons, [CloseReason::PeerClosed; 2], "{kind:?}");
        assert_eq!(
            *ends.before.lock().unwrap(),
            [
                (New, None),
                (Active, Some(New)),
                (Idle, Some(Active)),
                (Closed, Some(Idle)),
                (New, None),
                (Active, Some(New)),
                (Hijacked, Some(Active)),
            ],
            "{kind:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn close_if_idle_spares_what_is_under_way() {
    let server = Server::start(Kind::Tower).await;
    let mut peer = server.connect().await;
    peer.get("/").await;
    peer.sees("new active idle").await;
    let conn = peer.conn();
    peer.send("GET / HT").await;
    peer.sees("active").await;
    assert!(!conn.close_if_idle());
    peer.send("TP/1.1\r\nhost: test\r\n\r\n").await;
    peer.sees("idle").await;
    assert!(conn.close_if_idle());
    peer.sees("closed").await;
}

#[tokio::test(start_paused = true)]
async fn the_registry() {
    let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut one = instrument_listener(listen().await, ());
    let connections = one.connections();
    let mut two = instrument_listener(listen().await, ()).with_connections(connections.clone());
    connections.wait_empty().await;
    let _first = TcpStream::connect(one.local_addr().unwrap()).await.unwrap();
    let _second = TcpStream::connect(two.local_addr().unwrap()).await.unwrap();
    let (first, first_conn) = one.accept().await.unwrap();
    let (second, second_conn) = two.accept().await.unwrap();

    let mut ids: Vec<_> = (&connections).into_iter().map(|conn| conn.id()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [first_conn.id(), second_conn.id()]);
    let id: ConnId = first_conn.id().to_string().parse().unwrap();
    assert_eq!(connections.get(id), Some(first_conn.clone()));
    assert_eq!(ConnId::from(id.get()), id);

    let mut by_address: HashMap<Address, Conn> = HashMap::new();
    by_address.extend((&connections).into_iter().map(|conn| (conn.remote_addr().clone(), conn)));
    assert_eq!(by_address[second_conn.remote_addr()], second_conn);

    let empty = tokio::spawn({
        let connections = connections.clone();
        async move { connections.wait_empty().await }
    });
    drop(first);
    settle().await;
    assert!(!empty.is_finished());
    drop(second);
    empty.await.unwrap();
}

#[test]
fn who_the_client_is_may_be_learnt_late() {
    let (_client, server) = tokio::io::duplex(64);
    let io = ConnIo::new(server, Address::Unknown, Address::Unknown, ());
    let client: std::net::SocketAddr = "192.0.2.1:4711".parse().unwrap();
    assert!(io.conn().set_remote_addr(client));
    assert_eq!(io.conn().remote_addr().to_string(), "192.0.2.1:4711");
    assert!(!io.conn().set_remote_addr(Address::Unknown));
    assert_eq!(io.conn().remote_addr().socket_addr(), Some(client));
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn snapshots_as_json() {
    let (_client, server) = tokio::io::duplex(64);
    let connections = Connections::new();
    let io = ConnIo::new(server, Address::Unknown, Address::Unknown, ());
    assert!(connections.insert(io.conn()));
    tokio::time::advance(std::time::Duration::from_millis(1500)).await;
    let mut json = serde_json::to_value(connections.snapshot()).unwrap();
    let id = json[0]["id"].take();
    assert_eq!(id, io.conn().id().get());
    let expected = serde_json::json!([{
        "id": null, "remote_addr": "unknown", "local_addr": "unknown", "state": "new",
        "state_seconds": 1.5, "age_seconds": 1.5, "protocol": "unknown", "requests": 0,
    }]);
    assert_eq!(json, expected);
    let counts = serde_json::to_value(connections.counts()).unwrap();
    assert_eq!(counts, serde_json::json!({ "new": 1, "active": 0, "idle": 0, "hijacked": 0 }));
}

#[cfg(not(feature = "serde"))]
#[test]
fn a_registry_without_connections() {
    assert!(Connections::new().is_empty());
}

/// A health check every two seconds on a connection that it keeps, one on a
/// connection of its own, and a load balancer that stays connected.
#[tokio::test(start_paused = true)]
async fn what_does_not_count_keeps_nobody_awake() {
    use std::time::Duration;

    use tokio::time::Instant;

    use crate::support::server::{new_builder, serve_hyper};

    const WAIT: Duration = Duration::from_secs(10);

    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let recorder = Recorder::default();
    let listener = instrument_listener(tcp, recorder.clone())
        .discount_requests(|method, uri, _| method == http::Method::GET && uri.path() == "/empty")
        .conn_in_requests(true);
    let (addr, connections) = (listener.local_addr().unwrap(), listener.connections());
    tokio::spawn(serve_hyper(Kind::Hyper, listener, new_builder()));
    let connect = async || {
        let stream = TcpStream::connect(addr).await.unwrap();
        let client = stream.local_addr().unwrap().to_string();
        Peer::new(stream, client, Kind::Hyper, recorder.clone())
    };
    let mut check = connect().await;
    let mut user = connect().await;
    settle().await;

    let start = Instant::now();
    let idle = tokio::spawn({
        let connections = connections.clone();
        async move {
            connections.idle_for(WAIT).await;
            Instant::now()
        }
    });
    let mut last_use = start;
    for second in 0..24 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if second % 2 == 0 {
            check.get("/empty").await;
            check.response().await;
            let mut probe = connect().await;
            probe.get("/empty").await;
            probe.response().await;
            probe.close().await;
        }
        // On a connection that checks come on as well.
        if second == 5 {
            user.get("/empty").await;
            user.response().await;
            user.get("/").await;
            assert_eq!(user.response().await.body, b"hello\n");
            last_use = Instant::now();
        }
    }
    let woke = idle.await.unwrap();
    let after = woke - last_use;
    assert!((WAIT..WAIT + Duration::from_secs(1)).contains(&after), "{after:?}");

    // Nobody connected, but for those who do not count.
    check.conn().discount();
    let empty = tokio::spawn({
        let connections = connections.clone();
        async move { connections.empty_for(WAIT).await }
    });
    tokio::time::sleep(3 * WAIT).await;
    assert!(!empty.is_finished(), "a user is connected");
    user.close().await;
    tokio::time::sleep(WAIT - Duration::from_secs(1)).await;
    assert!(!empty.is_finished());
    tokio::time::sleep(2 * WAIT).await;
    empty.await.unwrap();
}

/// By a switch, in any stack.
#[tokio::test(start_paused = true)]
async fn requests_carry_their_connection() {
    use std::convert::Infallible;

    use http::{Request, Response};
    use hyper::body::Incoming;
    use hyper_connstate::ConnStateLayer;
    use hyper_util::rt::TokioIo;

    async fn id(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
        let conn = request.extensions().get::<Conn>();
        Ok(Response::new(conn.map_or("none".to_owned(), |conn| conn.id().to_string())))
    }

    for switch in [true, false] {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listener = instrument_listener(tcp, ()).conn_in_requests(switch);
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let client = stream.local_addr().unwrap().to_string();
        let (io, conn) = listener.accept().await.unwrap();
        let service = ConnStateLayer::for_conn(&conn).layer(hyper::service::service_fn(id));
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(async move { http.serve_connection(TokioIo::new(io), service).await });
        let mut peer = Peer::new(stream, client, Kind::Hyper, Recorder::default());
        peer.get("/").await;
        let expected = if switch { conn.id().to_string() } else { "none".to_owned() };
        assert_eq!(peer.response().await.body, expected.as_bytes());
    }
}

#[cfg(feature = "axum")]
mod in_axum {
    use axum::Router;
    use axum::routing::get;
    use hyper_connstate::axum::{AxumListener, ConnStateServiceExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn handlers_extract_their_connection() {
        let app = Router::new()
            .route("/id", get(async |conn: Conn| conn.id().to_string()))
            .route("/maybe", get(async |conn: Option<Conn>| conn.is_some().to_string()));
        let recorder = Recorder::default();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = instrument_listener(AxumListener(tcp), recorder.clone());
        let addr = listener.local_addr().unwrap();
        let served = app.clone().into_make_service_with_conn_state();
        tokio::spawn(async move { axum::serve(listener, served).await });
        let stream = TcpStream::connect(addr).await.unwrap();
        let client = stream.local_addr().unwrap().to_string();
        let mut peer = Peer::new(stream, client, Kind::Tower, recorder);
        peer.get("/id").await;
        peer.sees("new active idle").await;
        assert_eq!(peer.response().await.body, peer.conn().id().to_string().as_bytes());
        peer.get("/maybe").await;
        assert_eq!(peer.response().await.body, b"true");

        // Without an instrumented listener it says what to do.
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(tcp, app).await });
        let stream = TcpStream::connect(addr).await.unwrap();
        let client = stream.local_addr().unwrap().to_string();
        let mut peer = Peer::new(stream, client, Kind::Tower, Recorder::default());
        peer.get("/id").await;
        let answer = peer.response().await;
        assert!(answer.head.starts_with("HTTP/1.1 500"), "{}", answer.head);
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains("into_make_service_with_conn_state"), "{text}");
        peer.get("/maybe").await;
        assert_eq!(peer.response().await.body, b"false");
    }
}

#[cfg(feature = "tls")]
#[tokio::test(start_paused = true)]
async fn serve_shows_the_stream_of_each_connection() {
    use hyper_connstate::serve;

    use crate::support::server::handle_incoming;
    use crate::support::tls;

    #[derive(Clone)]
    struct Alpn(Option<Vec<u8>>);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = instrument_listener(listener, ());
    let (addr, connections) = (listener.local_addr().unwrap(), listener.connections());
    tokio::spawn(async move {
        serve(listener, tower::service_fn(handle_incoming))
            .tls(tls::acceptor())
            .inspect_stream(|conn, stream| {
                let alpn = stream.get_ref().1.alpn_protocol();
                conn.insert(Alpn(alpn.map(<[u8]>::to_vec)));
                // As in Go.
                assert!(stream.get_ref().0.nodelay().unwrap());
            })
            .await
    });
    let _client = tls::connect(TcpStream::connect(addr).await.unwrap(), "h2").await;
    settle().await;
    let conn = connections.iter().next().unwrap();
    assert_eq!(conn.get::<Alpn>().unwrap().0.as_deref(), Some(&b"h2"[..]));
}
