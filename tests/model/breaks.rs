//! The protocol, broken on purpose: without each of its rules the model must find out.

use zitadel_actions_operator::zitadel::Api;

use super::config::{Config, External, Fault, Mutation, User};
use super::proofs::{NO_ANSWER, OLD_ONE, RIVALS, budget, explore};
use super::state::Settings;

fn caught(mutation: Mutation, what: &'static str, config: Config) {
    let unbroken = explore(Config { name: "  with the rule", ..config.clone() });
    assert!(unbroken.is_none(), "{what}: found without breaking anything: {unbroken:?}");
    let found = explore(Config { name: "  without it", mutation: Some(mutation), ..config });
    let (property, path) = found.unwrap_or_else(|| panic!("not caught: {what}"));
    println!("caught: {what} ({property}, {} steps)", path.into_actions().len());
}

/// Two objects ask for one name at once, with equal settings, so that only their claims and status tell whose a target is.
fn at_once() -> Config {
    Config {
        ticks: 0,
        lag: 0,
        replicas: 2,
        objects: vec![Settings { name: 0, timeout: 0 }, Settings { name: 2, timeout: 0 }],
        apart: true,
        slow_answers: true,
        ..Config::default()
    }
}

#[test]
fn model_breaks_no_claim() {
    let config = Config { budget: budget(1, 0, 0, 0), ..Config::default() };
    caught(Mutation::NoClaim, "create without a claim", config);
}

#[test]
fn model_breaks_blind_claim() {
    let config = Config {
        replicas: 2,
        ticks: 0,
        lag: 0,
        events_at_most: 2,
        budget: budget(0, 0, 1, 0),
        user: &[User::Rename],
        ..Config::default()
    };
    caught(Mutation::BlindClaim, "claim written whatever the object has become", config);
}

#[test]
fn model_breaks_claim_without_settling() {
    let config = Config {
        ticks: 2,
        budget: budget(0, 1, 1, 0),
        faults: &[Fault::GivenUp],
        user: &[User::Rename],
        ..Config::default()
    };
    caught(Mutation::ClaimWithoutSettling, "create although an older claim is not settled", config);
}

#[test]
fn model_breaks_trust_in_the_read_side() {
    let config = Config { ticks: 1, budget: budget(0, 0, 1, 0), user: &[User::Rename], ..Config::default() };
    caught(Mutation::TrustReadSideNotFound, "a read-side 404 taken for proof", config);
}

#[test]
fn model_breaks_date_rule() {
    let config = Config {
        api: Api::V2,
        events: false,
        foreign: Some(Settings { name: 1, timeout: 0 }),
        safety_only: true,
        ticks: 1,
        budget: budget(0, 1, 0, 1),
        faults: NO_ANSWER,
        external: &[External::Take],
        ..Config::default()
    };
    caught(Mutation::AdoptWithoutDateRule, "a name taken over whatever its date", config);
}

#[test]
fn model_breaks_waiting_for_late_commits() {
    let config = Config { budget: budget(0, 1, 1, 0), faults: NO_ANSWER, user: &[User::Delete], ..Config::default() };
    caught(Mutation::RepostBeforeDead, "a create taken for dead before it can be", config);
}

#[test]
fn model_breaks_commit_loop() {
    let config = Config { ticks: 1, budget: budget(0, 0, 1, 0), user: &[User::Edit], ..Config::default() };
    caught(Mutation::ForgetOnConflict, "the commit of an id given up on a conflict", config);
}

#[test]
fn model_breaks_conditional_status() {
    let config = Config {
        replicas: 2,
        ticks: 0,
        lag: 0,
        events_at_most: 3,
        events: false,
        budget: budget(0, 0, 1, 0),
        user: &[User::Edit],
        ..Config::default()
    };
    caught(Mutation::BlindStatus, "status written whatever the object has become", config);
}

#[test]
fn model_breaks_deletion_with_an_open_claim() {
    let config = Config { budget: budget(1, 0, 1, 0), user: &[User::Delete], ..Config::default() };
    caught(Mutation::LetGoWithOpenClaim, "finalizer dropped while a claim is open", config);
}

#[test]
fn model_breaks_held_by_another() {
    let config = at_once();
    caught(Mutation::AdoptHeldByAnother, "a candidate taken over that another Target holds", config);
}

#[test]
fn model_breaks_claimed_by_another() {
    let config = at_once();
    caught(Mutation::AdoptClaimedByAnother, "a candidate taken over that another Target may have made", config);
}

#[test]
fn model_breaks_asking_the_cache() {
    let config = at_once();
    caught(Mutation::AskTheCache, "the cache, not the API server, asked for who holds a candidate", config);
}

#[test]
fn model_breaks_memory_of_writes() {
    let config = Config {
        ticks: 0,
        budget: budget(0, 1, 2, 0),
        faults: &[Fault::UnansweredRead],
        user: &[User::Edit],
        strict_ready: true,
        ..Config::default()
    };
    caught(Mutation::ForgetWritten, "what was written forgotten when a pass ends on a conflict", config);
}

#[test]
fn model_breaks_proof_of_ready() {
    let config = Config {
        ticks: 0,
        budget: budget(0, 1, 2, 0),
        faults: &[Fault::LostReply],
        user: &[User::Edit],
        strict_ready: true,
        ..Config::default()
    };
    caught(
        Mutation::ReadyWithoutProof,
        "Ready on a view of a new spec that the write side was not asked about",
        config,
    );
}

#[test]
fn model_breaks_another_editor() {
    let config = Config {
        ticks: 1,
        budget: budget(0, 1, 0, 1),
        faults: NO_ANSWER,
        external: &[External::Create(0)],
        ..Config::default()
    };
    caught(Mutation::AdoptOfAnotherEditor, "a candidate taken over that another user created", config);
}

#[test]
fn model_breaks_version_check() {
    let config = Config { ticks: 1, budget: budget(0, 0, 2, 0), user: &[User::Edit], ..Config::default() };
    caught(Mutation::ReadyOnOldView, "Ready on a view older than our own write", config);
}

#[test]
fn model_breaks_no_answer_is_no_refusal() {
    let config =
        Config { ticks: 1, budget: budget(0, 1, 1, 0), faults: NO_ANSWER, user: &[User::Rename], ..Config::default() };
    caught(Mutation::NoAnswerIsRefusal, "no answer taken for a refusal", config);
}

#[test]
fn model_breaks_delete_before_release() {
    let config = Config { ticks: 1, budget: budget(0, 0, 1, 0), user: &[User::Delete], ..Config::default() };
    caught(Mutation::ReleaseBeforeDelete, "finalizer dropped before the target is deleted", config);
}

#[test]
fn model_breaks_fresh_bound() {
    let config = Config {
        ticks: 0,
        lag: 0,
        budget: budget(0, 0, 0, 1),
        external: &[External::CreateAsUs(0)],
        ..Config::default()
    };
    caught(Mutation::OldBound, "the bound of a claim taken from an old answer", config);
}

#[test]
fn model_breaks_proven_refusal() {
    let config = Config { ticks: 0, budget: budget(0, 1, 0, 0), faults: &[Fault::Forwarded], ..Config::default() };
    caught(Mutation::AnyRefusalCounts, "any 4xx taken for a refusal", config);
}

#[test]
fn model_breaks_looking_at_the_holder() {
    let config = Config {
        ticks: 2,
        lag: 2,
        budget: budget(0, 1, 0, 1),
        faults: &[Fault::LostReply],
        external: &[External::Hide],
        ..Config::default()
    };
    caught(Mutation::DropOnConflict, "a claim dropped without looking at who has the name", config);
}

#[test]
fn model_breaks_empty_answer() {
    let config = Config {
        foreign: Some(OLD_ONE),
        ticks: 0,
        lag: 0,
        budget: budget(0, 0, 1, 2),
        user: &[User::Edit, User::Delete],
        external: &[External::WriteId, External::Expire],
        ..Config::default()
    };
    caught(Mutation::EmptyAnswerVouches, "an empty answer of the event store taken for a voucher", config);
}

#[test]
fn model_breaks_payload() {
    let config = Config {
        ticks: 0,
        lag: 0,
        budget: budget(0, 0, 0, 1),
        external: &[External::CreateAsUs(2)],
        ..Config::default()
    };
    caught(Mutation::AnyPayload, "a candidate taken over whatever it was created with", config);
}

#[test]
fn model_breaks_co_holder() {
    let config = Config {
        ticks: 0,
        lag: 0,
        objects: RIVALS.to_vec(),
        established: 1,
        budget: budget(0, 0, 1, 1),
        user: &[User::Delete],
        external: &[External::CopyStatus],
        ..Config::default()
    };
    caught(Mutation::DeleteCoHeld, "a target deleted that another live object records", config);
}

#[test]
fn model_breaks_other_fields_of_a_taken_name() {
    let config = Config {
        ticks: 0,
        lag: 0,
        foreign: Some(Settings { name: 1, timeout: 2 }),
        established: 1,
        budget: budget(0, 0, 2, 0),
        user: &[User::Rename, User::Edit],
        ..Config::default()
    };
    caught(Mutation::NameHoldsBack, "an edit held back by a taken name", config);
}

#[test]
fn model_breaks_circle() {
    let config = Config {
        ticks: 0,
        lag: 0,
        objects: vec![Settings { name: 0, timeout: 0 }, Settings { name: 1, timeout: 0 }],
        established: 2,
        budget: budget(0, 0, 2, 0),
        user: &[User::Rename],
        ..Config::default()
    };
    caught(Mutation::CircleStays, "two objects that want each other's name wait for each other", config);
}
