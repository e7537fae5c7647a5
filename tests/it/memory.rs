//! What belongs to an object goes with it, also if the operator never put its finalizer on it.

use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;
use zitadel_stand_in::Generation;

use crate::exposition::scrape;
use crate::world::{World, current, object, webhook};

/// Targets of one round, and the size of an annotation of each.
const TARGETS: usize = 150;
const ANNOTATION: usize = 200 * 1024;
/// What may stay: far less than the 30 MB that one round holds, and more than an allocator keeps for itself.
const SLACK: f64 = 12e6;

async fn resident(world: &World) -> f64 {
    scrape(world.port()).await.sum("process_resident_memory_bytes", &[])
}

/// Targets that are suspended from the beginning are created, looked at, and deleted.
async fn round(world: &World) {
    let mut spec = webhook();
    spec["suspend"] = json!(true);
    for index in 0..TARGETS {
        let mut target = object(&format!("hook-{index}"), spec.clone());
        target.annotations_mut().insert("example.com/large".into(), "x".repeat(ANNOTATION));
        world.targets().create(&PostParams::default(), &target).await.expect("the Target is accepted");
    }
    let looked_at = || async {
        let targets = world.newest();
        targets.len() == TARGETS && targets.iter().all(current)
    };
    world.until("every Target says that it is suspended", looked_at).await;
    world.targets().delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    world.until("every Target is gone", || async { world.newest().is_empty() }).await;
}

#[tokio::test]
async fn memory_returns_when_targets_that_never_were_in_zitadel_are_deleted() {
    let world = World::new(Generation::V2).await;
    // What an allocator and a connection pool keep for themselves is there after the first round.
    round(&world).await;
    let before = resident(&world).await;
    for _ in 0..2 {
        round(&world).await;
    }
    let returned = || async { resident(&world).await < before + SLACK };
    world.until("memory is back where it was", returned).await;
    println!("resident after one round: {before}, after three: {}", resident(&world).await);
    world.finish().await;
}
