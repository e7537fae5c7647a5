//! The chart's alerts as rendered: promtool plays the cases in `alerts.yaml`, of which each alert has one that fires and one
//! that does not; each says what to do and leads to its section in docs/runbooks.md; and all of these name metrics and labels
//! that the operator has. No cluster, and no Prometheus that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::exposition::documented;
use crate::prometheus::{alerts, rules, rules_with};

/// The full name of the release.
const OPERATOR: &str = "x-zitadel-actions-operator";
/// The labels of the operator's series by the chart's ServiceMonitor, for `$JOB` in the cases.
const JOB: &str = r#"job="x-zitadel-actions-operator-metrics""#;

/// Labels that Prometheus gives to what it reads.
const OF_PROMETHEUS: [&str; 4] = ["job", "namespace", "pod", "instance"];

/// What a section of a runbook has, in this order.
const PARTS: [&str; 4] = ["**Meaning.**", "**Impact.**", "**Look.**", "**Mend.**"];

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value:#}"))
}

pub fn names() -> BTreeSet<String> {
    alerts(&rules()).iter().map(|alert| text(alert, "/alert").to_owned()).collect()
}

/// The groups of cases, with the labels that the tokens stand for.
fn cases() -> Vec<Value> {
    let mut all = include_str!("alerts.yaml").replace("$JOB", JOB);
    for (token, pod) in [("$A", "a"), ("$B", "b")] {
        all = all.replace(token, &format!(r#"{JOB},namespace="identity",pod="{pod}""#));
    }
    let mut groups: Vec<Value> = serde_saphyr::from_str(&all).unwrap();
    for case in groups.iter_mut().flat_map(|group| group["alert_rule_test"].as_array_mut().unwrap()) {
        for alert in case["exp_alerts"].as_array_mut().unwrap() {
            alert["exp_labels"]["operator"] = json!(OPERATOR);
        }
    }
    groups
}

/// What each case expects: the alert, and the alerts that fire at that time.
fn expectations() -> Vec<(String, Vec<Value>)> {
    let groups = cases();
    let all = groups.iter().flat_map(|group| group["alert_rule_test"].as_array().unwrap());
    all.map(|case| (text(case, "/alertname").to_owned(), case["exp_alerts"].as_array().unwrap().clone())).collect()
}

/// Runs promtool in a folder with these files, which are JSON and so YAML.
fn promtool(arguments: &[&str], files: &[(&str, &Value)]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    let mut command = devkit::tools::prometheus::ensure().unwrap().promtool();
    let output = command.args(arguments).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(said) } else { Err(said) }
}

/// Rules with no annotation but the summary: the others have no variables that a summary and the labels do not show.
fn with_summaries_alone(mut all: Value) -> Value {
    for rule in all["groups"][0]["rules"].as_array_mut().unwrap() {
        rule["annotations"] = json!({"summary": rule["annotations"]["summary"]});
    }
    all
}

fn play(rules: &Value) -> Result<String, String> {
    let tests = json!({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": cases()});
    promtool(&["test", "rules", "tests.yaml"], &[("rules.yaml", rules), ("tests.yaml", &tests)])
}

#[test]
fn the_rules_are_valid() {
    let all = rules();
    let said = promtool(&["check", "rules", "--lint-fatal", "rules.yaml"], &[("rules.yaml", &all)]).unwrap();
    assert!(said.contains(&format!("{} rules found", names().len())), "{said}");
    assert_eq!(names().len(), alerts(&all).len(), "each name is there once");
}

#[test]
fn each_alert_plays_its_cases() {
    let said = play(&with_summaries_alone(rules())).unwrap();
    assert!(said.contains("SUCCESS"), "{said}");
    println!("{} alerts, {} cases in {} groups", names().len(), expectations().len(), cases().len());
}

/// A rule that never fires is noticed, and one that always does.
#[test]
fn each_alert_is_held_by_its_cases() {
    for broken in ["vector(1) > 2", "vector(1)"] {
        let mut all = with_summaries_alone(rules());
        for rule in all["groups"][0]["rules"].as_array_mut().unwrap() {
            rule["expr"] = json!(broken);
        }
        let said = play(&all).expect_err(broken);
        let silent: Vec<_> =
            names().into_iter().filter(|name| !said.contains(&format!("alertname: {name},"))).collect();
        assert!(silent.is_empty(), "as {broken} their cases still hold: {silent:?}");
    }
}

#[test]
fn each_alert_has_a_case_that_fires_and_one_that_does_not() {
    for fires in [true, false] {
        let all = expectations().into_iter().filter(|(_, alerts)| alerts.is_empty() != fires);
        let tested: BTreeSet<String> = all.map(|(name, _)| name).collect();
        assert_eq!(tested, names(), "fires: {fires}");
    }
}

/// An Alertmanager takes alerts with equal labels for one.
#[test]
fn two_releases_in_one_namespace_have_alerts_of_their_own() {
    let other = rules_with(&json!({"fullnameOverride": "y"}));
    let alert = |operator: &str, summary: &str| {
        let severity = if summary.contains("stalled") { "warning" } else { "critical" };
        json!({"exp_labels": {"namespace": "identity", "severity": severity, "operator": operator}, "exp_annotations": {"summary": summary}})
    };
    let both = |summary: &str| [alert(OPERATOR, summary), alert("y", summary)];
    let series = |name: &str| json!({"series": format!(r#"zitadel_targets_stalled{{job="{name}-metrics",namespace="identity"}}"#), "values": "1x20"});
    let case =
        |name: &str, expected: [Value; 2]| json!({"eval_time": "10m", "alertname": name, "exp_alerts": expected});
    let tests = json!({"rule_files": ["x.yaml", "y.yaml"], "evaluation_interval": "1m", "tests": [{
        "interval": "1m",
        "input_series": [series(OPERATOR), series("y")],
        "alert_rule_test": [
            case("ZitadelActionsTargetsStalled", both("1 Targets are stalled: a person has to mend something.")),
            case("ZitadelActionsOperatorDown", both("Prometheus reads no replica of the operator.")),
        ],
    }]});
    let (x, y) = (with_summaries_alone(rules()), with_summaries_alone(other));
    promtool(&["test", "rules", "tests.yaml"], &[("x.yaml", &x), ("y.yaml", &y), ("tests.yaml", &tests)]).unwrap();
    for (rules, operator) in [(x, OPERATOR), (y, "y")] {
        for alert in alerts(&rules) {
            assert_eq!(text(&alert, "/labels/operator"), operator, "{}", alert["alert"]);
        }
    }
}

#[test]
fn without_replicas_nobody_is_missed() {
    let idle = alerts(&rules_with(&json!({"replicas": 0})));
    let idle: BTreeSet<String> = idle.iter().map(|alert| text(alert, "/alert").to_owned()).collect();
    let gone: Vec<_> = names().difference(&idle).cloned().collect();
    assert_eq!(gone, ["ZitadelActionsOperatorDown"]);
}

/// Variables of an annotation are labels that the alert has when it fires.
#[test]
fn annotations_use_labels_that_are_there() {
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, fired) in expectations() {
        for alert in fired {
            let these = alert["exp_labels"].as_object().unwrap().keys().cloned();
            labels.entry(name.clone()).or_default().extend(these);
        }
    }
    for alert in alerts(&rules()) {
        let name = text(&alert, "/alert");
        for key in ["summary", "description"] {
            for used in text(&alert, &format!("/annotations/{key}")).split("$labels.").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                assert!(labels[name].contains(&used), "{name}: its {key} uses the label {used}");
            }
        }
    }
}

#[test]
fn each_alert_says_what_to_do_and_leads_to_its_runbook() {
    let page = "https://github.com/zitadel-actions/zitadel-actions-operator/blob/main/docs/runbooks.md";
    let runbooks = file("docs/runbooks.md");
    let sections: BTreeMap<&str, &str> =
        runbooks.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    for alert in alerts(&rules()) {
        let name = text(&alert, "/alert");
        assert!(name.starts_with("ZitadelActions"), "{name}");
        assert!(["critical", "warning", "info"].contains(&text(&alert, "/labels/severity")), "{name}");
        let (summary, description) = (text(&alert, "/annotations/summary"), text(&alert, "/annotations/description"));
        assert!(summary.len() < 100 && summary.ends_with('.'), "{name}: {summary}");
        assert!(description.len() > summary.len() && description.len() < 400, "{name}: {description}");
        assert_eq!(text(&alert, "/annotations/runbook_url"), format!("{page}#{}", name.to_lowercase()));
        let section = sections.get(name).unwrap_or_else(|| panic!("docs/runbooks.md has no section {name}"));
        let places: Vec<_> = PARTS.iter().map(|part| section.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{name} has not {PARTS:?}: {places:?}");
    }
    let known = names();
    let orphans: Vec<_> =
        sections.keys().filter(|name| name.starts_with("Zitadel") && !known.contains(**name)).collect();
    assert!(orphans.is_empty(), "sections of no alert: {orphans:?}");
}

/// The series that Prometheus has by docs/metrics.md, which a test compares with the real operator, and their labels.
fn stored() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for (name, (kind, mut labels)) in documented(&file("docs/metrics.md")) {
        labels.extend(OF_PROMETHEUS.map(str::to_owned));
        if kind == "histogram" {
            let mut buckets = labels.clone();
            buckets.insert("le".to_owned());
            all.insert(format!("{name}_bucket"), buckets);
            all.extend(["_count", "_sum"].map(|suffix| (format!("{name}{suffix}"), labels.clone())));
        } else {
            all.insert(name, labels);
        }
    }
    all.insert("up".to_owned(), OF_PROMETHEUS.map(str::to_owned).into());
    all
}

/// The selectors of a query: names, each with the labels that it asks for.
fn selectors(query: &str) -> Vec<(String, BTreeSet<String>)> {
    let mut found = Vec::new();
    for (at, _) in query.match_indices('{') {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name: String = query[..at].chars().rev().take_while(|c| word(*c)).collect();
        let inside = query[at + 1..].split('}').next().unwrap();
        let label = |matcher: &str| matcher.trim().chars().take_while(|c| word(*c)).collect();
        found.push((name.chars().rev().collect(), inside.split(',').map(label).collect()));
    }
    found
}

/// The labels that a query groups by or matches on.
fn grouped(query: &str) -> BTreeSet<String> {
    let lists = ["by (", "on ("].into_iter().flat_map(|word| query.split(word).skip(1));
    let labels = lists.flat_map(|list| list.split(')').next().unwrap().split(','));
    labels.map(|label| label.trim().to_owned()).collect()
}

/// What is wrong with the names in a query, if anything.
fn unknown(query: &str) -> Option<String> {
    let stored = stored();
    let used = selectors(query);
    if used.is_empty() {
        return Some("it selects no series".to_owned());
    }
    let mut labels: BTreeSet<&String> = BTreeSet::new();
    for (name, asked) in &used {
        let Some(there) = stored.get(name) else { return Some(format!("there is no {name}")) };
        if let Some(label) = asked.difference(there).next() {
            return Some(format!("{name} has no label {label}"));
        }
        labels.extend(there);
    }
    grouped(query).iter().find(|label| !labels.contains(label)).map(|label| format!("nothing has a label {label}"))
}

#[test]
fn alerts_and_their_cases_name_what_exists() {
    for alert in alerts(&rules()) {
        let query = text(&alert, "/expr");
        assert_eq!(unknown(query), None, "{}: {query}", alert["alert"]);
        for (name, asked) in selectors(query) {
            assert!(asked.contains("job"), "{}: {name} of whichever program", alert["alert"]);
        }
    }
    for series in cases().iter().flat_map(|group| group["input_series"].as_array().unwrap()) {
        let series = text(series, "/series");
        assert_eq!(unknown(series), None, "{series}");
    }
    assert!(unknown(r#"sum by (a) (zitadel_targets_stalled{job="a"})"#).is_some());
    assert!(unknown(r#"zitadel_targets_stalled{a="a"}"#).is_some() && unknown("zitadel_targets_stale{}").is_some());
}

#[test]
fn the_runbooks_name_what_exists() {
    let stored = stored();
    let text = file("docs/runbooks.md");
    let (mut queries, mut named) = (0, 0);
    for block in text.split("```promql\n").skip(1) {
        for query in block.split("```").next().unwrap().lines() {
            assert_eq!(unknown(query), None, "{query}");
            queries += 1;
        }
    }
    let beginnings = ["zitadel_", "controller_runtime_", "workqueue_", "rest_client_", "leader_election_", "process_"];
    for code in text.split('`').filter(|code| beginnings.iter().any(|beginning| code.starts_with(beginning))) {
        assert!(stored.contains_key(code), "docs/runbooks.md names {code}");
        named += 1;
    }
    assert!(queries >= 10 && named >= 2, "{queries} queries and {named} names were found");
}
