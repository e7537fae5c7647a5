//! Whose target is it: taking over, only looking, asking for a pass, ghosts, and the end of the definition.

use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Effect, EventKind, Generation, Op, Options, StandIn, TargetEdit, TargetKind, Times};

use crate::world::{GENERATIONS, Setup, World, condition, current, id, is_ready, webhook};

fn taking_over(id: &str) -> Value {
    let mut spec = webhook();
    spec["externalId"] = json!(id);
    spec
}

#[tokio::test]
async fn an_existing_target_is_taken_over_changed_and_deleted() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        let foreign = world.zitadel.external_create("legacy", TargetEdit::default());
        world.create("hook", taking_over(&foreign)).await;
        let target = world.ready("hook").await;
        assert_eq!(id(&target), foreign);
        let remote = world.zitadel.targets().pop().unwrap();
        assert_eq!((remote.name.as_str(), remote.kind), ("hook", TargetKind::Webhook), "equal to the spec from now on");
        assert_eq!(world.calls(Op::Create), 0);
        world.assert_rests("hook").await;
        world.delete("hook").await;
        world.gone("hook").await;
        assert!(world.zitadel.targets().is_empty());
        world.finish().await;
    }
}

#[tokio::test]
async fn an_external_id_without_a_target_creates_none() {
    let world = World::new(Generation::V2).await;
    world.create("hook", taking_over("123")).await;
    world.reason("hook", "ExternallyDeleted").await;
    assert!(world.zitadel.events().is_empty());

    let change = Patch::Merge(json!({"spec": {"externalId": "124"}}));
    let refused = world.targets().patch("hook", &PatchParams::default(), &change).await;
    assert!(refused.unwrap_err().to_string().contains("externalId must not be changed"));
    world.finish().await;
}

/// The way out of `NameTaken`: say that the existing target is the one that is meant.
#[tokio::test]
async fn a_taken_name_can_be_taken_over() {
    let world = World::new(Generation::V2).await;
    let foreign = world.zitadel.external_create("hook", TargetEdit::default());
    world.create("hook", webhook()).await;
    world.reason("hook", "NameTaken").await;
    world.edit("hook", json!({"externalId": foreign})).await;
    assert_eq!(id(&world.ready("hook").await), foreign);
    assert!(world.note("Adopted").await.contains(&foreign));
    world.finish().await;
}

#[tokio::test]
async fn two_objects_never_share_a_target() {
    let world = World::new(Generation::V2).await;
    let foreign = world.zitadel.external_create("legacy", TargetEdit::default());
    world.create("older", taking_over(&foreign)).await;
    world.ready("older").await;
    // Creation times have whole seconds; the younger one must be younger.
    world
        .until("a second has passed", || async {
            world.zitadel.calls().last().is_some_and(|c| c.at.as_millis() > 1500)
        })
        .await;
    let mut spec = taking_over(&foreign);
    spec["timeout"] = json!("3s");
    world.create("younger", spec).await;
    let target = world.reason("younger", "AdoptionConflict").await;
    assert!(condition(&target, "Stalled").unwrap().2.contains("older"));

    // A forged status gives no hold either, to an operator that has not seen what it replaced.
    world
        .create("forger", {
            let mut spec = webhook();
            spec["suspend"] = json!(true);
            spec
        })
        .await;
    world.reason("forger", "Suspended").await;
    world.kill(&world.operator()).await;
    let forged = Patch::Merge(json!({"status": {"id": foreign}}));
    world.targets().patch_status("forger", &PatchParams::default(), &forged).await.unwrap();
    world.edit("forger", json!({"suspend": false, "timeout": "9s"})).await;
    world.start_operator(&[]).await;
    world.reason("forger", "AdoptionConflict").await;

    for name in ["younger", "forger"] {
        world.delete(name).await;
        world.gone(name).await;
    }
    let remote = world.zitadel.targets();
    assert_eq!((remote.len(), remote[0].timeout.as_secs()), (1, 10), "untouched by the younger ones");
    assert!(is_ready(&world.get("older").await));
    world.finish().await;
}

#[tokio::test]
async fn observe_looks_and_never_writes() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        let edit = TargetEdit { endpoint: Some("https://other.example.com".into()), ..TargetEdit::default() };
        let foreign = world.zitadel.external_create("hook", edit);
        let mut spec = taking_over(&foreign);
        spec["managementPolicy"] = json!("Observe");
        world.create("hook", spec).await;
        let target = world.reason("hook", "Drifted").await;
        assert!(condition(&target, "Stalled").unwrap().2.contains("endpoint"));
        let fitting = TargetEdit {
            endpoint: Some("https://hooks.example.com/zitadel".into()),
            interrupt_on_error: Some(true),
            ..TargetEdit::default()
        };
        world.zitadel.external_update(&foreign, fitting);
        world.edit("hook", json!({"deletionPolicy": "Delete"})).await;
        world.ready("hook").await;
        world.delete("hook").await;
        world.gone("hook").await;
        assert_eq!(world.zitadel.targets().len(), 1);
        assert!(
            world.calls(Op::Create) + world.calls(Op::Update) + world.calls(Op::Delete) == 0,
            "{}",
            world.zitadel.dump()
        );
        world.finish().await;
    }
}

/// What differs rests until the list tells of a change, in ZITADEL or of the server.
#[tokio::test]
async fn what_is_observed_is_looked_at_again_when_it_changes() {
    let world = World::new(Generation::V2).await;
    let edit = TargetEdit { endpoint: Some("https://other.example.com".into()), ..TargetEdit::default() };
    let foreign = world.zitadel.external_create("hook", edit);
    let mut spec = taking_over(&foreign);
    spec["managementPolicy"] = json!("Observe");
    world.create("hook", spec).await;
    world.reason("hook", "Drifted").await;
    let fitting = TargetEdit {
        endpoint: Some("https://hooks.example.com/zitadel".into()),
        interrupt_on_error: Some(true),
        ..TargetEdit::default()
    };
    world.zitadel.external_update(&foreign, fitting);
    world.ready("hook").await;
    world.finish().await;
}

#[tokio::test]
async fn observe_needs_an_external_id() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let mut spec = webhook();
    spec["managementPolicy"] = json!("Observe");
    let refused = world.targets().create(&PostParams::default(), &crate::world::object("hook", spec)).await;
    assert!(refused.unwrap_err().to_string().contains("managementPolicy Observe needs externalId"));
    world.finish().await;
}

#[tokio::test]
async fn a_requested_pass_is_done_and_acknowledged() {
    let world = World::with(Setup::new(Generation::V2).flag("--resync-interval", "3600")).await;
    world.create("hook", webhook()).await;
    let target = world.ready("hook").await;
    world.zitadel.external_update(
        &id(&target),
        TargetEdit { endpoint: Some("https://x.example.com".into()), ..TargetEdit::default() },
    );
    let ask =
        Patch::Merge(json!({"metadata": {"annotations": {"zitadel-actions.dev/reconcile-requested-at": "now-1"}}}));
    world.targets().patch("hook", &PatchParams::default(), &ask).await.unwrap();
    let handled = |target: &Target| {
        let status = target.status.as_ref();
        status.and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some("now-1")
    };
    world.until_target("hook", "acknowledged", |target| current(target) && handled(target)).await;
    assert_eq!(world.zitadel.targets()[0].endpoint, "https://hooks.example.com/zitadel");
    world.finish().await;
}

/// Acknowledged, in the event store, never readable: told, replaced once, and at rest again.
#[tokio::test]
async fn a_ghost_is_told_and_replaced_once() {
    for generation in GENERATIONS {
        let world = World::with(Setup::new(generation).flag("--ghost-grace", "3")).await;
        world.zitadel.fault(Op::Create, Effect::Ghost, Times::ONCE);
        world.create("hook", webhook()).await;
        let ghost = id(&world.ready("hook").await);
        world.reason("hook", "NotProjected").await;
        assert!(world.note("NotProjected").await.contains("does not show it"));
        // Something newer is shown: so the read side works, and the ghost is one.
        world.create("other", webhook()).await;
        world.ready("other").await;
        let target = world.until_target("hook", "replaced", |target| is_ready(target) && id(target) != ghost).await;
        world.assert_rests("hook").await;
        assert_eq!(world.count(EventKind::Removed), 1);
        assert_eq!(world.count(EventKind::Added), 3);
        assert!(world.zitadel.targets().iter().any(|remote| remote.id == id(&target)));
        world.finish().await;
    }
}

/// The connection leads to another instance: nothing is touched, neither there nor here.
#[tokio::test]
async fn another_instance_is_not_touched() {
    let world = World::new(Generation::V2).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    world.terminate(&world.operator()).await;
    let other = StandIn::start(Options::new(Generation::V2)).await.unwrap();
    let (old_token, events) = (world.zitadel.token(), world.zitadel.events().len());
    world.write_token(&other.token());
    let operator = world.start_operator(&[&format!("--zitadel-url={}", other.url())]).await;
    let target = world.reason("hook", "InstanceChanged").await;
    assert!(condition(&target, "Stalled").unwrap().2.contains("point it back"));
    world.note("InstanceChanged").await;
    world.edit("hook", json!({"timeout": "3s"})).await;
    world.delete("hook").await;
    world
        .until_target("hook", "waiting", |t| {
            condition(t, "Ready").is_some_and(|(_, _, m)| m.contains("deletion waits"))
        })
        .await;
    assert!(other.events().is_empty() && world.zitadel.events().len() == events);

    // Pointed back, the deletion finishes.
    world.terminate(&operator).await;
    world.write_token(&old_token);
    world.start_operator(&[]).await;
    world.gone("hook").await;
    assert!(world.zitadel.targets().is_empty());
    world.finish().await;
}
