//! Trouble as GitOps tools see it: what mends itself never looks like a failure, and what only a person can mend looks
//! like one at once.

use std::time::{Duration, Instant};

use serde_json::json;
use zitadel_stand_in::{Effect, Generation, Op, TargetEdit, Times};

use crate::witness::{Verdict, Witness};
use crate::world::{Setup, World, is_ready, webhook};

/// How long ZITADEL is away in one test; the operator's first retries come within seconds, its last a minute apart.
const WINDOW: Duration = Duration::from_mins(1);
/// How soon a failure that only a person can mend must show.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_minute_of_503_is_never_degraded() {
    let world = World::new(Generation::V2).await;
    let witness = Witness::of(&world, "Target");
    world.create("old", webhook()).await;
    witness.until("old", "Healthy").await;
    let body = r#"{"code":14,"message":"upstream connect error"}"#;
    let fault = world.zitadel.fault(Op::Any, Effect::Status(503, Some(body.into())), Times::Always);
    let begin = Instant::now();
    world.edit("old", json!({"timeout": "3s"})).await;
    world.create("new", webhook()).await;
    for name in ["old", "new"] {
        let verdict = witness.until_said(name, "told of the trouble", |said| said.reason == "ZitadelUnavailable").await;
        assert_eq!((verdict.argo.as_str(), verdict.kstatus.as_str()), ("Progressing", "InProgress"));
    }
    world.until("the window is over", || async { begin.elapsed() >= WINDOW }).await;
    let end = Instant::now();
    fault.clear();
    let during = |said: &Verdict| said.at >= begin && said.at <= end;
    for name in ["old", "new"] {
        witness.until(name, "Healthy").await;
        let said: Vec<_> = witness.of_object(name).into_iter().filter(during).collect();
        let waiting = said.iter().filter(|said| said.argo != "Healthy");
        assert!(waiting.clone().count() > 0 && waiting.into_iter().all(|said| said.argo == "Progressing"), "{said:#?}");
    }
    witness.finish("a minute of 503");
    world.finish().await;
}

#[tokio::test]
async fn what_only_a_person_can_mend_is_degraded_at_once() {
    let world = World::new(Generation::V2).await;
    let witness = Witness::of(&world, "Target");
    world.create("hook", webhook()).await;
    witness.until("hook", "Healthy").await;
    let body = r#"{"code":3,"message":"invalid UpdateTargetRequest (COMMAND-zzz)","details":[{"@type":"type.googleapis.com/zitadel.v1.ErrorDetail","id":"COMMAND-zzz","message":"odd"}]}"#;
    let fault = world.zitadel.fault(Op::Update, Effect::Status(400, Some(body.into())), Times::Always);
    let begin = Instant::now();
    world.edit("hook", json!({"timeout": "3s"})).await;
    let verdict = witness.until("hook", "Degraded").await;
    assert!(verdict.at - begin <= SOON, "Degraded after {:?}", verdict.at - begin);
    assert!(verdict.message.starts_with("InvalidSpec: ") && verdict.message.contains("COMMAND-zzz"), "{verdict:?}");
    println!("Degraded {} ms after an edit that ZITADEL refuses", (verdict.at - begin).as_millis());
    fault.clear();
    world.edit("hook", json!({"timeout": "4s"})).await;
    witness.until("hook", "Healthy").await;

    world.zitadel.external_create("taken", TargetEdit::default());
    let begin = Instant::now();
    world.create("taken", webhook()).await;
    let verdict = witness.until("taken", "Degraded").await;
    assert!(verdict.at - begin <= SOON && verdict.reason == "NameTaken", "{verdict:?}");
    witness.finish("400 and a name that is taken");
    world.finish().await;
}

/// Ten minutes are made by setting the clock of the status back, while no operator runs.
#[tokio::test]
async fn at_the_progress_deadline_waiting_becomes_degraded() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let fault = world.zitadel.fault(Op::Any, Effect::Status(503, None), Times::Always);
    let operator = world.start_operator(&[]).await;
    let witness = Witness::of(&world, "Target");
    world.create("hook", webhook()).await;
    let told = |said: &Verdict| said.reason == "ZitadelUnavailable";
    assert_eq!(witness.until_said("hook", "told of the trouble", told).await.argo, "Progressing");
    world.kill(&operator).await;
    world.age("hook").await;
    world.start_operator(&[]).await;
    let verdict = witness.until("hook", "Degraded").await;
    assert_eq!((verdict.reason.as_str(), verdict.kstatus.as_str()), ("ZitadelUnavailable", "Failed"));
    assert!(
        verdict.message.starts_with("ProgressDeadlineExceeded: ") && verdict.message.contains("HTTP 503"),
        "{verdict:?}"
    );
    fault.clear();
    witness.until("hook", "Healthy").await;
    witness.finish("progress deadline");
    // The oracle has seen the clock being set back, which is ours to forgive.
    world.pardon("lastTransitionTime");
    world.finish().await;
}

/// A Connection is judged by the same script, through all that its status can say.
#[tokio::test]
async fn connections_are_judged_as_targets_are() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let witness = Witness::of(&world, "Connection");
    let manifest = json!({
        "apiVersion": "zitadel-actions.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "tenant"},
        "spec": {"url": world.zitadel.url(), "credentials": {"personalAccessToken": {"secretRef": {"name": "pat", "key": "pat"}}}},
    });
    let applied = world.kubectl(&["apply", "-f", "-"], &manifest.to_string()).await;
    assert!(applied.ok, "{applied:?}");
    assert_eq!(witness.until("tenant", "Progressing").await.kstatus, "InProgress");
    let strict = world.start_operator(&[]).await;
    let refused = witness.until("tenant", "Degraded").await;
    assert_eq!((refused.reason.as_str(), refused.kstatus.as_str()), ("InvalidSpec", "Failed"), "{refused:?}");
    world.kill(&strict).await;
    let renamed = json!({"spec": {"host": "localhost"}}).to_string();
    let edit = ["patch", "connection", "tenant", "--type=merge", "--patch", &renamed];
    assert!(world.kubectl(&edit, "").await.ok);
    assert_eq!(
        witness.until("tenant", "Progressing").await.reason,
        "InvalidSpec",
        "what is said is of an older generation"
    );
    world.start_operator(&["--zitadel-allow-http"]).await;
    witness.until_said("tenant", "waiting for its Secret", |said| said.reason == "CredentialsUnavailable").await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pat"}, "stringData": {"pat": world.zitadel.token()}});
    assert!(world.kubectl(&["apply", "-f", "-"], &secret.to_string()).await.ok);
    witness.until("tenant", "Healthy").await;
    assert!(world.kubectl(&["wait", "--for=condition=Ready", "connection/tenant", "--timeout=10s"], "").await.ok);
    // The script is installed for the other kind as well, whose status is the same.
    let told = world.kubectl(&["get", "connection", "tenant", "-o", "json"], "").await.out;
    let mut object: serde_json::Value = serde_json::from_str(&told).unwrap();
    object["kind"] = json!("ClusterConnection");
    assert_eq!(crate::judges::health(&object).status, "Healthy");

    let mut spec = webhook();
    spec["connectionRef"] = json!({"kind": "Connection", "name": "tenant"});
    world.create("hook", spec).await;
    world.until_target("hook", "Ready", is_ready).await;
    assert!(world.kubectl(&["delete", "connection", "tenant", "--wait=false"], "").await.ok);
    let held = witness.until_said("tenant", "held by its Target", |said| said.reason == "InUse").await;
    assert_eq!((held.argo.as_str(), held.kstatus.as_str()), ("Progressing", "Terminating"), "{held:?}");
    assert!(world.kubectl(&["delete", "target/hook", "connection/tenant", "--timeout=30s"], "").await.ok);
    witness.finish("a Connection");
    world.finish().await;
}
