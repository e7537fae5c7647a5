//! Every leaf of values.yaml: that it has an effect, that the schema knows it, and that wrong values are refused with
//! its name. The cases are in `cases.yaml`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::helm::{defaults, file, find, merged, render};

/// One leaf with another value, and where it shows.
#[derive(Debug, Deserialize)]
pub struct Case {
    pub leaf: String,
    set: Value,
    #[serde(default)]
    with: Option<Value>,
    #[serde(rename = "in")]
    object: String,
    #[serde(default)]
    at: String,
    #[serde(flatten)]
    shows: Shows,
    /// Whether the restricted Pod Security Standard refuses the pod.
    #[serde(default)]
    pub refused: bool,
}

/// What is seen there. One of these.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Shows {
    Is(Value),
    Has(Value),
    Exists(bool),
}

impl Case {
    /// The values without the one in question.
    fn before(&self) -> Value {
        self.with.clone().unwrap_or_else(|| json!({}))
    }

    /// The values with it.
    pub fn values(&self) -> Value {
        merged(&self.before(), &at(&self.leaf, self.set.clone()))
    }

    /// Whether an object is no longer there with it.
    pub fn takes_away(&self) -> bool {
        matches!(self.shows, Shows::Exists(false))
    }

    /// Whether the rendered objects show it.
    pub fn holds(&self, objects: &[Value]) -> bool {
        let object = find(objects, &self.object);
        let there = object.and_then(|object| object.pointer(&self.at)).unwrap_or(&Value::Null);
        match &self.shows {
            Shows::Is(value) => object.is_some() && there == value,
            Shows::Has(item) => there.as_array().is_some_and(|items| items.contains(item)),
            Shows::Exists(there) => object.is_some() == *there,
        }
    }
}

pub fn cases() -> Vec<Case> {
    serde_saphyr::from_str(include_str!("cases.yaml")).unwrap()
}

/// Values that set this leaf alone.
fn at(leaf: &str, value: Value) -> Value {
    leaf.rsplit('.').fold(value, |inner, key| json!({key: inner}))
}

/// The dotted names of all leaves of values.yaml.
pub fn leaves() -> Vec<(String, Value)> {
    leaves_of(&defaults())
}

/// The dotted names of all leaves: scalars, lists and empty maps.
pub fn leaves_of(values: &Value) -> Vec<(String, Value)> {
    fn walk(prefix: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (key, value) in fields {
                    let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&name, value, found);
                }
            }
            leaf => found.push((prefix.to_owned(), leaf.clone())),
        }
    }
    let mut found = Vec::new();
    walk("", values, &mut found);
    found
}

#[test]
fn every_leaf_has_an_effect_that_is_tested() {
    let cases = cases();
    let tested: BTreeSet<&str> = cases.iter().map(|case| case.leaf.as_str()).collect();
    let leaves = leaves();
    let known: BTreeSet<&str> = leaves.iter().map(|(name, _)| name.as_str()).collect();
    let untested: Vec<_> = known.difference(&tested).collect();
    let unknown: Vec<_> = tested.difference(&known).collect();
    assert!(untested.is_empty() && unknown.is_empty(), "without a case: {untested:?}; without a value: {unknown:?}");

    let mut wrong = Vec::new();
    for case in &cases {
        let (before, after) = (render(&case.before()).unwrap(), render(&case.values()).unwrap());
        if case.holds(&before) {
            wrong.push(format!("{}: holds without it: {case:?}", case.leaf));
        }
        if !case.holds(&after) {
            wrong.push(format!("{}: shows nothing: {case:?}\n{:#?}", case.leaf, find(&after, &case.object)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} values, {} cases, each with and without its value", known.len(), cases.len());
}

#[test]
fn wrong_values_are_refused_by_name() {
    // Nothing takes a list of lists, and no list takes a text.
    let wrong = |value: &Value| if value.is_array() { json!("text") } else { json!([["list"]]) };
    let leaves = leaves();
    let all = leaves.iter().fold(json!({}), |all, (leaf, value)| merged(&all, &at(leaf, wrong(value))));
    let said = render(&all).unwrap_err();
    let told = |leaf: &str| said.contains(&format!("at '/{}': ", leaf.replace('.', "/")));
    let accepted: Vec<&str> = leaves.iter().map(|(leaf, _)| leaf.as_str()).filter(|leaf| !told(leaf)).collect();
    assert!(accepted.is_empty(), "{accepted:#?} in\n{said}");
    println!("{} values of a wrong kind, all refused with their name", leaves.len());
}

/// Maps whose keys are the user's own.
const FREE: [&str; 15] = [
    "commonLabels",
    "serviceAccount.annotations",
    "nodeSelector",
    "resources.requests",
    "resources.limits",
    "service.annotations",
    "deploymentAnnotations",
    "podAnnotations",
    "podLabels",
    "prometheusRule.labels",
    "prometheusRule.annotations",
    "prometheusRule.additionalRuleLabels",
    "prometheusRule.additionalRuleAnnotations",
    "dashboard.labels",
    "dashboard.annotations",
];

#[test]
fn unknown_names_are_refused_in_every_map() {
    fn walk(prefix: &str, value: &Value, found: &mut Vec<String>) {
        if let Value::Object(fields) = value {
            found.push(prefix.to_owned());
            for (key, value) in fields {
                walk(&format!("{prefix}.{key}"), value, found);
            }
        }
    }
    let mut maps = Vec::new();
    walk("", &defaults(), &mut maps);
    let maps: Vec<&str> = maps.iter().map(|map| map.trim_start_matches('.')).collect();
    let (free, closed): (Vec<&str>, Vec<&str>) =
        maps.iter().partition(|map| FREE.contains(map) || map.ends_with("Monitor.labels"));
    let all = |maps: &[&str]| {
        let name = |map: &str| format!("{map}.frobnicate").trim_start_matches('.').to_owned();
        maps.iter().fold(json!({}), |all, map| merged(&all, &at(&name(map), json!("1"))))
    };
    render(&all(&free)).unwrap();
    let said = render(&all(&closed)).unwrap_err();
    let told = |map: &str| {
        let place = if map.is_empty() { String::new() } else { format!("/{}", map.replace('.', "/")) };
        said.contains(&format!("at '{place}': additional properties 'frobnicate' not allowed"))
    };
    let accepted: Vec<&&str> = closed.iter().filter(|map| !told(map)).collect();
    assert!(accepted.is_empty(), "{accepted:#?} in\n{said}");
    println!("{} maps, an unknown name refused in each that is not the user's own", maps.len());
}

/// In the schema itself, below what values.yaml shows: every map is closed, or said to be Kubernetes' own.
#[test]
fn the_schema_leaves_nothing_open_by_accident() {
    fn walk(path: &str, schema: &Value, open: &mut Vec<String>) {
        if schema["type"] == "object" && schema.get("additionalProperties").is_none() {
            open.push(path.to_owned());
        }
        for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{key}"), schema, open);
        }
        if let Some(items) = schema.get("items") {
            walk(&format!("{path}[]"), items, open);
        }
    }
    let schema: Value = serde_json::from_str(&file("values.schema.json")).unwrap();
    let mut open = Vec::new();
    walk("", &schema, &mut open);
    open.sort();
    let expected = [
        ".affinity.nodeAffinity",
        ".affinity.podAffinity",
        ".affinity.podAntiAffinity",
        ".extraEnv[].valueFrom",
        ".extraVolumes[]",
        ".global",
        ".podSecurityContext.windowsOptions",
        ".securityContext.windowsOptions",
    ];
    assert_eq!(open, expected);
}

/// Where two values do not go together, or the operator would refuse one and end.
#[test]
fn values_that_do_not_go_together_are_refused() {
    for (values, complaint) in [
        (json!({"zitadel": {"url": "http://a"}}), "zitadel.allowHttp"),
        (json!({"zitadel": {"url": "https://a/b"}}), "'/zitadel/url'"),
        (json!({"zitadel": {"url": "https://u:p@a"}}), "'/zitadel/url'"),
        (json!({"zitadel": {"url": "a"}}), "'/zitadel/url'"),
        (json!({"zitadel": {"api": "v1"}}), "'/zitadel/api'"),
        (json!({"zitadel": {"timeoutSeconds": 0}}), "'/zitadel/timeoutSeconds'"),
        (json!({"zitadel": {"timeoutSeconds": 61}}), "'/zitadel/timeoutSeconds'"),
        (json!({"zitadel": {"credentials": {"type": "password"}}}), "'/zitadel/credentials/type'"),
        (json!({"zitadel": {"credentials": {"existingSecret": ""}}}), "'/zitadel/credentials/existingSecret'"),
        (json!({"zitadel": {"ca": {"existingSecret": "a", "existingConfigMap": "b"}}}), "at most one of zitadel.ca"),
        (json!({"watchNamespaces": ["a"], "connections": {"secretsInAllNamespaces": true}}), "secretNamespaces"),
        (
            json!({"watchNamespaces": ["a"], "zitadel": {"url": "https://a", "adoption": {"allowedNamespaces": {"selector": {"matchLabels": {"a": "b"}}}}}}),
            "without a selector",
        ),
        (json!({"zitadel": {"allowedNamespaces": {"names": ["A"]}}}), "'/zitadel/allowedNamespaces/names/0'"),
        (json!({"watchNamespaces": ["a"], "crds": {"keep": false}}), "leave crds.keep true"),
        (json!({"watchNamespaces": ["A"]}), "'/watchNamespaces/0'"),
        (json!({"watchNamespaces": ["a", "a"]}), "'/watchNamespaces'"),
        (json!({"resyncIntervalSeconds": 0}), "'/resyncIntervalSeconds'"),
        (json!({"serviceMonitor": {"enabled": true}, "service": {"enabled": false}}), "service.enabled"),
        (json!({"serviceMonitor": {"interval": "often"}}), "'/serviceMonitor/interval'"),
        (json!({"traces": {"endpoint": "collector:4318"}}), "'/traces/endpoint'"),
        (json!({"traces": {"endpoint": "http://u:p@collector"}}), "'/traces/endpoint'"),
        (json!({"traces": {"ratio": 1.5}}), "'/traces/ratio'"),
        (json!({"image": {"digest": "sha256:0"}}), "'/image/digest'"),
        (json!({"replicas": -1}), "'/replicas'"),
        (json!({"leaderElection": {"renewDeadlineSeconds": 15}}), "less than leaderElection.leaseDurationSeconds"),
        (json!({"leaderElection": {"retryPeriodSeconds": 10}}), "less than leaderElection.renewDeadlineSeconds"),
        (json!({"http": {"port": 0}}), "'/http/port'"),
        (json!({"http": {"port": 8081}, "log": {"adminPort": 8081}}), "log.adminPort"),
        (json!({"terminationGracePeriodSeconds": 34}), "terminationGracePeriodSeconds must be at least"),
        (json!({"podDisruptionBudget": {"minAvailable": 2}}), "must be less than replicas"),
        (json!({"podDisruptionBudget": {"minAvailable": "100%"}}), "'/podDisruptionBudget/minAvailable'"),
        (json!({"fullnameOverride": "n".repeat(56)}), "'/fullnameOverride'"),
        (json!({"http": {"address": "localhost"}}), "'/http/address'"),
    ] {
        let said = render(&values).expect_err(&values.to_string());
        assert!(said.contains(complaint), "{values}: {said}");
    }
}
