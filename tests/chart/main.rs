//! The Helm chart, with the real helm: what it renders, what it refuses, and what it does on the real API server.
//!
//! `helm` runs it; `values`, `render`, `security` and `readme` need no cluster or only its admission; `installed` installs
//! every value; `lifecycle` and `rights` install it (`installation`) and run the operator as the rendered Deployment says,
//! under the chart's own ServiceAccount and roles, and `people` asks what those for people give. No pod runs here: that is
//! the image test's part.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]
#![allow(clippy::needless_pass_by_value, reason = "json!() values are built for the call")]

mod cluster;
mod helm;
mod installation;
mod installed;
mod lifecycle;
mod people;
mod pod;
mod readme;
mod render;
mod rights;
mod schemas;
mod security;
mod values;
