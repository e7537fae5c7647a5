//! The life of a release with the real helm: install, upgrade, rollback, uninstall, install again. Targets and what they
//! own in ZITADEL live through all of it, and kubectl and Argo CD's way of comparing see no difference.

use std::time::Instant;

use serde_json::{Value, json};
use zitadel_stand_in::{EventKind, TargetEdit};

use crate::cluster::{Cluster, shared};
use crate::helm::{chart, merged};
use crate::installation::{Installation, altered_chart, condition, is_ready, target};
use crate::people;
use crate::render::examples;

const RELEASE: &str = "zitadel-actions";
const NAMESPACE: &str = "identity";

/// A line of the table that the test prints.
fn row(begun: Instant, helm: &str, targets: &str, zitadel: &str) {
    println!("{:5.1} s | {helm:46} | {targets:44} | {zitadel}", begun.elapsed().as_secs_f64());
}

fn install(site: &Installation<'_>, chart: &str, values: &Value) -> Result<String, String> {
    site.helm(&["install", RELEASE, chart, "--create-namespace", "--values", "-"], values)
}

fn upgrade(site: &Installation<'_>, values: &Value) {
    site.helm(&["upgrade", RELEASE, chart().to_str().unwrap(), "--values", "-"], values).unwrap();
}

/// How often something was created, changed and removed in ZITADEL.
fn history(site: &Installation<'_>) -> [usize; 3] {
    let events = site.zitadel.events();
    [EventKind::Added, EventKind::Changed, EventKind::Removed]
        .map(|kind| events.iter().filter(|event| event.kind == kind).count())
}

#[test]
fn targets_live_through_the_life_of_a_release() {
    let cluster = Cluster::start();
    let mut site = Installation::new(&cluster, NAMESPACE.to_owned());
    let begun = Instant::now();
    let current = chart();
    println!(
        "     time | helm                                           | Target                                       | ZITADEL"
    );

    // An older release of the chart, whose definition lacks something; defaults, and no ZITADEL.
    let folder = tempfile::tempdir().unwrap();
    let edits = [
        ("files/crds/targets.zitadel-actions.dev.yaml", "    shortNames:\n    - zt\n", ""),
        ("Chart.yaml", "\nversion: 0.1.0", "\nversion: 0.0.1"),
    ];
    let older = altered_chart(folder.path(), &edits);
    let notes = install(&site, older.to_str().unwrap(), &json!({})).unwrap();
    assert!(notes.contains("no default connection"), "{notes}");
    site.start_ready();
    site.kubectl(&["apply", "--filename", "-"], &target("hook", json!({})).to_string()).unwrap();
    let told = site.until("the Target says what is missing", || condition(&site.get("target", "hook")?, "Ready"));
    assert_eq!((told.0.as_str(), told.1.as_str()), ("False", "ConnectionNotFound"), "{told:?}");
    row(
        begun,
        "install, an older chart, defaults",
        &format!("{}: no default connection", told.1),
        "none needed: the operator is ready",
    );

    // The current chart, a default connection, and no Secret yet.
    assert_eq!(short_names(&cluster), json!(null));
    let token = site.values();
    upgrade(&site, &token);
    assert_eq!(short_names(&cluster), json!(["zt"]), "helm upgrade upgrades the definitions");
    site.start_ready();
    let reason = "CredentialsUnavailable";
    site.until("it waits for the Secret", || {
        condition(&site.get("target", "hook")?, "Ready").filter(|ready| ready.1 == reason)
    });
    row(begun, "upgrade, zitadel.url, no Secret yet", reason, "not called");
    site.secret("iam-admin-pat", json!({"pat": site.zitadel.token()}));
    site.mount(&site.deployment()["spec"]["template"]["spec"]);
    let id = site.target_ready("hook")["status"]["id"].clone();
    assert_eq!(history(&site)[0], 1, "{}", site.zitadel.dump());
    row(begun, "(the Secret iam-admin-pat of ZITADEL's chart)", "Ready, without a restart", &format!("{id} created"));

    agree(&site);
    row(begun, "(kubectl diff, apply, wait)", "no difference, also after 3 resyncs", "nothing written");
    people::may_what_their_roles_say(&site);
    helm_waits(&site);
    row(
        begun,
        "(another chart, of Targets; install --wait)",
        "Ready, or told at once why not",
        "one created, one deleted",
    );
    to_the_older_definitions_and_back(&site);
    carries_on(&mut site, &id);
    row(begun, "rollback to the older chart, and back", "Ready, the same id", "nothing written but one change");

    // Other credentials, and back.
    let first = site.arguments();
    site.secret("iam-admin", json!({"iam-admin.json": site.zitadel.machine_key()}));
    let (client, secret) = site.zitadel.client_credentials();
    site.secret("client", json!({"client-id": client, "client-secret": secret}));
    for (kind, name) in [("privateKeyJwt", "iam-admin"), ("clientCredentials", "client")] {
        let credentials =
            json!({"zitadel": {"credentials": {"type": kind, "existingSecret": name}}, "resyncIntervalSeconds": 2});
        upgrade(&site, &merged(&token, &credentials));
        assert_ne!(site.arguments(), first);
        carries_on(&mut site, &id);
        row(begun, &format!("upgrade, {kind} {name}"), "Ready", "nothing written but one change each");
    }
    site.helm(&["rollback", RELEASE, "2"], &json!({})).unwrap();
    assert_eq!(site.arguments(), first, "a rollback is the same Deployment");
    carries_on(&mut site, &id);
    row(begun, "rollback to revision 2", "Ready", "nothing written but one change");

    // Gone, and back.
    assert!(managed(&cluster).len() > 8, "{:?}", managed(&cluster));
    let before = (site.get("target", "hook").unwrap(), site.zitadel.targets(), history(&site));
    let said = site.helm(&["uninstall", RELEASE], &json!({})).unwrap();
    site.stop();
    assert!(said.contains("resource policy") && said.contains("targets.zitadel-actions.dev"), "{said}");
    assert_eq!(managed(&cluster), ["CustomResourceDefinition"; 3]);
    let after = (site.get("target", "hook").unwrap(), site.zitadel.targets(), history(&site));
    assert_eq!(after, before, "uninstalling touches no Target and nothing in ZITADEL");
    row(begun, "uninstall (crds.keep)", "kept, unchanged; operator and roles gone", "nothing written, nothing lost");

    install(&site, current.to_str().unwrap(), &token).unwrap();
    carries_on(&mut site, &id);
    row(begun, "install again", "Ready, the same id", "nothing written but one change");

    site.kubectl(&["delete", "target", "hook", "--timeout=60s"], "").unwrap();
    assert!(site.zitadel.targets().is_empty(), "{}", site.zitadel.dump());
    let own = |kind| {
        let events = site.zitadel.events();
        events.iter().filter(|event| json!(event.target_id) == id && event.kind == kind).count()
    };
    assert_eq!((own(EventKind::Added), own(EventKind::Removed)), (1, 1), "{}", site.zitadel.dump());
    // The other three are those of `agree` and `helm_waits`.
    assert_eq!((history(&site)[0], history(&site)[2]), (4, 4), "{}", site.zitadel.dump());
    row(begun, "(kubectl delete target)", "gone", &format!("{id} deleted"));
    upgrade(&site, &merged(&token, &json!({"crds": {"keep": false}})));
    site.helm(&["uninstall", RELEASE], &json!({})).unwrap();
    site.stop();
    site.until("the definitions are gone", || {
        cluster.get(&["crd"]).is_none_or(|list| list["items"] == json!([])).then_some(())
    });
    row(begun, "upgrade, crds.keep=false; uninstall", "definitions gone", "nothing written");
}

/// The kinds of all objects that belong to a release.
fn managed(cluster: &Cluster) -> Vec<String> {
    let kinds = "deployments,services,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,crd";
    let managed = "--selector=app.kubernetes.io/managed-by=Helm";
    let all = cluster.get(&["--all-namespaces", kinds, managed]).unwrap();
    all["items"].as_array().unwrap().iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect()
}

/// What the definition of Targets has, and that of the older chart has not.
fn short_names(cluster: &Cluster) -> Value {
    cluster.get(&["crd", "targets.zitadel-actions.dev"]).unwrap()["spec"]["names"]["shortNames"].clone()
}

/// A rollback takes the definitions back and touches no Target.
fn to_the_older_definitions_and_back(site: &Installation<'_>) {
    let before = (site.get("target", "hook").unwrap(), history(site));
    site.helm(&["rollback", RELEASE, "1"], &json!({})).unwrap();
    assert_eq!(short_names(site.cluster), json!(null));
    assert_eq!((site.get("target", "hook").unwrap(), history(site)), before);
    site.helm(&["rollback", RELEASE, "2"], &json!({})).unwrap();
    assert_eq!(short_names(site.cluster), json!(["zt"]));
}

/// The operator as the Deployment describes it now owns the same target, and brings a change of the spec to it.
fn carries_on(site: &mut Installation<'_>, id: &Value) {
    let [added, changed, removed] = history(site);
    site.start_ready();
    let timeout = site.get("target", "hook").unwrap()["spec"]["timeout"].clone();
    let other = if timeout == "10s" { "20s" } else { "10s" };
    let patch = json!({"spec": {"timeout": other}}).to_string();
    site.kubectl(&["patch", "target", "hook", "--type=merge", "--patch", &patch], "").unwrap();
    let ready = site.target_ready("hook");
    assert_eq!(ready["status"]["id"], *id);
    assert_eq!(history(site), [added, changed + 1, removed], "{}", site.zitadel.dump());
}

/// What Git says and what the cluster has are the same, by every way of comparing; and kubectl can wait for it.
fn agree(site: &Installation<'_>) {
    let client_side = target("hook", json!({})).to_string();
    let server_side = target("applied", json!({"endpoint": "https://hooks.example.com/other"})).to_string();
    let argocd = ["--server-side", "--field-manager=argocd-controller", "--force-conflicts"];
    let apply = [&["apply", "--filename", "-"], argocd.as_slice()].concat();
    site.kubectl(&apply, &server_side).unwrap();
    for name in ["hook", "applied"] {
        let condition = ["wait", "--for=condition=Ready", &format!("target/{name}"), "--timeout=60s"];
        let said = site.kubectl(&condition, "").unwrap();
        assert!(said.contains("condition met"), "{said}");
    }
    let same = || {
        for manifest in [&client_side, &server_side] {
            let plain = ["diff", "--filename", "-"].as_slice();
            for diff in [plain.to_vec(), [plain, argocd.as_slice()].concat()] {
                let said = site.kubectl(&diff, manifest);
                assert_eq!(said, Ok(String::new()), "{diff:?} exits with 0 and shows nothing");
            }
        }
    };
    let version = |name: &str| site.get("target", name).unwrap()["metadata"]["resourceVersion"].clone();
    let versions = || ["hook", "applied"].map(version);
    same();
    let before = (versions(), history(site));
    site.resyncs(3);
    same();
    assert_eq!((versions(), history(site)), before, "an object in sync is not written");
    let again = site.kubectl(&["apply", "--filename", "-"], &client_side).unwrap();
    assert!(again.contains("unchanged"), "{again}");
    // Server-side apply says "serverside-applied" of everything; what it does not do is write.
    site.kubectl(&apply, &server_side).unwrap();
    assert_eq!((versions(), history(site)), before);
    // A difference is seen, so that the silence above means something.
    let other = target("hook", json!({"timeout": "11s"})).to_string();
    let (said, code) = site.kubectl(&["diff", "--filename", "-"], &other).unwrap_err();
    assert!(code == 1 && said.contains("timeout: 11s"), "{code}: {said}");
    let managers = |name: &str| {
        let object =
            site.cluster.get(&["--namespace", &site.namespace, "--show-managed-fields", "target", name]).unwrap();
        let ours = object["metadata"]["managedFields"].as_array().unwrap().iter();
        let ours = ours
            .filter(|entry| entry["manager"].as_str().is_some_and(|manager| manager.starts_with("zitadel-actions")));
        ours.map(|entry| entry["fieldsV1"].clone()).collect::<Vec<_>>()
    };
    for name in ["hook", "applied"] {
        let fields = managers(name);
        assert!(!fields.is_empty() && fields.iter().all(|fields| fields.get("f:spec").is_none()), "{fields:?}");
    }
    site.kubectl(&["delete", "target", "applied", "--timeout=60s"], "").unwrap();
}

/// A chart of Targets: `helm install --wait` returns when they are Ready, and soon when only a person can mend one.
fn helm_waits(site: &Installation<'_>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    std::fs::write(folder.path().join("Chart.yaml"), "apiVersion: v2\nname: hooks\nversion: 0.1.0\n").unwrap();
    let write = |spec| std::fs::write(folder.path().join("templates/target.yaml"), target("waited", spec).to_string());
    let wait = ["install", "hooks", folder.path().to_str().unwrap(), "--wait", "--timeout", "60s"];
    write(json!({})).unwrap();
    site.helm(&wait, &json!({})).unwrap();
    assert!(is_ready(&site.get("target", "waited").unwrap()));
    site.helm(&["uninstall", "hooks", "--wait"], &json!({})).unwrap();
    assert!(site.get("target", "waited").is_none());

    let foreign = site.zitadel.external_create("taken", TargetEdit::default());
    write(json!({"name": "taken"})).unwrap();
    let said = site.helm(&wait, &json!({})).unwrap_err();
    assert!(said.contains("status: Failed, message: another target in this ZITADEL instance has this name"), "{said}");
    site.helm(&["uninstall", "hooks", "--wait"], &json!({})).unwrap();
    site.zitadel.external_delete(&foreign);
}

/// The sets of values that the chart carries, by the real helm: everything at once, and nothing cluster-scoped.
#[test]
fn every_example_is_installed_and_goes_without_a_trace() {
    let cluster = shared();
    for namespace in ["team-a", "team-b", "identity"] {
        cluster.apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})]);
    }
    for (number, (name, values)) in examples().into_iter().enumerate() {
        // The definitions are those of all tests.
        let own = json!({"crds": {"enabled": false}, "fullnameOverride": format!("example-{number}")});
        let site = Installation::new(cluster, cluster.namespace(json!({})));
        let values = merged(&values, &own);
        install(&site, chart().to_str().unwrap(), &values).unwrap_or_else(|said| panic!("{name}: {said}"));
        let there = of_release(&site);
        assert!(there.len() >= 5, "{name}: {there:?}");
        upgrade(&site, &merged(&values, &json!({"resyncIntervalSeconds": 9})));
        assert!(site.arguments().contains(&"--resync-interval=9".to_owned()));
        site.helm(&["rollback", RELEASE], &json!({})).unwrap();
        assert!(!site.arguments().contains(&"--resync-interval=9".to_owned()));
        site.helm(&["uninstall", RELEASE], &json!({})).unwrap();
        site.until("nothing is left", || of_release(&site).is_empty().then_some(()));
        println!("{name}: installed, upgraded, rolled back, uninstalled: {}", there.join(", "));
    }
}

/// The objects of the release in this namespace, by helm's own annotation.
pub fn of_release(site: &Installation<'_>) -> Vec<String> {
    let kinds = "deployments,services,serviceaccounts,configmaps,roles,rolebindings,clusterroles,clusterrolebindings,\
                 networkpolicies,poddisruptionbudgets,servicemonitors,podmonitors,prometheusrules";
    let all = site.cluster.get(&["--all-namespaces", kinds, "--selector=app.kubernetes.io/managed-by=Helm"]);
    let items = all.and_then(|all| all["items"].as_array().cloned()).unwrap_or_default();
    let ours = |object: &&Value| {
        object["metadata"]["annotations"]["meta.helm.sh/release-namespace"] == site.namespace.as_str()
    };
    let named = |object: &Value| {
        format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
    };
    items.iter().filter(ours).map(named).collect()
}

/// The worst order of things: helm takes the roles away and deletes the definitions while the operator still runs. It may
/// not ask any more whether the definition goes, and must not take the deletion of a Target for a user's.
#[test]
fn definitions_that_go_with_the_release_take_nothing_from_zitadel() {
    let cluster = Cluster::start();
    let mut site = Installation::new(&cluster, NAMESPACE.to_owned());
    let values = merged(&site.values(), &json!({"crds": {"keep": false}}));
    install(&site, chart().to_str().unwrap(), &values).unwrap();
    site.secret("iam-admin-pat", json!({"pat": site.zitadel.token()}));
    site.start_ready();
    site.kubectl(&["apply", "--filename", "-"], &target("hook", json!({})).to_string()).unwrap();
    site.target_ready("hook");
    site.helm(&["uninstall", RELEASE], &json!({})).unwrap();
    site.until("the Target is being deleted, or is gone", || {
        let target = site.get("target", "hook");
        target.is_none_or(|target| target["metadata"].get("deletionTimestamp").is_some()).then_some(())
    });
    site.resyncs(5);
    assert_eq!(history(&site), [1, 0, 0], "{}\n{}", site.log(), site.zitadel.dump());
    site.stop_hard();
}
