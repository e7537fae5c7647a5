//! What happens when the server is replaced underneath, and what a spec may ask for that not every server has.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Effect, EventKind, Generation, Op, Options, PayloadType, TargetEdit, Times};

use crate::generations::{assert_told, held, setup};
use crate::world::{World, condition, id, is_ready, webhook};

const MANY: usize = 50;

async fn all(world: &World) -> BTreeMap<String, Target> {
    let list = world.targets().list(&ListParams::default()).await.unwrap();
    list.into_iter().map(|target| (target.metadata.name.clone().unwrap(), target)).collect()
}

fn identities(targets: &BTreeMap<String, Target>) -> Vec<(String, String)> {
    targets.iter().map(|(name, target)| (name.clone(), id(target))).collect()
}

/// Waits until every Target is Ready and says that this generation answers, and checks that ZITADEL holds the same
/// targets as before, each with the same events.
async fn assert_moved(world: &World, api: &str, before: &[(String, String)], events: usize) {
    world
        .until(&format!("every Target is Ready by {api}"), || async {
            all(world).await.values().all(|target| {
                let connection = target.status.as_ref().and_then(|status| status.connection.clone());
                is_ready(target) && connection.is_some_and(|connection| connection.api == api)
            })
        })
        .await;
    let now = all(world).await;
    assert_eq!(identities(&now), before);
    for target in now.values() {
        assert_told(world, target, api);
    }
    assert_eq!(world.zitadel.events().len(), events, "{api}: nothing was written in ZITADEL\n{}", world.zitadel.dump());
}

#[tokio::test]
async fn a_server_is_upgraded_underneath_fifty_targets() {
    let world = World::with(setup(Options::new(Generation::V3Alpha), "auto")).await;
    for count in 0..MANY {
        world.create(&format!("hook-{count}"), webhook()).await;
    }
    for count in 0..MANY {
        world.ready(&format!("hook-{count}")).await;
    }
    let before = identities(&all(&world).await);
    let mut events = world.zitadel.events().len();
    assert_eq!(events, MANY);
    let way = [Generation::ResourcesV3Alpha, Generation::V2Beta, Generation::V2, Generation::V2Beta];
    for (count, generation) in way.into_iter().enumerate() {
        // As real upgrades are: gone for a moment, and back as another release. One is done without a gap.
        if count == 1 {
            world.zitadel.upgrade(generation);
        } else {
            world.zitadel.pause().await;
            world.zitadel.upgrade(generation);
            world.zitadel.resume().await.unwrap();
        }
        assert_moved(&world, &generation.to_string(), &before, events).await;
        // And it goes on: an edit arrives by the new generation.
        world.edit("hook-7", json!({"timeout": format!("{}s", 20 + count)})).await;
        let target = world.ready("hook-7").await;
        assert_eq!(held(&world, &target).timeout, Duration::from_secs(20 + count as u64));
        events += 1;
        assert_eq!(world.zitadel.events().len(), events);
    }
    assert_eq!(world.count(EventKind::Added), MANY);
    assert_eq!(world.count(EventKind::Removed), 0);
    world.finish().await;
}

/// A newer release builds its read side anew: for a while it shows nothing at all, of targets that are long settled.
#[tokio::test]
async fn a_read_side_that_is_built_anew_loses_no_target() {
    let world = World::with(setup(Options::new(Generation::V3Alpha), "auto").flag("--ghost-grace", "1")).await;
    world.zitadel.set_clock_offset(-3600);
    for count in 0..10 {
        world.create(&format!("hook-{count}"), webhook()).await;
    }
    for count in 0..10 {
        world.ready(&format!("hook-{count}")).await;
    }
    let before = identities(&all(&world).await);
    world.zitadel.set_clock_offset(0);
    world.zitadel.set_rebuild_time(Duration::from_secs(6));
    world.zitadel.upgrade(Generation::ResourcesV3Alpha);
    assert_moved(&world, "resources/v3alpha", &before, 10).await;
    world.finish().await;
}

/// A list from before the upgrade shows targets that the new release does not show yet: with it as evidence, a settled
/// target would look like one that ZITADEL never showed, and be replaced.
#[tokio::test]
async fn an_old_list_is_no_evidence_against_a_target() {
    let setup = setup(Options::new(Generation::V3Alpha), "auto").flag("--ghost-grace", "1");
    let world = World::with(setup.flag("--resync-interval", "12")).await;
    world.zitadel.set_clock_offset(-3600);
    for name in ["first", "second"] {
        world.create(name, webhook()).await;
        world.ready(name).await;
    }
    let before = identities(&all(&world).await);
    world.resyncs(1).await;
    world.zitadel.set_clock_offset(0);
    world.zitadel.set_rebuild_time(Duration::from_secs(6));
    world.zitadel.upgrade(Generation::ResourcesV3Alpha);
    let asked = json!({"metadata": {"annotations": {"zitadel-actions.dev/reconcile-requested-at": "now"}}});
    world.targets().patch("first", &PatchParams::default(), &Patch::Merge(asked)).await.unwrap();
    let told = |target: &Target| condition(target, "Ready").is_some_and(|(_, reason, _)| reason == "NotProjected");
    world.until_target("first", "told to be not shown", told).await;
    assert_moved(&world, "resources/v3alpha", &before, 2).await;
    world.finish().await;
}

fn with_payload(payload: &str) -> Value {
    let mut spec = webhook();
    spec["payloadType"] = json!(payload);
    spec
}

#[tokio::test]
async fn payload_types_where_the_server_has_them() {
    let world = World::with(setup(Options::new(Generation::V2), "auto")).await;
    world.create("hook", with_payload("JWE")).await;
    let target = world.ready("hook").await;
    assert_eq!(held(&world, &target).payload_type, PayloadType::JWE);
    assert_told(&world, &target, "v2");
    world.edit("hook", json!({"payloadType": "JWT"})).await;
    assert_eq!(held(&world, &world.ready("hook").await).payload_type, PayloadType::JWT);
    let drifted = TargetEdit { payload_type: Some(PayloadType::JSON), ..TargetEdit::default() };
    world.zitadel.external_update(&id(&target), drifted);
    assert!(world.note("DriftCorrected").await.contains("payloadType"));
    world.edit("hook", json!({"payloadType": null})).await;
    assert_eq!(held(&world, &world.ready("hook").await).payload_type, PayloadType::JSON);
    world.assert_rests("hook").await;
    // What was never set is plain JSON, and so is what says so.
    world.create("plain", with_payload("JSON")).await;
    let target = world.ready("plain").await;
    assert_eq!(held(&world, &target).sequence, 1);
    world.finish().await;
}

/// Servers ignore fields that they do not know, so the operator must not send them.
#[tokio::test]
async fn what_a_generation_lacks_is_refused_until_it_is_upgraded() {
    let world = World::with(setup(Options::new(Generation::V2Beta), "auto")).await;
    world.create("hook", with_payload("JWT")).await;
    let target = world.reason("hook", "Unsupported").await;
    let (status, _, message) = condition(&target, "Stalled").unwrap();
    assert_eq!(status, "True");
    assert!(message.contains("spec.payloadType JWT") && message.contains("v4.8"), "{message}");
    assert_eq!(world.calls(Op::Create), 0);
    world.create("plain", with_payload("JSON")).await;
    world.ready("plain").await;

    world.zitadel.upgrade(Generation::V2);
    let target = world.ready("hook").await;
    assert_eq!(held(&world, &target).payload_type, PayloadType::JWT);
    // Back again: what is there stays, and the spec is not called fulfilled.
    world.zitadel.upgrade(Generation::V2Beta);
    world.reason("hook", "Unsupported").await;
    assert_eq!((world.count(EventKind::Added), world.count(EventKind::Removed)), (2, 0));
    world.finish().await;
}

/// A version that the credential may not read: the server is asked, and what it stored is looked at.
#[tokio::test]
async fn an_unknown_version_is_tried() {
    let world = World::with(setup(Options::new(Generation::V2), "auto").without_operator()).await;
    let denied = r#"{"code":7,"message":"No matching permissions found (AUTH-5mWD2)","details":[{"id":"AUTH-5mWD2"}]}"#;
    world.zitadel.fault(Op::Instance, Effect::Status(403, Some(denied.into())), Times::Always);
    world.start_operator(&[]).await;
    world.create("hook", with_payload("JWT")).await;
    let target = world.ready("hook").await;
    assert_eq!(held(&world, &target).payload_type, PayloadType::JWT);
    world.finish().await;
}

/// A create whose answer never came, because the server was replaced before it: the next release is asked what became of
/// it, by its events or, without the right to read them, by the name.
#[tokio::test]
async fn a_lost_answer_is_settled_by_the_next_release() {
    let moves = [(Generation::V3Alpha, Generation::ResourcesV3Alpha), (Generation::V2Beta, Generation::V2)];
    for ((from, to), events) in moves.into_iter().flat_map(|way| [(way, true), (way, false)]) {
        let world = World::with(setup(Options::new(from), "auto").without_operator()).await;
        if !events {
            let denied = r#"{"code":7,"message":"AUTH-5mWD2","details":[{"id":"AUTH-5mWD2"}]}"#;
            world.zitadel.fault(Op::Events, Effect::Status(403, Some(denied.into())), Times::Always);
        }
        world.start_operator(&[]).await;
        world.zitadel.fault(Op::Create, Effect::HoldReply, Times::ONCE);
        world.create("hook", webhook()).await;
        world.until("the create is committed", || async { world.count(EventKind::Added) == 1 }).await;
        world.zitadel.upgrade(to);
        let target = world.ready("hook").await;
        assert_eq!(held(&world, &target).name, "hook");
        assert_eq!(target.status.unwrap().connection.unwrap().api, to.to_string());
        assert_eq!(world.zitadel.events().len(), 1, "{}", world.zitadel.dump());
        world.finish().await;
    }
}
