//! `integrations/kube-state-metrics`: the real kube-state-metrics with the rights that the files give and no others, read by a real
//! Prometheus, shows what docs/kube-state-metrics.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use devkit::supervisor::Ending;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use zitadel_actions_operator::api::connection::{ClusterConnection, Connection};
use zitadel_stand_in::{Generation, TargetEdit};

use crate::cluster::{kubectl, plane};
use crate::exposition::documented;
use crate::pod::write_kubeconfig;
use crate::prometheus::{Prometheus, two_ports};
use crate::world::{Setup, World, id, log, webhook};

/// Labels that each series has beside its own.
const ALWAYS: [&str; 3] = ["customresource_group", "customresource_kind", "customresource_version"];

/// What is shown of what [`populate`] and [`connect`] make.
const SHOWN: [(&str, f64); 15] = [
    (r#"kube_zitadel_target_status_condition{namespace="$HOME",name="fine",type="Ready",reason="Available"}"#, 1.0),
    (r#"kube_zitadel_target_status_condition{namespace="$HOME",name="taken",type="Ready",reason="NameTaken"}"#, 0.0),
    (r#"kube_zitadel_target_status_condition{namespace="$HOME",name="taken",type="Stalled",reason="NameTaken"}"#, 1.0),
    (r#"kube_zitadel_target_status_condition{namespace="$HOME",name="leaving",type="Ready",reason="Suspended"}"#, 0.0),
    (r#"kube_zitadel_target_spec_suspend{namespace="$HOME",name="leaving"}"#, 1.0),
    (r#"kube_zitadel_target_spec_suspend{namespace="$HOME",name="fine"}"#, 0.0),
    (r#"kube_zitadel_target_info{namespace="$HOME",name="fine",id="$ID",zitadel_name="fine",api="v2"}"#, 1.0),
    (
        r#"kube_zitadel_target_info{namespace="$HOME",connection_kind="Connection",connection="works",deletion_policy="Retain"}"#,
        1.0,
    ),
    (r#"kube_zitadel_target_metadata_generation{namespace="$HOME",name="fine"}"#, 1.0),
    (r#"kube_zitadel_target_status_observed_generation{namespace="$HOME",name="leaving"}"#, 3.0),
    (r#"time() - kube_zitadel_target_created{namespace="$HOME",name="fine"} < bool 600"#, 1.0),
    (r#"time() - kube_zitadel_target_deletion_timestamp{namespace="$HOME",name="leaving"} < bool 600"#, 1.0),
    (
        r#"kube_zitadel_connection_status_condition{namespace="$HOME",name="works",type="Ready",reason="Available"}"#,
        1.0,
    ),
    (r#"kube_zitadel_connection_info{namespace="$HOME",name="works",api="v2"}"#, 1.0),
    (r#"kube_zitadel_clusterconnection_info{name="works",api="v2"}"#, 1.0),
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn file(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn documents(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&file(name)).unwrap()
}

/// What kubectl printed.
async fn run(arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let run = move || kubectl(plane(), &arguments.iter().map(String::as_str).collect::<Vec<_>>(), "");
    let said = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(said.ok, "{}", said.err);
    said.out
}

/// Starts kube-state-metrics as the ServiceAccount that rbac.yaml is about; returns its process and its port.
async fn start(world: &World) -> (String, u16) {
    run(&["create", "namespace", "monitoring"]).await;
    run(&["--namespace", "monitoring", "create", "serviceaccount", "kube-state-metrics"]).await;
    run(&["apply", "--filename", path("integrations/kube-state-metrics/rbac.yaml").to_str().unwrap()]).await;
    let token = run(&["--namespace", "monitoring", "create", "token", "kube-state-metrics"]).await;
    let kubeconfig = world.dir.path().join("kubeconfig");
    write_kubeconfig(plane(), token.trim(), &kubeconfig);
    let ports = two_ports();
    let name = "kube-state-metrics";
    tokio::task::spawn_blocking(move || {
        let mut command = Command::new(devkit::tools::kube_state_metrics::ensure().unwrap());
        let config = path("integrations/kube-state-metrics/custom-resource-state.yaml");
        command
            .arg(format!("--custom-resource-state-config-file={}", config.display()))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .args(["--custom-resource-state-only", "--host=127.0.0.1", "--telemetry-host=127.0.0.1"])
            .args([format!("--port={}", ports[0]), format!("--telemetry-port={}", ports[1])]);
        plane().supervisor().start(name, &command, Ending::Abrupt).expect("kube-state-metrics starts");
    })
    .await
    .unwrap();
    (name.to_owned(), ports[0])
}

/// Connections of both kinds: one that works, and one whose deletion waits for somebody else.
async fn connect(world: &World) {
    let secret = format!("--from-literal=pat={}", world.zitadel.token());
    run(&["--namespace", &world.namespace, "create", "secret", "generic", "pat", &secret]).await;
    let credentials = json!({"personalAccessToken": {"secretRef": {"name": "pat", "key": "pat"}}});
    let spec = json!({"url": world.zitadel.url(), "credentials": credentials});
    let own: Api<Connection> = Api::namespaced(world.client.clone(), &world.namespace);
    let offered: Api<ClusterConnection> = Api::all(world.client.clone());
    for (name, held) in [("works", false), ("leaving", true)] {
        let mut connection = Connection::new(name, serde_json::from_value(spec.clone()).unwrap());
        let mut cluster = ClusterConnection::new(name, serde_json::from_value(spec.clone()).unwrap());
        if held {
            let holder = || Some(vec!["example.com/other".to_owned()]);
            (connection.metadata.finalizers, cluster.metadata.finalizers) = (holder(), holder());
        }
        own.create(&PostParams::default(), &connection).await.unwrap();
        offered.create(&PostParams::default(), &cluster).await.unwrap();
        if held {
            own.delete(name, &DeleteParams::default()).await.unwrap();
            offered.delete(name, &DeleteParams::default()).await.unwrap();
        }
    }
}

/// Targets in every state; returns the id of the one that is ready.
async fn populate(world: &World) -> String {
    world.zitadel.external_create("taken", TargetEdit::default());
    for name in ["fine", "taken", "leaving"] {
        world.create(name, webhook()).await;
    }
    let mut through = webhook();
    through["connectionRef"] = json!({"kind": "Connection", "name": "works"});
    (through["deletionPolicy"], through["managementPolicy"]) = (json!("Retain"), json!("Full"));
    through["name"] = json!("by-another-way");
    world.create("through", through).await;
    world.ready("leaving").await;
    world.edit("leaving", json!({"suspend": true})).await;
    world.reason("leaving", "Suspended").await;
    world.delete("leaving").await;
    world.reason("taken", "NameTaken").await;
    world.ready("through").await;
    id(&world.ready("fine").await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kube_state_metrics_shows_what_is_documented() {
    let setup = Setup::new(Generation::V2).flag("--zitadel-allow-http", "").flag("--cluster-connections", "true");
    let world = World::with(setup.without_operator()).await;
    world.start_operator(&[&format!("--operator-namespace={}", world.namespace)]).await;
    connect(&world).await;
    let (process, port) = start(&world).await;
    let prometheus = Prometheus::start("of-kube-state", &json!({"groups": []}), &[port]).await;
    let id = populate(&world).await;
    for (query, value) in SHOWN {
        let query = query.replace("$HOME", &world.namespace).replace("$ID", &id);
        let told = || async { prometheus.values(&query).await == [value] };
        world.until(&format!("{query} is {value}"), told).await;
    }
    everything_documented_is_there(&world, &prometheus).await;
    for query in queries() {
        assert!(!prometheus.query(&query).await.is_empty(), "nothing comes of {query}");
    }
    let said = log(&process);
    let trouble: Vec<_> = said.lines().filter(|line| line.starts_with('E') || line.contains("forbidden")).collect();
    assert!(trouble.is_empty(), "{}", trouble.join("\n"));
    world.finish().await;
}

/// The queries of the page, of which each gives something here.
fn queries() -> Vec<String> {
    let page = file("docs/kube-state-metrics.md");
    let blocks = page.split("```promql\n").skip(1).map(|block| block.split("```").next().unwrap().trim().to_owned());
    blocks.filter(|query| !query.contains("!=")).collect()
}

/// Names and labels of the page are those of the series.
async fn everything_documented_is_there(world: &World, prometheus: &Prometheus) {
    let said: BTreeMap<String, BTreeSet<String>> = documented(&file("docs/kube-state-metrics.md"))
        .into_iter()
        .map(|(name, (_, mut labels))| {
            labels.extend(["name", "namespace"].map(str::to_owned));
            (name, labels)
        })
        .collect();
    let seen = || async {
        let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for one in prometheus.query(r#"{__name__=~"kube_zitadel_.*"}"#).await {
            let labels = one["metric"].as_object().unwrap();
            let own = labels.keys().filter(|label| !["__name__", "job", "instance", "pod"].contains(&label.as_str()));
            let own: BTreeSet<String> = own.filter(|label| !ALWAYS.contains(&label.as_str())).cloned().collect();
            assert!(ALWAYS.iter().all(|label| labels.contains_key(*label)), "{one}");
            seen.entry(one["metric"]["__name__"].as_str().unwrap().to_owned()).or_default().extend(own);
        }
        seen
    };
    world.until("as many series are shown as are documented", || async { seen().await.len() >= said.len() }).await;
    assert_eq!(seen().await, said);
}

/// What the chart is told is what is tested.
#[test]
fn the_values_for_the_chart_are_made_of_the_tested_files() {
    let values = &documents("integrations/kube-state-metrics/values.yaml")[0];
    let config = &documents("integrations/kube-state-metrics/custom-resource-state.yaml")[0];
    let rbac = documents("integrations/kube-state-metrics/rbac.yaml");
    assert_eq!(&values["customResourceState"]["config"], config);
    assert_eq!(values["rbac"]["extraRules"], rbac[0]["rules"]);
}

/// What cannot be run has at least the same metrics.
#[test]
fn the_form_for_resource_state_metrics_has_the_same_metrics() {
    let config = &documents("integrations/kube-state-metrics/custom-resource-state.yaml")[0];
    let monitor = &documents("integrations/kube-state-metrics/resource-metrics-monitor.yaml")[0];
    let names = |of: &Value, key: &str| -> Vec<String> {
        let text = |one: &Value| one["name"].as_str().unwrap().to_owned();
        of[key].as_array().unwrap().iter().map(text).collect()
    };
    let resources = config["spec"]["resources"].as_array().unwrap();
    let stores = monitor["spec"]["configuration"]["stores"].as_array().unwrap();
    assert_eq!(resources.len(), stores.len());
    for (resource, store) in resources.iter().zip(stores) {
        let prefix = resource["metricNamePrefix"].as_str().unwrap().replace("kube_", "");
        let expected: Vec<_> = names(resource, "metrics").iter().map(|name| format!("{prefix}_{name}")).collect();
        assert_eq!(names(store, "families"), expected);
        let labels = resource["metrics"][0]["each"]["info"]["labelsFromPath"].as_object().unwrap();
        let labels: BTreeSet<_> = labels.keys().filter(|label| *label != "name").cloned().collect();
        let given: BTreeSet<_> = names(&store["families"][0]["metrics"][0], "labels").into_iter().collect();
        assert_eq!(given, labels);
    }
}
