//! The states of a life without trouble: fresh, ready, changed, suspended, deleting; and what is stale in each direction.

use serde_json::{Value, json};
use zitadel_stand_in::{Effect, Generation, Op, TargetEdit, Times};

use crate::judges;
use crate::witness::Witness;
use crate::world::{Setup, World, webhook};

/// An object as it is in the cluster.
pub async fn live(world: &World, name: &str) -> Value {
    let mut object = serde_json::to_value(world.get(name).await).unwrap();
    object["apiVersion"] = json!("zitadel-actions.dev/v1alpha1");
    object["kind"] = json!("Target");
    object
}

#[tokio::test]
async fn fresh_objects_are_progressing() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let witness = Witness::of(&world, "Target");
    world.create("hook", webhook()).await;
    let verdict = witness.until("hook", "Progressing").await;
    assert_eq!((verdict.reason.as_str(), verdict.kstatus.as_str()), ("Pending", "InProgress"));
    // The default of the CRD is what makes kstatus wait: without any status it says Current. The script waits anyway.
    let mut bare = live(&world, "hook").await;
    assert_eq!(bare["status"]["observedGeneration"], -1);
    assert_eq!(bare["status"]["conditions"][0]["message"], "Waiting for the operator");
    bare.as_object_mut().unwrap().remove("status");
    assert_eq!((judges::health(&bare).status.as_str(), judges::kstatus(&bare).as_str()), ("Progressing", "Current"));
    world.start_operator(&[]).await;
    witness.until("hook", "Healthy").await;
    witness.finish("fresh, then ready");
    world.finish().await;
}

#[tokio::test]
async fn what_is_stale_is_progressing_in_both_directions() {
    let world = World::new(Generation::V2).await;
    let witness = Witness::of(&world, "Target");
    world.zitadel.external_create("taken", TargetEdit::default());
    world.create("good", webhook()).await;
    world.create("taken", webhook()).await;
    witness.until("good", "Healthy").await;
    witness.until("taken", "Degraded").await;
    let (good, taken) = (live(&world, "good").await, live(&world, "taken").await);
    world.kill(&world.operator()).await;
    // Neither an old success nor an old failure says anything of a new spec.
    world.edit("good", json!({"timeout": "3s"})).await;
    world.edit("taken", json!({"name": "free"})).await;
    for name in ["good", "taken"] {
        let verdict = witness.until(name, "Progressing").await;
        assert!(verdict.message.contains("this generation"), "{verdict:?}");
    }
    // A status from a backup may speak of a generation that is still to come.
    for mut object in [good, taken] {
        object["status"]["observedGeneration"] = json!(7);
        assert_eq!(judges::health(&object).status, "Progressing");
        assert_eq!(judges::kstatus(&object), "InProgress");
    }
    world.start_operator(&[]).await;
    witness.until("good", "Healthy").await;
    witness.until("taken", "Healthy").await;
    witness.finish("stale");
    world.finish().await;
}

#[tokio::test]
async fn suspended_and_deleting() {
    let world = World::new(Generation::V2).await;
    let witness = Witness::of(&world, "Target");
    world.create("hook", webhook()).await;
    witness.until("hook", "Healthy").await;
    world.edit("hook", json!({"suspend": true})).await;
    let verdict = witness.until("hook", "Suspended").await;
    assert_eq!(verdict.reason, "Suspended");
    world.edit("hook", json!({"suspend": null})).await;
    witness.until("hook", "Healthy").await;

    // Trouble of before is no trouble of a suspended object.
    world.zitadel.external_create("taken", TargetEdit::default());
    world.create("taken", webhook()).await;
    witness.until("taken", "Degraded").await;
    world.edit("taken", json!({"suspend": true})).await;
    witness.until("taken", "Suspended").await;

    // A deletion waits for ZITADEL; all the while it is pending, and never a failure.
    let fault = world.zitadel.fault(Op::Delete, Effect::Status(503, None), Times::Always);
    world.delete("hook").await;
    let pending = |said: &crate::witness::Verdict| said.kstatus == "Terminating" && said.reason == "ZitadelUnavailable";
    let verdict = witness.until_said("hook", "waiting for ZITADEL", pending).await;
    assert_eq!((verdict.argo.as_str(), verdict.message.as_str()), ("Progressing", "Pending deletion"));
    fault.clear();
    world.gone("hook").await;
    world.delete("taken").await;
    world.edit("taken", json!({"suspend": null})).await;
    world.gone("taken").await;
    witness.finish("suspended and deleting");
    world.finish().await;
}

#[tokio::test]
async fn kubectl_waits_for_each_condition() {
    let world = World::new(Generation::V2).await;
    world.zitadel.external_create("taken", TargetEdit::default());
    world.create("good", webhook()).await;
    world.create("taken", webhook()).await;
    for (condition, object) in [("Ready", "good"), ("Stalled", "taken"), ("Ready=False", "taken")] {
        let arguments = ["wait", &format!("--for=condition={condition}"), &format!("target/{object}"), "--timeout=30s"];
        let waited = world.kubectl(&arguments, "").await;
        assert!(waited.ok, "{waited:?}");
    }
    // What is stale is not waited out: without an operator the new spec is never ready.
    world.kill(&world.operator()).await;
    world.edit("good", json!({"timeout": "3s"})).await;
    let waited = world.kubectl(&["wait", "--for=condition=Ready", "target/good", "--timeout=1s"], "").await;
    assert!(!waited.ok && waited.err.contains("timed out"), "{waited:?}");
    world.finish().await;
}
