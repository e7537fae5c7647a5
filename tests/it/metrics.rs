//! Metrics: what docs/metrics.md says is what a real operator exposes, and the figures are those of what happened.

use std::collections::BTreeMap;

use devkit::proxy::{Act, Canned, Fate, HttpProxy, KubeCall, Rule};
use jiff::{SignedDuration, Timestamp};
use kube::api::DeleteParams;
use serde_json::json;
use zitadel_stand_in::{Effect, Generation, Op, TargetEdit, Times};

use crate::cluster::plane;
use crate::connections::{by, connect, secret, setup, to};
use crate::exposition::{self, Exposition, documented};
use crate::world::{Setup, World, condition, id, webhook};

const CONDITION: &str = "zitadel_target_status_condition";
const PENDING: &str = "zitadel_target_oldest_pending_seconds";
const DELETION: &str = "zitadel_target_oldest_deletion_seconds";
const APPLIED: &str = "zitadel_target_apply_to_ready_seconds_count";
const QUEUE: [(&str, &str); 1] = [("name", "target")];

async fn scrape(world: &World) -> Exposition {
    exposition::scrape(world.port()).await
}

async fn sum(world: &World, name: &str, labels: &[(&str, &str)]) -> f64 {
    scrape(world).await.sum(name, labels)
}

/// Waits until a figure is this.
async fn shows(world: &World, name: &str, labels: &[(&str, &str)], expected: f64) {
    let is = || async { (sum(world, name, labels).await - expected).abs() < 0.001 };
    world.until(&format!("{name} {labels:?} is {expected}"), is).await;
}

/// A proxy before the API server.
async fn proxy() -> HttpProxy<KubeCall> {
    let admin = plane().kubeconfig().to_owned();
    tokio::task::spawn_blocking(move || HttpProxy::before_kubernetes(&admin).unwrap()).await.unwrap()
}

/// With everything that some metrics need: an election, and a key that expires.
#[tokio::test]
async fn what_is_exposed_is_what_is_documented() {
    let world = World::with(Setup::new(Generation::V2).flag("--leader-elect", "").without_operator()).await;
    let end = Timestamp::now().round(jiff::Unit::Second).unwrap() + SignedDuration::from_hours(24);
    let key = world.zitadel.machine_key_of(&world.zitadel.user_id(), Some(end));
    let file = world.dir.path().join("key.json");
    std::fs::write(&file, key).unwrap();
    let flags = [
        format!("--zitadel-key-file={}", file.display()),
        format!("--leader-elect-resource-namespace={}", world.namespace),
    ];
    world.start_operator(&[&flags[0], &flags[1]]).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let seen = scrape(&world).await;
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let (told, said) = (seen.told(), documented(&text));
    for (name, shape) in &told {
        assert_eq!(said.get(name), Some(shape), "{name} in docs/metrics.md");
    }
    for (name, shape) in &said {
        assert_eq!(told.get(name), Some(shape), "{name} at /metrics");
    }
    let expiry = "zitadel_connection_credentials_expiry_timestamp_seconds";
    let expected = f64::from(i32::try_from(end.as_second()).unwrap());
    assert!((seen.sum(expiry, &[("connection", "default")]) - expected).abs() < 0.5, "{seen:?}");
    world.finish().await;
}

#[tokio::test]
async fn targets_are_counted_from_their_creation_to_their_end() {
    let world = World::new(Generation::V2).await;
    for name in ["one", "two", "three"] {
        world.create(name, webhook()).await;
    }
    for name in ["one", "two", "three"] {
        world.ready(name).await;
    }
    shows(&world, APPLIED, &[], 3.0).await;
    world.edit("one", json!({"timeout": "20s"})).await;
    world.ready("one").await;
    shows(&world, APPLIED, &[], 4.0).await;
    // A wrong spec: only a person can help.
    let taken = world.zitadel.external_create("taken", TargetEdit::default());
    world.create("taken", webhook()).await;
    world.reason("taken", "NameTaken").await;
    shows(&world, "zitadel_targets_stalled", &[], 1.0).await;
    shows(&world, "zitadel_targets", &[("ready", "True")], 3.0).await;
    shows(&world, "zitadel_targets", &[("ready", "False")], 1.0).await;
    let stalled = [("namespace", world.namespace.as_str()), ("name", "taken"), ("type", "Stalled"), ("status", "True")];
    shows(&world, CONDITION, &stalled, 1.0).await;
    // Suspended ones wait for nobody.
    let mut spec = webhook();
    spec["suspend"] = json!(true);
    world.create("suspended", spec).await;
    world.reason("suspended", "Suspended").await;
    shows(&world, PENDING, &[], 0.0).await;
    // The queue empties, and every entry became one piece of work. While nothing goes: an entry that is due
    // when its object vanishes becomes none.
    shows(&world, "workqueue_depth", &QUEUE, 0.0).await;
    let rests = || async {
        let seen = scrape(&world).await;
        let worked = seen.sum("workqueue_work_duration_seconds_count", &QUEUE);
        let (adds, waited) =
            (seen.sum("workqueue_adds_total", &QUEUE), seen.sum("workqueue_queue_duration_seconds_count", &QUEUE));
        let idle = seen.sum("workqueue_unfinished_work_seconds", &QUEUE) <= 0.0;
        let passes = seen.sum("controller_runtime_reconcile_total", &[]);
        idle && (adds - worked).abs() < 0.5 && (adds - waited).abs() < 0.5 && passes >= 6.0 && worked >= passes
    };
    world.until("entries and work are equal in number", rests).await;
    for name in ["taken", "suspended"] {
        world.edit(name, json!({"suspend": false, "deletionPolicy": "Retain"})).await;
        world.delete(name).await;
        world.gone(name).await;
    }
    let left = || async { scrape(&world).await.find(CONDITION, &[("name", "taken")]).count() };
    world.until("the series of a deleted Target are gone", || async { left().await == 0 }).await;
    assert!(world.zitadel.targets().iter().any(|target| target.id == taken));
    shows(&world, "workqueue_depth", &QUEUE, 0.0).await;
    world.finish().await;
}

#[tokio::test]
async fn waits_grow_while_zitadel_is_down_and_end_with_it() {
    let world = World::new(Generation::V3Alpha).await;
    world.create("old", webhook()).await;
    world.ready("old").await;
    shows(&world, "zitadel_connection_up", &[("connection", "default")], 1.0).await;
    world.zitadel.pause().await;
    world.create("late", webhook()).await;
    world.delete("old").await;
    world.reason("late", "ZitadelUnavailable").await;
    shows(&world, "zitadel_connection_up", &[("connection", "default")], 0.0).await;
    shows(&world, "zitadel_targets_deleting", &[], 1.0).await;
    for name in [PENDING, DELETION] {
        let first = sum(&world, name, &[]).await;
        world.until(&format!("{name} grows"), || async { sum(&world, name, &[]).await > first + 1.0 }).await;
        assert!(sum(&world, name, &[]).await < 60.0);
    }
    let retries = sum(&world, "workqueue_retries_total", &QUEUE).await;
    assert!(retries >= 2.0, "{retries}");
    assert!(sum(&world, APPLIED, &[]).await < 1.5, "late is not ready");
    world.zitadel.resume().await.unwrap();
    world.ready("late").await;
    world.gone("old").await;
    for name in [PENDING, DELETION, "zitadel_targets_deleting"] {
        shows(&world, name, &[], 0.0).await;
    }
    shows(&world, "zitadel_connection_up", &[("connection", "default")], 1.0).await;
    shows(&world, APPLIED, &[], 2.0).await;
    world.finish().await;
}

/// It waits for the end of a back-off, which comes all the same.
#[tokio::test]
async fn an_object_that_goes_while_it_waits_leaves_no_entry_behind() {
    let world = World::new(Generation::V2).await;
    // Without a connection none has a finalizer.
    for name in ["stays", "goes"] {
        world.create(name, by("missing")).await;
        world.reason(name, "ConnectionNotFound").await;
    }
    world.delete("goes").await;
    world.gone("goes").await;
    // Pauses double, and the one that stays failed first: between two more of its passes the entry of the other is due.
    let retries = sum(&world, "workqueue_retries_total", &QUEUE).await;
    let more = || async { sum(&world, "workqueue_retries_total", &QUEUE).await >= retries + 2.0 };
    world.until("the one that stays is tried twice more", more).await;
    shows(&world, "workqueue_depth", &QUEUE, 0.0).await;
    world.finish().await;
}

#[tokio::test]
async fn what_goes_wrong_with_zitadel_is_counted_once() {
    let world = World::new(Generation::V2).await;
    for name in [
        "zitadel_target_create_outcome_unknown_total",
        "zitadel_target_orphans_found_total",
        "zitadel_api_rate_limited_total",
    ] {
        assert_eq!(
            scrape(&world).await.find(name, &[]).map(|sample| sample.value).collect::<Vec<_>>(),
            [0.0],
            "{name}"
        );
    }
    world.zitadel.fault(Op::Create, Effect::LoseReply, Times::ONCE);
    world.create("lost", webhook()).await;
    let lost = world.ready("lost").await;
    shows(&world, "zitadel_target_create_outcome_unknown_total", &[], 1.0).await;
    shows(&world, "zitadel_target_orphans_found_total", &[], 1.0).await;
    world.zitadel.fault(Op::Update, Effect::Status(429, None), Times::ONCE);
    world.edit("lost", json!({"timeout": "20s"})).await;
    world.ready("lost").await;
    shows(&world, "zitadel_api_rate_limited_total", &[], 1.0).await;
    let seen = scrape(&world).await;
    assert!((seen.sum("zitadel_api_requests_total", &[("code", "429")]) - 1.0).abs() < 0.001);
    assert!((seen.sum(APPLIED, &[]) - 2.0).abs() < 0.001, "once for the creation, once for the edit");
    world.note("Updated").await;
    // Differences: one that is corrected, one that may only be looked at.
    let drift = "zitadel_target_drift_total";
    assert!(seen.sum(drift, &[]) < 0.001, "an edit that fails at first is an edit");
    let edit = |timeout| TargetEdit { timeout: Some(std::time::Duration::from_secs(timeout)), ..TargetEdit::default() };
    world.zitadel.external_update(&id(&lost), edit(7));
    shows(&world, drift, &[("action", "corrected")], 1.0).await;
    let seen_only =
        world.zitadel.external_create("seen", TargetEdit { timeout: edit(10).timeout, ..TargetEdit::default() });
    let mut spec = webhook();
    (spec["externalId"], spec["managementPolicy"]) = (json!(seen_only), json!("Observe"));
    world.create("seen", spec).await;
    world.until_target("seen", "looked at", |target| condition(target, "Ready").is_some()).await;
    shows(&world, drift, &[("action", "observed")], 1.0).await;
    world.resyncs(3).await;
    shows(&world, drift, &[("action", "observed")], 1.0).await;
    shows(&world, drift, &[("action", "corrected")], 1.0).await;
    world.finish().await;
}

#[tokio::test]
async fn connections_have_their_own_series() {
    let world = World::with(setup(Generation::V2)).await;
    secret(&world, &world.namespace, "pat", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &world.namespace, "good", to(&world.zitadel.url(), "pat")).await;
    connect(&world, &world.namespace, "bad", to(&world.zitadel.url(), "missing")).await;
    let name = |name: &str| format!("Connection/{}/{name}", world.namespace);
    let (good, bad) = (name("good"), name("bad"));
    shows(&world, "zitadel_connection_up", &[("connection", &good)], 1.0).await;
    let down = || async {
        let seen = scrape(&world).await;
        seen.find("zitadel_connection_up", &[("connection", &bad)]).any(|sample| sample.value < 0.5)
    };
    world.until("the other one is down", down).await;
    world.create("hook", by("good")).await;
    world.ready("hook").await;
    world.delete("hook").await;
    world.gone("hook").await;
    crate::connections::connections(&world, &world.namespace).delete("bad", &DeleteParams::default()).await.unwrap();
    let left = || async { scrape(&world).await.find("zitadel_connection_up", &[("connection", &bad)]).count() };
    world.until("the series of a deleted connection is gone", || async { left().await == 0 }).await;
    world.finish().await;
}

/// What the API server was asked, by method and status.
type Calls = BTreeMap<(String, String), usize>;

#[tokio::test]
async fn calls_to_the_api_server_are_those_that_it_gets() {
    let proxy = proxy().await;
    let mut setup = Setup::new(Generation::V2);
    setup.kubeconfig = Some(proxy.kubeconfig());
    let world = World::with(setup).await;
    proxy.rule(Rule::next(KubeCall::Status, Act::Answer(Canned::kubernetes(500, "InternalError"))));
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    world.edit("hook", json!({"timeout": "20s"})).await;
    world.ready("hook").await;
    let equal = || async {
        let mut counted = Calls::new();
        for sample in scrape(&world).await.find("rest_client_requests_total", &[]) {
            let [method, code] = ["method", "code"].map(|label| sample.labels[label].clone());
            assert_eq!(format!("http://{}", sample.labels["host"]), proxy.url());
            *counted.entry((method, code)).or_default() += format!("{}", sample.value).parse::<usize>().unwrap();
        }
        let mut got = Calls::new();
        for entry in proxy.log() {
            if let (Fate::Answered(status), Some((method, _))) = (entry.fate, entry.request.split_once(' ')) {
                *got.entry((method.to_owned(), status.to_string())).or_default() += 1;
            }
        }
        let faults = got.get(&("PATCH".to_owned(), "500".to_owned()));
        (got == counted && faults == Some(&1)).then_some(got)
    };
    let calls = world.until_some("both count the same", equal).await;
    assert!(calls[&("PATCH".to_owned(), "200".to_owned())] >= 3, "{calls:?}");
    let seen = scrape(&world).await;
    let timed = |method| seen.sum("rest_client_request_duration_seconds_count", &[("verb", method)]);
    let counted = |method| seen.sum("rest_client_requests_total", &[("method", method)]);
    assert!((timed("PATCH") - counted("PATCH")).abs() < 0.001);
    world.finish().await;
}

/// A watch that works again is seen to, although nothing changes that it could tell of.
#[tokio::test]
async fn a_watch_that_fails_is_told_until_it_works() {
    let proxy = proxy().await;
    let mut setup = Setup::new(Generation::V2);
    setup.kubeconfig = Some(proxy.kubeconfig());
    let world = World::with(setup).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let kind = [("kind", "Target")];
    shows(&world, "zitadel_watch_failing", &kind, 0.0).await;
    let before = sum(&world, "zitadel_watch_failures_total", &kind).await;
    let outage = proxy.rule(Rule::every(KubeCall::Watch, Act::Answer(Canned::kubernetes(500, "InternalError"))));
    proxy.cut_connections();
    shows(&world, "zitadel_watch_failing", &kind, 1.0).await;
    assert!(sum(&world, "zitadel_watch_failures_total", &kind).await > before);
    outage.clear();
    shows(&world, "zitadel_watch_failing", &kind, 0.0).await;
    world.finish().await;
}

/// An installation without the definitions of connections is whole; one that may not read them is not.
#[tokio::test]
async fn a_watch_of_connections_fails_where_they_are_forbidden_and_not_where_there_are_none() {
    let proxy = proxy().await;
    let mut setup = Setup::new(Generation::V2);
    setup.kubeconfig = Some(proxy.kubeconfig());
    let missing = proxy.rule(Rule::every(KubeCall::Other, Act::Answer(Canned::kubernetes(404, "NotFound"))));
    let world = World::with(setup).await;
    let kind = [("kind", "Connection")];
    let failures = || async { sum(&world, "zitadel_watch_failures_total", &kind).await };
    world.until("the watch is tried twice", || async { failures().await >= 2.0 }).await;
    assert!(sum(&world, "zitadel_watch_failing", &[]).await < 0.5);
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let forbidden = proxy.rule(Rule::every(KubeCall::Other, Act::Answer(Canned::kubernetes(403, "Forbidden"))));
    missing.clear();
    shows(&world, "zitadel_watch_failing", &kind, 1.0).await;
    forbidden.clear();
    shows(&world, "zitadel_watch_failing", &kind, 0.0).await;
    world.finish().await;
}

#[tokio::test]
async fn series_of_each_target_can_be_left_out() {
    let world = World::with(Setup::new(Generation::V2).flag("--metrics-per-target", "false")).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    shows(&world, "zitadel_targets", &[("ready", "True")], 1.0).await;
    let seen = scrape(&world).await;
    assert!(!seen.types.contains_key(CONDITION), "{:?}", seen.types);
    assert!(seen.samples.iter().all(|sample| !sample.labels.contains_key("namespace")), "{seen:?}");
    world.finish().await;
}
