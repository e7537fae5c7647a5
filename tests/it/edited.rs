//! Status that somebody else wrote: it is the operator's alone, and right again at once.

use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{EventKind, Generation, Op, TargetEdit};

use crate::connections::{connect, connections, secret, setup, to};
use crate::world::{Setup, World, condition, id, is_ready, webhook};

/// By another field manager, as `kubectl edit --subresource=status` does.
async fn edit_status(world: &World, name: &str, status: Value) {
    let params = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
    world.targets().patch_status(name, &params, &Patch::Merge(json!({"status": status}))).await.unwrap();
}

/// The whole status, as a restore tool writes it.
async fn replace_status(world: &World, name: &str, status: Value) {
    let mut object = serde_json::to_value(world.get(name).await).unwrap();
    object["status"] = status;
    let object: Target = serde_json::from_value(object).unwrap();
    world.targets().replace_status(name, &PostParams::default(), &object).await.unwrap();
}

fn stranger(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "Restored", "message": "by a tool", "observedGeneration": 1,
           "lastTransitionTime": "2026-11-24T10:00:00Z"})
}

/// What others did to status is nothing that the oracle could hold against the operator.
fn pardon(world: &World) {
    world.pardon("");
}

#[tokio::test]
async fn conditions_that_another_manager_wrote_give_way() {
    let world = World::new(Generation::V2).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let all = ["Ready", "Reconciling", "Stalled", "example.com/Reviewed"];
    edit_status(&world, "hook", json!({"conditions": all.map(|kind| stranger(kind, "True"))})).await;
    let alone = |target: &Target| {
        let told: Vec<_> =
            target.status.iter().flat_map(|status| &status.conditions).map(|c| c.type_.as_str()).collect();
        is_ready(target) && told.len() == 2 && told.contains(&"Ready") && told.contains(&"example.com/Reviewed")
    };
    world.until_target("hook", "Ready, and neither Stalled nor Reconciling", alone).await;
    // The stranger's own condition makes no work; ours come and go as before.
    world.assert_rests("hook").await;
    world.zitadel.external_create("taken", TargetEdit::default());
    world.edit("hook", json!({"name": "taken"})).await;
    let target = world.reason("hook", "NameTaken").await;
    assert!(condition(&target, "Stalled").is_some() && condition(&target, "Reconciling").is_none());
    world.edit("hook", json!({"name": null})).await;
    world.until_target("hook", "Ready alone again", alone).await;
    pardon(&world);
    world.finish().await;
}

#[tokio::test]
async fn conditions_of_a_connection_that_another_manager_wrote_give_way() {
    let world = World::with(setup(Generation::V2)).await;
    secret(&world, &world.namespace, "admin", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &world.namespace, "mine", to(&world.zitadel.url(), "admin")).await;
    let api = connections(&world, &world.namespace);
    let told = || async {
        let conditions = api.get("mine").await.ok()?.status?.conditions;
        Some(conditions.into_iter().map(|c| (c.type_, c.status, c.reason)).collect::<Vec<_>>())
    };
    let right = [("Ready".to_owned(), "True".to_owned(), "Available".to_owned())];
    world.until("it is Ready", || async { told().await.is_some_and(|told| told == right) }).await;
    let three = ["Ready", "Reconciling", "Stalled"].map(|kind| stranger(kind, "True"));
    for status in [json!({"conditions": three}), json!({"conditions": [stranger("Ready", "False")]}), Value::Null] {
        let params = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
        api.patch_status("mine", &params, &Patch::Merge(json!({"status": status}))).await.unwrap();
        world.until("ours are back", || async { told().await.is_some_and(|told| told == right) }).await;
    }
    assert!(api.get("mine").await.unwrap().status.unwrap().instance.is_some());
    world.finish().await;
}

/// What is done to a Ready Target.
fn edits(other: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("emptied", Value::Null),
        ("without conditions", json!({"conditions": []})),
        ("Ready=False by hand", json!({"conditions": [stranger("Ready", "False")]})),
        ("without its id", json!({"id": null})),
        ("with the id of another target", json!({"id": other})),
        ("with an id of nothing", json!({"id": "1"})),
        (
            "with a wrong place",
            json!({"connection": {"url": "https://elsewhere.example.com", "api": "v2", "instance": "1"}}),
        ),
    ]
}

/// Done at rest and without a resync: only the watch can tell.
#[tokio::test]
async fn a_status_that_somebody_edited_is_right_again() {
    let world = World::with(Setup::new(Generation::V2).flag("--resync-interval", "3600")).await;
    world.create("hook", webhook()).await;
    let before = world.ready("hook").await;
    world.create("other", webhook()).await;
    let other = id(&world.ready("other").await);
    for (what, status) in edits(&other) {
        edit_status(&world, "hook", status).await;
        let same = |target: &Target| target.status == before.status;
        world.until_target("hook", &format!("as it was, after it was {what}"), same).await;
    }
    replace_status(&world, "hook", json!({})).await;
    world.until_target("hook", "as it was, after all was replaced", |target| target.status == before.status).await;
    // kubectl replace takes the claim away, too: what this process knows is enough.
    let patch = Patch::Merge(json!({"metadata": {"annotations": null}}));
    world.targets().patch("hook", &PatchParams::default(), &patch).await.unwrap();
    edit_status(&world, "hook", json!({"id": other})).await;
    world.until_target("hook", "as it was, without its claim", |target| target.status == before.status).await;
    assert_eq!((world.count(EventKind::Added), world.calls(Op::Update)), (2, 0), "{}", world.zitadel.dump());

    world.delete("hook").await;
    world.gone("hook").await;
    let left: Vec<_> = world.zitadel.targets().into_iter().map(|target| target.id).collect();
    assert_eq!(left, [other], "its own target is deleted, and no other one");
    pardon(&world);
    world.finish().await;
}

#[tokio::test]
async fn a_success_that_somebody_wrote_on_a_broken_target_does_not_last() {
    let world = World::with(Setup::new(Generation::V2).flag("--resync-interval", "3600")).await;
    let foreign = world.zitadel.external_create("hook", TargetEdit::default());
    world.create("hook", webhook()).await;
    let before = world.reason("hook", "NameTaken").await;
    let lie = json!({"id": foreign, "conditions": [stranger("Ready", "True")]});
    edit_status(&world, "hook", lie).await;
    world.until_target("hook", "as it was", |target| target.status == before.status).await;
    world.delete("hook").await;
    world.gone("hook").await;
    assert_eq!(world.zitadel.targets().len(), 1, "the foreign target is untouched");
    pardon(&world);
    world.finish().await;
}

/// A process that has just started knows nothing: the claim, and who created what in the event store, have to do.
#[tokio::test]
async fn a_status_that_somebody_edited_is_right_again_after_a_restart() {
    let world = World::new(Generation::V2).await;
    let own = ["emptied", "bare", "denied", "nameless"];
    let edits = [
        Value::Null,
        json!({"conditions": []}),
        json!({"conditions": [stranger("Ready", "False"), stranger("Stalled", "True")]}),
        json!({"id": null}),
    ];
    let mut before = Vec::new();
    for name in own {
        world.create(name, webhook()).await;
        before.push(id(&world.ready(name).await));
    }
    world.terminate(&world.operator()).await;
    for (name, status) in own.into_iter().zip(edits) {
        edit_status(&world, name, status).await;
    }
    world.start_operator(&[]).await;
    for (name, before) in own.into_iter().zip(before) {
        let right = |target: &Target| {
            let told = target.status.iter().flat_map(|status| &status.conditions).count();
            is_ready(target) && told == 1 && id(target) == before
        };
        world.until_target(name, "right again, with the same id", right).await;
    }
    assert_eq!((world.count(EventKind::Added), world.count(EventKind::Removed)), (4, 0), "{}", world.zitadel.dump());
    pardon(&world);
    world.finish().await;
}

/// Metadata is not status: labels and annotations of others ask for nothing.
#[tokio::test]
async fn an_edit_of_labels_alone_costs_no_call() {
    let world = World::with(Setup::new(Generation::V2).flag("--resync-interval", "3600")).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let (calls, object) = (world.zitadel.calls().len(), world.get("hook").await);
    let api: Api<Target> = world.targets();
    let patch = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let labelled = api.patch("hook", &PatchParams::default(), &patch).await.unwrap();
    // What comes after has been seen after.
    world.create("after", webhook()).await;
    world.ready("after").await;
    let now = world.get("hook").await;
    assert_eq!(now.resource_version(), labelled.resource_version(), "nothing was written");
    assert_eq!(now.status, object.status);
    let own: Vec<_> =
        world.zitadel.calls().into_iter().skip(calls).filter(|call| call.op == Some(Op::Update)).collect();
    assert!(own.is_empty(), "{}", world.zitadel.dump());
    world.finish().await;
}
