//! Several operators share the work by a label: each cares for its own Targets, and what changes hands stays what it is.

use devkit::supervisor::Signal;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use zitadel_stand_in::{EventKind, Generation};

use crate::cluster::plane;
use crate::connections::{by, connect, connections, secret, to};
use crate::exposition::{CALLS, scrape};
use crate::world::{Setup, World, id, log, object, webhook};

const OURS: &str = "--watch-label-selector=shard in (a)";
const THEIRS: &str = "--watch-label-selector=shard notin (a)";

struct Shared {
    world: World,
    /// The operators of the label, and of everything without it.
    ours: (String, u16),
    theirs: (String, u16),
}

async fn shared() -> Shared {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let (ours, theirs) = (world.spawn_operator(&[OURS]), world.spawn_operator(&[THEIRS]));
    Shared { world, ours, theirs }
}

async fn create(world: &World, name: &str, shard: Option<&str>, spec: serde_json::Value) {
    let mut target = object(name, spec);
    target.labels_mut().extend(shard.map(|shard| ("shard".to_owned(), shard.to_owned())));
    world.targets().create(&PostParams::default(), &target).await.expect("the Target is accepted");
}

/// Changes hands.
async fn label(world: &World, name: &str, shard: &str) {
    let patch = Patch::Merge(json!({"metadata": {"labels": {"shard": shard}}}));
    world.targets().patch(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn each_cares_for_its_own() {
    let Shared { world, ours, theirs } = shared().await;
    create(&world, "ours", Some("a"), webhook()).await;
    create(&world, "theirs", None, webhook()).await;
    world.ready("ours").await;
    world.ready("theirs").await;
    let passed = |operator: &str, name: &str| log(operator).contains(&format!("resource=\"{name}\""));
    assert!(passed(&ours.0, "ours") && !passed(&ours.0, "theirs"));
    assert!(passed(&theirs.0, "theirs") && !passed(&theirs.0, "ours"));
    world.finish().await;
}

#[tokio::test]
async fn a_target_that_changes_hands_stays_what_it_is() {
    let Shared { world, ours, theirs } = shared().await;
    create(&world, "hook", Some("a"), webhook()).await;
    let before = id(&world.ready("hook").await);
    label(&world, "hook", "b").await;
    // The first one may not do it any more, and is not asked to end.
    plane().supervisor().signal(&ours.0, Signal::Freeze).unwrap();
    world.edit("hook", json!({"timeout": "20s"})).await;
    assert_eq!(id(&world.ready("hook").await), before);
    plane().supervisor().signal(&ours.0, Signal::Thaw).unwrap();
    // And back, and gone.
    label(&world, "hook", "a").await;
    world.edit("hook", json!({"timeout": "30s"})).await;
    assert_eq!(id(&world.ready("hook").await), before);
    assert_eq!(world.count(EventKind::Added), 1, "{}", world.zitadel.dump());
    world.delete("hook").await;
    world.gone("hook").await;
    assert!(world.zitadel.targets().is_empty(), "{}", world.zitadel.dump());
    for port in [ours.1, theirs.1] {
        let left = "zitadel_targets_left_behind_total";
        assert_eq!(scrape(port).await.find(left, &[]).map(|one| one.value).collect::<Vec<_>>(), [0.0]);
    }
    assert_eq!(world.notes("LeftBehind").await, [""; 0]);
    world.finish().await;
}

#[tokio::test]
async fn what_another_share_holds_is_not_taken_over() {
    let Shared { world, .. } = shared().await;
    create(&world, "theirs", None, webhook()).await;
    let held = id(&world.ready("theirs").await);
    let mut wish = webhook();
    (wish["externalId"], wish["name"]) = (json!(held), json!("theirs"));
    create(&world, "ours", Some("a"), wish).await;
    world.reason("ours", "AdoptionConflict").await;
    world.delete("ours").await;
    world.gone("ours").await;
    assert_eq!(world.zitadel.targets().len(), 1, "{}", world.zitadel.dump());
    world.finish().await;
}

/// Both operators tend a Connection, since Targets of both may use it: they say the same of it, and not in turn.
#[tokio::test]
async fn a_connection_serves_both() {
    let world = World::with(crate::connections::setup(Generation::V2).without_operator()).await;
    let (ours, theirs) = (world.spawn_operator(&[OURS]), world.spawn_operator(&[THEIRS]));
    let ns = world.namespace.clone();
    secret(&world, &ns, "token", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &ns, "mine", to(&world.zitadel.url(), "token")).await;
    create(&world, "ours", Some("a"), by("mine")).await;
    create(&world, "theirs", None, by("mine")).await;
    world.ready("ours").await;
    world.ready("theirs").await;
    let version = || async { connections(&world, &ns).get("mine").await.unwrap().metadata.resource_version };
    let before = version().await;
    for port in [ours.1, theirs.1] {
        let lists = || async move { scrape(port).await.sum(CALLS, &[("op", "list")]) };
        let seen = lists().await;
        world.until("an operator resyncs", || async { lists().await >= seen + 3.0 }).await;
    }
    assert_eq!(version().await, before, "the Connection is written in turn\n{}", world.explain().await);
    // It is held back for the Target that the other operator cares for.
    connections(&world, &ns).delete("mine", &DeleteParams::default()).await.unwrap();
    world.delete("ours").await;
    world.gone("ours").await;
    world.edit("theirs", json!({"timeout": "20s"})).await;
    world.ready("theirs").await;
    world.delete("theirs").await;
    world.gone("theirs").await;
    world
        .until("the Connection goes", || async { connections(&world, &ns).get_opt("mine").await.unwrap().is_none() })
        .await;
    assert!(world.zitadel.targets().is_empty(), "{}", world.zitadel.dump());
    world.finish().await;
}
