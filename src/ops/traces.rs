//! Traces: of each pass one, sent by OTLP over HTTP to a collector that was asked for, and to none by default.
//!
//! A span of this program is a pass, or, with `otel.kind` among its fields, a call that a pass makes: such a one is a part
//! of a trace and nothing for the log, and outside of a pass there is none. Finished spans wait in a queue of bounded length
//! for a thread that sends them, so nothing else waits for the collector; what finds the queue full is lost. May import
//! nothing of the operator's.

mod export;

use std::fmt;
use std::time::Duration;

use opentelemetry::trace::{SpanContext, Status, TraceContextExt as _, TracerProvider as _};
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

/// What the traces are of, unless the environment names it otherwise.
const NAME: &str = "zitadel-actions-operator";
/// The longest that the end of the process waits for the collector to take the last spans.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Where traces go, and which of them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Of the collector; `/v1/traces` comes after it.
    pub endpoint: Url,
    /// Which passes are traced.
    pub sampler: Sampler,
}

/// The traces of this process.
pub struct Traces {
    provider: SdkTracerProvider,
}

// By hand: what the collector asks for in a header may be a credential.
impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").finish_non_exhaustive()
    }
}

impl Traces {
    /// Sets up the sending of traces. Not to be called where futures run: the HTTP client has a runtime of its own.
    ///
    /// # Errors
    /// If the HTTP client cannot be set up. That a collector answers is not asked.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        // The queue and its timing are the SDK's, with its variables (OTEL_BSP_...).
        let sending = BatchSpanProcessor::builder(export::Exporter::new(&settings.endpoint)?).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(sending)
            .with_sampler(settings.sampler.clone())
            .with_resource(resource())
            .build();
        // By this the client of ZITADEL sends `traceparent`; without it, nothing.
        global::set_text_map_propagator(TraceContextPropagator::new());
        Ok(Self { provider })
    }

    /// The layer by which spans get into traces.
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let filter = dynamic_filter_fn(|span: &Metadata<'_>, context| {
            is_ours(span) && (!is_call(span) || context.lookup_current().is_some())
        });
        let never =
            |span: &'static Metadata<'static>| if is_ours(span) { Interest::sometimes() } else { Interest::never() };
        // What the layer would add by itself is about the program, not about what it does.
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(NAME))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(filter.with_callsite_filter(never).with_max_level_hint(LevelFilter::INFO))
    }

    /// Sends what is left, for a moment: a collector that does not answer holds nothing up.
    pub fn end(self) {
        // Whether it worked changes nothing any more.
        let _ = self.provider.shutdown_with_timeout(LAST_SPANS);
    }
}

/// Who this is: name, version and pod, unless the environment says otherwise.
fn resource() -> Resource {
    let from = |key, variable| {
        let value = std::env::var(variable).ok().filter(|text| !text.is_empty());
        value.map(|value| KeyValue::new(key, value))
    };
    Resource::builder_empty()
        .with_service_name(NAME)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(from("k8s.namespace.name", "POD_NAMESPACE"))
        .with_attributes(from("k8s.pod.name", "POD_NAME"))
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes(from("service.name", "OTEL_SERVICE_NAME"))
        .build()
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
}

/// Whether this is the span of a call.
pub(super) fn is_call(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.fields().field("otel.kind").is_some()
}

fn context(span: &Span) -> Option<SpanContext> {
    let context = span.context();
    let found = context.span().span_context().clone();
    found.is_valid().then_some(found)
}

/// The id of the trace that a span is in, sampled or not; none while there are no traces.
#[must_use]
pub fn trace_id(span: &Span) -> Option<String> {
    context(span).map(|context| context.trace_id().to_string())
}

/// The same of what runs now, if it is sampled: a collector has it.
#[must_use]
pub fn sampled() -> Option<String> {
    context(&Span::current()).filter(SpanContext::is_sampled).map(|context| context.trace_id().to_string())
}

/// Adds to the current span what a pass did and what came of it.
pub fn outcome(op: &'static str, outcome: &'static str) {
    let span = Span::current();
    span.set_attribute("op", op);
    span.set_attribute("outcome", outcome);
}

/// Marks the span of a pass that came to no verdict.
pub fn failed(span: &Span, kind: &'static str) {
    span.set_attribute("error.type", kind);
    span.set_status(Status::error(""));
}
