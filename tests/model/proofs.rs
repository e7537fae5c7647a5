//! The configurations in which everything holds. Each is explored to its end.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Path};
use zitadel_actions_operator::zitadel::Api;

use super::action::Action;
use super::config::{Config, External, Fault, Mutation, Operator, User};
use super::state::{Budget, Settings, World};

/// Explores a configuration until a property fails, or to its end.
pub fn explore(config: Config) -> Option<(&'static str, Path<World, Action>)> {
    let (name, started) = (config.name, Instant::now());
    let checker = Operator::new(config).checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!(
        "{name}: {} unique states, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f32()
    );
    checker.discoveries().into_iter().min_by_key(|(_, path)| path.clone().into_actions().len())
}

pub fn prove(config: Config) {
    let name = config.name;
    if let Some((property, path)) = explore(config) {
        println!("{:?}", path.last_state());
        panic!("{name}: {property} does not hold: {:?}", path.into_actions());
    }
}

pub const NO_ANSWER: &[Fault] = &[Fault::LostRequest, Fault::LostReply, Fault::GivenUp];

/// A target of somebody else's with our name.
pub const OLD_ONE: Settings = Settings { name: 2, timeout: 2 };

pub const fn budget(crashes: u8, faults: u8, user: u8, external: u8) -> Budget {
    Budget { crashes, faults, user, external }
}

#[test]
fn model_one_replica_dies_twice() {
    prove(Config {
        name: "one replica, two crashes, two lost or late answers",
        ticks: 5,
        budget: budget(2, 2, 0, 0),
        faults: NO_ANSWER,
        count_creates: true,
        ..Config::default()
    });
}

#[test]
fn model_a_repeated_create_meets_itself() {
    prove(Config {
        name: "a create without an answer is repeated at once by a proxy on its way",
        mutation: Some(Mutation::RepeatCreate),
        budget: budget(1, 1, 1, 0),
        faults: &[Fault::LostReply],
        user: &[User::Rename, User::Delete],
        ..Config::default()
    });
}

#[test]
fn model_users_change_their_mind() {
    prove(Config {
        name: "two of edit, rename, delete; a lost or late answer",
        ticks: 1,
        budget: budget(0, 1, 2, 0),
        faults: &[Fault::LostReply, Fault::GivenUp],
        user: &[User::Edit, User::Rename, User::Delete],
        count_creates: true,
        ..Config::default()
    });
}

#[test]
fn model_deletion_meets_a_crash() {
    prove(Config {
        name: "rename or delete, a crash and a lost or late answer",
        ticks: 2,
        budget: budget(1, 1, 1, 0),
        faults: NO_ANSWER,
        user: &[User::Rename, User::Delete],
        count_creates: true,
        ..Config::default()
    });
}

#[test]
fn model_two_replicas() {
    prove(Config {
        name: "two replicas, stale caches, slow answers, one crash",
        ticks: 1,
        replicas: 2,
        budget: budget(1, 0, 0, 0),
        slow_answers: true,
        count_creates: true,
        ..Config::default()
    });
}

#[test]
fn model_two_replicas_and_an_edit() {
    prove(Config {
        name: "two replicas, stale caches, an edit",
        ticks: 0,
        lag: 0,
        events_at_most: 3,
        replicas: 2,
        budget: budget(0, 0, 1, 0),
        user: &[User::Edit],
        count_creates: true,
        ..Config::default()
    });
}

#[test]
fn model_two_replicas_and_a_deletion() {
    prove(Config {
        name: "two replicas, stale caches, slow answers, deletion",
        ticks: 0,
        replicas: 2,
        budget: budget(0, 0, 1, 0),
        user: &[User::Delete],
        slow_answers: true,
        count_creates: true,
        ..Config::default()
    });
}

#[test]
fn model_without_events() {
    prove(Config {
        name: "events may not be read, v2",
        api: Api::V2,
        events: false,
        ticks: 5,
        budget: budget(0, 1, 1, 0),
        faults: &[Fault::LostReply, Fault::GivenUp],
        user: &[User::Rename, User::Delete],
        ..Config::default()
    });
}

#[test]
fn model_without_events_a_foreign_target_is_left_alone() {
    prove(Config {
        name: "events may not be read, v2, an old foreign target has the name",
        api: Api::V2,
        events: false,
        foreign: Some(OLD_ONE),
        ticks: 6,
        budget: budget(1, 1, 1, 0),
        faults: &[Fault::LostRequest],
        user: &[User::Rename, User::Delete],
        ..Config::default()
    });
}

#[test]
fn model_without_events_or_dates() {
    prove(Config {
        name: "events may not be read, v3alpha without creation dates, a crash",
        events: false,
        ticks: 6,
        budget: budget(1, 1, 0, 0),
        faults: NO_ANSWER,
        ..Config::default()
    });
}

#[test]
fn model_strangers() {
    prove(Config {
        name: "a stranger creates, deletes, edits or renames; a lost or late answer",
        budget: budget(0, 1, 0, 1),
        faults: NO_ANSWER,
        external: &[External::Create(2), External::Delete, External::Edit, External::Rename],
        ..Config::default()
    });
}

#[test]
fn model_a_restored_database() {
    for api in [Api::V3Alpha, Api::V2] {
        prove(Config {
            name: "ZITADEL's database is put back by an event; an edit or a rename, a lost or late answer",
            api,
            ticks: 0,
            lag: 1,
            established: 1,
            budget: budget(0, 1, 1, 1),
            faults: &[Fault::LostReply, Fault::GivenUp],
            user: &[User::Edit, User::Rename],
            external: &[External::Restore],
            ..Config::default()
        });
    }
}

#[test]
fn model_a_database_restored_twice() {
    prove(Config {
        name: "ZITADEL's database is put back twice; two edits or renames",
        ticks: 0,
        lag: 0,
        established: 1,
        budget: budget(0, 0, 2, 2),
        user: &[User::Edit, User::Rename],
        external: &[External::Restore],
        ..Config::default()
    });
}

#[test]
fn model_retain() {
    prove(Config {
        name: "retain, delete, create anew; a crash and a lost answer",
        ticks: 0,
        faults: &[Fault::LostRequest, Fault::LostReply],
        budget: budget(1, 1, 3, 0),
        user: &[User::Retain, User::Delete, User::Recreate],
        ..Config::default()
    });
}

#[test]
fn model_two_objects() {
    prove(Config {
        name: "two objects ask for one name",
        ticks: 2,
        objects: vec![Settings { name: 0, timeout: 0 }, Settings { name: 2, timeout: 1 }],
        ..Config::default()
    });
}

#[test]
fn model_a_second_object_asks_for_a_held_name() {
    prove(Config {
        name: "a second object asks for a held name; a lost or late answer, a deletion",
        ticks: 2,
        objects: vec![Settings { name: 0, timeout: 0 }, Settings { name: 2, timeout: 1 }],
        established: 1,
        budget: budget(0, 1, 1, 0),
        faults: &[Fault::LostRequest, Fault::GivenUp],
        user: &[User::Delete],
        ..Config::default()
    });
}

pub const RIVALS: [Settings; 2] = [Settings { name: 0, timeout: 0 }, Settings { name: 2, timeout: 1 }];

#[test]
fn model_two_objects_and_a_lost_create() {
    prove(Config {
        name: "two objects ask for one name; a lost or late answer",
        ticks: 2,
        objects: RIVALS.to_vec(),
        budget: budget(0, 1, 0, 0),
        faults: NO_ANSWER,
        ..Config::default()
    });
}

#[test]
fn model_two_objects_and_a_repeated_create() {
    prove(Config {
        name: "two objects ask for one name; a create repeated by a proxy on its way",
        ticks: 2,
        mutation: Some(Mutation::RepeatCreate),
        objects: RIVALS.to_vec(),
        budget: budget(0, 1, 0, 0),
        faults: &[Fault::LostReply],
        ..Config::default()
    });
}

#[test]
fn model_two_objects_at_once() {
    prove(Config {
        name: "two objects ask for one name at once, each in a pass of its own: stale caches, slow answers",
        ticks: 0,
        lag: 0,
        replicas: 2,
        objects: RIVALS.to_vec(),
        apart: true,
        slow_answers: true,
        ..Config::default()
    });
}

#[test]
fn model_two_objects_and_a_deletion() {
    prove(Config {
        name: "two objects ask for one name; a lost answer, a deletion",
        ticks: 1,
        lag: 0,
        objects: RIVALS.to_vec(),
        budget: budget(0, 1, 1, 0),
        faults: &[Fault::LostReply],
        user: &[User::Delete],
        ..Config::default()
    });
}

#[test]
fn model_ready_after_second_thoughts() {
    prove(Config {
        name: "Ready=True is true to the letter: two edits or renames, a lost answer",
        ticks: 0,
        budget: budget(0, 1, 2, 0),
        faults: &[Fault::LostRequest, Fault::LostReply, Fault::UnansweredRead, Fault::LostClusterReply],
        user: &[User::Edit, User::Rename],
        strict_ready: true,
        ..Config::default()
    });
}

#[test]
fn model_ready_to_the_letter() {
    prove(Config {
        name: "Ready=True is true to the letter: one replica, an edit or a rename",
        ticks: 2,
        budget: budget(0, 0, 1, 0),
        user: &[User::Edit, User::Rename],
        strict_ready: true,
        count_creates: true,
        ..Config::default()
    });
}

#[test]
fn model_other_faults() {
    prove(Config {
        name: "refusals, unanswered reads, lost answers of the API server, pass deadlines",
        budget: budget(0, 1, 1, 0),
        faults: &[
            Fault::Refused,
            Fault::Unconnected,
            Fault::UnansweredRead,
            Fault::LostClusterReply,
            Fault::PassDeadline,
        ],
        user: &[User::Edit, User::Delete],
        count_creates: true,
        ..Config::default()
    });
}
