//! Good manners in the cluster: probes, metrics, Events on transitions only, clean diffs, bystanders unharmed.

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use serde_json::json;
use zitadel_stand_in::{Effect, Generation, Op, Times};

use crate::cluster::plane;
use crate::world::{GENERATIONS, Setup, World, current, is_ready, log, webhook};

#[tokio::test]
async fn probes_and_metrics_answer() {
    let world = World::new(Generation::V2).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    assert_eq!(world.http("/startupz").await, Some((200, "ok\n".into())));
    assert_eq!(world.http("/livez").await, Some((200, "ok\n".into())));
    assert_eq!(world.http("/readyz").await, Some((200, "ok\n".into())));
    let (status, text) = world.http("/metrics").await.unwrap();
    assert_eq!(status, 200);
    for line in [
        r#"controller_runtime_reconcile_total{controller="target",result="success"}"#,
        r#"controller_runtime_reconcile_panics_total{controller="target"} 0"#,
        r#"zitadel_api_requests_total{op="create",code="200"} 1"#,
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(line), "{line}\nnot in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains(&world.zitadel.token()));
    world.finish().await;
}

/// Else an API server that is away or slow would have every pod started anew, again and again.
#[tokio::test]
async fn a_process_that_has_never_reached_the_api_server_is_started_and_alive_but_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Kubeconfig::read_from(plane().kubeconfig()).unwrap();
    let nobody = format!("https://127.0.0.1:{}", devkit::host::free_port().unwrap());
    for cluster in &mut config.clusters {
        cluster.cluster.as_mut().unwrap().server = Some(nobody.clone());
    }
    let file = dir.path().join("kubeconfig");
    std::fs::write(&file, serde_json::to_string(&config).unwrap()).unwrap();
    let world = World::with(Setup { kubeconfig: Some(file), ..Setup::new(Generation::V2).without_operator() }).await;
    let (operator, _) = world.spawn_operator(&[]);
    let is = async |path: &str, status| world.http(path).await.is_some_and(|(answered, _)| answered == status);
    world.until("the process is started", || is("/startupz", 200)).await;
    let tried = || async { log(&operator).contains("the watch of Targets failed") };
    world.until("it has looked for the API server in vain", tried).await;
    assert!(is("/startupz", 200).await && is("/livez", 200).await && is("/readyz", 503).await);
    world.finish().await;
}

/// What `kubectl diff` and Argo CD compare: the spec is the user's, byte for byte, and a second apply changes nothing.
#[tokio::test]
async fn a_ready_object_has_no_diff() {
    let world = World::new(Generation::V2).await;
    let manifest = "apiVersion: zitadel-actions.dev/v1alpha1\nkind: Target\nmetadata:\n  name: hook\nspec:\n  restWebhook: {}\n  \
                    timeout: 0.50s\n  endpoint: https://hooks.example.com/zitadel\n";
    let applied = world.kubectl(&["apply", "-f", "-"], manifest).await;
    assert!(applied.ok, "{applied:?}");
    let target = world.ready("hook").await;
    assert_eq!(target.metadata.generation, Some(1));
    let server_side = ["diff", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", "-"];
    for _ in 0..2 {
        let diff = world.kubectl(&["diff", "-f", "-"], manifest).await;
        assert!(diff.ok, "{diff:?}");
        let diff = world.kubectl(&server_side, manifest).await;
        assert!(diff.ok, "{diff:?}");
        let again = world.kubectl(&["apply", "-f", "-"], manifest).await;
        assert!(again.out.contains("unchanged"), "{again:?}");
        world.assert_rests("hook").await;
    }
    let waited = world.kubectl(&["wait", "--for=condition=Ready", "target/hook", "--timeout=5s"], "").await;
    assert!(waited.ok, "{waited:?}");
    world.finish().await;
}

/// A retry that meets the same trouble tells nothing new.
#[tokio::test]
async fn events_are_told_on_transitions_only() {
    let world = World::new(Generation::V2).await;
    world.zitadel.external_create("hook", zitadel_stand_in::TargetEdit::default());
    world.create("hook", webhook()).await;
    world.reason("hook", "NameTaken").await;
    let version = world.get("hook").await.metadata.resource_version;
    assert_eq!(world.notes("NameTaken").await.len(), 1);
    world.terminate(&world.operator()).await;
    world.start_operator(&[]).await;
    world.until("the new operator looked", || async { world.calls(Op::List) >= 3 }).await;
    world.create("other", webhook()).await;
    world.ready("other").await;
    assert_eq!(world.notes("NameTaken").await.len(), 1);
    assert_eq!(world.get("hook").await.metadata.resource_version, version, "waiting for a name writes nothing");
    world.finish().await;
}

/// In sync means: no write, and no call of one's own; one list per interval serves all.
#[tokio::test]
async fn objects_in_sync_cost_nothing() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        for index in 0..15 {
            world.create(&format!("hook-{index}"), webhook()).await;
        }
        for index in 0..15 {
            world.ready(&format!("hook-{index}")).await;
        }
        world.resyncs(2).await;
        let before: Vec<_> = world.targets().list(&ListParams::default()).await.unwrap().items;
        let calls = |world: &World| world.zitadel.calls().iter().filter(|call| call.op != Some(Op::List)).count();
        let (quiet, lists) = (calls(&world), world.calls(Op::List));
        world.resyncs(4).await;
        assert_eq!(calls(&world), quiet, "{}", world.zitadel.dump());
        assert_eq!(world.targets().list(&ListParams::default()).await.unwrap().items, before);
        // A restart needs the same list, who we are, and the date of the newest event.
        world.terminate(&world.operator()).await;
        world.start_operator(&[]).await;
        world.resyncs(4).await;
        assert!(calls(&world) <= quiet + 3, "{}", world.zitadel.dump());
        assert!(world.calls(Op::List) >= lists + 8);
        assert_eq!(world.targets().list(&ListParams::default()).await.unwrap().items, before);
        world.finish().await;
    }
}

/// A finalizer that somebody removed comes back; other people's finalizers, labels and annotations stay.
#[tokio::test]
async fn metadata_of_others_is_left_alone() {
    let world = World::new(Generation::V2).await;
    let mut object = crate::world::object("hook", webhook());
    object.metadata.finalizers = Some(vec!["example.com/other".into()]);
    object.metadata.annotations = Some([("example.com/note".into(), "mine".into())].into());
    object.metadata.labels = Some([("team".into(), "a".into())].into());
    world.targets().create(&PostParams::default(), &object).await.unwrap();
    let target = world.ready("hook").await;
    let finalizers = target.metadata.finalizers.unwrap();
    assert_eq!(finalizers, ["example.com/other", "zitadel-actions.dev/target"]);
    assert_eq!(target.metadata.annotations.unwrap()["example.com/note"], "mine");
    assert_eq!(target.metadata.labels.unwrap()["team"], "a");

    let patch = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/other"]}}));
    world.targets().patch("hook", &PatchParams::default(), &patch).await.unwrap();
    let held = |target: &zitadel_actions_operator::api::target::Target| {
        target.metadata.finalizers.as_ref().is_some_and(|all| all.len() == 2)
    };
    world.until_target("hook", "held again", held).await;
    world.delete("hook").await;
    let only_other = |target: &zitadel_actions_operator::api::target::Target| {
        target.metadata.finalizers.as_deref() == Some(&["example.com/other".to_owned()])
    };
    world.until_target("hook", "released by us and held by the other", only_other).await;
    assert!(world.zitadel.targets().is_empty());
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world.targets().patch("hook", &PatchParams::default(), &patch).await.unwrap();
    world.gone("hook").await;
    world.finish().await;
}

/// Who removes the finalizer by hand is told what stays behind; who deletes in the ordinary way is not.
#[tokio::test]
async fn a_finalizer_removed_by_hand_is_told_with_what_is_left() {
    let world = World::new(Generation::V2).await;
    world.create("plain", webhook()).await;
    world.ready("plain").await;
    world.delete("plain").await;
    world.gone("plain").await;

    world.create("hook", webhook()).await;
    let id = crate::world::id(&world.ready("hook").await);
    // Its deletion waits, so that nobody is faster.
    world.edit("hook", json!({"suspend": true})).await;
    world.reason("hook", "Suspended").await;
    world.delete("hook").await;
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world.targets().patch("hook", &PatchParams::default(), &patch).await.unwrap();
    world.gone("hook").await;
    let note = world.note("LeftBehind").await;
    assert!(note.contains(&id), "{note}");
    assert_eq!(world.notes("LeftBehind").await.len(), 1, "the ordinary deletion left nothing");
    let (_, metrics) = world.http("/metrics").await.unwrap();
    assert!(metrics.contains("zitadel_targets_left_behind_total 1"), "{metrics}");
    assert_eq!(world.zitadel.targets().len(), 1, "reported, not repaired");
    world.finish().await;
}

/// `kubectl replace` wipes annotations and finalizers; the id in status is enough.
#[tokio::test]
async fn replace_changes_nothing_remotely() {
    let world = World::new(Generation::V2).await;
    world.create("hook", webhook()).await;
    let before = crate::world::id(&world.ready("hook").await);
    let manifest = "apiVersion: zitadel-actions.dev/v1alpha1\nkind: Target\nmetadata:\n  name: hook\nspec:\n  restWebhook: \
                    {interruptOnError: true}\n  timeout: 7s\n  endpoint: https://hooks.example.com/zitadel\n";
    let replaced = world.kubectl(&["replace", "-f", "-"], manifest).await;
    assert!(replaced.ok, "{replaced:?}");
    let target = world.until_target("hook", "ready and held", |t| is_ready(t) && t.metadata.finalizers.is_some()).await;
    assert_eq!(crate::world::id(&target), before);
    assert_eq!(world.zitadel.events().len(), 2);
    world.finish().await;
}

/// Our deletion finishes when the whole namespace goes.
#[tokio::test]
async fn a_deleted_namespace_deletes_its_targets() {
    let world = World::new(Generation::V2).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let api: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(world.client.clone());
    api.delete(&world.namespace, &DeleteParams::default()).await.unwrap();
    world.gone("hook").await;
    world.until("the namespace is gone", || async { matches!(api.get_opt(&world.namespace).await, Ok(None)) }).await;
    assert!(world.zitadel.targets().is_empty());
    world.finish().await;
}

/// One object that always fails does not delay the others.
#[tokio::test]
async fn a_poisoned_object_harms_nobody() {
    let world = World::with(Setup::new(Generation::V2)).await;
    let mut poison = webhook();
    poison["endpoint"] = json!("https://unresolvable.invalid/");
    world.create("poison", poison).await;
    world.reason("poison", "EndpointDenied").await;
    for index in 0..5 {
        let name = format!("hook-{index}");
        world.create(&name, webhook()).await;
        world.ready(&name).await;
    }
    assert!(current(&world.get("poison").await));
    world.finish().await;
}

/// Logs for machines: every line is JSON.
#[tokio::test]
async fn json_logs_are_json() {
    let world = World::with(Setup::new(Generation::V2).flag("--log-format", "json")).await;
    world.create("hook", webhook()).await;
    let ready = world.ready("hook").await;
    world.terminate(&world.operator()).await;
    let log = log(&world.operator());
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().any(|line| line["message"] == "starting"));
    let done = lines.iter().find(|line| line["message"] == "done").expect("a line tells of the create");
    assert_eq!(
        (&done["outcome"], &done["external_id"]),
        (&json!("Created"), &json!(crate::world::id(&ready))),
        "{done}"
    );
    assert!(done["duration_ms"].is_u64(), "{done}");
    let span = &done["span"];
    assert_eq!((&span["controller"], &span["resource"]), (&json!("target"), &json!("hook")), "{span}");
    for field in ["namespace", "uid", "generation", "reconcile_id"] {
        assert_ne!(span[field], json!(null), "{field} of {span}");
    }
    assert!(lines.iter().any(|line| line["message"] == "stopped"));
    world.finish().await;
}

/// Also of what failed the log says what it was that was tried.
#[tokio::test]
async fn the_log_says_what_was_done_and_what_was_tried() {
    let world = World::with(Setup::new(Generation::V2).flag("--log-format", "json")).await;
    let taken_over = world.zitadel.external_create("old", zitadel_stand_in::TargetEdit::default());
    let mut adopting = webhook();
    (adopting["name"], adopting["externalId"]) = (json!("old"), json!(taken_over));
    world.create("adopting", adopting).await;
    world.ready("adopting").await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    world.edit("hook", json!({"timeout": "15s"})).await;
    world.ready("hook").await;
    let fault = world.zitadel.fault(Op::Update, Effect::Status(503, None), Times::Always);
    world.edit("hook", json!({"timeout": "20s"})).await;
    world.reason("hook", "ZitadelUnavailable").await;
    fault.clear();
    world.ready("hook").await;
    world.delete("hook").await;
    world.gone("hook").await;
    let lines = log(&world.operator());
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line));
    let told: Vec<(String, String, String)> = lines
        .filter(|line| line["outcome"].is_string())
        .map(|line| {
            [&line["span"]["resource"], &line["outcome"], &line["op"]]
                .map(|field| field.as_str().unwrap().into())
                .into()
        })
        .collect();
    for (resource, outcome, op) in [
        ("adopting", "Adopted", "adopt"),
        ("hook", "Created", "create"),
        ("hook", "Updated", "update"),
        ("hook", "ZitadelUnavailable", "update"),
        ("hook", "Deleted", "delete"),
    ] {
        assert!(told.contains(&(resource.into(), outcome.into(), op.into())), "{resource} {outcome} {op} in {told:?}");
    }
    world.finish().await;
}

/// The log level follows a request, and a wrong one changes nothing.
#[tokio::test]
async fn the_log_level_can_be_changed() {
    let port = devkit::host::free_port().unwrap();
    let setup =
        Setup::new(Generation::V2).flag("--admin-addr", &format!("127.0.0.1:{port}")).flag("--log-level", "info");
    let world = World::with(setup).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://127.0.0.1:{port}/log-level");
    let put = async |level: &'static str| {
        let answer = client.put(&url).body(level).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let steps = || log(&world.operator()).matches("step=").count();
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    assert_eq!(steps(), 0, "{}", log(&world.operator()));
    let (refused, why) = put("a=b=c").await;
    assert!(refused == 400 && why.contains("is no filter"), "{refused} {why}");
    assert_eq!(put("zitadel_actions_operator=debug").await, (200, "zitadel_actions_operator=debug\n".to_owned()));
    world.edit("hook", json!({"timeout": "20s"})).await;
    world.ready("hook").await;
    assert!(steps() > 0, "{}", log(&world.operator()));
    assert!(log(&world.operator()).contains("the log level was changed"));
    world.finish().await;
}
