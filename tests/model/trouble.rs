//! Configurations of what others do with our own account, our names, our status and the answers to our calls, and of what
//! an event store does not tell.

use zitadel_actions_operator::zitadel::Api;

use super::config::{Config, External, Fault, User};
use super::proofs::{NO_ANSWER, OLD_ONE, RIVALS, budget, prove};
use super::state::Settings;

#[test]
fn model_a_committed_call_is_answered_with_an_error() {
    prove(Config {
        name: "somebody's execution fails the answer of a committed call; edit, rename or delete",
        ticks: 2,
        budget: budget(0, 1, 1, 0),
        faults: &[Fault::Forwarded],
        user: &[User::Edit, User::Rename, User::Delete],
        count_creates: true,
        ..Config::default()
    });
}

#[test]
fn model_a_stranger_has_our_account() {
    prove(Config {
        name: "a stranger with our account creates under our name, with our settings or others; a lost or late answer",
        ticks: 2,
        budget: budget(0, 1, 0, 1),
        faults: NO_ANSWER,
        external: &[External::CreateAsUs(0), External::CreateAsUs(2)],
        ..Config::default()
    });
}

#[test]
fn model_a_stranger_has_our_account_and_the_object_goes() {
    prove(Config {
        name: "a stranger with our account creates under our name; rename or delete, a lost request or answer",
        ticks: 2,
        lag: 1,
        budget: budget(0, 1, 1, 1),
        faults: &[Fault::LostRequest, Fault::LostReply],
        user: &[User::Rename, User::Delete],
        external: &[External::CreateAsUs(0), External::CreateAsUs(2)],
        ..Config::default()
    });
}

#[test]
fn model_an_open_transaction_hides_events() {
    prove(Config {
        name: "an open transaction hides events for up to a minute; two lost or late answers, no connection",
        ticks: 4,
        budget: budget(0, 2, 0, 1),
        faults: &[Fault::LostReply, Fault::GivenUp, Fault::Unconnected],
        external: &[External::Hide],
        ..Config::default()
    });
}

#[test]
fn model_an_open_transaction_hides_events_of_what_goes() {
    prove(Config {
        name: "an open transaction hides events for up to 20 s; a lost or late answer, a rename or a deletion",
        ticks: 3,
        lag: 1,
        budget: budget(0, 1, 1, 1),
        faults: &[Fault::LostReply, Fault::GivenUp],
        user: &[User::Rename, User::Delete],
        external: &[External::Hide],
        ..Config::default()
    });
}

#[test]
fn model_an_open_transaction_hides_a_stranger() {
    prove(Config {
        name: "an open transaction hides what a stranger with our account does; a lost answer",
        ticks: 2,
        budget: budget(0, 1, 0, 2),
        faults: &[Fault::LostRequest, Fault::LostReply],
        external: &[External::Hide, External::CreateAsUs(0), External::CreateAsUs(2), External::Create(0)],
        ..Config::default()
    });
}

#[test]
fn model_retention_hides_events() {
    for api in [Api::V3Alpha, Api::V2] {
        prove(Config {
            name: "retention hides events for ever; a lost or late answer, rename or delete",
            api,
            ticks: 3,
            lag: 1,
            budget: budget(0, 1, 1, 1),
            faults: &[Fault::LostReply, Fault::GivenUp],
            user: &[User::Rename, User::Delete],
            external: &[External::Expire],
            ..Config::default()
        });
    }
}

#[test]
fn model_a_written_id() {
    prove(Config {
        name: "somebody writes a foreign id into status, retention hides who created it; edit or delete",
        foreign: Some(OLD_ONE),
        ticks: 0,
        budget: budget(0, 0, 1, 2),
        user: &[User::Edit, User::Delete],
        external: &[External::WriteId, External::Expire],
        ..Config::default()
    });
}

const PAIR: [Settings; 2] = [Settings { name: 0, timeout: 0 }, Settings { name: 1, timeout: 0 }];

#[test]
fn model_names_are_swapped() {
    prove(Config {
        name: "two objects swap their names, one is edited",
        ticks: 0,
        lag: 0,
        objects: PAIR.to_vec(),
        established: 2,
        budget: budget(0, 0, 3, 0),
        user: &[User::Rename, User::Edit],
        ..Config::default()
    });
}

#[test]
fn model_names_are_swapped_in_trouble() {
    prove(Config {
        name: "two objects swap their names; a crash, a lost answer",
        ticks: 0,
        lag: 0,
        objects: PAIR.to_vec(),
        established: 2,
        budget: budget(1, 1, 2, 0),
        faults: &[Fault::LostRequest, Fault::LostReply],
        user: &[User::Rename],
        ..Config::default()
    });
}

#[test]
fn model_a_name_is_given_up() {
    prove(Config {
        name: "an object asks for a name that another one gives up, by a rename or its end; a lost answer",
        ticks: 0,
        lag: 0,
        objects: PAIR.to_vec(),
        established: 2,
        budget: budget(0, 1, 2, 0),
        faults: &[Fault::LostReply, Fault::LostRequest],
        user: &[User::Rename, User::Leave, User::Delete],
        ..Config::default()
    });
}

#[test]
fn model_a_taken_name_holds_nothing_back() {
    prove(Config {
        name: "a foreign target has the name that an object is renamed to; edits",
        ticks: 0,
        foreign: Some(Settings { name: 1, timeout: 2 }),
        established: 1,
        budget: budget(0, 1, 2, 0),
        faults: &[Fault::LostReply],
        user: &[User::Rename, User::Edit],
        ..Config::default()
    });
}

#[test]
fn model_two_objects_record_one_target() {
    prove(Config {
        name: "the status of an object is copied to another one; an edit or a deletion, a lost answer",
        ticks: 0,
        lag: 0,
        objects: RIVALS.to_vec(),
        established: 1,
        budget: budget(0, 1, 1, 1),
        faults: &[Fault::LostReply],
        user: &[User::Edit, User::Delete],
        external: &[External::CopyStatus],
        ..Config::default()
    });
}
