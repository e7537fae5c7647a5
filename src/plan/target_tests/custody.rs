//! An id that the object's claim does not vouch for: nothing is changed or deleted before its origin is known.

use super::*;
use crate::plan::custody::Origin;

/// A Target that holds id 7 and has lost its claim, at the moment when it wants to change it.
fn untitled() -> Life {
    let mut life = Life::created();
    life.claim = ClaimState::Absent;
    life.spec.timeout = "20s".into();
    life.step_connect();
    life.answer(Answer::Read(Ok(Some(Life::remote()))));
    life
}

fn origin(name: &str, life: &Life, ours: bool) -> Answer {
    Answer::Traced(Ok(Some(Origin { name: name.into(), date: life.now, ours, posted: None })))
}

#[test]
fn a_claim_vouches_without_a_call() {
    let mut life = Life::created();
    life.spec.timeout = "20s".into();
    life.step_connect();
    life.answer(Answer::Read(Ok(Some(Life::remote()))));
    assert!(matches!(life.step(), Step::Update { .. }), "{:?}", life.step());
}

#[test]
fn without_a_claim_only_what_we_created_is_changed() {
    let mut life = untitled();
    assert_eq!(life.step(), Step::Trace(target_id("7")));
    life.answer(origin("hook", &life, true));
    assert!(matches!(life.step(), Step::Update { .. }), "{:?}", life.step());

    let mut life = untitled();
    life.answer(origin("hook", &life, false));
    assert_reason(&life.verdict(), Health::Stalled, Reason::AdoptionConflict);
}

#[test]
fn without_a_claim_only_what_we_created_is_deleted() {
    for ours in [true, false] {
        let mut life = Life::created();
        life.claim = ClaimState::Absent;
        life.deleting = true;
        life.step_connect();
        assert_eq!(life.step(), Step::Trace(target_id("7")));
        life.answer(origin("hook", &life, ours));
        if ours {
            life.try_release();
            assert_eq!(life.step(), Step::Delete(target_id("7")));
        } else {
            assert_reason(&life.verdict(), Health::Stalled, Reason::AdoptionConflict);
            assert!(life.verdict().message.contains("deletion waits"));
        }
    }
}

/// An id that was written into status while no operator ran may be that of any target of our account.
#[test]
fn a_claim_of_another_name_does_not_vouch_for_what_our_account_created() {
    let mut life = Life::created();
    life.deleting = true;
    life.status.creation_date = Some("2020-01-01T00:00:00Z".into());
    life.step_connect();
    life.answer(origin("other", &life, true));
    assert_reason(&life.verdict(), Health::Stalled, Reason::AdoptionConflict);
    life.facts.learn(origin("hook", &life, true));
    life.try_release();
    assert_eq!(life.step(), Step::Delete(target_id("7")));
}

/// The claim of another target does not vouch for one that is older, unless the event store says what it announced.
#[test]
fn a_claim_vouches_for_its_own_time_and_name() {
    let mut life = Life::created();
    life.deleting = true;
    life.status.creation_date = Some("2020-01-01T00:00:00Z".into());
    life.step_connect();
    assert_eq!(life.step(), Step::Trace(target_id("7")));
    // Created by the service account before ours, as announced.
    life.answer(origin("HOOK", &life, false));
    life.try_release();
    assert_eq!(life.step(), Step::Delete(target_id("7")));
    life.facts.learn(origin("other", &life, false));
    assert_reason(&life.verdict(), Health::Stalled, Reason::AdoptionConflict);
}

#[test]
fn an_external_id_needs_no_claim_and_unreadable_events_no_answer() {
    let mut life = untitled();
    life.spec.external_id = Some("7".into());
    assert!(matches!(life.step(), Step::Update { .. }), "{:?}", life.step());

    let mut life = untitled();
    life.answer(Answer::Traced(Err(refused(403, 7, "AUTH-5mWD2"))));
    assert!(matches!(life.step(), Step::Update { .. }), "{:?}", life.step());
}
