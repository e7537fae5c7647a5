//! Exemplars: the id of a trace beside a figure of a histogram, as an example of what the figure counts.

use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;

use crate::ops::process::seconds;

/// By which Grafana finds the trace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Trace {
    trace_id: String,
}

/// Counts what took this long, as a part of this trace if it is of one that a collector has.
pub(super) fn observe(histogram: &HistogramWithExemplars<Trace>, took: Duration, trace: Option<String>) {
    let trace = trace.map(|trace_id| Trace { trace_id });
    histogram.observe(seconds(took), trace, Some(SystemTime::now()));
}
