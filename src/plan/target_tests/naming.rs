//! Names that are taken, names that change hands, and endpoints that a newer server denies.

use super::*;
use crate::plan::names::{HolderPlan, NameHolder};
use crate::zitadel::Change;

/// A Target that wants another name and another endpoint, and whose update was refused for its name.
fn renamed() -> Life {
    let mut life = Life::created();
    life.spec.name = Some("other".into());
    life.spec.endpoint = "https://h/new".into();
    life.step_connect();
    life.answer(Answer::Read(Ok(Some(Life::remote()))));
    let Step::Update { change, .. } = life.step() else { panic!("{:?}", life.step()) };
    assert!(change.name.is_some() && change.endpoint.is_some());
    life.answer(Answer::Updated(change, false, Err(taken())));
    life
}

fn updated(life: &mut Life, sequence: u64, endpoint: &str, name: &str) {
    let Step::Update { change, raise, .. } = life.step() else { panic!("{:?}", life.step()) };
    let version = Version { sequence: Some(sequence), changed: Some(life.now) };
    life.answer(Answer::Updated(change, raise, Ok(version.clone())));
    let remote = RemoteTarget { endpoint: endpoint.into(), name: name.into(), version, ..Life::remote() };
    life.answer(Answer::Read(Ok(Some(remote))));
}

fn held(plan: HolderPlan) -> Answer {
    Answer::NameHolder(Some(NameHolder { shown: "the Target b".into(), plan }))
}

#[test]
fn a_taken_name_holds_no_other_field_back() {
    let mut life = renamed();
    let Step::Update { change, .. } = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!(change, Change { endpoint: "https://h/new".parse().ok(), ..Change::default() });
    updated(&mut life, 2, "https://h/new", "hook");
    assert_eq!(life.step(), Step::AskNames("other".parse().unwrap()));
    life.answer(Answer::NameHolder(None));
    let verdict = life.rest();
    assert_reason(&verdict, Health::Stalled, Reason::NameTaken);
    assert_eq!(life.status.sequence.as_deref(), Some("2"), "status knows what was changed");
}

#[test]
fn a_name_that_one_of_ours_has_is_waited_for() {
    for plan in [HolderPlan::Keeps, HolderPlan::Leaves] {
        let mut life = renamed();
        updated(&mut life, 2, "https://h/new", "hook");
        life.answer(held(plan));
        assert_reason(&life.verdict(), Health::Reconciling, Reason::NameTaken);
        assert!(life.verdict().message.starts_with("the Target b has this name"), "{}", life.verdict().message);
    }
}

#[test]
fn the_first_of_a_circle_steps_aside_once() {
    let mut life = renamed();
    updated(&mut life, 2, "https://h/new", "hook");
    life.answer(held(HolderPlan::WaitsForUs));
    let Step::Update { change, .. } = life.step() else { panic!("{:?}", life.step()) };
    let aside = change.name.unwrap();
    assert_eq!(aside.as_str(), "zitadel-actions-renaming-uid-1");
    updated(&mut life, 3, "https://h/new", aside.as_str());
    assert_reason(&life.verdict(), Health::Reconciling, Reason::NameTaken);
    life.rest();
    assert_eq!(life.status.name.as_deref(), Some(aside.as_str()), "the name that it had is free");
}

#[test]
fn a_denied_endpoint_holds_no_other_field_back() {
    let mut life = Life::created();
    life.spec.endpoint = "https://denied".into();
    life.spec.timeout = "20s".into();
    life.step_connect();
    life.answer(Answer::Read(Ok(Some(Life::remote()))));
    let Step::Update { change, .. } = life.step() else { panic!("{:?}", life.step()) };
    life.answer(Answer::Updated(change, false, Err(refused(400, 3, "COMMAND-jKbbu2"))));
    let Step::Update { change, .. } = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!(change, Change { timeout: "20s".parse().ok(), ..Change::default() });
    let version = Version { sequence: Some(2), changed: Some(life.now) };
    life.answer(Answer::Updated(change, false, Ok(version.clone())));
    let remote = RemoteTarget { timeout: Duration::from_secs(20), version, ..Life::remote() };
    life.answer(Answer::Read(Ok(Some(remote))));
    assert_reason(&life.verdict(), Health::Reconciling, Reason::EndpointDenied);
}

/// A Target in sync on a server that had this version when its endpoint was accepted.
fn accepted_by(version: &str) -> Life {
    let mut life = Life::new();
    life.connection.server_version = Some(version.into());
    life.step_connect();
    life.answer(Answer::Claimed);
    let Step::Create(config) = life.step() else { panic!("{:?}", life.step()) };
    life.created_as("7", &config);
    let recorded = life.status.connection.as_mut().unwrap();
    recorded.server_version = Some(version.into());
    life.rest();
    life
}

#[test]
fn a_server_of_another_version_judges_the_endpoint_once() {
    let mut life = accepted_by("v4.13.1");
    life.connection.server_version = Some("v4.15.2".into());
    let read = |life: &mut Life| {
        life.step_connect();
        life.answer(Answer::Read(Ok(Some(Life::remote()))));
    };
    read(&mut life);
    assert_eq!(life.step(), Step::Judge(target_id("7"), "https://h/x".parse().unwrap()));
    life.answer(Answer::Judged(Err(refused(400, 3, "COMMAND-jKbbu2"))));
    assert_reason(&life.rest(), Health::Reconciling, Reason::EndpointDenied);
    // It is asked again until the server accepts it, and then no more.
    read(&mut life);
    life.answer(Answer::Judged(Ok(Version { sequence: Some(1), changed: Some(noon()) })));
    let verdict = life.rest();
    assert_reason(&verdict, Health::Ready, Reason::Available);
    assert_eq!(verdict.note, None, "nothing was changed");
    read(&mut life);
    assert_reason(&life.verdict(), Health::Ready, Reason::Available);
}

#[test]
fn a_version_that_nobody_knows_judges_nothing() {
    for (then, now) in [(None, Some("v4.15.2")), (Some("v4.13.1"), None), (Some("v4.13.1"), Some("v4.13.1"))] {
        let mut life = accepted_by("v4.13.1");
        life.status.connection.as_mut().unwrap().server_version = then.map(Into::into);
        life.connection.server_version = now.map(Into::into);
        life.step_connect();
        life.answer(Answer::Read(Ok(Some(Life::remote()))));
        assert_reason(&life.verdict(), Health::Ready, Reason::Available);
    }
}

#[test]
fn a_copy_changes_nothing_that_another_target_records() {
    let edited = || {
        let mut life = Life::created();
        life.spec.timeout = "20s".into();
        life.co_holder = Some(Rival::Elsewhere);
        life
    };
    let mut copy = edited();
    let ClaimState::Held(claim) = &mut copy.claim else { panic!("a claim") };
    claim.object = Some("uid-0".into());
    copy.step_connect();
    assert_reason(&copy.verdict(), Health::Stalled, Reason::AdoptionConflict);
    let mut original = edited();
    original.step_connect();
    original.answer(Answer::Read(Ok(Some(Life::remote()))));
    assert!(matches!(original.step(), Step::Update { .. }), "{:?}", original.step());
}

#[test]
fn a_taken_name_is_looked_up_before_it_is_claimed_again() {
    let mut life = Life::new();
    life.step_connect();
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(taken()));
    let foreign = life.candidate("9", 1000);
    for answer in [
        Answer::Searched(Ok(vec![])),
        Answer::LookedUp(Ok(Some(foreign.clone()))),
        Answer::Others(vec![]),
        Answer::Done,
    ] {
        life.answer(answer);
    }
    life.answer(Answer::NameHolder(None));
    life.rest();
    life.step_connect();
    assert_eq!(life.step(), Step::LookUp("hook".parse().unwrap()));
    life.answer(Answer::LookedUp(Ok(Some(foreign))));
    life.answer(Answer::NameHolder(None));
    let before = life.status.clone();
    assert_reason(&life.rest(), Health::Stalled, Reason::NameTaken);
    assert_eq!(life.status, before, "waiting writes nothing");
    life.step_connect();
    life.answer(Answer::LookedUp(Ok(None)));
    life.learn_bound();
    assert!(matches!(life.step(), Step::Claim(_)));
}
