//! What traces are told of a call, and what a call is told of its trace.
//!
//! Only inside of a pass whose trace is kept is there a span; else all of this does nothing. Never a path, a header, a body
//! or the text of an error.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use opentelemetry::global;
use opentelemetry::propagation::Injector;
use tracing::{Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::client::Op;

/// A span for a call.
pub(super) fn begin(op: Op) -> Span {
    info_span!(
        "zitadel",
        otel.kind = "client",
        otel.name = format_args!("zitadel {}", op.as_str()),
        op = op.as_str(),
        http.response.status_code = field::Empty,
        error.type = field::Empty,
        otel.status_code = field::Empty,
    )
}

/// Notes how it ended; a status is three digits, or "none".
pub(super) fn end(span: &Span, status: &str) {
    let code = status.parse::<u16>().ok();
    if let Some(code) = code {
        span.record("http.response.status_code", code);
    }
    if code.is_none_or(|code| code >= 400) {
        span.record("error.type", status);
        span.record("otel.status_code", "error");
    }
}

/// Adds `traceparent`, if there are traces and this is a part of one.
pub(super) fn propagate(headers: &mut HeaderMap) {
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut Headers(headers)));
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        // The propagator also sends a `tracestate` that says nothing.
        let header = (HeaderName::from_bytes(key.as_bytes()), HeaderValue::from_str(&value));
        if let (false, (Ok(name), Ok(value))) = (value.is_empty(), header) {
            self.0.insert(name, value);
        }
    }
}
