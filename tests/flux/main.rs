//! The example of `integrations/flux`, applied by Flux's real kustomize-controller: `cargo test --test flux`, not part of
//! plain `cargo test`, because the controller is built first.
//!
//! Of Flux one controller runs. What source-controller does is done here: an artifact of the repository is served on
//! loopback, and the GitRepository's status tells of it. The HelmRelease is left out: the definitions come from `crds`, and
//! the operator runs as a process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

#[path = "../it/cluster.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod cluster;
#[path = "../argocd/git.rs"]
#[allow(dead_code, reason = "shared with the tests of Argo CD")]
mod git;
#[path = "../argocd/listeners.rs"]
mod listeners;
#[path = "../argocd/operator.rs"]
mod operator;
mod scene;

use std::time::Instant;

use serde_json::json;
use zitadel_stand_in::{Effect, EventKind, Op, TargetEdit, Times};

use crate::listeners::assert_on_loopback;
use crate::scene::Scene;

/// How soon a failure that only a person can mend must show; the example waits for up to five minutes.
const SOON: std::time::Duration = std::time::Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_becomes_targets_and_goes_again() {
    let scene = Scene::begin().await;
    waits_for_the_definitions(&scene).await;
    is_ready_when_its_targets_are(&scene).await;
    a_commit_changes_one(&scene).await;
    a_stalled_target_ends_the_wait(&scene).await;
    a_commit_prunes_one(&scene).await;
    a_deletion_leaves_nothing(&scene).await;
}

/// A Kustomization cannot depend on a HelmRelease: it fails until the definitions are there.
async fn waits_for_the_definitions(scene: &Scene) {
    scene.commit("begin");
    scene.apply_example();
    let ready = scene.until_ready("False", "no matches for kind").await;
    assert_on_loopback(&["kustomize-controller", "kube-apiserver"]);
    println!("without the definitions: {}", ready.message);
    scene.install_operator();
}

/// Nothing has to be done by hand, and Ready says that every Target is.
async fn is_ready_when_its_targets_are(scene: &Scene) {
    let fault = scene.zitadel.fault(Op::Create, Effect::Status(503, None), Times::Always);
    for target in ["audit-webhook", "token-claims"] {
        scene.target_tells(target, "CreateOutcomeUnknown").await;
    }
    scene.until_condition("Healthy", "Unknown", "Running health checks").await;
    scene.until_ready("Unknown", "").await;
    fault.clear();
    let ready = scene.until_ready("True", "").await;
    for target in ["audit-webhook", "token-claims"] {
        assert_eq!(scene.reason(target).as_deref(), Some("Available"), "Ready before {target}");
    }
    assert_eq!(scene.names(), ["audit-webhook", "token-claims"]);
    println!("waited while a Target did, then: {}", ready.message);
}

async fn a_commit_changes_one(scene: &Scene) {
    scene.edit("audit-webhook", "timeout: 10s", "timeout: 20s");
    scene.commit("change");
    scene.until_ready("True", "").await;
    let held = scene.zitadel.targets().into_iter().find(|held| held.name == "audit-webhook").unwrap();
    assert_eq!(held.timeout.as_secs(), 20);
}

async fn a_stalled_target_ends_the_wait(scene: &Scene) {
    scene.zitadel.external_create("Taken", TargetEdit::default());
    scene.edit("token-claims", "spec:\n", "spec:\n  name: taken\n");
    let began = Instant::now();
    scene.commit("take a name");
    let ready = scene.until_ready("False", "Target/identity/token-claims").await;
    assert_eq!(ready.reason, "HealthCheckFailed");
    assert!(began.elapsed() < SOON, "after {:?}", began.elapsed());
    println!("a name that is taken, {} s after the commit: {}", began.elapsed().as_secs(), ready.message);
    scene.edit("token-claims", "  name: taken\n", "");
    scene.commit("take another name");
    scene.until_ready("True", "").await;
}

async fn a_commit_prunes_one(scene: &Scene) {
    scene.repository.remove(&format!("{}/token-claims.yaml", scene::TARGETS));
    scene.commit("prune");
    scene.until_ready("True", "").await;
    scene.until("the target is gone in ZITADEL", || async { scene.names() == ["Taken", "audit-webhook"] }).await;
    println!("a commit prunes one Target, and it is gone in ZITADEL");
}

/// The Kustomization goes with all it brought; the operator and the Secret are still there, as docs/flux.md asks for.
async fn a_deletion_leaves_nothing(scene: &Scene) {
    scene.kubectl(&["-n", "flux-system", "delete", "kustomization", "zitadel-targets", "--timeout=60s"], "");
    let left = ["-n", "identity", "get", "targets,connections", "-o", "name"];
    scene.until("nothing is left", || async { scene.kubectl(&left, "").is_empty() }).await;
    assert_eq!(scene.names(), ["Taken"], "what is somebody else's stays");
    let added = scene.zitadel.events().iter().filter(|event| event.kind == EventKind::Added).count();
    assert_eq!(added, 3, "each target was created once");
    let secret = json!(scene.kubectl(&["-n", "identity", "get", "secret", "iam-admin-pat", "-o", "name"], "").trim());
    assert_eq!(secret, "secret/iam-admin-pat");
    println!("deleted: no object, no target but somebody else's");
}
