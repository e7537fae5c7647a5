//! Names that change hands between Targets of one cluster, and endpoints that a newer server denies.

use serde_json::json;
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{DenyList, EventKind, Generation, Op, TargetEdit};

use crate::world::{GENERATIONS, World, condition, id, webhook};

fn named(name: &str) -> serde_json::Value {
    let mut spec = webhook();
    spec["name"] = json!(name);
    spec
}

fn remote_name(world: &World, target: &Target) -> String {
    world.zitadel.targets().into_iter().find(|remote| remote.id == id(target)).unwrap().name
}

/// Two Targets swap their names, and one of them gets another endpoint in the same edit.
#[tokio::test]
async fn targets_that_swap_their_names_become_ready() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("one", named("x")).await;
        world.create("two", named("y")).await;
        let (one, two) = (world.ready("one").await, world.ready("two").await);
        world.edit("one", json!({"name": "y", "endpoint": "https://hooks.example.com/new"})).await;
        world.edit("two", json!({"name": "x"})).await;
        let (now_one, now_two) = (world.ready("one").await, world.ready("two").await);
        assert_eq!((id(&now_one), id(&now_two)), (id(&one), id(&two)));
        assert_eq!((remote_name(&world, &one).as_str(), remote_name(&world, &two).as_str()), ("y", "x"));
        assert_eq!(world.count(EventKind::Added), 2, "{}", world.zitadel.dump());
        assert_eq!(world.count(EventKind::Removed), 0);
        world.finish().await;
    }
}

/// Three in a circle.
#[tokio::test]
async fn targets_that_pass_their_names_round_become_ready() {
    let world = World::new(Generation::V2).await;
    for (object, name) in [("one", "x"), ("two", "y"), ("three", "z")] {
        world.create(object, named(name)).await;
        world.ready(object).await;
    }
    for (object, name) in [("one", "y"), ("two", "z"), ("three", "x")] {
        world.edit(object, json!({"name": name})).await;
    }
    for (object, name) in [("one", "y"), ("two", "z"), ("three", "x")] {
        let target = world.ready(object).await;
        assert_eq!(remote_name(&world, &target), name);
    }
    world.finish().await;
}

/// A name that somebody else has holds no other field of the edit back.
#[tokio::test]
async fn a_taken_name_does_not_hold_back_a_new_endpoint() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.zitadel.external_create("theirs", TargetEdit::default());
        world.create("hook", webhook()).await;
        let target = world.ready("hook").await;
        world.edit("hook", json!({"name": "theirs", "endpoint": "https://hooks.example.com/new"})).await;
        let told = world.reason("hook", "NameTaken").await;
        assert!(condition(&told, "Stalled").is_some());
        let remote = world.zitadel.targets().into_iter().find(|remote| remote.id == id(&target)).unwrap();
        assert_eq!((remote.name.as_str(), remote.endpoint.as_str()), ("hook", "https://hooks.example.com/new"));
        world.finish().await;
    }
}

/// A name that a Target of the same cluster has is waited for, and the message says whose it is.
#[tokio::test]
async fn a_name_that_another_target_has_names_it() {
    let world = World::new(Generation::V2).await;
    world.create("holder", named("x")).await;
    world.ready("holder").await;
    world.create("waiting", named("X")).await;
    let told = world.reason("waiting", "NameTaken").await;
    assert!(condition(&told, "Stalled").is_none());
    let (_, _, message) = condition(&told, "Reconciling").unwrap();
    assert!(message.contains("the Target holder has this name"), "{message}");
    world.finish().await;
}

/// After an upgrade of the server each endpoint is judged once, by an update that changes nothing.
#[tokio::test]
async fn an_endpoint_that_a_newer_server_denies_is_not_ready_any_more() {
    let world = World::new(Generation::V2).await;
    world.zitadel.set_version("v4.13.1");
    world.create("public", webhook()).await;
    let mut private = webhook();
    private["endpoint"] = json!("http://10.0.0.7/hook");
    world.create("private", private).await;
    world.ready("public").await;
    world.ready("private").await;
    let (events, updates) = (world.zitadel.events().len(), world.calls(Op::Update));
    world.zitadel.pause().await;
    world
        .until("the operator has noticed", || async {
            let metrics = world.http("/metrics").await.map(|(_, text)| text).unwrap_or_default();
            metrics.lines().any(|line| line.starts_with("zitadel_connection_up") && line.ends_with(" 0"))
        })
        .await;
    world.zitadel.set_version("v4.15.2");
    world.zitadel.set_deny_list(DenyList::Private);
    world.zitadel.resume().await.unwrap();
    let version = |target: &Target| target.status.as_ref()?.connection.as_ref()?.server_version.clone();
    let denied = world
        .until_target("private", "the endpoint is denied", |target| {
            condition(target, "Ready").is_some_and(|(_, reason, _)| reason == "EndpointDenied")
        })
        .await;
    assert_eq!(version(&denied).as_deref(), Some("v4.13.1"));
    let judged = |target: &Target| version(target).as_deref() == Some("v4.15.2");
    world.until_target("public", "the newer server has accepted the endpoint", judged).await;
    assert_eq!(world.zitadel.events().len(), events, "nothing was changed\n{}", world.zitadel.dump());
    assert!(world.calls(Op::Update) >= updates + 2);
    world.assert_rests("public").await;
    world.edit("private", json!({"endpoint": "https://hooks.example.com/zitadel"})).await;
    world.ready("private").await;
    world.finish().await;
}
