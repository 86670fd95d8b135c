//! Services that are not ready.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_connstate::{Address, ConnStateLayer, Policies, instrument_listener};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::bench::{GET, SECOND, Talk, run};
use crate::oracles::wire::{Client, Wires, wire};
use crate::support::server::new_builder;

/// Takes its time before each request.
struct Busy(Pin<Box<Sleep>>);

impl Busy {
    fn new() -> Self {
        Self(Box::pin(tokio::time::sleep(30 * SECOND)))
    }
}

impl Clone for Busy {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl tower::Service<Request<Incoming>> for Busy {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.as_mut().poll(cx).map(Ok)
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        std::future::ready(Ok(Response::new("hello".to_owned())))
    }
}

/// Its head has come, though the layer is not called for long.
#[test]
fn a_client_whose_request_has_to_wait() {
    run(async {
        let (sender, receiver) = mpsc::unbounded_channel();
        let policies = Policies::internet();
        let mut listener = instrument_listener(Wires(receiver), ()).policies(policies);
        let (near, far) = wire();
        sender.send((near, Address::Unknown)).ok().unwrap();
        let (io, conn) = listener.accept().await.unwrap();
        let service = ConnStateLayer::for_conn(&conn).layer(Busy::new());
        let service = TowerToHyperService::new(service);
        tokio::spawn(async move {
            let _ = new_builder().serve_connection(TokioIo::new(io), service).await;
        });
        let mut client = Client::plain(far);
        for _ in 0..3 {
            client.send(GET);
            client.lives_for(29 * SECOND).await;
            assert_eq!(client.heard(), "");
            tokio::time::sleep(2 * SECOND).await;
            assert!(client.say(b"").await.ends_with("hello"));
        }
    });
}
