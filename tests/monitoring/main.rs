//! What monitoring makes of the operator: a real Prometheus reads it, evaluates the chart's alerts and answers the
//! dashboard's queries; each alert is fired by its cause, and promtool plays its cases.
//!
//! `cargo test --test monitoring -- --nocapture` prints what was read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]
#![allow(clippy::needless_pass_by_value, reason = "json!() values are built for the call")]

mod alerts;
#[path = "../it/cluster.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod cluster;
#[path = "../it/command.rs"]
mod command;
#[path = "../it/exposition.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod exposition;
#[path = "../chart/helm.rs"]
#[allow(dead_code, reason = "shared with the chart's tests")]
mod helm;
mod kube_state;
mod live;
#[path = "../it/oracle.rs"]
#[allow(dead_code, reason = "its own tests run with the integration tests")]
mod oracle;
#[path = "../chart/pod.rs"]
#[allow(dead_code, reason = "shared with the chart's tests")]
mod pod;
mod prometheus;
mod reading;
mod replicas;
#[path = "../it/world.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod world;
