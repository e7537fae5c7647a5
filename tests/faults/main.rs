//! Faults, in every place where one can happen: the operator is killed before and after each of its calls, networks
//! lose, delay and spoil messages, servers restart, clocks jump, people interfere; and after each the true history of
//! the ZITADEL stand-in must be that of a run without any fault.
//!
//! The real binary runs against a real API server and the stand-in, with a proxy before each. Crash points are not
//! listed by hand: a run without faults is recorded, and each call of it becomes points. `cargo test faults --
//! --nocapture` prints what was tried, one line per crash point or fault; F1 to F27 are the names of docs/correctness.md.
//! `FAULTS_LONG=1` runs more of everything, `FAULTS_SEED` and `FAULTS_SEEDS` steer what is drawn.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]
#![allow(clippy::needless_pass_by_value, reason = "json!() values are built for the call")]

mod answers;
mod arena;
#[path = "../it/cluster.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod cluster;
mod cluster_faults;
#[path = "../it/command.rs"]
mod command;
mod crash;
mod executions;
mod hidden;
mod judge;
mod lesser;
mod load;
mod names;
mod network;
#[path = "../it/oracle.rs"]
#[allow(dead_code, reason = "its own tests run with the integration tests")]
mod oracle;
mod outage;
mod path;
mod people;
mod point;
mod process;
mod replicas;
mod report;
mod specs;
mod strangers;
mod tokens;
mod walk;
mod weather;
#[path = "../it/world.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, run};

/// The usual harness runs as many tests at once as there are cores; these mostly wait, and how many worlds there are at
/// a time is decided in `report`.
fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // In this order: those who need the API server to themselves come first, the longest waits next.
    let trials = [
        outage::trials(),
        people::undisturbed(),
        weather::trials(),
        hidden::trials(),
        executions::trials(),
        lesser::trials(),
        strangers::trials(),
        names::trials(),
        tokens::trials(),
        cluster_faults::trials(),
        answers::trials(),
        network::trials(),
        process::trials(),
        replicas::trials(),
        people::trials(),
        load::trials(),
        crash::trials(),
        walk::trials(),
    ];
    let trials: Vec<_> = trials.into_iter().flatten().collect();
    arguments.test_threads.get_or_insert(trials.len());
    let conclusion = run(&arguments, trials);
    report::conclude();
    conclusion.exit_code()
}
