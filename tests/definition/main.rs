//! The definition of Targets is deleted while Targets exist: as with Retain, nothing is deleted in ZITADEL.
//!
//! A test target of its own, because what it does ends every other test on the same control plane.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]
#![allow(clippy::needless_pass_by_value, reason = "json!() values are built for the call")]
#![allow(dead_code, reason = "the helpers are those of the behaviour tests, which use all of them")]

#[path = "../it/cluster.rs"]
mod cluster;
#[path = "../it/command.rs"]
mod command;
#[path = "../it/oracle.rs"]
mod oracle;
#[path = "../it/world.rs"]
mod world;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::DeleteParams;
use zitadel_stand_in::{EventKind, Generation};

use cluster::{kubectl, plane};
use world::{World, webhook};

#[tokio::test]
async fn a_deleted_definition_lets_every_target_go_and_deletes_none() {
    // Connections are not installed here: the default one works, the probes do not mind, and who asks for one is told.
    for kind in ["connections", "clusterconnections"] {
        let name = format!("{kind}.zitadel-actions.dev");
        let deleted = tokio::task::spawn_blocking(move || kubectl(plane(), &["delete", "crd", &name], ""));
        assert!(deleted.await.unwrap().ok);
    }
    let world = World::new(Generation::V2).await;
    for index in 0..3 {
        let name = format!("hook-{index}");
        world.create(&name, webhook()).await;
        world.ready(&name).await;
    }
    let mut spec = webhook();
    spec["connectionRef"] = serde_json::json!({"kind": "Connection", "name": "mine"});
    world.create("connected", spec).await;
    let target = world.reason("connected", "ConnectionNotFound").await;
    assert!(world::condition(&target, "Reconciling").unwrap().2.contains("Connections cannot be read"));
    assert_eq!(world.http("/readyz").await.unwrap().0, 200);

    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let name = "targets.zitadel-actions.dev";
    definitions.delete(name, &DeleteParams::default()).await.unwrap();
    world.until("the definition is gone", || async { matches!(definitions.get_opt(name).await, Ok(None)) }).await;
    assert_eq!(world.count(EventKind::Removed), 0, "{}", world.zitadel.dump());
    assert_eq!(world.zitadel.targets().len(), 3);
    // The process lives on without its resource, and ends when it is told to.
    assert_eq!(world.http("/livez").await.unwrap().0, 200);
    assert_eq!(world.terminate(&world.operator()).await, 0);

    // Nor does one that never saw its resource hang when it is told to end.
    let (operator, _) = world.spawn_operator(&[]);
    world.until("the watch fails", || async { world::log(&operator).contains("the watch of Targets failed") }).await;
    assert_eq!(world.terminate(&operator).await, 0);
}
