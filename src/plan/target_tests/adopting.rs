//! Taking over by `externalId`, looking on with Observe, and those that may do neither.

use super::*;

fn external(id: &str) -> Life {
    let mut life = Life::new();
    life.spec.external_id = Some(id.into());
    life.step_connect();
    life
}

#[test]
fn an_external_id_is_taken_over_and_never_created() {
    let mut life = external("7");
    assert_eq!(life.step(), Step::Hold);
    life.answer(Answer::Done);
    assert_eq!(life.step(), Step::Read(target_id("7")));
    life.answer(Answer::Read(Ok(Some(Life::remote()))));
    let Step::Commit(candidate) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!(candidate.id, target_id("7"));
    life.answer(Answer::Committed(target_id("7")));
    let verdict = life.rest();
    assert_reason(&verdict, Health::Ready, Reason::Available);
    assert_eq!(verdict.note.unwrap().kind, crate::plan::NoteKind::Adopted);

    let mut life = external("7");
    life.answer(Answer::Done);
    life.answer(Answer::Read(Ok(None)));
    life.answer(Answer::Probed(Err(gone())));
    assert_reason(&life.verdict(), Health::Stalled, Reason::ExternallyDeleted);

    // Taken over, then deleted by somebody else: still not created.
    let mut life = Life::created();
    life.spec.external_id = Some("7".into());
    life.step_connect();
    life.answer(Answer::Read(Ok(None)));
    life.answer(Answer::Probed(Err(gone())));
    assert_reason(&life.verdict(), Health::Stalled, Reason::ExternallyDeleted);
}

#[test]
fn an_external_id_given_while_a_create_is_open_ends_the_creating() {
    let mut life = reopened(60);
    life.spec.external_id = Some("9".into());
    life.answer(Answer::Searched(Ok(vec![])));
    assert_eq!(life.step(), Step::DropClaim, "settled first, and then not created again");
    life.answer(Answer::Done);
    assert_eq!(life.step(), Step::Read(target_id("9")));
}

#[test]
fn an_external_id_that_contradicts_the_status_is_refused() {
    let mut life = Life::created();
    life.spec.external_id = Some("9".into());
    life.step_connect();
    assert_reason(&life.verdict(), Health::Stalled, Reason::AdoptionConflict);
}

#[test]
fn the_younger_of_two_holders_touches_nothing() {
    let mut life = Life::created();
    life.rival = Some(Rival::Elsewhere);
    life.spec.timeout = "3s".into();
    life.step_connect();
    assert_reason(&life.verdict(), Health::Stalled, Reason::AdoptionConflict);
    life.facts = Facts::default();
    (life.deleting, life.co_holder) = (true, Some(Rival::Elsewhere));
    assert_eq!(life.step(), Step::Release(Release::Retained));

    let mut life = external("7");
    life.rival = Some(Rival::Elsewhere);
    assert_reason(&life.verdict(), Health::Stalled, Reason::AdoptionConflict);
}

/// The next pass of an object whose namespace may not adopt.
fn forbidden(mut life: Life) -> Life {
    (life.facts, life.connection.adoption) = (Facts::default(), Adoption::NotAllowed);
    life.step_connect();
    life
}

#[test]
fn without_the_right_to_adopt_an_external_id_is_refused_and_touches_nothing() {
    for observed in [None, Some(ManagementPolicy::Observe)] {
        let mut life = forbidden(external("7"));
        life.spec.management_policy = observed;
        assert_reason(&life.verdict(), Health::Reconciling, Reason::ConnectionNotAllowed);
    }
    // The right is taken back from one that has adopted.
    let mut life = forbidden(external("7"));
    (life.status.id, life.finalized) = (Some("7".into()), true);
    assert_reason(&life.verdict(), Health::Reconciling, Reason::ConnectionNotAllowed);
    life.deleting = true;
    assert_reason(&life.verdict(), Health::Reconciling, Reason::ConnectionNotAllowed);
    assert!(life.verdict().message.starts_with("deletion waits"), "{}", life.verdict().message);
    life.spec.deletion_policy = Some(DeletionPolicy::Retain);
    assert_eq!(life.step(), Step::Release(Release::Retained));
}

#[test]
fn what_an_object_made_itself_needs_no_right_to_adopt() {
    let mut life = forbidden(Life::created());
    assert_eq!(life.step(), Step::Read(target_id("7")));
    // It asks for another one: that is refused, and yet its own goes with it.
    life.spec.external_id = Some("8".into());
    assert_reason(&life.verdict(), Health::Reconciling, Reason::ConnectionNotAllowed);
    life.deleting = true;
    assert_eq!(life.step(), Step::TryRelease);
    life.answer(Answer::Releasable);
    assert_eq!(life.step(), Step::Delete(target_id("7")));
}

#[test]
fn observe_never_writes() {
    let observed = || {
        let mut life = external("7");
        life.spec.management_policy = Some(ManagementPolicy::Observe);
        life
    };
    let mut life = observed();
    assert_eq!(life.step(), Step::Read(target_id("7")), "not even a finalizer is needed");
    let remote = RemoteTarget { timeout: Duration::from_secs(99), ..Life::remote() };
    life.answer(Answer::Read(Ok(Some(remote.clone()))));
    life.answer(Answer::Committed(target_id("7")));
    life.answer(Answer::Read(Ok(Some(remote))));
    let verdict = life.rest();
    assert_reason(&verdict, Health::Stalled, Reason::Drifted);
    assert!(verdict.message.contains("timeout"));
    life.deleting = true;
    life.finalized = true;
    assert_eq!(life.step(), Step::Release(Release::Retained));

    let mut life = observed();
    life.answer(Answer::Read(Ok(None)));
    assert_reason(&life.verdict(), Health::Stalled, Reason::ExternallyDeleted);
}
