//! Fields that not every server has: refused where that is known, tried and looked at where it is not.

use super::*;
use crate::api::target::PayloadType as Written;
use crate::zitadel::{Change, Support};

fn asking_for(payload: Written, support: Support) -> Life {
    let mut life = Life::new();
    life.api = Api::V2;
    life.spec.payload_type = Some(payload);
    let connected = Connection { payload_types: support, ..connection(Api::V2) };
    life.answer(Answer::Connected(Ok(connected)));
    life.learn_bound();
    life
}

/// Created as id 7; the answer tells nothing of the payload type.
fn created(mut life: Life) -> Life {
    life.answer(Answer::Claimed);
    let Step::Create(config) = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!(config.payload_type, PayloadType::Jwt);
    life.created_as("7", &config);
    life
}

fn shown(payload: PayloadType) -> Answer {
    let version = Version { sequence: None, changed: Some(noon()) };
    Answer::Read(Ok(Some(RemoteTarget { payload_type: Some(payload), version, ..Life::remote() })))
}

#[test]
fn a_known_lack_is_told_before_any_call() {
    let life = asking_for(Written::Jwe, Support::No);
    let verdict = life.verdict();
    assert_reason(&verdict, Health::Stalled, Reason::Unsupported);
    assert!(verdict.message.contains("spec.payloadType JWE"), "{}", verdict.message);
    // Plain JSON is what such a server does.
    assert!(matches!(asking_for(Written::Json, Support::No).step(), Step::Claim(_)));
}

#[test]
fn nothing_is_ready_before_the_payload_type_was_read() {
    let mut life = created(asking_for(Written::Jwt, Support::Untold));
    assert_eq!(life.status.id.as_deref(), Some("7"), "the id is recorded all the same");
    let said = &life.status.conditions[0];
    assert_eq!((said.status.as_str(), said.reason.as_str()), ("False", "Verifying"));
    assert_eq!(life.step(), Step::Read(target_id("7")));
    life.answer(shown(PayloadType::Jwt));
    assert_eq!(life.step(), Step::History(target_id("7")), "it is in sync");
}

#[test]
fn a_server_that_ignores_it_is_found_out() {
    let mut life = created(asking_for(Written::Jwt, Support::Untold));
    life.answer(shown(PayloadType::Json));
    let Step::Update { change, raise, .. } = life.step() else { panic!("{:?}", life.step()) };
    assert_eq!(change, Change { payload_type: Some(PayloadType::Jwt), ..Change::default() });
    // Acknowledged, and nothing was written: the old date.
    life.answer(Answer::Updated(change, raise, Ok(Version { sequence: None, changed: Some(noon()) })));
    assert_eq!(life.step(), Step::Read(target_id("7")));
    life.answer(shown(PayloadType::Json));
    assert_reason(&life.verdict(), Health::Stalled, Reason::Unsupported);
}

#[test]
fn a_read_that_lags_is_no_lack() {
    let mut life = created(asking_for(Written::Jwt, Support::Yes));
    life.answer(shown(PayloadType::Json));
    let Step::Update { change, raise, .. } = life.step() else { panic!("{:?}", life.step()) };
    let later = noon().checked_add(SignedDuration::from_secs(1)).unwrap();
    life.answer(Answer::Updated(change, raise, Ok(Version { sequence: None, changed: Some(later) })));
    life.answer(shown(PayloadType::Json));
    assert!(matches!(life.step(), Step::Wait(_)), "{:?}", life.step());
}
