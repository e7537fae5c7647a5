//! What a verdict makes of a status.

use super::*;
use crate::zitadel::Silence;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn down() -> Verdict {
    Verdict::failed(&Error::Connect("refused".into()))
}

#[test]
fn the_same_verdict_changes_nothing() {
    let first = render(&TargetStatus::default(), &down(), 1, at("2026-11-24T10:00:00Z"));
    assert_eq!(render(&first, &down(), 1, at("2026-11-24T10:09:59Z")), first);
}

#[test]
fn ten_minutes_without_success_are_stalled_until_success_or_a_new_spec() {
    let start = render(&TargetStatus::default(), &down(), 1, at("2026-11-24T10:00:00Z"));
    let late = render(&start, &down(), 1, at("2026-11-24T10:10:00Z"));
    let stalled = find(&late.conditions, ConditionType::Stalled).unwrap();
    assert_eq!(stalled.reason, "ProgressDeadlineExceeded");
    assert!(stalled.message.contains("ZitadelUnavailable"));
    let (was, ready) = (&start.conditions[0], find(&late.conditions, ConditionType::Ready).unwrap());
    assert_eq!((&ready.reason, &ready.message), (&was.reason, &was.message), "Ready keeps the cause");
    assert_eq!(render(&late, &down(), 1, at("2026-11-24T12:00:00Z")), late, "it rests there");
    let edited = render(&late, &down(), 2, at("2026-11-24T12:00:00Z"));
    assert!(find(&edited.conditions, ConditionType::Stalled).is_none(), "a new generation starts again");
}

#[test]
fn another_cause_after_ten_minutes_is_told_and_not_a_new_start() {
    let start = render(&TargetStatus::default(), &down(), 1, at("2026-11-24T10:00:00Z"));
    let late = render(&start, &down(), 1, at("2026-11-24T10:10:00Z"));
    let silent = Verdict::failed(&Error::NoAnswer(Silence::Within(Duration::from_secs(10))));
    let later = render(&late, &silent, 1, at("2026-11-24T10:11:00Z"));
    assert!(later.conditions[0].message.contains("no answer within 10 s"), "{later:#?}");
    assert_eq!(later.conditions[1].reason, "ProgressDeadlineExceeded");
    assert_eq!(later.conditions[1].last_transition_time, late.conditions[1].last_transition_time);
}

#[test]
fn what_cannot_be_read_for_a_while_is_not_forgotten() {
    let facts = |instance: Option<&str>, version: Option<&str>| RemoteFacts {
        id: "7".parse().unwrap(),
        name: "hook".into(),
        sequence: None,
        changed: None,
        created: None,
        owner: None,
        connection: ConnectionStatus {
            instance: instance.map(str::to_owned),
            url: "https://z".into(),
            api: "v2".into(),
            reference: None,
            server_version: version.map(str::to_owned),
        },
    };
    let recorded = |previous: &TargetStatus, remote: RemoteFacts| {
        render(previous, &Verdict::available(remote), 1, at("2026-11-24T10:00:00Z"))
    };
    let known = recorded(&TargetStatus::default(), facts(Some("i"), Some("v4.13.1")));
    assert_eq!(recorded(&known, facts(None, None)), known);
    let moved = recorded(&known, facts(Some("j"), Some("v4.14.0"))).connection.unwrap();
    assert_eq!((moved.instance.as_deref(), moved.server_version.as_deref()), (Some("j"), Some("v4.14.0")));
}

#[test]
fn a_failure_keeps_what_is_known_of_the_remote_target() {
    let known = TargetStatus { id: Some("7".into()), sequence: Some("3".into()), ..TargetStatus::default() };
    let after = render(&known, &down(), 2, at("2026-11-24T10:00:00Z"));
    assert_eq!((after.id.as_deref(), after.sequence.as_deref()), (Some("7"), Some("3")));
}
