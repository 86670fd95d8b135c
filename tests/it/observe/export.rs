//! Both exporters beside each other, and what they say in one form:
//! Prometheus' names and labels, and a number.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hyper_connstate::{Connections, Hook, metrics, opentelemetry};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Histogram, Metric, MetricData, Sum};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

/// What was exported: by `name{label="value",…}`, with the labels in the order
/// of their names.
pub type Series = BTreeMap<String, f64>;

/// The exporters of a test.
pub struct Exporters {
    pub prometheus: PrometheusRecorder,
    handle: PrometheusHandle,
    provider: SdkMeterProvider,
    memory: InMemoryMetricExporter,
}

/// The metrics of one server by both exporters.
#[derive(Clone)]
pub struct Both {
    pub facade: metrics::ConnMetrics,
    pub otel: opentelemetry::ConnMetrics,
}

impl Exporters {
    pub fn new() -> Self {
        let prometheus = builder().build_recorder();
        let handle = prometheus.handle();
        let memory = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(memory.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        Self { prometheus, handle, provider, memory }
    }

    /// The metrics of this server; its recorder has to be the thread's.
    pub fn metrics(&self, connections: &Connections, addr: SocketAddr) -> Both {
        use ::opentelemetry::metrics::MeterProvider;

        let meter = self.provider.meter("test");
        Both {
            facade: metrics::ConnMetrics::new(connections, addr),
            otel: opentelemetry::ConnMetrics::new(&meter, connections, addr),
        }
    }

    /// Prometheus' page.
    pub fn page(&self) -> String {
        self.handle.render()
    }

    /// What Prometheus reads.
    pub fn prometheus(&self) -> Series {
        series_of(&self.page())
    }

    /// What the SDK's reader reads.
    pub fn otel(&self) -> Series {
        self.memory.reset();
        self.provider.force_flush().unwrap();
        let mut series = Series::new();
        for resource in self.memory.get_finished_metrics().unwrap() {
            for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
                let name = prometheus_name(metric);
                assert!(!metric.description().is_empty(), "{name}");
                match metric.data() {
                    AggregatedMetrics::F64(MetricData::Histogram(data)) => {
                        histogram(&name, data, &mut series);
                    }
                    AggregatedMetrics::U64(MetricData::Sum(data)) => {
                        assert!(data.is_monotonic(), "{name}");
                        sum(&(name + "_total"), data, |value| value as f64, &mut series);
                    }
                    AggregatedMetrics::I64(MetricData::Sum(data)) => {
                        assert!(!data.is_monotonic(), "{name}");
                        sum(&name, data, |value| value as f64, &mut series);
                    }
                    other => panic!("{name}: {other:?}"),
                }
            }
        }
        series
    }
}

pub fn builder() -> PrometheusBuilder {
    let of = |name: &str| Matcher::Full(name.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(
            of(metrics::CONNECTION_DURATION),
            &metrics::CONNECTION_DURATION_BUCKETS,
        )
        .unwrap()
        .set_buckets_for_metric(
            of(metrics::HANDSHAKE_DURATION),
            &metrics::HANDSHAKE_DURATION_BUCKETS,
        )
        .unwrap()
}

impl Hook for Both {
    fn on_state(&self, _: &hyper_connstate::Conn, _: hyper_connstate::ConnState) {}

    fn on_end(&self, conn: &hyper_connstate::Conn, reason: hyper_connstate::CloseReason) {
        self.facade.on_end(conn, reason);
        self.otel.on_end(conn, reason);
    }

    fn on_handshake(
        &self,
        conn: &hyper_connstate::Conn,
        outcome: hyper_connstate::HandshakeOutcome,
    ) {
        self.facade.on_handshake(conn, outcome);
        self.otel.on_handshake(conn, outcome);
    }
}

/// One series' key.
pub fn key(name: &str, labels: &[(&str, &str)]) -> String {
    let mut labels: Vec<_> =
        labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    labels.sort();
    format!("{name}{{{}}}", labels.join(","))
}

/// A page of Prometheus'.
pub fn series_of(page: &str) -> Series {
    let samples = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    samples
        .map(|sample| {
            let (series, value) = sample.rsplit_once(' ').unwrap();
            let Some((name, labels)) = series.split_once('{') else {
                return (key(series, &[]), value.parse().unwrap());
            };
            // No value has a comma or a quote in it.
            let labels = labels.strip_suffix('}').unwrap().split(',');
            let labels: Vec<_> = labels.map(|label| label.split_once('=').unwrap()).collect();
            let labels: Vec<_> =
                labels.iter().map(|(name, value)| (*name, value.trim_matches('"'))).collect();
            (key(name, &labels), value.parse().unwrap())
        })
        .collect()
}

/// As OpenTelemetry's specification turns names into Prometheus'.
fn prometheus_name(metric: &Metric) -> String {
    let name = metric.name().replace('.', "_");
    match metric.unit() {
        "s" => name + "_seconds",
        unit => {
            assert!(unit.starts_with('{'), "{name} in {unit:?}");
            name
        }
    }
}

fn labels<'a>(
    attributes: impl Iterator<Item = &'a ::opentelemetry::KeyValue>,
) -> Vec<(String, String)> {
    attributes
        .map(|attribute| {
            (attribute.key.as_str().replace('.', "_"), attribute.value.as_str().into_owned())
        })
        .collect()
}

fn add(series: &mut Series, name: &str, labels: &[(String, String)], value: f64) {
    let labels: Vec<_> =
        labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let before = series.insert(key(name, &labels), value);
    assert_eq!(before, None, "{name} {labels:?} twice");
}

fn sum<T: Copy>(name: &str, data: &Sum<T>, number: impl Fn(T) -> f64, series: &mut Series) {
    for point in data.data_points() {
        add(series, name, &labels(point.attributes()), number(point.value()));
    }
}

fn histogram(name: &str, data: &Histogram<f64>, series: &mut Series) {
    for point in data.data_points() {
        let labels = labels(point.attributes());
        let bounds = point.bounds().map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
        let mut below = 0;
        for (bound, count) in bounds.zip(point.bucket_counts()) {
            below += count;
            let mut labels = labels.clone();
            labels.push(("le".to_owned(), bound));
            add(series, &format!("{name}_bucket"), &labels, below as f64);
        }
        add(series, &format!("{name}_count"), &labels, point.count() as f64);
        add(series, &format!("{name}_sum"), &labels, point.sum());
    }
}
