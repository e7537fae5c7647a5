//! What docs/backup.md says of a cluster: manifests alone, objects with and without status, etcd, two clusters at once.

use std::process::Command;

use serde_json::Value;
use zitadel_stand_in::{EventKind, Generation, Role};

use crate::site::{Site, manifest};

const NAMESPACE: &str = "identity";

fn until_reason(site: &Site, name: &str, reason: &str) {
    let path = r#"{.status.conditions[?(@.type=="Ready")].reason}"#;
    site.sh(&format!("kubectl wait --for=jsonpath='{path}'={reason} target/{name} --timeout=90s"));
}

fn until_ready(site: &Site, name: &str) -> String {
    site.sh(&format!("kubectl wait --for=condition=Ready target/{name} --timeout=90s"));
    site.get("target", name).unwrap()["status"]["id"].as_str().unwrap().to_owned()
}

fn told(site: &Site, reason: &str, name: &str) -> bool {
    let events = site
        .sh(&format!("kubectl get events --field-selector reason={reason} --output=jsonpath='{{..metadata.name}}'"));
    events.split_whitespace().any(|event| event.starts_with(&format!("{name}.")))
}

fn count(site: &Site, kind: EventKind) -> usize {
    site.zitadel.events().iter().filter(|event| event.kind == kind).count()
}

const MANIFESTS: [&str; 3] = ["manifest", "manifest-2", "manifest-3"];
const ANNOTATIONS: [&str; 3] = ["annotations", "annotations-renamed", "annotations-deleted"];
const STATUS: [&str; 2] = ["status", "status-2"];

/// The objects whose names begin so, without what no API server takes back: what a backup tool restores, but for status.
fn saved(site: &Site, kind: &str) -> String {
    let file = format!("{kind}.yaml");
    let copy = "grep -v -E '^    (uid|resourceVersion|creationTimestamp|generation): '";
    site.sh(&format!(
        "kubectl get $(kubectl get targets --output=name | grep '/{kind}') --output=yaml --ignore-not-found | {copy} > {file}"
    ));
    file
}

/// A cluster is lost, and another one takes its place, while ZITADEL goes on. Objects come back in three ways.
#[test]
fn a_lost_cluster_finds_its_targets_by_what_comes_back() {
    let mut site = Site::new(Generation::V2);
    site.install(NAMESPACE, "replicas=1");
    let all = [&MANIFESTS[..], &ANNOTATIONS, &STATUS, &["stranger", "stranger-2"]].concat();
    site.apply(&all.iter().map(|name| manifest(name, "")).collect::<Vec<_>>().join("---\n"));
    site.sh("kubectl wait --for=condition=Ready targets --all --timeout=60s");
    let id = |site: &Site, name: &str| site.zitadel.targets().iter().find(|held| held.name == name).unwrap().id.clone();
    let ids: Vec<String> = all.iter().map(|name| id(&site, name)).collect();
    let former = |name: &str| ids[all.iter().position(|one| *one == name).unwrap()].clone();
    let files = ["annotations", "status", "stranger"].map(|kind| saved(&site, kind));
    site.renew();
    let made = all.len();
    let written = |site: &Site| site.zitadel.events().len() - made;

    // With status, before an operator runs: as they were, and an edit is an edit.
    site.install(NAMESPACE, "replicas=0");
    site.sh(&format!("kubectl create --filename {0}; kubectl replace --subresource=status --filename {0}", files[1]));
    site.install(NAMESPACE, "replicas=1");
    for name in STATUS {
        assert_eq!(until_ready(&site, name), former(name));
        assert!(!told(&site, "Recovered", name));
    }
    site.sh(r#"kubectl patch target status --type=merge -p '{"spec":{"timeout":"20s"}}'"#);
    site.until("the edit arrives", || site.zitadel.targets().iter().any(|target| target.timeout.as_secs() == 20));
    assert_eq!(written(&site), 1, "{}", site.zitadel.dump());

    // With annotations: found, also where the name was another one; what is gone is made anew.
    site.zitadel.external_rename(&former("annotations-renamed"), "renamed");
    site.zitadel.external_delete(&former("annotations-deleted"));
    site.sh(&format!("kubectl create --filename {}", files[0]));
    for name in ["annotations", "annotations-renamed"] {
        assert_eq!(until_ready(&site, name), former(name));
        assert!(told(&site, "Recovered", name));
    }
    assert_ne!(until_ready(&site, "annotations-deleted"), former("annotations-deleted"));
    // Renamed, deleted; renamed back, made anew.
    assert_eq!((count(&site, EventKind::Added), written(&site)), (made + 1, 5), "{}", site.zitadel.dump());

    // Manifests alone: they meet their own names, and can take over, one by one or all at once.
    site.apply(&manifest("manifest", ""));
    until_reason(&site, "manifest", "NameTaken");
    let patch = format!(r#"{{"spec":{{"externalId":"{}"}}}}"#, former("manifest"));
    site.sh(&format!("kubectl patch target manifest --type=merge -p '{patch}'"));
    assert_eq!(until_ready(&site, "manifest"), former("manifest"));
    assert!(told(&site, "Adopted", "manifest"));

    // With annotations, but another service account: the event store says who created a target.
    site.write("pat.txt", &site.zitadel.issue_token(Role::IamOwner));
    site.install(NAMESPACE, "replicas=0");
    site.install(NAMESPACE, "replicas=1");
    site.sh(&format!("kubectl create --filename {}", files[2]));
    until_reason(&site, "stranger", "NameTaken");

    site.sh(&format!(
        "zitadel-actions-operator export --zitadel-url {} --zitadel-token-file pat.txt > all.yaml 2> /dev/null
         kubectl apply --filename all.yaml",
        site.zitadel.url()
    ));
    for name in ["manifest-2", "manifest-3", "stranger", "stranger-2"] {
        assert_eq!(until_ready(&site, name), former(name));
    }
    assert_eq!(written(&site), 5, "none of it wrote in ZITADEL: {}", site.zitadel.dump());
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> anyhow::Result<()> {
    let _ = std::fs::remove_dir_all(to);
    anyhow::ensure!(Command::new("cp").arg("-r").arg(from).arg(to).status()?.success());
    Ok(())
}

#[test]
fn a_restored_etcd_goes_back_in_the_cluster_and_not_in_zitadel() {
    let site = Site::new(Generation::V2);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("etcd");
    site.install(NAMESPACE, "replicas=1");
    for name in ["kept", "edited", "deleted", "renewed"] {
        site.target(name);
    }
    let ids = ["kept", "edited", "deleted", "renewed"].map(|name| until_ready(&site, name));
    site.with_etcd_stopped(|data| copy(data, &backup));
    site.sh(r#"kubectl patch target edited --type=merge -p '{"spec":{"timeout":"20s"}}'"#);
    site.until("the edit arrives", || site.zitadel.targets().iter().any(|target| target.timeout.as_secs() == 20));
    site.sh("kubectl delete targets deleted renewed --timeout=60s");
    site.target("renewed");
    site.target("since");
    let since = until_ready(&site, "since");
    let renewed = until_ready(&site, "renewed");

    site.with_etcd_stopped(|data| copy(&backup, data));
    site.sh(&format!(
        "kubectl --namespace {NAMESPACE} rollout restart deployment/zitadel-actions-operator
         kubectl --namespace {NAMESPACE} rollout status deployment/zitadel-actions-operator"
    ));
    // What is in the backup has its id, and its spec of then.
    site.until("the older spec arrives", || site.zitadel.targets().iter().all(|target| target.timeout.as_secs() == 10));
    assert_eq!([until_ready(&site, "kept"), until_ready(&site, "edited")], [ids[0].clone(), ids[1].clone()]);
    // What was deleted since is made anew.
    site.until("it is told", || told(&site, "ExternallyDeleted", "deleted"));
    assert_ne!(until_ready(&site, "deleted"), ids[2]);
    // What was made anew since under its name is a stranger now.
    until_reason(&site, "renewed", "NameTaken");
    // What was made since is there in ZITADEL, and nobody's; its manifest meets its name.
    assert!(site.get("target", "since").is_none());
    site.apply(&manifest("since", ""));
    until_reason(&site, "since", "NameTaken");
    for (name, id) in [("since", &since), ("renewed", &renewed)] {
        // Where status still has an id that is gone, the object has to be made anew.
        if name == "renewed" {
            site.sh(r#"kubectl patch target renewed --type=merge -p '{"spec":{"deletionPolicy":"Retain"}}'"#);
            site.sh("kubectl delete target renewed --timeout=60s");
        }
        site.apply(&manifest(name, &format!("  externalId: '{id}'\n")));
        assert_eq!(until_ready(&site, name), *id);
    }
    assert_eq!(site.zitadel.targets().len(), 5, "{}", site.zitadel.dump());
}

/// The copy of a cluster, while the cluster goes on.
#[test]
fn two_clusters_with_one_target_change_it_back_and_forth() {
    let first = Site::new(Generation::V2);
    first.install(NAMESPACE, "replicas=1");
    first.target("hook");
    let id = until_ready(&first, "hook");
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("etcd");
    first.with_etcd_stopped(|data| copy(data, &backup));
    let second = Site::beside(first.zitadel.clone());
    second.install(NAMESPACE, "replicas=1");
    // A manifest alone reaches nothing.
    second.apply(&manifest("hook", ""));
    until_reason(&second, "hook", "NameTaken");
    // Its status does.
    second.with_etcd_stopped(|data| copy(&backup, data));
    assert_eq!(until_ready(&second, "hook"), id);
    second.sh(r#"kubectl patch target hook --type=merge -p '{"spec":{"timeout":"20s"}}'"#);
    first.until("the first one changes it back, again and again", || {
        let timeouts: Vec<Value> = first
            .zitadel
            .events()
            .iter()
            .map(|event| event.payload["timeout"].clone())
            .filter(|one| !one.is_null())
            .collect();
        timeouts.len() > 4
    });
    first.until("and says so", || told(&first, "DriftCorrected", "hook"));
    // A deletion is one for both, and made good by the other.
    second.sh(r#"kubectl patch target hook --type=merge -p '{"spec":{"timeout":"10s"}}'"#);
    second.sh("kubectl delete target hook --timeout=60s");
    first.until("the first one makes it anew", || {
        first.get("target", "hook").is_some_and(|target| target["status"]["id"] != id.as_str())
    });
    let id = until_ready(&first, "hook");
    // The one that is to be given up lets it go.
    second.apply(&manifest("hook", &format!("  externalId: '{id}'\n")));
    assert_eq!(until_ready(&second, "hook"), id);
    second.sh(r#"kubectl patch target hook --type=merge -p '{"spec":{"deletionPolicy":"Retain"}}'"#);
    second.sh("kubectl delete target hook --timeout=60s");
    assert_eq!(until_ready(&first, "hook"), id);
    assert_eq!(count(&first, EventKind::Removed), 1, "only the one before");
}
