//! `examples/grafana-dashboard.json` asks for what is exported.

use std::collections::BTreeSet;
use std::time::Duration;

use hyper_connstate::{Address, Connections, Handshake, TlsVersion};
use serde_json::Value;

use super::export::Exporters;

const DASHBOARD: &str = include_str!("../../../examples/grafana-dashboard.json");

/// A page with every metric and every label.
async fn page() -> String {
    let exporters = Exporters::new();
    let _recorder = metrics::set_default_local_recorder(&exporters.prometheus);
    let connections = Connections::new();
    let metrics = exporters.metrics(&connections, "127.0.0.1:80".parse().unwrap());
    let handshake = |completes: bool| {
        let hook = metrics.clone();
        let handshake =
            Handshake::new(tokio::io::empty(), Address::Unknown, Address::Unknown, hook);
        connections.insert(handshake.conn());
        let conn = handshake.conn().clone();
        handshake.complete(async move |stream| {
            conn.set_tls_version(TlsVersion::Tls13);
            tokio::time::sleep(Duration::from_millis(1)).await;
            completes.then_some(stream).ok_or(())
        })
    };
    drop(handshake(true).await.unwrap());
    assert!(handshake(false).await.is_err());
    metrics.facade.collect();
    exporters.page()
}

/// The words of an expression.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    text.split(move |char| !word(char)).filter(|word| !word.is_empty())
}

fn metrics_of(text: &str) -> BTreeSet<&str> {
    words(text).filter(|word| word.starts_with("hyper_server_")).collect()
}

/// The names of labels: of those that a page or a query selects by, or sums
/// by.
fn labels_of(text: &str) -> BTreeSet<&str> {
    let mut labels = BTreeSet::new();
    for part in text.split(['{', ',']).map(str::trim_start) {
        let name = words(part).next().unwrap_or_default();
        if part[name.len().min(part.len())..].starts_with(['=', '!']) {
            labels.insert(name);
        }
    }
    for by in text.split("by (").skip(1) {
        labels.extend(words(by.split(')').next().unwrap()));
    }
    labels
}

#[tokio::test(start_paused = true)]
async fn the_dashboard_asks_for_what_is_there() {
    let page = page().await;
    let samples: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
    let mut metrics: BTreeSet<_> = samples.iter().flat_map(|line| metrics_of(line)).collect();
    let mut labels: BTreeSet<_> = samples.iter().flat_map(|line| labels_of(line)).collect();
    // Prometheus adds it.
    labels.insert("instance");

    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let (mut asked, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title}");
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(targets.is_empty(), panel["type"] == "row", "{title}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expr = target["expr"].as_str().unwrap();
            let legend = target["legendFormat"].as_str().unwrap();
            let missing: Vec<_> = metrics_of(expr).difference(&metrics).copied().collect();
            assert_eq!(missing, [""; 0], "{title}: {expr}");
            let named = legend.split("{{").skip(1).map(|name| name.split("}}").next().unwrap());
            let used: BTreeSet<_> = labels_of(expr).into_iter().chain(named).collect();
            let missing: Vec<_> = used.difference(&labels).copied().collect();
            assert_eq!(missing, [""; 0], "{title}: {expr}");
            assert!(!metrics_of(expr).is_empty() && used.contains("server_port"), "{title}");
            asked.extend(metrics_of(expr));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            let query = variable["query"]["query"].as_str().unwrap();
            let asks = words(query).filter(|word| *word != "label_values");
            asks.for_each(|word| {
                assert!(metrics.contains(word) || labels.contains(word), "{word}")
            });
        }
    }
    // And nothing is exported that it does not show.
    metrics.retain(|name| !name.ends_with("_sum"));
    let asked_for = |name: &&str| asked.contains(*name);
    let missing: Vec<_> = metrics.iter().filter(|name| !asked_for(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
