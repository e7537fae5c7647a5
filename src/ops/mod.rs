//! What the people on call see: probes, metrics, logs, and an orderly end.
//!
//! Knows nothing of plans; the controller reports into it. May import `api` only.

pub mod http;
pub mod metrics;
pub mod process;
pub mod shutdown;
pub mod telemetry;

pub use metrics::Metrics;
