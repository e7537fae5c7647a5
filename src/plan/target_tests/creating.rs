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
    // With room for a database clock that has stepped back.
    assert_eq!(life.step(), Step::Search { name: "hook".parse().unwrap(), since: before_noon(35) });
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
#[case(-100, false)] // a clock that ran backwards: wait the whole time
fn an_absent_create_is_repeated_only_when_its_request_is_dead(#[case] age: i64, #[case] again: bool) {
    let mut life = reopened(age);
    life.answer(Answer::Searched(Ok(vec![])));
    if again {
        assert!(matches!(life.step(), Step::LookUp(_)), "the event store may hide it: {:?}", life.step());
        life.answer(Answer::LookedUp(Ok(None)));
    }
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
    life.answer(Answer::LookedUp(Ok(None)));
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
    life.answer(Answer::LookedUp(Ok(None)));
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(taken()));
    life.answer(Answer::Searched(Ok(vec![])));
    let older = life.candidate("8", 600);
    life.answer(Answer::LookedUp(Ok(Some(older))));
    assert_eq!(life.step(), Step::DropClaim, "what has the name is older than the claim: it is somebody else's");
    life.answer(Answer::Done);
    assert_eq!(life.step(), Step::AskNames("hook".parse().unwrap()));
    life.answer(Answer::NameHolder(None));
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
    life.answer(Answer::LookedUp(Ok(None)));
    assert_reason(&life.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
    life.later(34);
    assert_eq!(life.step(), Step::Bound, "another name has another beginning");
    life.answer(Answer::Bound(Ok(bound(life.now, &[]))));
    let Step::Claim(claim) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!((claim.name.as_str(), claim.since, claim.after), ("other", life.now, Some(life.now)));
}

#[test]
fn where_events_may_not_be_read_a_look_up_decides_by_date() {
    let denied = || Answer::Searched(Err(refused(403, 7, "AUTH-5mWD2")));
    for (age, changes, ours) in [(1, 1, true), (200, 1, false), (1, 2, false)] {
        let mut life = reopened_unbounded(70);
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
        let mut life = reopened_unbounded(age);
        life.answer(denied());
        life.answer(Answer::LookedUp(Ok(None)));
        assert_eq!(matches!(life.step(), Step::Claim(_)), again, "{age}: {:?}", life.step());
    }
}

/// Another Target with an open claim on this name, which it made so many seconds ago.
fn claimant(life: &Life, name: &str, age: i64, older: bool) -> Other {
    let time = life.now.checked_sub(SignedDuration::from_secs(age)).unwrap();
    let claim = Claim { instance: Some("i1".into()), after: Some(time), ..Claim::new(name, time) };
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
        let mut life = first_refused();
        let found = life.candidate("7", 0);
        life.answer(Answer::Searched(Ok(vec![found.clone()])));
        let rival = claimant(&life, "hook", 1, older);
        life.answer(Answer::Others(vec![rival]));
        if drops {
            life.answer(Answer::LookedUp(Ok(Some(found))));
            let date = life.now;
            let origin = crate::plan::custody::Origin { name: "hook".into(), date, ours: true, posted: None };
            life.answer(Answer::Traced(Ok(Some(origin))));
        }
        // Two that both let go would leave it to nobody.
        assert_reason(&life.verdict(), Health::Reconciling, Reason::CreateOutcomeUnknown);
    }
}

/// A first create that met a taken name.
fn first_refused() -> Life {
    let mut life = Life::new();
    life.step_connect();
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(taken()));
    life
}

/// A claim of an earlier reconcile that could not read events.
fn reopened_unbounded(age: i64) -> Life {
    let mut life = reopened(age);
    let ClaimState::Held(claim) = &mut life.claim else { panic!("a claim") };
    claim.after = None;
    life
}

#[test]
fn a_create_repeated_by_a_proxy_meets_itself_and_is_found() {
    let mut life = Life::new();
    life.step_connect();
    let Step::Claim(claim) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!(claim.after, Some(latest()));
    life.answer(Answer::Claimed);
    life.answer(Answer::CreateFailed(taken()));
    assert_eq!(life.step(), Step::Search { name: "hook".parse().unwrap(), since: latest() });
    let ours = life.candidate("7", 0);
    life.answer(Answer::Searched(Ok(vec![ours.clone()])));
    assert_eq!(life.step(), Step::AskOthers);
    life.answer(Answer::Others(vec![holder("8")]));
    assert_eq!(life.step(), Step::Commit(ours));
}

#[test]
fn the_bound_is_read_before_each_claim_and_is_exact() {
    let mut life = Life::new();
    assert_eq!(life.step(), Step::Connect);
    life.answer(Answer::Connected(Ok(connection(life.api))));
    assert_eq!(life.step(), Step::Bound);
    life.answer(Answer::Bound(Ok(Bound::of(&[]))));
    let Step::Claim(claim) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!(claim.after, Some(Timestamp::UNIX_EPOCH), "a database without events has shown nothing");
    assert_eq!(claim.known, Some(vec![]));
    assert_eq!((claim.object.as_deref(), claim.posted.len()), (Some("uid-1"), 1));
}

#[test]
fn without_events_a_look_up_tells_whether_the_name_was_there_before() {
    let begin = |shown: Answer| {
        let mut life = Life::new();
        life.answer(Answer::Connected(Ok(connection(life.api))));
        life.answer(Answer::Bound(Err(refused(403, 7, "AUTH-5mWD2"))));
        assert!(matches!(life.step(), Step::LookUp(_)), "{:?}", life.step());
        life.answer(shown);
        life
    };
    let free = begin(Answer::LookedUp(Ok(None)));
    assert!(matches!(free.step(), Step::Claim(Claim { after: None, .. })), "{:?}", free.step());
    let shown = Life::new().candidate("8", 1);
    let mut held = begin(Answer::LookedUp(Ok(Some(shown))));
    held.answer(Answer::NameHolder(None));
    assert_reason(&held.verdict(), Health::Stalled, Reason::NameTaken);
    // What appears between the look-up and the create is not taken either: nothing tells it from a stranger's.
    let mut raced = begin(Answer::LookedUp(Ok(None)));
    raced.answer(Answer::Claimed);
    raced.answer(Answer::CreateFailed(taken()));
    raced.answer(Answer::Searched(Err(refused(403, 7, "AUTH-5mWD2"))));
    let shown = raced.candidate("9", 0);
    raced.answer(Answer::LookedUp(Ok(Some(shown))));
    raced.answer(Answer::Others(vec![]));
    assert_eq!(raced.step(), Step::DropClaim);
}
