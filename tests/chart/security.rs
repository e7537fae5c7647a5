//! What the real API server says of every render: each object is accepted, strictly, and each pod satisfies the
//! restricted Pod Security Standard.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cluster::shared;
use crate::helm::{NAMESPACE, RELEASE, chart, command, find, merged, objects, render, run};
use crate::readme::annotation;
use crate::render::examples;
use crate::values::{Case, cases};

/// The pod that the Deployment of these values makes.
fn pod(number: usize, values: &Value) -> Value {
    let rendered = render(values).unwrap();
    let template = &find(&rendered, "Deployment").unwrap()["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = json!(format!("pod-{number}"));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// Asks the admission for all of these at once: nothing is stored. What it said, one line for each refusal.
fn admitted(namespace: &str, pods: &[(usize, Value)]) -> String {
    let list =
        json!({"apiVersion": "v1", "kind": "List", "items": pods.iter().map(|(_, pod)| pod).collect::<Vec<_>>()});
    let create = ["create", "--dry-run=server", "--validate=strict", "--namespace", namespace, "--filename", "-"];
    match shared().kubectl(&create, &list.to_string()) {
        Ok(said) | Err((said, _)) => said,
    }
}

#[test]
fn every_pod_satisfies_the_restricted_standard() {
    let namespace = shared().namespace(json!({"pod-security.kubernetes.io/enforce": "restricted"}));
    let mut sets: Vec<(Value, bool, String)> =
        examples().into_iter().map(|(name, values)| (values, false, name)).collect();
    sets.extend(cases().iter().map(|case: &Case| (case.values(), case.refused, format!("{case:?}"))));
    let pods: Vec<_> = sets.iter().enumerate().map(|(number, (values, ..))| (number, pod(number, values))).collect();
    let said = admitted(&namespace, &pods);
    let mut wrong = Vec::new();
    for (number, (_, refused, name)) in sets.iter().enumerate() {
        let passed = said.contains(&format!("pod/pod-{number} created (server dry run)"));
        let forbidden =
            said.contains(&format!("pods \"pod-{number}\" is forbidden: violates PodSecurity \"restricted"));
        if passed == *refused || forbidden != *refused {
            wrong.push(format!("pod-{number} {name}: passed {passed}, forbidden {forbidden}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));
    let refused = sets.iter().filter(|(_, refused, _)| *refused).count();
    println!(
        "{} pods satisfy the restricted standard; {refused} with a setting that weakens it are refused",
        sets.len() - refused
    );
}

/// Unknown fields are refused, and nothing is stored.
const APPLY: [&str; 7] =
    ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--filename", "-"];

fn accepted(objects: &[String]) {
    let said = shared().kubectl(&APPLY, &objects.join("\n---\n")).unwrap();
    assert_eq!(said.lines().count(), objects.len(), "{said}");
}

/// What Artifact Hub shows as examples can be applied.
#[test]
fn the_examples_of_the_metadata_are_accepted() {
    let examples = annotation("crdsExamples");
    accepted(&examples.as_array().unwrap().iter().map(Value::to_string).collect::<Vec<_>>());
}

/// Kubernetes allows a Service 63 characters, and helm a release 53.
#[test]
fn the_longest_names_are_accepted() {
    shared().apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})]);
    let everything = json!({"serviceMonitor": {"enabled": true}, "podMonitor": {"enabled": true},
        "prometheusRule": {"enabled": true}, "dashboard": {"enabled": true}, "networkPolicy": {"enabled": true},
        "connections": {"secretsInAllNamespaces": true}});
    let long = |length: usize| format!("{}-z", "n".repeat(length - 2));
    for (release, own) in [(long(53), json!({})), (RELEASE.to_owned(), json!({"fullnameOverride": long(55)}))] {
        let mut helm = command();
        helm.args(["template", &release]).arg(chart()).args(["--namespace", NAMESPACE, "--values", "-"]);
        let rendered = objects(&run(&mut helm, &merged(&everything, &own)).unwrap());
        let longest = rendered.iter().filter(|object| object["kind"] == "Service");
        let longest = longest.map(|object| object["metadata"]["name"].as_str().unwrap().len()).max();
        assert!(longest > Some(60), "{longest:?}");
        accepted(&rendered.iter().map(Value::to_string).collect::<Vec<_>>());
    }
}

/// Each object of each render, monitors included, with unknown fields refused.
#[test]
fn every_object_is_accepted() {
    for namespace in [NAMESPACE, "a", "b", "monitoring", "team-a", "team-b"] {
        shared().apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})]);
    }
    let mut sets: Vec<Value> = examples().into_iter().map(|(_, values)| values).collect();
    sets.extend(cases().iter().map(Case::values));
    let mut kinds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for values in &sets {
        for object in render(values).unwrap().iter() {
            kinds.entry(object["kind"].as_str().unwrap().to_owned()).or_default().insert(object.to_string());
        }
    }
    accepted(&kinds.values().flatten().cloned().collect::<Vec<_>>());
    let counts: Vec<String> = kinds.iter().map(|(kind, objects)| format!("{} {kind}", objects.len())).collect();
    println!("accepted by the API server: {}", counts.join(", "));
    for kind in ["ServiceMonitor", "PodMonitor", "PrometheusRule"] {
        assert!(kinds.contains_key(kind), "{kind}");
    }
    let wrong = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor",
        "metadata": {"name": "a", "namespace": NAMESPACE}, "spec": {"selector": {}, "podMetricsEndpoints": [{"frobnicate": 1}]}});
    let (said, _) = shared().kubectl(&APPLY, &wrong.to_string()).unwrap_err();
    assert!(said.contains("frobnicate"), "{said}");
}

/// What the standard does not ask for, and this chart has all the same.
#[test]
fn the_pod_has_less_than_the_standard_allows() {
    for (name, values) in examples() {
        let pod = pod(0, &values);
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}), "{name}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
        assert_eq!(pod["spec"]["enableServiceLinks"], false, "{name}");
        assert_eq!(pod["spec"]["containers"].as_array().map(Vec::len), Some(1), "{name}");
        let rendered = render(&values).unwrap();
        assert_eq!(find(&rendered, "ServiceAccount").unwrap()["automountServiceAccountToken"], false, "{name}");
    }
}
