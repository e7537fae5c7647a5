//! What docs/backup.md says of a cluster: manifests alone, objects with and without status, etcd, two clusters at once.

use std::process::Command;

use serde_json::Value;
use zitadel_stand_in::{EventKind, Generation, Role};

use crate::site::{Site, manifest};

const NAMESPACE: &str = "identity";

fn reason(site: &Site, name: &str) -> String {
    let target = site.get("target", name).unwrap_or_default();
    let conditions = target["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_default();
    ready["reason"].as_str().unwrap_or_default().to_owned()
}

fn until_reason(site: &Site, name: &str, wanted: &str) {
    site.until(&format!("{name} says {wanted}"), || reason(site, name) == wanted);
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

fn stop_operator(site: &Site) {
    site.sh(&format!("kubectl --namespace {NAMESPACE} scale deployment zitadel-actions-operator --replicas=0"));
    let pods = || site.sh(&format!("kubectl --namespace {NAMESPACE} get pods --output=name"));
    site.until("no operator runs", || pods().trim().is_empty());
}

fn start_operator(site: &Site) {
    site.sh(&format!(
        "kubectl --namespace {NAMESPACE} scale deployment zitadel-actions-operator --replicas=1
         kubectl --namespace {NAMESPACE} rollout status deployment/zitadel-actions-operator"
    ));
}

/// Three Targets, of which a copy of the objects is kept in `live.yaml`, and then another, empty cluster.
fn lost(generation: Generation) -> (Site, Vec<String>) {
    let mut site = Site::new(generation);
    site.install(NAMESPACE, "");
    for name in ["first", "second", "third"] {
        site.target(name);
    }
    let ids = ["first", "second", "third"].map(|name| until_ready(&site, name)).to_vec();
    site.sh("kubectl get targets --output=yaml > live.yaml");
    site.renew();
    (site, ids)
}

/// The objects without what no API server takes back: what a backup tool restores, but for status.
const PLAIN_COPY: &str = "grep -v -E '^    (uid|resourceVersion|creationTimestamp|generation): ' live.yaml > copy.yaml";

#[test]
fn manifests_alone_meet_their_own_names_and_can_take_over() {
    let (site, ids) = lost(Generation::V2);
    site.install(NAMESPACE, "");
    site.apply(&manifest("first", ""));
    until_reason(&site, "first", "NameTaken");
    site.sh(&format!(r#"kubectl patch target first --type=merge -p '{{"spec":{{"externalId":"{}"}}}}'"#, ids[0]));
    assert_eq!(until_ready(&site, "first"), ids[0]);
    assert!(told(&site, "Adopted", "first"));
    assert_eq!(site.zitadel.events().len(), 3, "nothing is written in ZITADEL: {}", site.zitadel.dump());

    // All at once, by what the instance has.
    site.sh(&format!(
        "zitadel-actions-operator export --zitadel-url {} --zitadel-token-file pat.txt > targets.yaml 2> /dev/null
         kubectl apply --filename targets.yaml",
        site.zitadel.url()
    ));
    assert_eq!([until_ready(&site, "second"), until_ready(&site, "third")], [ids[1].clone(), ids[2].clone()]);
    assert_eq!(site.zitadel.events().len(), 3, "nothing is written in ZITADEL: {}", site.zitadel.dump());
}

#[test]
fn objects_with_their_annotations_find_their_targets() {
    for generation in [Generation::V3Alpha, Generation::V2] {
        let (site, ids) = lost(generation);
        site.install(NAMESPACE, "");
        // What somebody deletes meanwhile is made anew; what was renamed since is known by its former name.
        site.zitadel.external_delete(&ids[2]);
        site.zitadel.external_rename(&ids[1], "renamed");
        site.sh(&format!("{PLAIN_COPY}; kubectl create --filename copy.yaml"));
        for (name, id) in [("first", &ids[0]), ("second", &ids[1])] {
            assert_eq!(until_ready(&site, name), *id, "{generation}");
            assert!(told(&site, "Recovered", name));
        }
        assert_ne!(until_ready(&site, "third"), ids[2]);
        assert_eq!((count(&site, EventKind::Added), site.zitadel.events().len()), (4, 7), "{}", site.zitadel.dump());
    }
}

/// The event store says who created a target: another service account is another user.
#[test]
fn another_service_account_finds_no_target_by_annotations() {
    let (site, _) = lost(Generation::V2);
    site.write("pat.txt", &site.zitadel.issue_token(Role::IamOwner));
    site.install(NAMESPACE, "");
    site.sh(&format!("{PLAIN_COPY}; kubectl create --filename copy.yaml"));
    until_reason(&site, "first", "NameTaken");
    assert_eq!(site.zitadel.events().len(), 3, "nothing is written in ZITADEL: {}", site.zitadel.dump());
}

/// As backup tools restore objects whose status they are told to include: the operator must not run meanwhile.
#[test]
fn objects_with_their_status_are_as_they_were() {
    let (site, ids) = lost(Generation::V2);
    // Another account, so that nothing but status can be what is believed; and what is edited goes on to be traced.
    site.install(NAMESPACE, "");
    stop_operator(&site);
    site.sh(&format!(
        "{PLAIN_COPY}
         kubectl create --filename copy.yaml
         kubectl replace --subresource=status --filename copy.yaml"
    ));
    start_operator(&site);
    for (name, id) in [("first", &ids[0]), ("second", &ids[1])] {
        assert_eq!(until_ready(&site, name), *id);
        assert!(!told(&site, "Recovered", name));
    }
    site.sh(r#"kubectl patch target first --type=merge -p '{"spec":{"timeout":"20s"}}'"#);
    site.until("the edit arrives", || site.zitadel.targets().iter().any(|target| target.timeout.as_secs() == 20));
    assert_eq!((count(&site, EventKind::Added), site.zitadel.events().len()), (3, 4), "{}", site.zitadel.dump());
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
    site.install(NAMESPACE, "");
    for name in ["kept", "edited", "deleted", "renewed"] {
        site.target(name);
    }
    let ids = ["kept", "edited", "deleted", "renewed"].map(|name| until_ready(&site, name));
    site.plane.with_etcd_stopped(|data| copy(data, &backup)).unwrap();
    site.sh(r#"kubectl patch target edited --type=merge -p '{"spec":{"timeout":"20s"}}'"#);
    site.until("the edit arrives", || site.zitadel.targets().iter().any(|target| target.timeout.as_secs() == 20));
    site.sh("kubectl delete targets deleted renewed --timeout=60s");
    site.target("renewed");
    site.target("since");
    let since = until_ready(&site, "since");
    let renewed = until_ready(&site, "renewed");

    site.plane.with_etcd_stopped(|data| copy(&backup, data)).unwrap();
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
    first.install(NAMESPACE, "");
    first.target("hook");
    let id = until_ready(&first, "hook");
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("etcd");
    first.plane.with_etcd_stopped(|data| copy(data, &backup)).unwrap();
    let second = Site::beside(first.zitadel.clone());
    second.install(NAMESPACE, "");
    // A manifest alone reaches nothing.
    second.apply(&manifest("hook", ""));
    until_reason(&second, "hook", "NameTaken");
    // Its status does.
    second.plane.with_etcd_stopped(|data| copy(&backup, data)).unwrap();
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
