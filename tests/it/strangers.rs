//! Who else writes to the instance, also with our own account, and what ZITADEL says or hides of it: nothing of others is
//! taken, and nothing of our own is lost.

use std::time::Duration;

use serde_json::{Value, json};
use zitadel_stand_in::{Effect, EventKind, Generation, HiddenFrom, Interruption, Op, TargetEdit, TargetKind, Times};

use crate::world::{GENERATIONS, World, condition, id, is_ready, webhook};

const DENIED: &str =
    r#"{"code":7,"message":"No matching permissions found (AUTH-5mWD2)","details":[{"id":"AUTH-5mWD2"}]}"#;

fn elsewhere() -> Value {
    let mut spec = webhook();
    spec["endpoint"] = json!("https://elsewhere.example.com/hook");
    spec
}

/// The stranger's target is as it was, and stays when our object goes.
async fn untouched(world: &World, stranger: &str) {
    let remote = world.zitadel.targets().into_iter().find(|remote| remote.id == stranger).unwrap();
    assert_eq!((remote.sequence, remote.kind), (1, TargetKind::Webhook), "{}", world.zitadel.dump());
    world.delete("hook").await;
    world.gone("hook").await;
    assert_eq!(world.count(EventKind::Removed), 0, "{}", world.zitadel.dump());
}

/// A script, Terraform or a second cluster with the operator's own service account, while the operator idles.
#[tokio::test]
async fn a_target_that_our_own_account_made_before_is_not_taken_over() {
    for generation in GENERATIONS {
        for events in [true, false] {
            let world = World::new(generation).await;
            // It has worked before, so that it knows the dates of older events.
            world.create("earlier", elsewhere()).await;
            world.ready("earlier").await;
            if !events {
                world.zitadel.fault(Op::Events, Effect::Status(403, Some(DENIED.into())), Times::Always);
            }
            let stranger = world.zitadel.external_create_by(&world.zitadel.user_id(), "hook", TargetEdit::default());
            world.create("hook", elsewhere()).await;
            let target = world.reason("hook", "NameTaken").await;
            assert!(condition(&target, "Stalled").is_some());
            world.resyncs(2).await;
            untouched(&world, &stranger).await;
            assert_eq!(world.count(EventKind::Added), 2, "{}", world.zitadel.dump());
            world.finish().await;
        }
    }
}

/// The same manifest in a second cluster, with the same account: the first one keeps its target.
#[tokio::test]
async fn a_target_that_a_second_cluster_made_is_not_taken_over() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        let theirs =
            TargetEdit { endpoint: Some(webhook()["endpoint"].as_str().unwrap().into()), ..TargetEdit::default() };
        let stranger = world.zitadel.external_create_by(&world.zitadel.user_id(), "hook", theirs);
        world.create("hook", webhook()).await;
        world.reason("hook", "NameTaken").await;
        untouched(&world, &stranger).await;
        assert_eq!(world.count(EventKind::Added), 1, "{}", world.zitadel.dump());
        world.finish().await;
    }
}

/// A response execution fails a create that has been carried out.
#[tokio::test]
async fn a_create_that_a_response_execution_fails_is_found_again() {
    let failures = [
        Interruption::Failed,
        Interruption::Forwarded(400, "no".into()),
        Interruption::Forwarded(401, "no".into()),
        Interruption::Forwarded(403, "no".into()),
        Interruption::Forwarded(404, "no".into()),
        Interruption::Forwarded(409, "no".into()),
    ];
    for generation in GENERATIONS {
        for failure in &failures {
            let world = World::new(generation).await;
            world.zitadel.fault(Op::Create, Effect::ResponseExecution(failure.clone()), Times::ONCE);
            world.create("hook", webhook()).await;
            let target = world.ready("hook").await;
            assert_eq!(world.zitadel.targets()[0].id, id(&target), "{failure:?}\n{}", world.zitadel.dump());
            assert_eq!((world.count(EventKind::Added), world.calls(Op::Create)), (1, 1), "{failure:?}");
            world.delete("hook").await;
            world.gone("hook").await;
            assert!(world.zitadel.targets().is_empty(), "{failure:?}");
            world.finish().await;
        }
    }
}

/// The object is deleted while every create is answered so.
#[tokio::test]
async fn a_create_that_a_response_execution_fails_is_deleted_with_its_object() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.zitadel.fault(Op::Create, Effect::ResponseExecution(Interruption::Failed), Times::Always);
        let broken = world.zitadel.fault(Op::Events, Effect::Status(500, None), Times::Always);
        world.create("hook", webhook()).await;
        world.reason("hook", "CreateOutcomeUnknown").await;
        world.delete("hook").await;
        broken.clear();
        world.gone("hook").await;
        assert!(world.zitadel.targets().is_empty(), "{}", world.zitadel.dump());
        assert_eq!(world.count(EventKind::Added), 1);
        world.finish().await;
    }
}

/// An open transaction of another ZITADEL pod hides the create from the event store, just when its answer is lost.
#[tokio::test]
async fn a_create_whose_event_is_hidden_is_found_when_it_appears() {
    for (generation, from) in [
        (Generation::V3Alpha, HiddenFrom::Search),
        (Generation::V3Alpha, HiddenFrom::SearchAndReads),
        (Generation::ResourcesV3Alpha, HiddenFrom::Search),
    ] {
        let world = World::new(generation).await;
        world.zitadel.hide_events_from_now(from);
        world.zitadel.fault(Op::Create, Effect::LoseReply, Times::ONCE);
        world.create("hook", webhook()).await;
        world.reason("hook", "CreateOutcomeUnknown").await;
        // The request is dead after 19 s with the time-out of these tests; the name is looked up then.
        let looked_up = |target: &zitadel_actions_operator::api::target::Target| {
            let (_, reason, message) = condition(target, "Ready").unwrap();
            assert_eq!(reason, "CreateOutcomeUnknown", "{}", world.zitadel.dump());
            message.contains("the name is taken") || message.contains("has the name")
        };
        world.until_target("hook", "the name has a holder that may be ours", looked_up).await;
        world.zitadel.show_events();
        world.edit("hook", json!({"timeout": "11s"})).await;
        let target = world.ready("hook").await;
        assert_eq!(world.zitadel.targets()[0].id, id(&target));
        assert_eq!(world.count(EventKind::Added), 1, "{}", world.zitadel.dump());
        world.finish().await;
    }
}

/// The same while the object is deleted: it does not go without its target.
#[tokio::test]
async fn an_object_whose_create_is_hidden_does_not_go_without_it() {
    let world = World::new(Generation::V3Alpha).await;
    world.zitadel.hide_events_from_now(HiddenFrom::Search);
    world.zitadel.fault(Op::Create, Effect::LoseReply, Times::ONCE);
    world.create("hook", webhook()).await;
    world.reason("hook", "CreateOutcomeUnknown").await;
    world.delete("hook").await;
    world
        .until_target("hook", "deletion waits for the holder of the name", |target| {
            condition(target, "Ready").is_some_and(|(_, _, message)| message.contains("has the name"))
        })
        .await;
    world.zitadel.show_events();
    world.gone("hook").await;
    assert!(world.zitadel.targets().is_empty(), "{}", world.zitadel.dump());
    world.finish().await;
}

/// Audit-log retention hides how a target came to be: a claim vouches for it, and silence does not.
#[tokio::test]
async fn a_target_whose_history_is_gone_is_still_ours() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("hook", webhook()).await;
        let target = world.ready("hook").await;
        world.zitadel.forget_events_until_now();
        world.edit("hook", json!({"timeout": "11s"})).await;
        assert_eq!(id(&world.ready("hook").await), id(&target));
        let name = world.zitadel.external_create("other", TargetEdit::default());
        world.zitadel.forget_events_until_now();
        world.create("other", elsewhere()).await;
        world.reason("other", "NameTaken").await;
        world.delete("other").await;
        world.gone("other").await;
        world.delete("hook").await;
        world.gone("hook").await;
        let left: Vec<_> = world.zitadel.targets().into_iter().map(|remote| remote.id).collect();
        assert_eq!(left, [name], "{}", world.zitadel.dump());
        world.finish().await;
    }
}

/// Errors of executions on updates and deletes delay them, and nothing else.
#[tokio::test]
async fn updates_and_deletes_get_through_when_an_execution_heals() {
    for generation in GENERATIONS {
        for op in [Op::Update, Op::Delete] {
            let world = World::new(generation).await;
            world.create("hook", webhook()).await;
            let target = world.ready("hook").await;
            for effect in [
                Effect::RequestExecution(Interruption::Failed),
                Effect::ResponseExecution(Interruption::Forwarded(404, "no".into())),
            ] {
                world.zitadel.fault(op, effect, Times::ONCE);
            }
            if op == Op::Update {
                world.edit("hook", json!({"timeout": "11s"})).await;
                let edited = world.ready("hook").await;
                assert!(is_ready(&edited) && id(&edited) == id(&target));
                assert_eq!(world.zitadel.targets()[0].timeout, Duration::from_secs(11));
            }
            world.delete("hook").await;
            world.gone("hook").await;
            assert!(world.zitadel.targets().is_empty(), "{}", world.zitadel.dump());
            assert_eq!((world.count(EventKind::Added), world.count(EventKind::Removed)), (1, 1));
            world.finish().await;
        }
    }
}
