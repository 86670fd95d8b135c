//! An axum app, and beside it `/metrics` for Prometheus, on a port of its own.
//!
//! ```console
//! $ cargo run --example metrics --features axum,metrics
//! listening on http://127.0.0.1:8080
//! metrics at http://127.0.0.1:9090/metrics
//! ^C
//! 0 drained, 0 closed by force, 0 broken off, 0 hijacked left
//! ```
//!
//! when in another terminal:
//!
//! ```console
//! $ curl localhost:8080
//! Hello, World!
//! $ curl --silent localhost:9090/metrics | grep accepted_total{
//! hyper_server_connection_accepted_total{server_address="127.0.0.1",server_port="8080",network_transport="tcp"} 1
//! ```
//!
//! Other addresses go as the arguments: the app's and the metrics'.
//! `examples/grafana-dashboard.json` is a dashboard for what it exports.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper_connstate::axum::ConnStateServiceExt;
use hyper_connstate::metrics::{self, ConnMetrics};
use hyper_connstate::{Connections, instrument_listener};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let listener = TcpListener::bind(args.next().unwrap_or("127.0.0.1:8080".to_owned())).await?;
    let exporter = TcpListener::bind(args.next().unwrap_or("127.0.0.1:9090".to_owned())).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    eprintln!("metrics at http://{}/metrics", exporter.local_addr()?);

    // Before the metrics are made, which go to the recorder that is there.
    let prometheus = install_recorder()?;
    let connections = Connections::new();
    let metrics = ConnMetrics::new(&connections, listener.local_addr()?);
    // A hook of your own goes beside it: `(metrics.clone(), hook)`.
    let listener =
        instrument_listener(listener, metrics.clone()).with_connections(connections.clone());

    // On a port that the world does not see; and its own connections are not
    // counted with the app's.
    let page = get(async move || {
        metrics.collect();
        prometheus.render()
    });
    let page = Router::new().route("/metrics", page);
    tokio::spawn(async move { axum::serve(exporter, page).await });

    let app = Router::new().route("/", get(async || "Hello, World!\n"));
    let server = axum::serve(listener, app.into_make_service_with_conn_state());
    let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
    let drained = connections.drain(Duration::from_secs(20)).run(server, ctrl_c).await?;
    println!("{drained}");
    Ok(())
}

/// The exporter has to be told where the buckets of histograms end.
fn install_recorder() -> Result<PrometheusHandle, Box<dyn Error>> {
    let of = |name: &str| Matcher::Full(name.to_owned());
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(
            of(metrics::CONNECTION_DURATION),
            &metrics::CONNECTION_DURATION_BUCKETS,
        )?
        .set_buckets_for_metric(
            of(metrics::HANDSHAKE_DURATION),
            &metrics::HANDSHAKE_DURATION_BUCKETS,
        )?
        .install_recorder()?;
    // Histograms keep what was recorded until someone looks.
    let upkeep = prometheus.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(prometheus)
}
