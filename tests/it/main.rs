//! Everything that needs the real binary: against a real API server and the ZITADEL stand-in.
//!
//! One binary, so that one control plane serves all; a namespace, a stand-in and an operator process per test. Each
//! test waits for conditions, never for time, and the status contract is checked on every status that appears.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]
#![allow(clippy::needless_pass_by_value, reason = "json!() values are built for the call")]
#![allow(clippy::unchecked_time_subtraction, reason = "times of the call log only grow")]

mod account;
mod admission;
mod arguments;
mod behaviours;
mod canary;
mod capabilities;
mod cause;
mod check;
mod cluster;
mod collector;
mod command;
mod connections;
mod crash;
mod credentials;
mod custody;
mod edited;
mod election;
mod export;
mod exposition;
mod forms;
mod generations;
mod hostile;
mod house;
mod isolation;
mod lifecycle;
mod manners;
mod memory;
mod metrics;
mod names;
mod oracle;
mod policy;
mod real;
mod reasons;
mod renames;
mod rights;
mod scene;
mod sharing;
mod strangers;
mod tenancy;
mod traces;
mod trouble;
mod upgrades;
mod watching;
mod world;
