//! Faults, in every place where one can happen: the operator is killed before and after each of its calls, networks
//! lose, delay and spoil messages, servers restart, clocks jump, people interfere; and after each the true history of
//! the ZITADEL stand-in must be that of a run without any fault.
//!
//! The real binary runs against a real API server and the stand-in, with a proxy before each. Crash points are not
//! listed by hand: a run without faults is recorded, and each call of it becomes points. `cargo test faults --
//! --nocapture` prints what was tried, one line per crash path or fault. `FAULTS_LONG=1` runs more of everything,
//! `FAULTS_SEED` and `FAULTS_SEEDS` steer the random walk.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]
#![allow(clippy::needless_pass_by_value, reason = "json!() values are built for the call")]

mod answers;
mod arena;
#[path = "../it/cluster.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod cluster;
mod cluster_faults;
mod crash;
mod judge;
#[path = "../it/oracle.rs"]
mod oracle;
mod path;
mod people;
mod point;
mod replicas;
mod report;
mod walk;
mod weather;
#[path = "../it/world.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod world;
