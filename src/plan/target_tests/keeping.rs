//! Read, compare, change, read back; and what is believed of a read.

use super::*;

#[test]
fn in_sync_does_nothing() {
    let mut life = Life::created();
    life.step_connect();
    assert_eq!(life.step(), Step::Read(target_id("7")));
    let remote = Life::remote();
    life.answer(Answer::Read(Ok(Some(remote))));
    let before = life.status.clone();
    let verdict = life.rest();
    assert_reason(&verdict, Health::Ready, Reason::Available);
    assert_eq!(verdict.note, None);
    assert_eq!(life.status, before);
}

#[test]
fn a_change_is_sent_read_back_and_told() {
    let mut life = Life::created();
    life.spec.timeout = "0.5s".into();
    life.status.observed_generation = Some(0);
    life.step_connect();
    let mut remote = Life::remote();
    life.answer(Answer::Read(Ok(Some(remote.clone()))));
    let Step::Update { change, raise: false, .. } = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!(change.timeout.unwrap().to_string(), "0.5s");
    let written = Version { sequence: Some(2), changed: Some(life.now) };
    life.answer(Answer::Updated(change, false, Ok(written.clone())));
    assert_eq!(life.step(), Step::Read(target_id("7")));
    life.answer(Answer::Read(Ok(Some(remote.clone()))));
    assert!(matches!(life.step(), Step::Wait(_)), "an older view proves nothing: {:?}", life.step());
    life.facts.waited();
    remote.version = written;
    remote.timeout = Duration::from_millis(500);
    life.answer(Answer::Read(Ok(Some(remote))));
    let verdict = life.rest();
    assert_reason(&verdict, Health::Ready, Reason::Available);
    assert_eq!(verdict.note.unwrap().text, "changed target 7: timeout");
    assert_eq!(life.status.sequence.as_deref(), Some("2"));
}

#[test]
fn a_view_that_stays_old_is_not_called_ready_and_is_not_written_again() {
    let mut life = Life::created();
    life.spec.timeout = "3s".into();
    life.step_connect();
    let remote = Life::remote();
    life.answer(Answer::Read(Ok(Some(remote.clone()))));
    let Step::Update { change, .. } = life.step() else { panic!() };
    let written = Version { sequence: Some(2), changed: None };
    life.answer(Answer::Updated(change, false, Ok(written)));
    let mut waits = 0;
    loop {
        life.answer(Answer::Read(Ok(Some(remote.clone()))));
        match life.step() {
            Step::Wait(_) => life.facts.waited(),
            Step::Finish(verdict) => break assert_reason(&verdict, Health::Reconciling, Reason::Verifying),
            step => panic!("{step:?}"),
        }
        waits += 1;
        assert!(waits < 10);
    }
}

#[test]
fn the_read_side_alone_never_proves_absence() {
    let mut life = Life::created();
    life.later(600);
    life.step_connect();
    life.answer(Answer::Read(Ok(None)));
    assert_eq!(life.step(), Step::Probe(target_id("7")));
    life.answer(Answer::Probed(Ok(Version { sequence: Some(1), changed: Some(noon()) })));
    assert_reason(&life.verdict(), Health::Reconciling, Reason::NotProjected);
}

#[test]
fn a_young_target_may_lag() {
    let mut life = Life::created();
    life.later(-1); // our reading of the server's clock is behind its own dates
    life.step_connect();
    for _ in 0..6 {
        life.answer(Answer::Read(Ok(None)));
        life.answer(Answer::Probed(Ok(Version::default())));
        assert!(matches!(life.step(), Step::Wait(_)), "{:?}", life.step());
        life.facts.waited();
    }
    life.answer(Answer::Read(Ok(None)));
    life.answer(Answer::Probed(Ok(Version::default())));
    assert_reason(&life.verdict(), Health::Ready, Reason::Available);
}

#[test]
fn a_target_that_the_write_side_lost_is_made_anew_under_a_new_claim() {
    let mut life = Life::created();
    life.later(600);
    life.step_connect();
    life.answer(Answer::Read(Ok(None)));
    life.answer(Answer::Probed(Err(gone())));
    let Step::Claim(claim) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!((claim.replaces.as_deref(), claim.since), (Some("7"), life.now));
    life.answer(Answer::Claimed);
    let Step::Create(config) = life.step() else { panic!("{:?}", life.step()) };
    life.created_as("8", &config);
    assert_reason(&life.rest(), Health::Ready, Reason::Available);
    assert_eq!(life.status.id.as_deref(), Some("8"));
}

#[test]
fn an_update_that_finds_nothing_leads_to_one_new_create() {
    let mut life = Life::created();
    life.spec.timeout = "3s".into();
    life.step_connect();
    let remote = Life::remote();
    life.answer(Answer::Read(Ok(Some(remote))));
    let Step::Update { change, .. } = life.step() else { panic!() };
    life.answer(Answer::Updated(change, false, Err(gone())));
    assert!(matches!(life.step(), Step::Claim(_)));
    life.answer(Answer::Claimed);
    let Step::Create(config) = life.step() else { panic!("{:?}", life.step()) };
    life.created_as("8", &config);
    assert_reason(&life.rest(), Health::Ready, Reason::Available);
}

#[test]
fn a_taken_name_is_looked_up_before_it_is_claimed_again() {
    let mut life = Life::new();
    life.step_connect();
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(taken()));
    life.answer(Answer::Done);
    life.rest();
    life.step_connect();
    assert_eq!(life.step(), Step::LookUp("hook".parse().unwrap()));
    let foreign = life.candidate("9", 1000);
    life.answer(Answer::LookedUp(Ok(Some(foreign))));
    let before = life.status.clone();
    assert_reason(&life.rest(), Health::Stalled, Reason::NameTaken);
    assert_eq!(life.status, before, "waiting writes nothing");
    life.step_connect();
    life.answer(Answer::LookedUp(Ok(None)));
    assert!(matches!(life.step(), Step::Claim(_)));
}

#[test]
fn another_instance_is_not_touched() {
    let mut life = Life::created();
    life.status.connection = Some(ConnectionStatus { instance: Some("other".into()), ..ConnectionStatus::default() });
    life.step_connect();
    assert_reason(&life.verdict(), Health::Stalled, Reason::InstanceChanged);
    life.facts = Facts::default();
    life.deleting = true;
    life.step_connect();
    assert_reason(&life.verdict(), Health::Stalled, Reason::InstanceChanged);
}

#[test]
fn the_limit_of_the_generation_is_said_before_any_call() {
    let mut life = Life::new();
    life.spec.timeout = "271s".into();
    life.api = Api::V2;
    life.step_connect();
    assert_reason(&life.verdict(), Health::Stalled, Reason::InvalidSpec);
    let mut life = Life::new();
    life.spec.timeout = "271s".into();
    life.step_connect();
    assert!(matches!(life.step(), Step::Claim(_)), "v3alpha has no limit");
}

#[test]
fn a_spec_of_an_older_crd_is_refused_in_words() {
    let mut life = Life::new();
    life.spec.rest_async = Some(AsyncKind {});
    assert_reason(&life.verdict(), Health::Stalled, Reason::InvalidSpec);
}
