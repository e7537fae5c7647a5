//! What an answer to a create proves, and what the silence of the event store does not.

use super::*;
use crate::api::claim::{Posted, PostedKind};
use crate::plan::custody::Origin;
use rstest::rstest;

/// A first create that met a taken name, whose search has shown nothing.
fn refused_and_unfound() -> Life {
    let mut life = Life::new();
    life.step_connect();
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(taken()));
    life.answer(Answer::Searched(Ok(vec![])));
    life
}

fn posted(endpoint: &str) -> Posted {
    let endpoint = endpoint.to_owned();
    Posted { kind: PostedKind::RestWebhook, interrupt_on_error: true, timeout_nanos: 10_000_000_000, endpoint }
}

/// A response execution fails a call that has been carried out (run on v2.58.7 to v4.13.1).
#[rstest]
#[case(400, 9, "EXEC-dra6yamk98")]
#[case(401, 16, "EXEC-reUaUZCzCp")]
#[case(403, 7, "EXEC-reUaUZCzCp")]
#[case(404, 5, "EXEC-reUaUZCzCp")]
#[case(409, 6, "EXEC-reUaUZCzCp")]
fn an_answer_of_an_execution_leaves_the_outcome_open(#[case] status: u16, #[case] code: i64, #[case] id: &str) {
    let mut life = Life::new();
    life.step_connect();
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(refused(status, code, id)));
    let verdict = life.rest();
    assert_reason(&verdict, Health::Reconciling, Reason::CreateOutcomeUnknown);
    assert!(verdict.message.contains("until 2026-11-24T12:00:35Z"), "{}", verdict.message);
    assert!(matches!(life.claim, ClaimState::Held(_)));
}

#[test]
fn a_name_that_was_there_before_is_taken() {
    let mut life = refused_and_unfound();
    assert!(matches!(life.step(), Step::LookUp(_)), "{:?}", life.step());
    let older = life.candidate("8", 31);
    life.answer(Answer::LookedUp(Ok(Some(older))));
    assert_eq!(life.step(), Step::DropClaim, "nobody else has to be asked");
    life.answer(Answer::Done);
    life.answer(Answer::NameHolder(None));
    assert_reason(&life.verdict(), Health::Stalled, Reason::NameTaken);
}

#[test]
fn a_hidden_create_keeps_its_claim_until_it_appears() {
    // Open transactions on 2.x hide the event, not the target.
    let mut life = refused_and_unfound();
    let shown = life.candidate("7", 0);
    life.answer(Answer::LookedUp(Ok(Some(shown.clone()))));
    life.answer(Answer::Others(vec![]));
    assert_eq!(life.step(), Step::Trace(target_id("7")));
    life.answer(Answer::Traced(Ok(None)));
    let verdict = life.rest();
    assert_reason(&verdict, Health::Reconciling, Reason::CreateOutcomeUnknown);
    // The read side is late as well.
    let mut later = refused_and_unfound();
    later.answer(Answer::LookedUp(Ok(None)));
    assert_reason(&later.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
    // Then it appears.
    life.later(60);
    life.step_connect();
    life.answer(Answer::Searched(Ok(vec![shown.clone()])));
    life.answer(Answer::Others(vec![]));
    assert_eq!(life.step(), Step::Commit(shown));
}

#[test]
fn before_a_create_is_repeated_the_holder_of_the_name_is_looked_up() {
    let mut life = reopened(60);
    life.answer(Answer::Searched(Ok(vec![])));
    let shown = life.candidate("7", 50);
    life.answer(Answer::LookedUp(Ok(Some(shown))));
    life.answer(Answer::Others(vec![]));
    life.answer(Answer::Traced(Ok(None)));
    assert_reason(&life.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
}

/// The first create was carried out while an open transaction hid events; the second one met a server that was down.
#[test]
fn a_second_create_that_is_refused_does_not_end_the_claim_of_the_first() {
    let mut life = reopened(60);
    life.answer(Answer::Searched(Ok(vec![])));
    life.answer(Answer::LookedUp(Ok(None)));
    assert!(matches!(life.step(), Step::Claim(_)), "{:?}", life.step());
    life.answer(Answer::Claimed);
    assert!(matches!(life.step(), Step::Create(_)), "{:?}", life.step());
    life.answer(Answer::CreateFailed(Error::Connect("connection refused".into())));
    assert_reason(&life.rest(), Health::Reconciling, Reason::ZitadelUnavailable);
    life.step_connect();
    let first = life.candidate("7", 50);
    life.answer(Answer::Searched(Ok(vec![first.clone()])));
    life.answer(Answer::Others(vec![]));
    assert_eq!(life.step(), Step::Commit(first));
}

#[test]
fn another_payload_under_our_account_is_a_strangers() {
    let mut life = reopened(60);
    let mut found = life.candidate("7", 50);
    found.posted = Some(posted("https://elsewhere"));
    life.answer(Answer::Searched(Ok(vec![found.clone()])));
    assert!(matches!(life.step(), Step::LookUp(_)), "not ours: {:?}", life.step());
    life.answer(Answer::LookedUp(Ok(Some(found))));
    assert_eq!(life.step(), Step::DropClaim);

    let mut life = reopened(60);
    let mut found = life.candidate("7", 50);
    found.posted = Some(posted("https://h/x"));
    life.answer(Answer::Searched(Ok(vec![found.clone()])));
    life.answer(Answer::Others(vec![]));
    assert_eq!(life.step(), Step::Commit(found));
}

/// The spec may change while a create has no answer; both payloads are ours.
#[test]
fn what_an_earlier_create_of_the_claim_posted_is_ours_too() {
    let mut life = reopened(60);
    life.spec.endpoint = "https://h/new".into();
    life.answer(Answer::Searched(Ok(vec![])));
    life.answer(Answer::LookedUp(Ok(None)));
    let Step::Claim(claim) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!(claim.posted, [posted("https://h/x"), posted("https://h/new")]);
    assert_eq!(claim.after, Some(latest()));
}

#[test]
fn with_a_shared_account_a_taken_name_is_somebody_elses() {
    let mut life = Life::new();
    life.connection.account = Account::Shared;
    life.step_connect();
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(taken()));
    assert_eq!(life.step(), Step::DropClaim);
}

#[test]
fn a_find_that_may_be_from_before_the_claim_is_neither_taken_nor_forgotten() {
    // Within the step that a database clock may make; nothing says whether the create was carried out.
    let mut life = reopened(60);
    let doubtful = life.candidate("7", 92);
    life.answer(Answer::Searched(Ok(vec![doubtful])));
    life.answer(Answer::Others(vec![]));
    assert_reason(&life.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
    assert!(life.verdict().message.contains("spec.externalId to 7"), "{}", life.verdict().message);
    life.spec.external_id = Some("7".into());
    assert_eq!(life.step(), Step::DropClaim, "a person has decided");
    life.answer(Answer::Done);
    assert_eq!(life.step(), Step::Read(target_id("7")));
    // What had events before the claim is not its create, whatever the clock did.
    let mut life = reopened(60);
    let known = life.candidate("5", 92);
    life.answer(Answer::Searched(Ok(vec![known.clone()])));
    life.answer(Answer::Others(vec![]));
    life.answer(Answer::LookedUp(Ok(Some(known))));
    assert_eq!(life.step(), Step::DropClaim);
}

#[test]
fn a_bound_lists_what_a_clock_step_may_confuse_unless_that_is_too_much() {
    let event = |id: &str, second: i64| crate::zitadel::events::TargetEvent {
        id: target_id(id),
        kind: crate::zitadel::events::EventKind::Changed,
        sequence: 1,
        date: before_noon(second),
        editor: None,
        owner: None,
    };
    let few = Bound::of(&[event("9", 0), event("8", 1), event("9", 2), event("7", 5)]);
    assert_eq!(few, bound(noon(), &["8", "9"]));
    let burst: Vec<_> = (0..Bound::ASKED).map(|id| event(&id.to_string(), 1)).collect();
    assert_eq!(Bound::of(&burst), Bound { newest: before_noon(1), recent: None });
    let mut ended = burst;
    ended[Bound::ASKED - 1].date = before_noon(60);
    assert_eq!(Bound::of(&ended).recent.map(|ids| ids.len()), Some(Bound::ASKED - 1));
}

#[test]
fn a_claim_from_the_future_counts_as_made_now() {
    let mut life = reopened(0);
    let ClaimState::Held(claim) = &mut life.claim else { panic!("a claim") };
    claim.time = "2099-01-01T00:00:00Z".parse().unwrap();
    let Step::Redate(again) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!((again.time, again.since, again.after), (life.now, noon(), Some(latest())));
}

#[test]
fn a_forged_claim_of_another_target_does_not_stop_recovery() {
    for (time, older) in
        [("2099-01-01T00:00:00Z", true), ("2099-01-01T00:00:00Z", false), ("2026-11-24T10:00:00Z", true)]
    {
        let mut life = reopened(5);
        let found = life.candidate("7", 1);
        life.answer(Answer::Searched(Ok(vec![found.clone()])));
        let claim = Claim { after: Some(Timestamp::UNIX_EPOCH), ..Claim::new("hook", time.parse().unwrap()) };
        life.answer(Answer::Others(vec![Other { holds: None, claim: Some(claim), older }]));
        assert_eq!(life.step(), Step::Commit(found), "{time} {older}");
    }
}

/// A claim can be written by whoever may edit the object; it finds targets by name.
#[test]
fn a_claim_older_than_its_object_needs_the_right_to_adopt() {
    for (adoption, taken) in [(Adoption::Allowed, true), (Adoption::NotAllowed, false)] {
        let mut life = Life::new();
        life.connection.adoption = adoption;
        let claim = Claim { after: Some(Timestamp::UNIX_EPOCH), ..Claim::new("hook", before_noon(4000)) };
        (life.claim, life.finalized) = (ClaimState::Held(claim), true);
        life.step_connect();
        let found = life.candidate("7", 3600);
        life.answer(Answer::Searched(Ok(vec![found.clone()])));
        life.answer(Answer::Others(vec![]));
        if taken {
            assert_eq!(life.step(), Step::Commit(found));
            continue;
        }
        assert_reason(&life.verdict(), Health::Reconciling, Reason::ConnectionNotAllowed);
        life.deleting = true;
        assert_eq!(life.step(), Step::Release(Release::Retained));
    }
}

#[test]
fn an_event_store_in_trouble_is_waited_for_and_then_done_without() {
    let broken = || Answer::Searched(Err(refused(500, 13, "x")));
    let mut life = reopened(90);
    life.answer(broken());
    assert_reason(&life.verdict(), Health::Reconciling, Reason::ZitadelUnavailable);
    let mut life = reopened(96);
    life.answer(broken());
    assert!(matches!(life.step(), Step::LookUp(_)), "{:?}", life.step());
}

/// Audit-log retention hides creations of targets that are there.
#[test]
fn an_empty_history_vouches_for_nothing_that_is_shown() {
    let edit = |view: Answer| {
        let mut life = Life::created();
        life.claim = ClaimState::Absent;
        life.deleting = true;
        life.step_connect();
        life.answer(Answer::Traced(Ok(None)));
        assert_eq!(life.step(), Step::Read(target_id("7")));
        life.answer(view);
        life
    };
    let shown = edit(Answer::Read(Ok(Some(Life::remote()))));
    assert_reason(&shown.verdict(), Health::Stalled, Reason::AdoptionConflict);
    let mut unseen = edit(Answer::Read(Ok(None)));
    assert_eq!(unseen.step(), Step::TryRelease);
    unseen.answer(Answer::Releasable);
    assert_eq!(unseen.step(), Step::Delete(target_id("7")), "what was never created cannot be harmed");
    let origin = Origin { name: "hook".into(), date: noon(), ours: true, posted: None };
    let mut known = Life::created();
    known.claim = ClaimState::Absent;
    known.deleting = true;
    known.step_connect();
    known.answer(Answer::Traced(Ok(Some(origin))));
    assert_eq!(known.step(), Step::TryRelease);
    known.answer(Answer::Releasable);
    assert_eq!(known.step(), Step::Delete(target_id("7")));
}
