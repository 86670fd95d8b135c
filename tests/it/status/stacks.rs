//! The page in every stack.

use hyper_connstate::{StatusPage, instrument_listener};

use super::site::{Reply, exchange};
use crate::support::server::listen;
use crate::support::start_watchdog;

async fn ask(addr: std::net::SocketAddr, target: &str) -> Reply {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    exchange(&mut stream, &request).await
}

async fn assert_serves(addr: std::net::SocketAddr, at: &str) {
    for (query, begins) in [
        ("format=html", "<!doctype html>"),
        ("asset=page.css", ":root"),
        ("format=json&show=rows", "{\"matched\":1,"),
        ("", "Active connections: 1 \n"),
    ] {
        let reply = ask(addr, &format!("{at}?{query}")).await;
        assert_eq!(reply.status, 200, "{at}?{query}: {}", reply.body);
        assert!(reply.body.starts_with(begins), "{at}?{query}: {}", reply.body);
    }
}

#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn axum() {
    use axum::Router;
    use hyper_connstate::axum::ConnStateServiceExt;

    start_watchdog();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let listener = instrument_listener(listener, ());
    let page = StatusPage::new(&listener.connections());
    let app = Router::new()
        .nest_service("/debug/connections", page.clone())
        .route_service("/routed", page.clone())
        .fallback_service(page);
    let server = axum::serve(listener, app.into_make_service_with_conn_state());
    tokio::spawn(async move { server.await.unwrap() });
    for at in ["/debug/connections", "/debug/connections/", "/routed", "/"] {
        assert_serves(addr, at).await;
    }
}

/// A listener that is not instrumented, for the page alone.
#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn axum_on_a_port_of_its_own() {
    use axum::Router;

    start_watchdog();
    let watched = instrument_listener(listen(), ());
    let page = StatusPage::new(&watched.connections());
    let _client = tokio::net::TcpStream::connect(watched.local_addr().unwrap()).await.unwrap();
    let mut watched = watched;
    let _io = watched.accept().await.unwrap();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let app = Router::new().fallback_service(page.clone());
    let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    assert_serves(addr, "/").await;

    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let app = Router::new().fallback_service(page);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    assert_eq!(ask(addr, "/").await.status, 500, "nobody knows who asks");
}

#[cfg(all(feature = "axum", feature = "serve"))]
#[tokio::test(start_paused = true)]
async fn serve_with_a_router() {
    use hyper_connstate::axum::ConnStateServiceExt;

    start_watchdog();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let listener = instrument_listener(listener, ());
    let page = StatusPage::new(&listener.connections());
    let app = axum::Router::new().nest_service("/debug/connections", page);
    let server = hyper_connstate::serve(listener, app.into_make_service_with_conn_state());
    tokio::spawn(async move { server.await.map(drop).unwrap() });
    assert_serves(addr, "/debug/connections").await;
}

#[cfg(feature = "serve")]
#[tokio::test(start_paused = true)]
async fn serve_with_the_page_alone() {
    start_watchdog();
    for told in [true, false] {
        let listener = listen();
        let addr = listener.local_addr().unwrap();
        let listener = instrument_listener(listener, ()).conn_in_requests(told);
        let page = StatusPage::new(&listener.connections());
        let server = hyper_connstate::serve(listener, page);
        tokio::spawn(async move { server.await.map(drop).unwrap() });
        if told {
            assert_serves(addr, "/").await;
        } else {
            assert_eq!(ask(addr, "/").await.status, 500);
        }
    }
}

/// In a hyper service, and as a tower service.
#[tokio::test(start_paused = true)]
async fn hyper() {
    use hyper_connstate::ConnStateLayer;
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;

    start_watchdog();
    for tower in [false, true] {
        let listener = listen();
        let addr = listener.local_addr().unwrap();
        let mut listener = instrument_listener(listener, ());
        let page = StatusPage::new(&listener.connections());
        tokio::spawn(async move {
            loop {
                let (io, conn) = listener.accept().await.unwrap();
                let (layer, page) = (ConnStateLayer::for_conn(&conn), page.for_conn(&conn));
                tokio::spawn(async move {
                    let builder = crate::support::server::new_builder();
                    let io = TokioIo::new(io);
                    if tower {
                        let service = TowerToHyperService::new(layer.layer(page));
                        let _ = builder.serve_connection(io, service).await;
                    } else {
                        let service = hyper::service::service_fn(move |request| page.call(request));
                        let service = layer.layer(service);
                        let _ = builder.serve_connection(io, service).await;
                    }
                });
            }
        });
        assert_serves(addr, "/").await;
    }
}
