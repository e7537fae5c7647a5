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
    life.learn_bound();
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
    life.learn_bound();
    assert!(matches!(life.step(), Step::Claim(_)));
    life.answer(Answer::Claimed);
    let Step::Create(config) = life.step() else { panic!("{:?}", life.step()) };
    life.created_as("8", &config);
    assert_reason(&life.rest(), Health::Ready, Reason::Available);
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

/// A target that was created long ago and that the read side does not show.
fn ghost() -> Life {
    let mut life = Life::created();
    life.later(600);
    life.step_connect();
    life.answer(Answer::Read(Ok(None)));
    life.answer(Answer::Probed(Ok(Version::default())));
    life
}

/// The second look at a ghost, which was told at the first one.
fn told_ghost() -> Life {
    let mut life = ghost();
    assert_reason(&life.rest(), Health::Reconciling, Reason::NotProjected);
    life.step_connect();
    life.answer(Answer::Read(Ok(None)));
    life.answer(Answer::Probed(Ok(Version::default())));
    assert_eq!(life.step(), Step::Survey);
    life
}

#[test]
fn a_ghost_is_replaced_once_the_read_side_shows_something_newer() {
    let mut life = told_ghost();
    let newer = life.now;
    life.answer(Answer::Surveyed(Some(newer)));
    assert_eq!(life.step(), Step::Delete(target_id("7")));
    life.answer(Answer::Deleted(Ok(())));
    life.learn_bound();
    let Step::Claim(claim) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!((claim.replaces.as_deref(), claim.repairs), (Some("7"), 1));
    life.answer(Answer::Claimed);
    let Step::Create(config) = life.step() else { panic!("{:?}", life.step()) };
    life.created_as("8", &config);
    assert_reason(&life.rest(), Health::Ready, Reason::Available);

    // Its replacement is a ghost too: not again.
    life.later(600);
    for _ in 0..2 {
        life.step_connect();
        life.answer(Answer::Read(Ok(None)));
        life.answer(Answer::Probed(Ok(Version::default())));
        let verdict = life.rest();
        assert_eq!(verdict.reason, Reason::NotProjected);
    }
    assert!(life.status.conditions.iter().any(|condition| condition.type_ == "Stalled"));
}

#[test]
fn a_projection_that_is_being_rebuilt_makes_no_ghosts() {
    for shown in [None, Some(noon())] {
        let mut life = told_ghost();
        life.answer(Answer::Surveyed(shown));
        assert_reason(&life.verdict(), Health::Reconciling, Reason::NotProjected);
    }
}

#[test]
fn the_next_pass_knows_what_the_last_one_wrote() {
    let mut life = Life::created();
    life.spec.timeout = "3s".into();
    let written = Version { sequence: Some(2), changed: None };
    life.facts = Facts::resume(Some(written));
    life.status.conditions.clear(); // the last pass ended in Verifying
    life.step_connect();
    life.answer(Answer::Read(Ok(Some(Life::remote()))));
    assert_eq!(life.step(), Step::Probe(target_id("7")), "an older view is not written against");
    life.answer(Answer::Probed(Ok(Version { sequence: Some(2), changed: None })));
    assert!(matches!(life.step(), Step::Wait(_)), "the read side is late: {:?}", life.step());
}

/// A target that is known to have had a second event, and is shown as it was before it.
fn shown_as_it_was() -> Life {
    let mut life = Life::created();
    life.status.sequence = Some("2".into());
    life.step_connect();
    life.answer(Answer::Read(Ok(Some(Life::remote()))));
    assert_eq!(life.step(), Step::Probe(target_id("7")), "the write side decides");
    life
}

#[test]
fn a_late_read_side_changes_nothing() {
    let mut life = shown_as_it_was();
    life.answer(Answer::Probed(Ok(Version { sequence: Some(2), changed: Some(life.now) })));
    let before = life.status.clone();
    assert_reason(&life.rest(), Health::Ready, Reason::Available);
    assert_eq!(life.status, before);
}

#[test]
fn a_database_that_was_put_back_is_believed() {
    // It holds what the spec says all the same.
    let mut life = shown_as_it_was();
    life.answer(Answer::Probed(Ok(Life::remote().version)));
    assert_reason(&life.rest(), Health::Ready, Reason::Available);
    assert_eq!(life.status.sequence.as_deref(), Some("1"));
    // It holds something older.
    let mut life = shown_as_it_was();
    life.spec.timeout = "3s".into();
    life.answer(Answer::Probed(Ok(Life::remote().version)));
    assert!(matches!(life.step(), Step::Update { .. }), "{:?}", life.step());
    // It never had the target.
    let mut life = shown_as_it_was();
    life.answer(Answer::Probed(Err(gone())));
    life.learn_bound();
    assert!(matches!(life.step(), Step::Claim(_)), "{:?}", life.step());
}

#[test]
fn a_write_that_a_restore_took_away_is_written_again() {
    let mut life = Life::created();
    life.spec.timeout = "3s".into();
    life.facts = Facts::resume(Some(Version { sequence: Some(2), changed: None }));
    life.status.conditions.clear(); // the last pass ended in Verifying
    life.step_connect();
    life.answer(Answer::Read(Ok(Some(Life::remote()))));
    life.answer(Answer::Probed(Ok(Life::remote().version)));
    assert!(matches!(life.step(), Step::Update { .. }), "{:?}", life.step());
}

#[test]
fn a_new_spec_that_changes_nothing_is_proved_on_the_write_side() {
    let first_look = || {
        let mut life = Life::created();
        life.status.observed_generation = Some(0);
        life.status.conditions.clear(); // they are of an older generation
        life.step_connect();
        life.answer(Answer::Read(Ok(Some(Life::remote()))));
        assert_eq!(life.step(), Step::Probe(target_id("7")));
        life
    };
    // It holds what the view shows.
    let mut life = first_look();
    life.answer(Answer::Probed(Ok(Life::remote().version)));
    assert_reason(&life.verdict(), Health::Ready, Reason::Available);
    // It holds something newer: an update of an earlier life, whose answer nobody recorded.
    let mut life = first_look();
    let newer = Version { sequence: Some(2), changed: Some(life.now) };
    life.answer(Answer::Probed(Ok(newer.clone())));
    assert!(matches!(life.step(), Step::Wait(_)), "{:?}", life.step());
    life.facts.waited();
    let mut remote = Life::remote();
    remote.version = newer;
    remote.timeout = Duration::from_secs(1);
    life.answer(Answer::Read(Ok(Some(remote))));
    assert!(matches!(life.step(), Step::Update { .. }), "{:?}", life.step());
    // It holds nothing.
    let mut life = first_look();
    life.answer(Answer::Probed(Err(gone())));
    life.learn_bound();
    let Step::Claim(claim) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!(claim.replaces.as_deref(), Some("7"));
}

#[test]
fn what_was_known_of_a_former_target_says_nothing_of_the_one_that_was_found() {
    let mut life = reopened(1);
    life.facts = Facts::resume(Some(Version { sequence: Some(9), changed: None }));
    life.step_connect();
    let found = life.candidate("7", 1);
    life.answer(Answer::Searched(Ok(vec![found])));
    life.answer(Answer::Others(vec![]));
    life.answer(Answer::Committed(target_id("7")));
    let mut remote = Life::remote();
    remote.version.changed = Some(life.now);
    life.answer(Answer::Read(Ok(Some(remote))));
    assert_reason(&life.verdict(), Health::Ready, Reason::Available);
}

/// An open transaction (2.x) or audit-log retention hides what changed the target last, and shows what did before.
#[test]
fn a_sequence_of_an_older_state_is_not_recorded() {
    let mut life = Life::new();
    life.api = Api::V2;
    life.step_connect();
    life.answer(Answer::Claimed);
    let Step::Create(config) = life.step() else { panic!() };
    life.created_as("7", &config);
    let first = Newest { sequence: 1, date: noon(), owner: Some("i1".into()) };
    life.answer(Answer::History(Ok(Some(first.clone()))));
    life.rest();
    assert_eq!(life.status.sequence.as_deref(), Some("1"));

    // It was changed, and the event store shows the creation as the newest event.
    let mut remote = Life::remote();
    remote.version =
        Version { sequence: None, changed: Some(noon().checked_add(SignedDuration::from_secs(9)).unwrap()) };
    life.later(10);
    let look = |life: &mut Life, newest: Newest| {
        life.step_connect();
        life.answer(Answer::Read(Ok(Some(remote.clone()))));
        assert_eq!(life.step(), Step::History(target_id("7")));
        life.answer(Answer::History(Ok(Some(newest))));
        assert_reason(&life.rest(), Health::Ready, Reason::Available);
    };
    look(&mut life, first.clone());
    assert_eq!(life.status.sequence, None, "better none than one of an older state");
    look(&mut life, Newest { sequence: 2, date: remote.version.changed.unwrap(), ..first });
    assert_eq!(life.status.sequence.as_deref(), Some("2"));
}
