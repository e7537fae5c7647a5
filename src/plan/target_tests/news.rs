//! What is told of a change: whether a new spec was carried out, or what somebody else did was undone.

use super::*;
use crate::plan::{Note, NoteKind};

/// One event newer than what status records of [`Life::created`].
fn newer() -> Version {
    Version { sequence: Some(2), changed: None }
}

/// What ZITADEL shows in this version, with another timeout than the spec's.
fn other_timeout(version: Version) -> RemoteTarget {
    RemoteTarget { timeout: Duration::from_secs(99), version, ..Life::remote() }
}

/// A pass that finds this, and whose change of it ZITADEL does not take.
fn fails(life: &mut Life, found: &RemoteTarget) {
    life.step_connect();
    life.answer(Answer::Read(Ok(Some(found.clone()))));
    let Step::Update { change, .. } = life.step() else { panic!("{:?}", life.step()) };
    life.answer(Answer::Updated(change, false, Err(refused(503, 14, "down"))));
    assert_reason(&life.rest(), Health::Reconciling, Reason::ZitadelUnavailable);
}

/// A pass that finds this and changes it; returns what it tells.
fn succeeds(life: &mut Life, found: &RemoteTarget) -> Note {
    life.step_connect();
    life.answer(Answer::Read(Ok(Some(found.clone()))));
    let Step::Update { change, .. } = life.step() else { panic!("{:?}", life.step()) };
    let written = Version { sequence: found.version.sequence.map(|sequence| sequence + 1), changed: None };
    life.answer(Answer::Updated(change, false, Ok(written.clone())));
    life.answer(Answer::Read(Ok(Some(RemoteTarget { version: written, ..Life::remote() }))));
    let verdict = life.rest();
    assert_reason(&verdict, Health::Ready, Reason::Available);
    verdict.note.expect("a change is told")
}

#[test]
fn an_edit_is_told_as_one_however_often_it_failed() {
    let mut life = Life::created();
    life.status.observed_generation = Some(0);
    life.status.conditions.clear(); // they are of an older generation
    let found = other_timeout(Life::remote().version);
    fails(&mut life, &found);
    fails(&mut life, &found);
    let note = succeeds(&mut life, &found);
    assert_eq!((note.kind, note.text.as_str()), (NoteKind::Updated, "changed target 7: timeout"));
}

#[test]
fn what_somebody_else_did_is_told_as_that_however_often_the_correction_failed() {
    let drifted = other_timeout(newer());
    let mut life = Life::created();
    assert_eq!(succeeds(&mut life, &drifted).kind, NoteKind::DriftCorrected);
    let mut life = Life::created();
    fails(&mut life, &drifted);
    fails(&mut life, &drifted);
    let note = succeeds(&mut life, &drifted);
    let text = "target 7 differed from spec and was changed back: timeout";
    assert_eq!((note.kind, note.text.as_str()), (NoteKind::DriftCorrected, text));
}

/// A server may show more than its former release did, or have been put back.
#[test]
fn what_was_called_equal_and_differs_is_drift_without_an_event_too() {
    let mut life = Life::created();
    assert_eq!(succeeds(&mut life, &other_timeout(Life::remote().version)).kind, NoteKind::DriftCorrected);
}

/// The first of two steps of an edit was taken before the second one failed.
#[test]
fn what_an_earlier_pass_wrote_is_not_somebody_elses() {
    let mut life = Life::created();
    life.status.observed_generation = Some(0);
    life.status.conditions.clear(); // they are of an older generation
    fails(&mut life, &other_timeout(Life::remote().version));
    life.facts = Facts::resume(Some(newer()));
    assert_eq!(succeeds(&mut life, &other_timeout(newer())).kind, NoteKind::Updated);
}
