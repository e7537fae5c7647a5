//! The test data of the scripts, in the layout that Argo CD's own tests read: objects as they were seen, with what is to
//! be said of them. `BLESS=1` takes them anew from the live objects of the other tests.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::judges::{act, actions, health};
use crate::snippets::scripts;
use crate::witness::Verdict;

/// What Argo CD says, the reason of the object, and the file.
const GOLDEN: [(&str, &str, &str); 8] = [
    ("Progressing", "Pending", "progressing_fresh.yaml"),
    ("Progressing", "Available", "progressing_stale.yaml"),
    ("Progressing", "ZitadelUnavailable", "progressing_retrying.yaml"),
    ("Healthy", "Available", "healthy.yaml"),
    ("Suspended", "Suspended", "suspended.yaml"),
    ("Degraded", "NameTaken", "degraded_name_taken.yaml"),
    ("Degraded", "InvalidSpec", "degraded_invalid_spec.yaml"),
    ("Degraded", "ZitadelUnavailable", "degraded_deadline.yaml"),
];

#[derive(Deserialize)]
struct HealthTests {
    tests: Vec<HealthTest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HealthTest {
    input_path: String,
    health_status: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActionTests {
    discovery_tests: Vec<DiscoveryTest>,
    action_tests: Vec<ActionTest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DiscoveryTest {
    input_path: String,
    result: Vec<Offered>,
}

#[derive(Deserialize)]
struct Offered {
    name: String,
    disabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActionTest {
    action: String,
    input_path: String,
    expected_output_path: String,
}

/// Keeps an object as test data, if that is asked for and the object is one of those.
pub fn offer(object: &Value, verdict: &Verdict) {
    let wanted = GOLDEN.iter().find(|(argo, reason, _)| verdict.argo == *argo && verdict.reason == *reason);
    let Some((_, _, file)) = wanted else { return };
    let deleting = !object["metadata"]["deletionTimestamp"].is_null();
    if std::env::var_os("BLESS").is_none() || deleting || object["kind"] != "Target" {
        return;
    }
    let mut kept = object.clone();
    kept["metadata"].as_object_mut().unwrap().remove("managedFields");
    std::fs::write(scripts().join("_/testdata").join(file), serde_saphyr::to_string(&kept).unwrap()).unwrap();
}

fn read<T: for<'de> Deserialize<'de>>(path: PathBuf) -> T {
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_health_of_the_test_data_is_as_it_says() {
    let folder = scripts().join("_");
    let HealthTests { tests } = read(folder.join("health_test.yaml"));
    for (_, _, file) in GOLDEN {
        assert!(tests.iter().any(|test| test.input_path == format!("testdata/{file}")), "{file} is not tested");
    }
    for test in tests {
        let said = health(&read(folder.join(&test.input_path)));
        assert_eq!(json!({"status": said.status, "message": said.message}), test.health_status, "{}", test.input_path);
    }
}

#[test]
fn the_actions_on_the_test_data_are_as_it_says() {
    let folder = scripts().join("Target/actions");
    let ActionTests { discovery_tests, action_tests } = read(folder.join("action_test.yaml"));
    for test in discovery_tests {
        let offered = actions(&read(folder.join(&test.input_path)));
        let mut wanted: Vec<_> = test.result.into_iter().map(|one| (one.name, !one.disabled)).collect();
        wanted.sort();
        assert_eq!(offered, wanted, "{}", test.input_path);
    }
    assert_eq!(action_tests.len(), 3);
    for test in action_tests {
        let mut left = act(&read(folder.join(&test.input_path)), &test.action);
        if test.action == "reconcile" {
            let asked = &mut left["metadata"]["annotations"]["zitadel-actions.dev/reconcile-requested-at"];
            assert!(asked.as_str().is_some_and(|time| time.len() == "2026-11-24T10:00:00Z".len()), "{asked}");
            *asked = json!("0001-01-01T00:00:00Z");
        }
        let wanted: Value = read(folder.join(&test.expected_output_path));
        assert_eq!(left, wanted, "{} on {}", test.action, test.input_path);
    }
}
