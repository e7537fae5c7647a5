//! What Prometheus makes of the operator, its alerts and its dashboard.

use std::collections::BTreeSet;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use zitadel_stand_in::TargetEdit;

use crate::exposition::documented;
use crate::helm::NAMESPACE;
use crate::prometheus::{JOB, Observed, alerts, rules};
use crate::world::{World, webhook};

/// The beginnings of the operator's metrics.
const FAMILIES: [&str; 6] =
    ["zitadel_", "controller_runtime_", "workqueue_", "rest_client_", "leader_election_", "process_"];

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The panels of the dashboard, and the queries of each with what Grafana would put in.
pub fn panels() -> Vec<(String, Vec<String>)> {
    let dashboard: Value =
        serde_json::from_str(&file("charts/zitadel-actions-operator/files/dashboard.json")).expect("it is JSON");
    let all = dashboard["panels"].as_array().expect("it has panels");
    let queries = |panel: &Value| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.iter().map(|target| filled(target["expr"].as_str().expect("a target has a query"))).collect()
    };
    let text = |panel: &Value| panel["title"].as_str().expect("a panel has a title").to_owned();
    all.iter().filter(|panel| panel["type"] != "row").map(|panel| (text(panel), queries(panel))).collect()
}

fn filled(query: &str) -> String {
    query
        .replace("$job", JOB)
        .replace("$namespace", NAMESPACE)
        .replace("$__rate_interval", "15s")
        .replace("$__range", "1m")
}

/// The metrics that a query names.
pub fn metrics(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| FAMILIES.iter().any(|family| word.starts_with(family))).map(str::to_owned).collect()
}

/// The names under which Prometheus has what docs/metrics.md documents.
fn stored() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, (kind, _)) in documented(&file("docs/metrics.md")) {
        if kind == "histogram" {
            names.extend(["_bucket", "_count", "_sum"].map(|suffix| format!("{name}{suffix}")));
        } else {
            names.insert(name);
        }
    }
    names
}

#[tokio::test]
async fn a_real_prometheus_reads_the_operator() {
    let observed = Observed::whole(&rules()).await;
    let (world, prometheus) = (&observed.world, &observed.prometheus);
    world.zitadel.external_create("taken", TargetEdit::default());
    world.create("hook", webhook()).await;
    world.create("taken", webhook()).await;
    world.ready("hook").await;
    world.reason("taken", "NameTaken").await;

    // What is documented is there.
    let missing = || async {
        let names = prometheus.ask("label/__name__/values", &[]).await.unwrap_or_default();
        let known: BTreeSet<String> = serde_json::from_value(names).unwrap_or_default();
        stored().difference(&known).cloned().collect::<Vec<_>>()
    };
    world.until("Prometheus has every metric", || async { missing().await.is_empty() }).await;
    let read = prometheus.ask("targets", &[]).await.unwrap();
    assert_eq!(read["activeTargets"][0]["lastError"], "", "{read}");

    // The alerts are loaded, and Prometheus can evaluate them.
    let wanted: BTreeSet<String> =
        alerts(&rules()).iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect();
    let judged = || async {
        let told = prometheus.ask("rules", &[]).await.unwrap_or_default();
        let loaded = alerts(&renamed(&told));
        let names: BTreeSet<String> = loaded.iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect();
        let healthy = loaded.iter().all(|rule| rule["health"] == "ok");
        for rule in &loaded {
            assert_ne!(rule["health"], "err", "{rule:#}");
        }
        names == wanted && healthy
    };
    world.until("every alert is evaluated", judged).await;

    // One kind of call fails each time from now on: ZITADEL does not call loopback addresses.
    world.edit("hook", json!({"endpoint": "https://127.0.0.1/hook"})).await;
    world.reason("hook", "EndpointDenied").await;
    let shown = tokio::select! {
        shown = shown(&observed) => shown,
        // What failed once only is no rate.
        () = ask_again(world, "hook") => unreachable!("it asks for ever"),
    };
    println!("{} metrics, {} alerts, {} panels with {shown} queries", stored().len(), wanted.len(), panels().len());
}

/// Each panel has something to show; returns how many queries were asked.
async fn shown(observed: &Observed) -> usize {
    let mut shown = 0;
    for (title, queries) in panels() {
        for query in queries {
            let told = || async { !observed.prometheus.query(&query).await.is_empty() };
            observed.world.until(&format!("the panel {title:?} shows {query}"), told).await;
            shown += 1;
        }
    }
    shown
}

/// Asks for a pass over a Target again and again.
async fn ask_again(world: &World, name: &str) {
    for time in 0_u32.. {
        ask_for_a_pass(world, name, &time.to_string()).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

pub async fn ask_for_a_pass(world: &World, name: &str, at: &str) {
    let asked = Patch::Merge(json!({"metadata": {"annotations": {"zitadel-actions.dev/reconcile-requested-at": at}}}));
    world.targets().patch(name, &PatchParams::default(), &asked).await.unwrap();
}

/// Prometheus calls a rule's name `name`.
fn renamed(told: &Value) -> Value {
    let mut told = told.clone();
    for rule in
        told["groups"].as_array_mut().into_iter().flatten().filter_map(|group| group["rules"].as_array_mut()).flatten()
    {
        if rule["type"] == "alerting" {
            rule["alert"] = rule["name"].clone();
        }
    }
    told
}

#[test]
fn the_dashboard_names_what_exists() {
    let stored = stored();
    let mut used = BTreeSet::new();
    for (title, queries) in panels() {
        assert!(!queries.is_empty(), "{title:?} shows nothing");
        for query in queries {
            let named = metrics(&query);
            assert!(!named.is_empty(), "{title:?} is about no metric of the operator: {query}");
            used.extend(named);
        }
    }
    let unknown: Vec<_> = used.difference(&stored).collect();
    assert!(unknown.is_empty(), "not in docs/metrics.md: {unknown:?}");
}

/// Grafana keeps panels apart by their ids and places; a data source of one installation must not be in it.
#[test]
fn the_dashboard_fits_every_grafana() {
    let text = file("charts/zitadel-actions-operator/files/dashboard.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are given once");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for (x, y) in (0..place("w")).flat_map(|x| (0..place("h")).map(move |y| (x, y))) {
            let at = (place("x") + x, place("y") + y);
            assert!(at.0 < 24 && taken.insert(at), "{} lies on another panel", panel["title"]);
        }
        for source in panel["targets"].as_array().into_iter().flatten().map(|target| &target["datasource"]) {
            assert_eq!(source["uid"], "${datasource}");
        }
    }
}
