//! What GitOps tools make of this operator's objects: the real Argo CD, its interpreter of health scripts, kstatus and
//! `kubectl wait`, on live objects in every state.
//!
//! One binary, so that one control plane and one Argo CD serve all; a namespace, a stand-in and an operator process per
//! test. Argo CD is built once, for about 6 to 8 minutes. `cargo test --test argocd -- --nocapture` prints what was seen.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]
#![allow(clippy::needless_pass_by_value, reason = "json!() values are built for the call")]

mod actions;
mod argo;
#[path = "../it/cluster.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod cluster;
#[path = "../it/command.rs"]
mod command;
mod contribution;
mod git;
mod judges;
mod listeners;
mod missing;
mod operator;
#[path = "../it/oracle.rs"]
#[allow(dead_code, reason = "its own tests run with the integration tests")]
mod oracle;
mod snippets;
mod states;
mod sync;
mod trouble;
mod witness;
#[path = "../it/world.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod world;
