//! The resource actions, run by Argo CD's interpreter on live objects; what they leave is written back as Argo CD does.

use serde_json::{Value, json};
use zitadel_stand_in::{Generation, Op};

use crate::judges::{act, actions};
use crate::states::live;
use crate::witness::Witness;
use crate::world::{World, is_ready};

/// The actions that can be used.
fn usable(object: &Value) -> Vec<String> {
    let offered = actions(object);
    assert_eq!(offered.len(), 3, "{offered:?}");
    offered.into_iter().filter(|(_, usable)| *usable).map(|(name, _)| name).collect()
}

async fn run(world: &World, action: &str) -> Value {
    let patched = act(&live(world, "hook").await, action);
    let written = world.kubectl(&["replace", "-f", "-"], &patched.to_string()).await;
    assert!(written.ok, "{written:?}");
    live(world, "hook").await
}

#[tokio::test]
async fn actions_do_what_they_say() {
    let world = World::new(Generation::V2).await;
    let witness = Witness::of(&world, "Target");
    // Empty objects and a label of somebody else survive the way through Lua, which knows no difference to a list.
    let spec = json!({"restAsync": {}, "timeout": "0.50s", "endpoint": "https://hooks.example.com/zitadel"});
    world.create("hook", spec.clone()).await;
    witness.until("hook", "Healthy").await;
    let before = live(&world, "hook").await;
    assert_eq!(usable(&before), ["reconcile", "suspend"]);

    let asked = run(&world, "reconcile").await;
    let token = asked["metadata"]["annotations"]["zitadel-actions.dev/reconcile-requested-at"].as_str().unwrap();
    let answered = |target: &zitadel_actions_operator::api::target::Target| {
        is_ready(target) && target.status.as_ref().unwrap().last_handled_reconcile_at.as_deref() == Some(token)
    };
    world.until_target("hook", "looked at as asked", answered).await;
    assert_eq!(asked["spec"], spec, "a request is no change");

    let suspended = run(&world, "suspend").await;
    assert_eq!(suspended["spec"]["suspend"], json!(true));
    witness.until("hook", "Suspended").await;
    assert_eq!(usable(&live(&world, "hook").await), ["resume"]);

    let resumed = run(&world, "resume").await;
    assert_eq!(resumed["spec"], spec, "the spec is again what it was");
    witness.until("hook", "Healthy").await;
    assert_eq!(world.calls(Op::Create), 1);
    witness.finish("actions");
    world.finish().await;
}
