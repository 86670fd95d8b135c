//! OpenMetrics 1.0: what Prometheus scrapes.

use std::fmt;
use std::time::Duration;

use super::summary::{BOUNDS, Histogram, STATES, Summary};
use crate::Protocol;

pub(super) struct OpenMetrics<'a>(pub(super) &'a Summary);

impl fmt::Display for OpenMetrics<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        let count = "hyper_server_connection_count";
        head(count, "gauge", "", "Connections that are open, by state and protocol.", f)?;
        for (protocol, counts) in summary.by_protocol {
            let version = version(protocol);
            for state in STATES {
                let labels = labels(&[
                    ("http_connection_state", state.as_str()),
                    ("network_protocol_version", version),
                ]);
                writeln!(f, "{count}{labels} {}", counts.get(state))?;
            }
        }
        let accepted = "hyper_server_connection_accepted";
        head(accepted, "counter", "", "Connections that have come.", f)?;
        writeln!(f, "{accepted}_total {}", summary.accepted)?;
        let closed = "hyper_server_connection_closed";
        head(closed, "counter", "", "Connections that have ended, by reason.", f)?;
        for (reason, count) in &summary.reasons {
            let labels = labels(&[("hyper_connection_close_reason", reason.as_str())]);
            writeln!(f, "{closed}_total{labels} {count}")?;
        }
        let age = "hyper_server_connection_age_seconds";
        histogram(age, "How long ago the open connections came.", &summary.ages, f)?;
        let idle = "hyper_server_connection_idle_seconds";
        histogram(idle, "For how long idle connections have been idle.", &summary.idle, f)?;
        let draining = "hyper_server_draining";
        head(draining, "gauge", "", "Whether all connections are being drained.", f)?;
        writeln!(f, "{draining} {}", u8::from(summary.draining))?;
        let uptime = "hyper_server_uptime_seconds";
        head(uptime, "gauge", "seconds", "Since the listener was instrumented.", f)?;
        writeln!(f, "{uptime} {}", seconds(summary.uptime))?;
        writeln!(f, "# EOF")
    }
}

fn head(name: &str, kind: &str, unit: &str, help: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "# TYPE {name} {kind}")?;
    if !unit.is_empty() {
        writeln!(f, "# UNIT {name} {unit}")?;
    }
    writeln!(f, "# HELP {name} {help}")
}

/// Of what is there now: buckets may become smaller.
fn histogram(
    name: &str,
    help: &str,
    histogram: &Histogram,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    head(name, "gaugehistogram", "seconds", help, f)?;
    let bounds = BOUNDS.iter().map(|bound| format!("{bound}.0")).chain(["+Inf".to_owned()]);
    let mut sum = 0;
    for (bound, count) in bounds.zip(histogram.counts) {
        sum += count;
        writeln!(f, "{name}_bucket{} {sum}", labels(&[("le", &bound)]))?;
    }
    writeln!(f, "{name}_gcount {}", histogram.total())?;
    writeln!(f, "{name}_gsum {}", seconds(histogram.sum))
}

fn labels(labels: &[(&str, &str)]) -> String {
    let one = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escape(value));
    format!("{{{}}}", labels.iter().map(one).collect::<Vec<_>>().join(","))
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "1.1",
        Protocol::Http2 => "2",
        _ => "",
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(labels(&[("a", "\"\\\n"), ("b", "c")]), r#"{a="\"\\\n",b="c"}"#);
    }
}
