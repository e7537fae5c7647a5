//! From a claim to a committed id, and every way in which that can go wrong.

use rstest::rstest;

use super::*;

#[test]
fn claim_create_commit() {
    let mut life = Life::new();
    life.step_connect();
    let Step::Claim(claim) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!((claim.name.as_str(), claim.since, claim.time), ("hook", noon(), noon()));
    assert_eq!((claim.instance.as_deref(), claim.replaces), (Some("i1"), None));
    life.answer(Answer::Claimed);
    let Step::Create(config) = life.step() else { panic!("{:?}", life.step()) };
    life.created_as("7", &config);
    let verdict = life.rest();
    assert_reason(&verdict, Health::Ready, Reason::Available);
    assert_eq!(life.status.id.as_deref(), Some("7"));
    assert_eq!(life.status.sequence.as_deref(), Some("1"));
}

#[test]
fn without_a_sequence_in_the_answer_the_event_store_is_asked() {
    let mut life = Life::new();
    life.api = Api::V2;
    life.step_connect();
    life.answer(Answer::Claimed);
    let Step::Create(config) = life.step() else { panic!() };
    life.created_as("7", &config);
    assert_eq!(life.step(), Step::History(target_id("7")));
    let newest = Newest { sequence: 1, date: noon(), owner: Some("i1".into()) };
    life.answer(Answer::History(Ok(Some(newest))));
    life.rest();
    assert_eq!(life.status.sequence.as_deref(), Some("1"));
    assert_eq!(life.status.resource_owner.as_deref(), Some("i1"));

    // Without the right to read events everything else works.
    let mut life = Life::new();
    life.api = Api::V2;
    life.step_connect();
    life.answer(Answer::Claimed);
    let Step::Create(config) = life.step() else { panic!() };
    life.created_as("7", &config);
    life.answer(Answer::History(Err(refused(403, 7, "AUTH-5mWD2"))));
    assert_reason(&life.rest(), Health::Ready, Reason::Available);
    assert_eq!(life.status.sequence, None);
}

#[test]
fn a_refused_create_drops_its_claim_and_shows_why() {
    for (error, health, reason) in [
        (taken(), Health::Stalled, Reason::NameTaken),
        (refused(400, 3, "COMMAND-NcJUKo"), Health::Reconciling, Reason::EndpointDenied),
        (refused(403, 7, "AUTH-5mWD2"), Health::Reconciling, Reason::PermissionDenied),
        (Error::Connect("refused".into()), Health::Reconciling, Reason::ZitadelUnavailable),
    ] {
        let mut life = Life::new();
        life.step_connect();
        life.answer(Answer::Claimed);
        life.answer(Answer::CreateFailed(error));
        assert_eq!(life.step(), Step::DropClaim);
        life.answer(Answer::Done);
        assert_reason(&life.verdict(), health, reason);
    }
}

#[test]
fn a_create_without_an_answer_keeps_its_claim_and_is_never_repeated_in_its_pass() {
    for error in [
        Error::NoAnswer("timed out".into()),
        Error::Unreadable { status: 201, what: "cut".into() },
        refused(503, 14, "x"),
    ] {
        let mut life = Life::new();
        life.step_connect();
        life.answer(Answer::Claimed);
        life.answer(Answer::CreateFailed(error));
        assert_reason(&life.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
    }
}

#[test]
fn an_old_claim_is_settled_before_anything_else() {
    let mut life = reopened(1);
    let since = noon().checked_sub(SignedDuration::from_mins(2)).unwrap();
    assert_eq!(life.step(), Step::Search { name: "hook".parse().unwrap(), since });
    let found = life.candidate("7", 1);
    life.answer(Answer::Searched(Ok(vec![found.clone()])));
    assert_eq!(life.step(), Step::AskOthers);
    life.answer(Answer::Others(vec![holder("8")]));
    assert_eq!(life.step(), Step::Commit(found));
    life.answer(Answer::Committed(target_id("7")));
    assert_eq!(life.step(), Step::Read(target_id("7")), "what was found is read before it is called Ready");
}

#[test]
fn a_target_of_another_object_is_not_a_candidate() {
    let mut life = reopened(1);
    let held = life.candidate("7", 1);
    life.answer(Answer::Searched(Ok(vec![held])));
    life.answer(Answer::Others(vec![holder("7")]));
    assert_reason(&life.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
}

#[rstest]
#[case(0, false)]
#[case(34, false)]
#[case(35, true)]
#[case(-300, false)] // a clock that ran backwards: wait the whole time
fn an_absent_create_is_repeated_only_when_its_request_is_dead(#[case] age: i64, #[case] again: bool) {
    let mut life = reopened(age);
    life.answer(Answer::Searched(Ok(vec![])));
    match life.step() {
        Step::Claim(claim) => {
            assert!(again);
            assert_eq!((claim.since, claim.time), (noon(), life.now), "a late answer to the first is still found");
        }
        Step::Finish(verdict) => {
            assert!(!again);
            assert_reason(&verdict, Health::Reconciling, Reason::CreateOutcomeUnknown);
        }
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_repeated_create_that_meets_its_own_predecessor_finds_it() {
    let mut life = reopened(60);
    life.answer(Answer::Searched(Ok(vec![])));
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(taken()));
    assert!(matches!(life.step(), Step::Search { .. }), "not taken for somebody else's: {:?}", life.step());
    let late = life.candidate("7", 5);
    life.answer(Answer::Searched(Ok(vec![late.clone()])));
    assert_eq!(life.step(), Step::AskOthers);
    life.answer(Answer::Others(vec![holder("8")]));
    assert_eq!(life.step(), Step::Commit(late));

    let mut life = reopened(60);
    life.answer(Answer::Searched(Ok(vec![])));
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(taken()));
    life.answer(Answer::Searched(Ok(vec![])));
    assert_eq!(life.step(), Step::DropClaim, "nothing of ours has the name: it is somebody else's");
    life.answer(Answer::Done);
    assert_reason(&life.verdict(), Health::Stalled, Reason::NameTaken);
}

#[test]
fn a_rename_waits_for_the_old_claim() {
    let mut life = reopened(1);
    life.spec.name = Some("other".into());
    assert!(matches!(life.step(), Step::Search { name, .. } if name.as_str() == "hook"));
    life.answer(Answer::Searched(Ok(vec![])));
    assert_reason(&life.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
    life.later(60);
    let Step::Claim(claim) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!((claim.name.as_str(), claim.since), ("other", life.now));
}

#[test]
fn where_events_may_not_be_read_a_look_up_decides_by_date() {
    let denied = || Answer::Searched(Err(refused(403, 7, "AUTH-5mWD2")));
    for (age, changes, ours) in [(1, 1, true), (200, 1, false), (1, 2, false)] {
        let mut life = reopened(70);
        life.answer(denied());
        assert_eq!(life.step(), Step::LookUp("hook".parse().unwrap()));
        let mut found = life.candidate("7", age + 60);
        // v3alpha: no creation date; only an unchanged target tells it.
        found.created = None;
        found.version.sequence = Some(changes);
        life.answer(Answer::LookedUp(Ok(Some(found.clone()))));
        if life.step() == Step::AskOthers {
            life.answer(Answer::Others(vec![]));
        }
        assert_eq!(life.step() == Step::Commit(found), ours, "age {age}, {changes} events: {:?}", life.step());
    }
    // A create that is carried out at the last moment, 35 s after its claim, may be hidden for a minute.
    for (age, again) in [(94, false), (95, true)] {
        let mut life = reopened(age);
        life.answer(denied());
        life.answer(Answer::LookedUp(Ok(None)));
        assert_eq!(matches!(life.step(), Step::Claim(_)), again, "{age}: {:?}", life.step());
    }
}

/// Another Target with an open claim on this name, which it made so many seconds ago.
fn claimant(life: &Life, name: &str, age: i64, older: bool) -> Other {
    let time = life.now.checked_sub(SignedDuration::from_secs(age)).unwrap();
    let claim = Claim {
        name: name.into(),
        instance: Some("i1".into()),
        since: time,
        after: Some(time),
        time,
        replaces: None,
        repairs: 0,
    };
    Other { holds: None, claim: Some(claim), older }
}

#[test]
fn what_two_targets_may_have_made_is_left_to_the_older_one() {
    let asked = |others: &dyn Fn(&Life) -> Vec<Other>| {
        let mut life = reopened(5);
        let found = life.candidate("7", 1);
        life.answer(Answer::Searched(Ok(vec![found])));
        assert_eq!(life.step(), Step::AskOthers);
        let others = others(&life);
        life.answer(Answer::Others(others));
        life
    };
    // The younger one does not take it, whatever the case of the name.
    let life = asked(&|life| vec![claimant(life, "HOOK", 5, true)]);
    assert_reason(&life.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
    // The older one waits for as long as the younger may still learn that it is its own.
    let life = asked(&|life| vec![claimant(life, "hook", 34, false)]);
    assert_reason(&life.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
    // After that it takes what nobody has recorded.
    let life = asked(&|life| vec![claimant(life, "hook", 35, false)]);
    assert!(matches!(life.step(), Step::Commit(_)), "{:?}", life.step());
    // A claim on another name, on another instance, or made after it, is none on this one.
    let life = asked(&|life| {
        let mut elsewhere = claimant(life, "hook", 5, true);
        elsewhere.claim.as_mut().unwrap().instance = Some("i2".into());
        vec![claimant(life, "other", 5, true), claimant(life, "hook", 0, true), elsewhere]
    });
    assert!(matches!(life.step(), Step::Commit(_)), "{:?}", life.step());
}

#[test]
fn a_refused_create_that_meets_another_targets_lets_go() {
    for (older, drops) in [(true, true), (false, false)] {
        let mut life = Life::new();
        connect_with_dates(&mut life);
        life.answer(Answer::Claimed);
        life.answer(Answer::CreateFailed(taken()));
        let found = life.candidate("7", 0);
        life.answer(Answer::Searched(Ok(vec![found])));
        let rival = claimant(&life, "hook", 1, older);
        life.answer(Answer::Others(vec![rival]));
        // Two that both let go would leave it to nobody.
        assert_eq!(life.step() == Step::DropClaim, drops, "{:?}", life.step());
    }
}

/// A connection that has told the date of its newest event.
fn connect_with_dates(life: &mut Life) -> Timestamp {
    let latest = life.now.checked_sub(SignedDuration::from_secs(30)).unwrap();
    let known = Connection { latest: Some(latest), ..connection(life.api) };
    life.answer(Answer::Connected(Ok(known)));
    latest
}

#[test]
fn a_create_repeated_by_a_proxy_meets_itself_and_is_found() {
    let mut life = Life::new();
    let latest = connect_with_dates(&mut life);
    let Step::Claim(claim) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!(claim.after, Some(latest));
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(taken()));
    assert_eq!(life.step(), Step::Search { name: "hook".parse().unwrap(), since: latest });
    let ours = life.candidate("7", 0);
    life.answer(Answer::Searched(Ok(vec![ours.clone()])));
    assert_eq!(life.step(), Step::AskOthers);
    life.answer(Answer::Others(vec![holder("8")]));
    assert_eq!(life.step(), Step::Commit(ours));

    // Nothing newer than the claim's beginning has the name: it is somebody else's.
    let mut life = Life::new();
    connect_with_dates(&mut life);
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(taken()));
    life.answer(Answer::Searched(Ok(vec![])));
    assert_eq!(life.step(), Step::DropClaim);

    // Where events may not be read, whoever shows under the name and is not newer is somebody else.
    let mut life = Life::new();
    connect_with_dates(&mut life);
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(taken()));
    life.answer(Answer::Searched(Err(refused(403, 7, "AUTH-5mWD2"))));
    let older = life.candidate("9", 60);
    life.answer(Answer::LookedUp(Ok(Some(older))));
    assert_eq!(life.step(), Step::DropClaim);
}

#[test]
fn what_was_there_before_the_claim_is_not_its_create() {
    let mut life = Life::new();
    let latest = connect_with_dates(&mut life);
    life.answer(Answer::Claimed);
    life.facts = Facts::default();
    life.later(1);
    life.step_connect();
    assert_eq!(life.step(), Step::Search { name: "hook".parse().unwrap(), since: latest }, "without any margin");
}
