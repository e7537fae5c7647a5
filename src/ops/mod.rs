//! What the people on call see: probes, metrics, logs, traces, an orderly end, and who of several replicas leads.
//!
//! Knows nothing of plans; the controller reports into it. May import `api` only.

pub mod admin;
pub mod election;
pub mod http;
pub mod lease;
pub mod metrics;
pub mod process;
pub mod shutdown;
pub mod telemetry;
pub mod traces;

pub use election::Leadership;
pub use metrics::Metrics;
