//! F16, F17: people, on both sides: edits and deletions by hand, in every state and faster than is good.

use std::time::Duration;

use devkit::proxy::{Act, KubeCall, Rule};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Effect, EventKind, Generation, Op, Options, TargetEdit, TargetKind, Times};

use crate::arena::Arena;
use crate::judge::{judge, settled};
use crate::path::{Path, Watching};
use crate::report::{Outcome, Suite, trial};
use crate::world::{GENERATIONS, Setup, condition, object, webhook};

type MakeEdit = fn() -> TargetEdit;

async fn external_hands() -> Result<(), Failed> {
    let mut suite = Suite::new("F16 external edits, renames, deletions, foreign targets");
    let edits: [(&str, MakeEdit); 5] = [
        ("endpoint", || TargetEdit { endpoint: Some("https://evil.example.com".into()), ..TargetEdit::default() }),
        ("timeout", || TargetEdit { timeout: Some(Duration::from_secs(99)), ..TargetEdit::default() }),
        ("kind", || TargetEdit { kind: Some(TargetKind::Async), ..TargetEdit::default() }),
        ("flag", || TargetEdit { interrupt_on_error: Some(false), ..TargetEdit::default() }),
        ("name", || TargetEdit { name: Some("theirs".into()), ..TargetEdit::default() }),
    ];
    for (label, edit) in edits {
        suite.each(&format!("{label} edited, also while we update"), move |generation| async move {
            let arena = Path::Update.prepare(generation, Watching::Awake).await;
            let id = arena.zitadel.targets()[0].id.clone();
            arena.zitadel.external_update(&id, edit());
            settled(&arena).await;
            let held = arena.remote.rule(Rule::next(Op::Update, Act::HoldRequest));
            arena.edit("hook", json!({"timeout": "3s"})).await;
            held.reached().await;
            arena.zitadel.external_update(&id, edit());
            held.release();
            judge(&arena, 1).await;
            arena.close().await;
        });
    }
    suite.each("foreign target of the name between claim and create", |generation| async move {
        foreign_in_between(Arena::running(generation).await, Meanwhile::Unsent).await;
    });
    suite.each("foreign target of the name, our create lost", |generation| async move {
        foreign_in_between(Arena::running(generation).await, Meanwhile::Lost).await;
    });
    suite.each("deleted while we update", |generation| async move {
        let arena = Path::Update.prepare(generation, Watching::Awake).await;
        let held = arena.remote.rule(Rule::next(Op::Update, Act::HoldRequest));
        arena.edit("hook", json!({"timeout": "3s"})).await;
        held.reached().await;
        arena.zitadel.external_delete(&arena.zitadel.targets()[0].id);
        held.release();
        judge(&arena, 2).await;
        arena.close().await;
    });
    suite.each("deleted while we delete", |generation| async move {
        let arena = Path::Delete.prepare(generation, Watching::Awake).await;
        let held = arena.remote.rule(Rule::next(Op::Delete, Act::HoldRequest));
        arena.delete("hook").await;
        held.reached().await;
        arena.zitadel.external_delete(&arena.zitadel.targets()[0].id);
        held.release();
        arena.gone("hook").await;
        judge(&arena, 1).await;
        arena.close().await;
    });
    suite.finish().await
}

/// What happened to our create when a foreign target took its name.
enum Meanwhile {
    Unsent,
    Lost,
}

async fn foreign_in_between(arena: Arena, meanwhile: Meanwhile) {
    let held = arena.remote.rule(Rule::next(Op::Create, Act::HoldRequest));
    arena.create("hook", webhook()).await;
    held.reached().await;
    let foreign = arena.zitadel.external_create("Hook", TargetEdit::default());
    match meanwhile {
        Meanwhile::Unsent => held.release(),
        Meanwhile::Lost => held.discard(),
    }
    arena.reason("hook", "NameTaken").await;
    arena.edit("hook", json!({"name": "own"})).await;
    judge(&arena, 1).await;
    let left = arena.zitadel.targets();
    assert!(left.iter().any(|target| target.id == foreign && target.sequence == 1), "{}", arena.explain().await);
    arena.close().await;
}

/// Where an object can be when it is deleted.
#[derive(Clone, Copy, Debug)]
enum State {
    ClaimInFlight,
    Claimed,
    CreateInFlight,
    CommitInFlight,
    OutcomeUnknown,
    UpdateInFlight,
    Refused,
    EndpointDenied,
    Unavailable,
}

const STATES: [State; 9] = [
    State::ClaimInFlight,
    State::Claimed,
    State::CreateInFlight,
    State::CommitInFlight,
    State::OutcomeUnknown,
    State::UpdateInFlight,
    State::Refused,
    State::EndpointDenied,
    State::Unavailable,
];

/// Brings it there, deletes it there, lets go on, and nothing of ours is left.
async fn delete_in(state: State, generation: Generation) {
    let arena = match state {
        State::UpdateInFlight => Path::Update.prepare(generation, Watching::Awake).await,
        State::EndpointDenied => {
            let mut setup = Setup::new(generation);
            setup.stand_in = Options { resolvable_hosts: vec![], ..Options::new(generation) };
            let arena = Arena::with(setup).await;
            arena.start().await;
            arena
        }
        _ => Arena::running(generation).await,
    };
    let kube = |call, act| arena.kube.rule(Rule::next(call, act));
    let remote = |op, act| arena.remote.rule(Rule::next(op, act));
    let (mut held_kube, mut held_remote) = (None, None);
    match state {
        State::ClaimInFlight => held_kube = Some(kube(KubeCall::Claim, Act::HoldRequest)),
        State::Claimed => held_kube = Some(kube(KubeCall::Claim, Act::HoldAnswer)),
        State::CommitInFlight => held_kube = Some(kube(KubeCall::Status, Act::HoldRequest)),
        State::CreateInFlight => held_remote = Some(remote(Op::Create, Act::HoldAnswer)),
        State::UpdateInFlight => held_remote = Some(remote(Op::Update, Act::HoldAnswer)),
        State::OutcomeUnknown => drop(remote(Op::Create, Act::Cut)),
        State::Refused => drop(arena.zitadel.external_create("hook", TargetEdit::default())),
        State::Unavailable => drop(arena.zitadel.fault(Op::Any, Effect::Status(503, None), Times::N(6))),
        State::EndpointDenied => {}
    }
    if matches!(state, State::UpdateInFlight) {
        arena.edit("hook", json!({"timeout": "3s"})).await;
    } else {
        arena.create("hook", webhook()).await;
    }
    match (&held_kube, &held_remote, state) {
        (Some(held), _, _) => held.reached().await,
        (_, Some(held), _) => held.reached().await,
        (_, _, State::OutcomeUnknown) => drop(arena.reason("hook", "CreateOutcomeUnknown").await),
        (_, _, State::Refused) => drop(arena.reason("hook", "NameTaken").await),
        (_, _, State::EndpointDenied) if generation == Generation::V2 => {
            drop(arena.reason("hook", "EndpointDenied").await);
        }
        // v3alpha resolves no names. Not sooner: a deletion in the moment of the first claim meets kubernetes#77988, which
        // has a line of its own.
        (_, _, State::EndpointDenied) => drop(arena.ready("hook").await),
        _ => arena.until("a call is made", || async { !arena.zitadel.calls().is_empty() }).await,
    }
    arena.delete("hook").await;
    held_kube.iter().for_each(devkit::proxy::RuleHandle::release);
    held_remote.iter().for_each(devkit::proxy::RuleHandle::release);
    arena.gone("hook").await;
    arena.until("nothing of ours is left", || async { owned(&arena) == 0 }).await;
    assert!(arena.count(EventKind::Added) <= 1, "{}", arena.explain().await);
    arena.close().await;
}

fn owned(arena: &Arena) -> usize {
    let own = arena.zitadel.user_id();
    arena.zitadel.targets().iter().filter(|target| target.creator == own).count()
}

async fn deleted_in_every_state() -> Result<(), Failed> {
    let mut suite = Suite::new("F17 deleted in every state");
    for state in STATES {
        suite.each(&format!("{state:?}"), move |generation| delete_in(state, generation));
    }
    suite.finish().await
}

async fn hasty_hands() -> Result<(), Failed> {
    let mut suite = Suite::new("F17 recreated at once, finalizer stripped");
    for generation in GENERATIONS {
        suite.attempt(format!("{generation} deleted and applied again five times"), hasty(generation));
    }
    suite.each("finalizer stripped and deleted during the create", |generation| async move {
        // Also on a loaded machine the answer is to come in time.
        let arena = Arena::with(Setup::new(generation).flag("--zitadel-timeout", "30")).await;
        arena.start().await;
        let held = arena.remote.rule(Rule::next(Op::Create, Act::HoldAnswer));
        arena.create("hook", webhook()).await;
        held.reached().await;
        let patch = Patch::Merge(json!({"metadata": {"finalizers": []}}));
        arena.targets().patch("hook", &PatchParams::default(), &patch).await.unwrap();
        arena.delete("hook").await;
        arena.gone("hook").await;
        held.release();
        arena.until("the orphan is deleted", || async { arena.count(EventKind::Removed) == 1 }).await;
        judge(&arena, 1).await;
        arena.close().await;
    });
    suite.each("a retained target is not adopted by a lost create", retained_is_not_adopted);
    suite.line(format!("F17 DELETE in the moment of the claim, {RACES} times"));
    for generation in GENERATIONS {
        suite.attempt(format!("{generation}"), race(generation));
    }
    suite.finish().await
}

/// That a namespace goes is the work of kube-controller-manager, which asks for each kind of object one after the other: on
/// a busy machine that alone takes minutes.
async fn namespace_deleted() -> Result<(), Failed> {
    let mut suite = Suite::alone("F17 namespace deleted");
    suite.each("a create is in flight", |generation| async move {
        let arena = Arena::running(generation).await;
        for index in 0..4 {
            arena.create(&format!("hook-{index}"), webhook()).await;
        }
        settled(&arena).await;
        let held = arena.remote.rule(Rule::next(Op::Create, Act::HoldAnswer));
        arena.create("late", webhook()).await;
        held.reached().await;
        let namespaces: Api<Namespace> = Api::all(arena.client.clone());
        namespaces.delete(&arena.namespace, &DeleteParams::default()).await.unwrap();
        held.release();
        let ended = || async { matches!(namespaces.get_opt(&arena.namespace).await, Ok(None)) };
        arena.until("the namespace is gone", ended).await;
        judge(&arena, 5).await;
        arena.close().await;
    });
    suite.finish().await
}

/// How many objects are deleted in the moment of their claim.
const RACES: usize = 10;

/// Claim and DELETE leave at the same time. Whichever comes first, nothing is left of the object; only where
/// kube-apiserver lost it after its create was recorded, its target is left.
async fn race(generation: Generation) -> Outcome {
    let arena = Arena::running(generation).await;
    for index in 0..RACES {
        let name = format!("hook-{index}");
        let claim = arena.kube.rule(Rule::next(KubeCall::Claim, Act::HoldRequest));
        arena.create(&name, webhook()).await;
        claim.reached().await;
        tokio::join!(arena.delete(&name), async { claim.release() });
        arena.gone(&name).await;
    }
    let lost = |name: &str| arena.vanished().iter().any(|object| object.name_any() == name);
    let left = || arena.zitadel.targets().into_iter().map(|target| target.name).collect::<Vec<_>>();
    arena.until("nothing else is left", || async { left().iter().all(|name| lost(name)) }).await;
    let count = arena.vanished().len();
    reported(&arena).await;
    let left = left().len();
    arena.close().await;
    if count == 0 {
        return Outcome::Struck;
    }
    Outcome::Vanished(format!("{count} of {RACES} objects vanished with their finalizer, {left} targets are left"))
}

/// The operator has told of every target that is left.
async fn reported(arena: &Arena) {
    let told = || async {
        let notes = arena.notes("LeftBehind").await;
        let named = |target: &zitadel_stand_in::Target| {
            notes.iter().any(|note| note.contains(&target.id) || note.contains(&format!("{:?}", target.name)))
        };
        arena.zitadel.targets().iter().all(named)
    };
    arena.until("what is left is told", told).await;
}

/// kube-apiserver may lose an object in the moment of its claim; then its target keeps the name, and this is said.
async fn hasty(generation: Generation) -> Outcome {
    let arena = Arena::running(generation).await;
    // The name is free once the finalizer is.
    let again = || async { arena.targets().create(&PostParams::default(), &object("hook", webhook())).await.is_ok() };
    for _ in 0..5 {
        arena.until("the manifest is accepted", again).await;
        arena.delete("hook").await;
    }
    arena.until("the manifest is accepted", again).await;
    let blocked = || async {
        let taken = |object: &Target| condition(object, "Ready").is_some_and(|(_, reason, _)| reason == "NameTaken");
        !arena.vanished().is_empty() && arena.holds(|objects| objects.iter().any(taken)).await
    };
    tokio::select! {
        () = arena.until("the object that vanished blocks the name", blocked) => {
            assert_eq!(arena.zitadel.targets().len(), 1, "{}", arena.explain().await);
            reported(&arena).await;
            arena.close().await;
            return Outcome::Vanished("an object vanished in the moment of its claim; its target keeps the name".into());
        }
        () = settled(&arena) => {}
    }
    let (added, removed) = (arena.count(EventKind::Added), arena.count(EventKind::Removed));
    assert_eq!(added, removed + 1, "{}", arena.explain().await);
    judge(&arena, added).await;
    arena.close().await;
    Outcome::Struck
}

/// The same manifest is applied again just after its object went with Retain, and the answer of the new create is
/// lost: the old target was kept for a person, it is not ours to take.
async fn retained_is_not_adopted(generation: Generation) {
    let arena = Arena::running(generation).await;
    let mut spec = webhook();
    spec["deletionPolicy"] = json!("Retain");
    arena.create("hook", spec).await;
    settled(&arena).await;
    let retained = arena.zitadel.targets()[0].id.clone();
    arena.delete("hook").await;
    arena.gone("hook").await;
    arena.remote.rule(Rule::next(Op::Create, Act::Cut));
    arena.create("hook", webhook()).await;
    let name_taken = |object: &_| {
        condition(object, "Ready").is_some_and(|(_, reason, _)| reason == "NameTaken" || reason == "Available")
    };
    let told = arena.until_target("hook", "told", name_taken).await;
    let id = told.status.and_then(|status| status.id);
    assert_ne!(id, Some(retained), "a retained target was adopted\n{}", arena.explain().await);
    arena.close().await;
}

/// Those that have the API server to themselves.
pub fn undisturbed() -> Vec<Trial> {
    vec![trial("faults_namespace_deleted", namespace_deleted)]
}

pub fn trials() -> Vec<Trial> {
    vec![
        trial("faults_deleted_in_every_state", deleted_in_every_state),
        trial("faults_external_hands", external_hands),
        trial("faults_hasty_hands", hasty_hands),
    ]
}
