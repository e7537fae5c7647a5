//! Suspension, deletion in every state, and what others wrote.

use super::*;

#[test]
fn suspend_asks_nothing() {
    let mut life = Life::created();
    life.spec.suspend = Some(true);
    assert_reason(&life.verdict(), Health::Idle, Reason::Suspended);
    life.deleting = true;
    assert_reason(&life.verdict(), Health::Idle, Reason::Suspended);
}

#[test]
fn deletion_in_every_state() {
    // Somebody else's finalizer keeps it: none of our business.
    let mut life = Life::new();
    life.deleting = true;
    assert_eq!(life.step(), Step::Ignore);

    // Never claimed.
    life.finalized = true;
    assert_eq!(life.step(), Step::Release(Release::NothingRemote));

    // Known.
    let mut life = Life::created();
    life.deleting = true;
    life.step_connect();
    life.try_release();
    assert_eq!(life.step(), Step::Delete(target_id("7")));
    life.answer(Answer::Deleted(Ok(())));
    assert_eq!(life.step(), Step::Release(Release::Deleted));

    // Retained: no call, even with a broken connection.
    let mut life = Life::created();
    life.deleting = true;
    life.spec.deletion_policy = Some(DeletionPolicy::Retain);
    assert_eq!(life.step(), Step::Release(Release::Retained));

    // Failing: it stays, and says so.
    let mut life = Life::created();
    life.deleting = true;
    life.step_connect();
    life.answer(Answer::Deleted(Err(Error::NoAnswer("timed out".into()))));
    let verdict = life.verdict();
    assert_reason(&verdict, Health::Reconciling, Reason::ZitadelUnavailable);
    assert!(verdict.message.starts_with("deletion waits: "));
}

#[test]
fn deletion_settles_an_open_claim() {
    let mut life = reopened(1);
    life.deleting = true;
    let found = life.candidate("7", 1);
    assert!(matches!(life.step(), Step::Search { .. }));
    life.answer(Answer::Searched(Ok(vec![found])));
    life.answer(Answer::Others(vec![]));
    life.try_release();
    assert_eq!(life.step(), Step::Delete(target_id("7")));
    life.answer(Answer::Deleted(Ok(())));
    assert_eq!(life.step(), Step::Release(Release::Deleted));

    let mut life = reopened(10);
    life.deleting = true;
    life.answer(Answer::Searched(Ok(vec![])));
    assert_reason(&life.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
    life.later(30);
    assert_eq!(life.step(), Step::LookUp("hook".parse().unwrap()), "the event store may hide it");
    life.answer(Answer::LookedUp(Ok(None)));
    assert_reason(&life.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
    life.later(60);
    assert_eq!(life.step(), Step::Release(Release::NothingRemote), "the read side would show it by now");
}

/// What another live Target records stays, whoever is older.
#[test]
fn deletion_leaves_what_another_target_records() {
    let mut life = Life::created();
    life.deleting = true;
    life.co_holder = Some(Rival::Neighbour("other".into()));
    assert_eq!(life.step(), Step::Release(Release::Retained));
}

/// Two that record one target and go at once do not leave it to each other.
#[test]
fn a_rival_that_is_being_deleted_as_well_keeps_nothing() {
    let mut life = Life::created();
    life.deleting = true;
    life.rival = Some(Rival::Neighbour("older".into()));
    life.step_connect();
    life.try_release();
    assert_eq!(life.step(), Step::Delete(target_id("7")));
}

#[test]
fn deletion_waits_for_a_holder_of_the_name_that_may_be_our_own_create() {
    let open = |answer: Answer| {
        let mut life = reopened(60);
        life.deleting = true;
        life.answer(Answer::Searched(Ok(vec![])));
        let shown = life.candidate("7", 50);
        life.answer(Answer::LookedUp(Ok(Some(shown))));
        life.answer(Answer::Others(vec![]));
        assert_eq!(life.step(), Step::Trace(target_id("7")));
        life.answer(answer);
        life
    };
    let hidden = open(Answer::Traced(Ok(None)));
    assert_reason(&hidden.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
    assert!(hidden.verdict().message.contains("target 7 has the name"), "{}", hidden.verdict().message);
    let origin =
        |ours, age| crate::plan::custody::Origin { name: "hook".into(), date: before_noon(age), ours, posted: None };
    let foreign = open(Answer::Traced(Ok(Some(origin(false, -1)))));
    assert_eq!(foreign.step(), Step::Release(Release::NothingRemote));
    let older = open(Answer::Traced(Ok(Some(origin(true, 40)))));
    assert_eq!(older.step(), Step::Release(Release::NothingRemote));
}

#[test]
fn a_status_or_claim_that_somebody_forged_is_not_believed() {
    let mut life = Life::new();
    life.status.id = Some("../../admin".into());
    life.claim = ClaimState::Unreadable;
    life.step_connect();
    assert!(matches!(life.step(), Step::Claim(_)), "an id that is none is none: {:?}", life.step());

    let mut life = Life::new();
    let broken = Claim::new("", noon());
    life.claim = ClaimState::Held(broken);
    life.step_connect();
    assert_eq!(life.step(), Step::DropClaim);
}

#[test]
fn a_lost_finalizer_is_put_back_first() {
    let mut life = Life::created();
    life.finalized = false;
    life.step_connect();
    assert_eq!(life.step(), Step::Hold);
    life.answer(Answer::Done);
    assert_eq!(life.step(), Step::Read(target_id("7")));
}

#[test]
fn the_end_of_the_definition_is_like_retain() {
    let mut life = Life::created();
    life.deleting = true;
    life.crd = Crd::Deleting;
    assert_eq!(life.step(), Step::Release(Release::Retained));
}

#[test]
fn while_nobody_can_read_the_crd_deletion_waits_and_touches_nothing() {
    let mut life = Life::created();
    (life.deleting, life.crd) = (true, Crd::Unreadable);
    let verdict = life.verdict();
    assert_reason(&verdict, Health::Stalled, Reason::ClusterAccessDenied);
    assert!(verdict.message.starts_with("deletion waits: ") && verdict.message.contains("customresourcedefinitions"));
    // Nothing would be deleted in ZITADEL in any case.
    life.spec.deletion_policy = Some(DeletionPolicy::Retain);
    assert_eq!(life.step(), Step::Release(Release::Retained));
    let mut life = Life::new();
    (life.deleting, life.finalized, life.crd) = (true, true, Crd::Unreadable);
    assert_eq!(life.step(), Step::Release(Release::NothingRemote));
}

#[test]
fn a_refused_write_is_reported_with_the_api_servers_words() {
    let mut life = Life::created();
    life.deleting = true;
    life.step_connect();
    assert_eq!(life.step(), Step::TryRelease);
    let told = |life: &Life| crate::plan::refusal::write_refused(life.deleting, &life.facts, "policy x says no");
    let verdict = told(&life);
    assert_reason(&verdict, Health::Stalled, Reason::ClusterAccessDenied);
    assert!(verdict.message.contains("ZITADEL is not touched") && verdict.message.ends_with("policy x says no"));
    life.answer(Answer::Releasable);
    life.answer(Answer::Deleted(Ok(())));
    assert!(told(&life).message.starts_with("the target is deleted in ZITADEL"));
    life.deleting = false;
    assert!(told(&life).message.contains("has to make"));
}
