//! What is counted, for Prometheus.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper ends of the histogram's buckets, in seconds: a search by id takes some hundreds of
/// microseconds.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0,
];

/// A kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    method: &'static str,
    /// The path's pattern, so that there are few.
    route: String,
    status: u16,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Kind, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    pub added: Counter,
    pub deleted: Counter,
    pub connections: Gauge,
    points: Gauge,
    waiting: Gauge,
    query_bytes: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("lookalike");
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
            added: Counter::default(),
            deleted: Counter::default(),
            connections: Gauge::default(),
            points: Gauge::default(),
            waiting: Gauge::default(),
            query_bytes: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "requests",
            "Requests that were answered",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "Time from a request to its answer",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register(
            "images_added",
            "Images added or replaced",
            metrics.added.clone(),
        );
        registry.register("images_deleted", "Images deleted", metrics.deleted.clone());
        registry.register(
            "connections",
            "Connections that are open",
            metrics.connections.clone(),
        );
        registry.register("images", "Images in the gallery", metrics.points.clone());
        registry.register(
            "requests_waiting",
            "Requests that wait for their turn to compute",
            metrics.waiting.clone(),
        );
        registry.register_with_unit(
            "query_images",
            "Memory of images kept to search with",
            Unit::Bytes,
            metrics.query_bytes.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }

    /// Counts a request that was answered.
    pub fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let kind = Kind {
            method,
            route: route.to_owned(),
            status,
        };
        self.requests.get_or_create(&kind).inc();
        let route = Route {
            route: route.to_owned(),
        };
        self.durations
            .get_or_create(&route)
            .observe(took.as_secs_f64());
    }

    /// All of it in Prometheus' text format, with what is only known now.
    pub fn text(&self, points: usize, waiting: usize, query_bytes: usize) -> String {
        self.points.set(i64::try_from(points).unwrap_or(i64::MAX));
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.query_bytes.set(query_bytes as f64);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.answered("GET", "/livez", 200, Duration::from_millis(3));
        metrics.answered("GET", "/livez", 200, Duration::from_millis(3));
        metrics.added.inc();
        let text = metrics.text(7, 1, 1024);
        for line in [
            "lookalike_requests_total{method=\"GET\",route=\"/livez\",status=\"200\"} 2",
            "lookalike_request_duration_seconds_bucket{le=\"0.005\",route=\"/livez\"} 2",
            "lookalike_images_added_total 1",
            "lookalike_images 7",
            "lookalike_requests_waiting 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
