//! What the protocol does not guarantee: each of these asserts that the counterexample still exists, so that the
//! documentation stays true. Once one is closed, its test fails and becomes a proof.

use zitadel_actions_operator::zitadel::Api;

use super::config::{Config, Fault, User};
use super::proofs::{budget, explore};
use super::state::Settings;

fn open(what: &'static str, config: Config) {
    let found = explore(Config { name: what, ..config });
    let (property, path) = found.unwrap_or_else(|| panic!("closed: {what}; prove it"));
    println!("open: {what} ({property}): {:?}", path.into_actions());
}

#[test]
fn model_limit_look_up_with_full_lag() {
    let config = Config {
        api: Api::V2,
        events: false,
        ticks: 5,
        lag: 3,
        budget: budget(0, 1, 1, 0),
        faults: &[Fault::LostReply],
        user: &[User::Delete],
        ..Config::default()
    };
    open("events may not be read, a late commit and then a full minute of lag", config);
}

#[test]
fn model_limit_two_objects_and_a_lost_create() {
    let config = Config {
        ticks: 0,
        objects: vec![Settings { name: 0, timeout: 0 }, Settings { name: 2, timeout: 1 }],
        budget: budget(0, 1, 0, 0),
        faults: &[Fault::LostRequest],
        ..Config::default()
    };
    open("two objects ask for one name, one create is lost, the cache is stale", config);
}

#[test]
fn model_limit_two_objects_at_once() {
    let config = Config {
        ticks: 0,
        lag: 0,
        replicas: 2,
        objects: vec![Settings { name: 0, timeout: 0 }, Settings { name: 2, timeout: 0 }],
        ..Config::default()
    };
    open("two objects ask for one name at the same time", config);
}

#[test]
fn model_limit_a_probe_is_forgotten() {
    let config = Config {
        ticks: 0,
        budget: budget(0, 1, 2, 0),
        faults: &[Fault::LostReply],
        user: &[User::Edit],
        probes_count: true,
        ..Config::default()
    };
    open("Ready on a view older than what the probe of the same pass has shown", config);
}

#[test]
fn model_limit_an_unrecorded_update_is_forgotten() {
    let config =
        Config { ticks: 0, budget: budget(0, 0, 2, 0), user: &[User::Edit], strict_ready: true, ..Config::default() };
    open("edited and edited back while the read side lags: Ready on the older view", config);
}
