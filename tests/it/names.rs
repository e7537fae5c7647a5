//! A name in ZITADEL that becomes free is given to the Target that waits for it, at once: its own next try may be five
//! minutes away, which is longer than a test waits.

use serde_json::json;
use zitadel_stand_in::EventKind;

use crate::world::{GENERATIONS, World, id, webhook};

fn named(name: &str) -> serde_json::Value {
    let mut spec = webhook();
    spec["name"] = json!(name);
    spec
}

#[tokio::test]
async fn a_target_gets_its_name_when_the_holder_is_deleted() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("holder", named("shared")).await;
        let held = id(&world.ready("holder").await);
        world.create("waiting", named("Shared")).await;
        world.reason("waiting", "NameTaken").await;
        world.delete("holder").await;
        world.gone("holder").await;
        assert_ne!(id(&world.ready("waiting").await), held);
        assert_eq!(
            (world.count(EventKind::Added), world.count(EventKind::Removed)),
            (2, 1),
            "{}",
            world.zitadel.dump()
        );
        world.finish().await;
    }
}

#[tokio::test]
async fn a_target_gets_its_name_when_the_holder_is_renamed() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("holder", named("shared")).await;
        world.ready("holder").await;
        // One that is to be created, and one that exists under another name.
        world.create("new", named("shared")).await;
        world.reason("new", "NameTaken").await;
        world.edit("holder", json!({"name": "other"})).await;
        world.ready("new").await;
        world.create("renamed", named("third")).await;
        world.ready("renamed").await;
        world.edit("renamed", json!({"name": "other"})).await;
        world.reason("renamed", "NameTaken").await;
        world.edit("holder", json!({"name": "last"})).await;
        world.ready("renamed").await;
        let mut names: Vec<_> = world.zitadel.targets().into_iter().map(|target| target.name).collect();
        names.sort();
        assert_eq!(names, ["last", "other", "shared"], "{}", world.zitadel.dump());
        world.finish().await;
    }
}
