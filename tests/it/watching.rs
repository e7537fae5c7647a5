//! That the tests see everything that they judge by.

use devkit::proxy::{Act, HttpProxy, KubeCall, Rule};
use kube::Api;
use zitadel_stand_in::Generation;

use crate::cluster::{client_of, plane};
use crate::oracle::Witness;
use crate::world::{Setup, World, webhook};

/// Else an object that comes and goes in between, while the API server restarts, is seen by nobody.
#[tokio::test]
async fn it_is_awake_when_its_watch_is_open_and_not_before() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let proxy = HttpProxy::before_kubernetes(plane().kubeconfig()).unwrap();
    let held = proxy.rule(Rule::next(KubeCall::Watch, Act::HoldAnswer));
    let client = client_of(&proxy.kubeconfig()).await;
    let witness = Witness::start(Api::namespaced(client, &world.namespace));
    held.reached().await;
    assert!(!witness.awake());
    held.release();
    world.until("it is awake", || async { witness.awake() }).await;
    world.create("hook", webhook()).await;
    world.delete("hook").await;
    world.until("both have seen its end", || async { witness.oracle().removed == world.removed() }).await;
}
