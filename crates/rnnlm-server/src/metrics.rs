//! What `/metrics` reports, in Prometheus' text format.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The labels of a finished request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) path: String,
    pub(crate) status: u16,
}

/// All metrics of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) prompt_tokens: Counter,
    pub(crate) tokens_predicted: Counter,
    pub(crate) scored_tokens: Counter,
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) requests_in_system: Gauge,
    pub(crate) requests_processing: Gauge,
    pub(crate) requests_deferred: Gauge,
    pub(crate) request_seconds: Histogram,
    pub(crate) first_token_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("rnnlm");
        // from 1 ms to 65 s
        let histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 17));
        let metrics = Self {
            prompt_tokens: Counter::default(),
            tokens_predicted: Counter::default(),
            scored_tokens: Counter::default(),
            requests: Family::default(),
            requests_in_system: Gauge::default(),
            requests_processing: Gauge::default(),
            requests_deferred: Gauge::default(),
            request_seconds: histogram(),
            first_token_seconds: histogram(),
            registry: Registry::default(),
        };
        registry.register("prompt_tokens", "Tokens of prompts", metrics.prompt_tokens.clone());
        registry.register("tokens_predicted", "Generated tokens", metrics.tokens_predicted.clone());
        registry.register("scored_tokens", "Scored tokens of documents", metrics.scored_tokens.clone());
        registry.register("requests", "Finished requests", metrics.requests.clone());
        let in_system = metrics.requests_in_system.clone();
        registry.register("requests_in_system", "Requests that wait or are processed", in_system);
        registry.register("requests_processing", "Texts that are processed", metrics.requests_processing.clone());
        registry.register("requests_deferred", "Texts that wait for a slot", metrics.requests_deferred.clone());
        registry.register("request_seconds", "Time of a request", metrics.request_seconds.clone());
        registry.register("first_token_seconds", "Time to the first token", metrics.first_token_seconds.clone());
        Self { registry, ..metrics }
    }

    /// Prometheus' text format.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        // writing to a string cannot fail
        let _ = encode(&mut text, &self.registry);
        text
    }
}
