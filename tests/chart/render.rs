//! What is rendered as a whole: the same bytes every time, valid for each release of Kubernetes, nothing that only a
//! cluster could answer, and no cluster-scoped object where that is asked for.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::helm::{NAMESPACE, RELEASE, chart, command, file, find, merged, objects, render, run, text};
use crate::schemas::Schemas;
use crate::values::{Case, cases};

/// From the oldest release that the operator is built for (Chart.yaml) to the newest one with published schemas.
const RELEASES: [&str; 5] = ["1.33", "1.34", "1.35", "1.36", "1.37"];

/// The sets of values that the chart carries for checks, those of the example for Flux, and none.
pub fn examples() -> Vec<(String, Value)> {
    let mut all = vec![("defaults".to_owned(), json!({}))];
    for entry in std::fs::read_dir(chart().join("ci")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        all.push((name.clone(), serde_saphyr::from_str(&file(&format!("ci/{name}"))).unwrap()));
    }
    assert!(all.len() >= 3, "{all:?}");
    all.push(("integrations/flux".to_owned(), flux()));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// What the HelmRelease hands to helm, of this chart.
fn flux() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("integrations/flux/targets.yaml");
    let example = objects(&std::fs::read_to_string(path).unwrap());
    let release = &find(&example, "HelmRelease").unwrap()["spec"];
    assert_eq!(release["chart"]["spec"]["chart"], "./charts/zitadel-actions-operator");
    assert!(release["values"]["connections"].is_object(), "{release}");
    release["values"].clone()
}

#[test]
fn it_lints() {
    for (name, values) in examples() {
        let said = run(command().arg("lint").arg(chart()).args(["--strict", "--values", "-"]), &values);
        let said = said.unwrap_or_else(|said| panic!("{name}: {said}"));
        assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{name}: {said}");
    }
}

#[test]
fn the_same_values_give_the_same_bytes() {
    for (name, values) in examples() {
        let first = text(&values, &[]).unwrap();
        assert!(first.contains("kind: Deployment"), "{name}: {first}");
        let mut renders = 1;
        let mut same = |arguments: &[&str]| {
            assert!(text(&values, arguments).unwrap() == first, "{name} {arguments:?}: another render");
            renders += 1;
        };
        same(&[]);
        for release in RELEASES {
            same(&["--kube-version", release]);
        }
        same(&["--api-versions", "monitoring.coreos.com/v1", "--api-versions", "policy/v1beta1"]);
        // As Argo CD asks for it.
        same(&["--include-crds"]);
        same(&["--is-upgrade"]);
        println!("{name}: {renders} renders, {} bytes each, all equal", first.len());
    }
    let old = text(&json!({}), &["--kube-version", "1.32"]).unwrap_err();
    assert!(old.contains("incompatible with Kubernetes v1.32"), "{old}");
}

/// What is published is what was looked at here.
#[test]
fn the_package_renders_the_same_and_holds_no_values_of_checks() {
    let folder = tempfile::tempdir().unwrap();
    run(command().arg("package").arg(chart()).arg("--destination").arg(folder.path()), &json!({})).unwrap();
    let name = format!("zitadel-actions-operator-{}.tgz", env!("CARGO_PKG_VERSION"));
    let package = folder.path().join(name);
    let mut helm = command();
    helm.args(["template", RELEASE]).arg(&package).args(["--namespace", NAMESPACE, "--values", "-"]);
    assert!(run(&mut helm, &json!({})) == text(&json!({}), &[]), "another render");
    let listed = std::process::Command::new("tar").arg("-tzf").arg(&package).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for (file, there) in [("README.md", true), ("values.schema.json", true), ("ci/full-values.yaml", false)] {
        assert_eq!(listed.contains(&format!("zitadel-actions-operator/{file}\n")), there, "{listed}");
    }
}

/// What would make a render depend on the cluster, the time or chance, or need something run beside the release.
#[test]
fn nothing_asks_the_cluster_the_clock_or_chance() {
    let forbidden = [
        "lookup",
        "Capabilities",
        "now",
        "date",
        "ago",
        "rand",
        "shuffle",
        "gen",
        "uuidv4",
        "bcrypt",
        "htpasswd",
        "encryptAES",
        "env",
        "expandenv",
        "getHostByName",
        "helm.sh/hook",
        ".Release.Revision",
        "IsInstall",
    ];
    for entry in std::fs::read_dir(chart().join("templates")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for action in text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            let words: Vec<&str> = action.split(|c: char| !c.is_alphanumeric() && c != '.').collect();
            for word in forbidden {
                let used = words.iter().any(|used| used.starts_with(word) || used.contains(&format!(".{word}")));
                assert!(!used, "{}: {{{{{action}}}}}", path.display());
            }
        }
        assert!(!text.contains("helm.sh/hook"), "{}", path.display());
    }
    assert!(!chart().join("templates/tests").exists());
}

#[test]
fn every_render_is_valid_for_every_release_of_kubernetes() {
    let mut sets: Vec<Value> = examples().into_iter().map(|(_, values)| values).collect();
    sets.extend(cases().iter().map(Case::values));
    let rendered: Vec<_> = sets.iter().map(|values| render(values).unwrap()).collect();
    // The definitions are long, and differ in labels only: one of each is enough.
    let told_by = |object: &Value| match object["kind"].as_str() {
        Some("CustomResourceDefinition") => object["spec"].to_string(),
        _ => object.to_string(),
    };
    let different: BTreeMap<String, &Value> =
        rendered.iter().flat_map(|objects| objects.iter()).map(|object| (told_by(object), object)).collect();
    let objects: Vec<&Value> = different.into_values().collect();
    println!("Kubernetes | renders | different objects, all valid");
    for release in RELEASES {
        assert_eq!(Schemas::of(release).complaints(&objects), Vec::<String>::new(), "Kubernetes {release}");
        println!("{release:10} | {:7} | {}", sets.len(), objects.len());
    }
}

#[test]
fn unknown_fields_and_kinds_are_complained_of() {
    let schemas = Schemas::of(RELEASES[0]);
    let service = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": spec});
    assert!(schemas.complaints(&[&service(json!({"ports": [{"port": 80}]}))]).is_empty());
    for (wrong, complaint) in [
        (service(json!({"frobnicate": 1})), "frobnicate"),
        (service(json!({"ports": [{"port": "http"}]})), "/spec/ports/0/port"),
        (service(json!({"ports": [{}]})), "port"),
        (json!({"apiVersion": "apps/v1", "kind": "Deploiment"}), "deploiment-apps-v1.json"),
    ] {
        let said = schemas.complaints(&[&wrong]).join("\n");
        assert!(said.contains(complaint), "{wrong}: {said}");
    }
}

/// Kinds that belong to no namespace, of those that charts have.
fn is_cluster_scoped(object: &Value) -> bool {
    object["metadata"].get("namespace").is_none()
        && !["RoleBinding", "Role"].contains(&object["kind"].as_str().unwrap())
}

#[test]
fn a_namespaced_installation_has_nothing_cluster_scoped() {
    let namespaced = json!({"watchNamespaces": ["a", "b"], "crds": {"enabled": false}});
    let everything: Value = serde_saphyr::from_str(&file("ci/full-values.yaml")).unwrap();
    let fewer = json!({
        "connections": {"secretsInAllNamespaces": false, "secretNamespaces": ["a"]},
        "zitadel": {"allowedNamespaces": {"selector": {"matchExpressions": []}}},
    });
    for values in [namespaced.clone(), merged(&merged(&everything, &namespaced), &fewer)] {
        let rendered = render(&values).unwrap();
        let found: Vec<&Value> = rendered.iter().filter(|object| is_cluster_scoped(object)).collect();
        assert!(found.is_empty(), "{found:#?}");
        assert!(rendered.len() >= 7, "{rendered:#?}");
    }
    let usual = render(&json!({})).unwrap();
    assert!(usual.iter().any(is_cluster_scoped));
}

/// Whoever reads the rendered roles reads with each rule what it is for.
#[test]
fn every_rule_is_explained() {
    let mut sets: Vec<Value> = examples().into_iter().map(|(_, values)| values).collect();
    sets.push(json!({"watchNamespaces": ["a"], "connections": {"secretNamespaces": ["a"]}}));
    sets.push(json!({"connections": {"secretsInAllNamespaces": true, "secretNames": ["s"]}}));
    for values in sets {
        let rendered = text(&values, &[]).unwrap();
        let lines: Vec<&str> = rendered.lines().map(str::trim).collect();
        let rules: Vec<_> = lines.windows(2).filter(|pair| pair[1].starts_with("- apiGroups:")).collect();
        assert!(rules.len() >= 7, "{values}: {rules:?}");
        let bare: Vec<_> = rules.iter().filter(|pair| !pair[0].starts_with("# ")).collect();
        assert!(bare.is_empty(), "{values}: {bare:?}");
    }
}

/// The right to read Secrets is never there unless a value asks for it, and never more than `get`.
#[test]
fn secrets_need_a_value_of_their_own() {
    let rights = |values: &Value| -> Vec<Value> {
        let rendered = render(values).unwrap();
        let rules = rendered.iter().filter_map(|object| object["rules"].as_array()).flatten();
        let on_secrets = |rule: &&Value| {
            let named =
                |key: &str, what: &str| rule[key].as_array().unwrap().iter().any(|one| one == what || one == "*");
            named("resources", "secrets") && named("apiGroups", "")
        };
        rules.filter(on_secrets).cloned().collect()
    };
    assert_eq!(rights(&json!({})), Vec::<Value>::new());
    assert_eq!(rights(&json!({"zitadel": {"url": "https://a"}})), Vec::<Value>::new());
    let named = json!({"connections": {"secretNamespaces": ["a"], "secretNames": ["s"]}});
    let rule = json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s"], "verbs": ["get"]});
    assert_eq!(rights(&named), [rule]);
    let rules = render(&json!({"connections": {"secretsInAllNamespaces": true}})).unwrap();
    let words = serde_json::to_string(&rules.iter().map(|object| &object["rules"]).collect::<Vec<_>>()).unwrap();
    assert!(!words.contains('*'), "{words}");
}

/// A key that stands twice is no YAML to helm; and the Deployment must find its pods, whatever labels people want.
#[test]
fn of_two_labels_with_one_name_the_nearer_counts() {
    let labels = |team: &str| json!({"team": team, "app.kubernetes.io/version": team});
    let own = |team: &str| json!({"enabled": true, "labels": labels(team)});
    let values = json!({
        "commonLabels": {"team": "all", "app.kubernetes.io/name": "other", "app.kubernetes.io/version": "all"},
        "podLabels": {"team": "pod", "app.kubernetes.io/instance": "other", "app.kubernetes.io/version": "pod"},
        "serviceMonitor": own("service"), "podMonitor": own("pods"), "prometheusRule": own("rule"), "dashboard": own("board"),
    });
    let rendered = render(&values).unwrap();
    let told = |object: &str, at: &str| {
        let labels = &find(&rendered, object).unwrap().pointer(at).unwrap()["labels"];
        ["team", "app.kubernetes.io/version", "app.kubernetes.io/name", "app.kubernetes.io/instance"]
            .map(|name| labels[name].as_str().unwrap().to_owned())
    };
    let expected = |team: &str, version: &str| [team, version, "zitadel-actions-operator", RELEASE].map(str::to_owned);
    assert_eq!(told("Deployment", "/metadata"), expected("all", env!("CARGO_PKG_VERSION")));
    assert_eq!(told("Deployment", "/spec/template/metadata"), expected("pod", "pod"));
    for (kind, team) in
        [("ServiceMonitor", "service"), ("PodMonitor", "pods"), ("PrometheusRule", "rule"), ("ConfigMap", "board")]
    {
        assert_eq!(told(kind, "/metadata"), expected(team, team), "{kind}");
    }
    let selector = &find(&rendered, "Deployment").unwrap()["spec"]["selector"]["matchLabels"];
    assert_eq!(
        *selector,
        json!({"app.kubernetes.io/name": "zitadel-actions-operator", "app.kubernetes.io/instance": RELEASE})
    );
}

/// Helm accepts such a release; a label is a text all the same.
#[test]
fn a_release_may_be_a_number() {
    let mut helm = command();
    helm.args(["template", "123"]).arg(chart()).args(["--namespace", NAMESPACE, "--values", "-"]);
    let rendered = objects(&run(&mut helm, &json!({})).unwrap());
    let deployment = find(&rendered, "Deployment").unwrap();
    for at in ["/metadata/labels", "/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
        assert_eq!(deployment.pointer(at).unwrap()["app.kubernetes.io/instance"], "123", "{at}");
    }
}

/// The definitions of the chart are those of the repository, but for the labels and the annotation.
#[test]
fn the_definitions_are_the_generated_ones() {
    let rendered = render(&json!({})).unwrap();
    let folder = chart().join("../../crds");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let plain: Value = serde_saphyr::from_str(&text).unwrap();
        let name = plain["metadata"]["name"].as_str().unwrap();
        let chart = find(&rendered, &format!("CustomResourceDefinition/{name}")).unwrap();
        assert!(numbered(&chart["spec"]) == numbered(&plain["spec"]), "{name}: another definition");
        assert_eq!(chart["metadata"]["annotations"], json!({"helm.sh/resource-policy": "keep"}));
        // kubectl's client-side apply stores the whole object in an annotation, which may have 256 KiB.
        let size = serde_json::to_string(chart).unwrap().len();
        assert!(size < 64 * 1024, "{name}: {size} bytes");
        seen += 1;
    }
    assert_eq!(seen, rendered.iter().filter(|object| object["kind"] == "CustomResourceDefinition").count());
}

/// With every number a float: 1 and 1.0 are the same to Kubernetes.
fn numbered(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), numbered(value))).collect(),
        Value::Array(items) => items.iter().map(numbered).collect(),
        Value::Number(number) => json!(number.as_f64()),
        other => other.clone(),
    }
}

/// A budget for one pod would only keep a node from being drained.
#[test]
fn a_disruption_budget_needs_two_replicas() {
    for (replicas, there) in [(0, false), (1, false), (2, true), (3, true)] {
        let rendered = render(&json!({"replicas": replicas})).unwrap();
        assert_eq!(find(&rendered, "PodDisruptionBudget").is_some(), there, "{replicas}");
    }
}

/// What a person reads after the installation names what matters for these values.
#[test]
fn the_notes_say_what_is_to_be_done() {
    let notes = |values: Value| {
        let mut helm = command();
        helm.args(["install", "x"]).arg(chart()).args(["--dry-run=client", "--values", "-"]);
        run(&mut helm, &values).unwrap().split("\nNOTES:\n").nth(1).unwrap().to_owned()
    };
    let without = notes(json!({}));
    assert!(without.contains("no default connection") && without.contains("connectionRef"), "{without}");
    assert!(!without.contains("iam-admin-pat"), "{without}");
    let with = notes(json!({"zitadel": {"url": "https://a"}}));
    assert!(with.contains("https://a") && with.contains("--from-file=pat="), "{with}");
    let key = notes(
        json!({"zitadel": {"url": "https://a", "credentials": {"type": "privateKeyJwt", "existingSecret": "iam-admin"}}}),
    );
    assert!(key.contains("iam-admin --from-file=iam-admin.json="), "{key}");
    let lost = notes(json!({"crds": {"keep": false}}));
    assert!(lost.contains("deletes the CustomResourceDefinitions"), "{lost}");
}
