//! Targets whose definition is not there yet when a sync begins: what `SkipDryRunOnMissingResource` is for, and where Argo
//! CD does without. Nothing here needs an operator: a sync does not wait for its last wave.

use serde_json::{Value, json};

use crate::argo::Argo;

const APPLICATION: (&str, &str) = ("argoproj.io/v1alpha1", "Application");
const TARGET: (&str, &str) = ("zitadel-actions.dev/v1alpha1", "Target");
const OPTION: &str = "SkipDryRunOnMissingResource=true";
const CHART: &str = "charts/zitadel-actions-operator";
const NESTED: &str = "nested";
const TARGETS: &str = "targets";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_begins_without_the_definition_of_targets() {
    let argo = Argo::start().await;
    argo.repository.copy(CHART);
    // The definitions come in the first wave, and from another Application: nothing in this sync defines Targets.
    argo.repository.write(&format!("{NESTED}/operator.yaml"), &with_wave(&operator(&argo), 0));
    argo.repository.write(&format!("{NESTED}/target.yaml"), &with_wave(&target(), 1));
    argo.repository.write(&format!("{TARGETS}/target.yaml"), &with_wave(&target(), 1));
    argo.repository.commit("begin");

    without_the_option_the_sync_fails(&argo).await;
    with_the_option_it_goes_on(&argo).await;
    remove(&argo, &["nested", "zitadel-actions-operator"]).await;
    one_application_needs_no_option(&argo).await;
    remove(&argo, &["together"]).await;
}

async fn without_the_option_the_sync_fails(argo: &Argo) {
    apply(argo, &application(argo, "nested", &json!({"path": NESTED}), &[]));
    let failed = || async {
        let state = argo.app("nested").await?["status"]["operationState"].clone();
        (state["phase"] == "Failed").then_some(state)
    };
    let state = argo.until_some("the sync fails", failed).await;
    let results = state["syncResult"]["resources"].as_array().cloned().unwrap_or_default();
    let told = results.iter().find(|result| result["kind"] == "Target").unwrap_or_else(|| panic!("{state:#}"));
    let message = told["message"].as_str().unwrap_or_default();
    assert!(message.contains("zitadel-actions.dev/Target") && message.contains("CRD"), "{told:#}");
    assert!(
        argo.get(APPLICATION, "argocd", "zitadel-actions-operator").await.is_none(),
        "not even the first wave came"
    );
    println!("without {OPTION}: {} {message}", state["message"]);
}

async fn with_the_option_it_goes_on(argo: &Argo) {
    apply(argo, &application(argo, "nested", &json!({"path": NESTED}), &[OPTION]));
    // Argo CD does not try the same commit again by itself.
    argo.repository.write("try", "again");
    let revision = argo.repository.commit("again");
    argo.refresh("nested", "normal").await;
    let there = || async { argo.get(TARGET, "identity", "audit-webhook").await };
    argo.until_some("the Target is there", there).await;
    let state = argo.app("nested").await.unwrap()["status"]["operationState"].clone();
    assert_eq!(state["operation"]["sync"]["revision"], json!(revision), "{state:#}");
    println!("with {OPTION}: the operator's Application first, then the Target");
}

/// Definitions and Targets in one sync: Argo CD sees that the sync itself defines them.
async fn one_application_needs_no_option(argo: &Argo) {
    let gone = argo.kubectl(&["get", "crd", "targets.zitadel-actions.dev"], "");
    assert!(!gone.ok, "the definition is still there: {gone:?}");
    let url = argo.repository.url();
    let sources = json!([
        {"repoURL": url, "targetRevision": "main", "path": CHART, "helm": {"valuesObject": {"replicas": 0}}},
        {"repoURL": url, "targetRevision": "main", "path": TARGETS},
    ]);
    let mut together = application(argo, "together", &json!({}), &["ServerSideApply=true"]);
    let spec = together["spec"].as_object_mut().unwrap();
    spec.remove("source");
    spec.insert("sources".to_owned(), sources);
    let mark = argo.mark();
    apply(argo, &together);
    let there = || async { argo.get(TARGET, "identity", "audit-webhook").await };
    argo.until_some("the Target is there", there).await;
    let seen = argo.since(mark, "together");
    assert!(seen.iter().all(|moment| !matches!(moment.phase.as_str(), "Failed" | "Error")), "{seen:#?}");
    println!("chart and Target in one Application: no option needed");
}

/// Deletes Applications with all they brought, and then what the chart keeps.
async fn remove(argo: &Argo, names: &[&str]) {
    for name in names {
        let said =
            argo.kubectl(&["-n", "argocd", "delete", "application", name, "--ignore-not-found", "--wait=false"], "");
        assert!(said.ok, "{said:?}");
    }
    let gone = || async {
        argo.kubectl(&["-n", "argocd", "get", "applications", "-o", "name"], "").out.is_empty().then_some(())
    };
    argo.until_some("the Applications are gone", gone).await;
    let ours = ["targets", "connections", "clusterconnections"].map(|kind| format!("crd/{kind}.zitadel-actions.dev"));
    let said = argo.kubectl(&["delete", &ours[0], &ours[1], &ours[2], "--timeout=60s"], "");
    assert!(said.ok, "{said:?}");
}

/// An Application that synchronises itself once for each revision.
fn application(argo: &Argo, name: &str, source: &Value, options: &[&str]) -> Value {
    let mut source = source.clone();
    source["repoURL"] = json!(argo.repository.url());
    source["targetRevision"] = json!("main");
    let options: Vec<_> = ["CreateNamespace=true"].iter().chain(options).collect();
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {
            "name": name, "namespace": "argocd", "finalizers": ["resources-finalizer.argocd.argoproj.io"],
        },
        "spec": {
            "project": "default", "source": source,
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "identity"},
            "syncPolicy": {"automated": {}, "syncOptions": options, "retry": {"limit": 0}},
        },
    })
}

fn operator(argo: &Argo) -> Value {
    let source = json!({"path": CHART, "helm": {"valuesObject": {"replicas": 0}}});
    application(argo, "zitadel-actions-operator", &source, &["ServerSideApply=true"])
}

fn target() -> Value {
    json!({
        "apiVersion": "zitadel-actions.dev/v1alpha1", "kind": "Target", "metadata": {"name": "audit-webhook"},
        "spec": {"restAsync": {}, "timeout": "10s", "endpoint": "https://hooks.example.com/audit"},
    })
}

/// The manifest in a wave, as JSON, which is YAML.
fn with_wave(manifest: &Value, wave: u8) -> String {
    let mut manifest = manifest.clone();
    manifest["metadata"]["annotations"] = json!({"argocd.argoproj.io/sync-wave": wave.to_string()});
    manifest.to_string()
}

fn apply(argo: &Argo, manifest: &Value) {
    let said = argo.kubectl(&["apply", "-f", "-"], &manifest.to_string());
    assert!(said.ok, "{said:?}");
}
