//! What the text of `/metrics` says of given objects.

use std::time::Instant;

use super::*;
use crate::api::FINALIZER;
use crate::api::target::Target;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A Target of namespace `a`, created `age` seconds ago.
fn target(name: &str, age: i64, metadata: &Value, suspend: bool, conditions: &Value) -> Target {
    let mut object = json!({
        "metadata": {
            "name": name, "namespace": "a", "uid": name, "generation": 2, "creationTimestamp": ago(age),
        },
        "spec": {"restAsync": {}, "timeout": "1s", "endpoint": "https://a", "suspend": suspend},
        "status": {"conditions": conditions},
    });
    for (field, value) in metadata.as_object().unwrap() {
        object["metadata"][field] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn ago(seconds: i64) -> String {
    (Timestamp::now() - SignedDuration::from_secs(seconds)).to_string()
}

fn condition(kind: &str, status: &str, generation: i64, age: i64) -> Value {
    json!({
        "type": kind, "status": status, "observedGeneration": generation, "lastTransitionTime": ago(age),
        "reason": "R", "message": "m",
    })
}

fn with(objects: Vec<Target>, per_target: PerTarget) -> Metrics {
    let metrics = Metrics::new(32);
    for object in &objects {
        metrics.targets().waits().see(object, Timestamp::now());
    }
    metrics.look_at(Sources {
        targets: Box::new(move |take| {
            for object in &objects {
                take(&object.metadata, Some(object));
            }
            let unreadable = serde_json::from_value(json!({"name": "unreadable", "namespace": "a"})).unwrap();
            take(&unreadable, None);
        }),
        connections: Box::new(|| {
            let date = |second| Timestamp::from_second(second).unwrap();
            let one =
                |name: &str, up| Connection { name: name.to_owned(), up, expires: None, observed: None, shared: false };
            let (expires, observed) = (Some(date(1_900_000_000)), Some(date(1_800_000_000)));
            vec![
                Connection { expires, observed, shared: true, ..one("default", Some(true)) },
                one("Connection/a/b", Some(false)),
                one("ClusterConnection/c", None),
            ]
        }),
        per_target,
    });
    metrics
}

fn value(text: &str, series: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("{series} not in\n{text}")).parse().unwrap()
}

fn every_kind() -> Vec<Target> {
    let deleting = |finalizer: &str| json!({"deletionTimestamp": ago(50), "finalizers": [finalizer]});
    let reconciling = |age| json!([condition("Ready", "False", 2, age), condition("Reconciling", "True", 2, age)]);
    let none = json!({});
    vec![
        target("ready", 900, &none, false, &json!([condition("Ready", "True", 2, 800)])),
        target("older-verdict", 900, &none, false, &json!([condition("Ready", "True", 1, 800)])),
        target("new", 30, &none, false, &json!([])),
        target("reconciling", 900, &none, false, &reconciling(100)),
        target(
            "stalled",
            900,
            &none,
            false,
            &json!([condition("Ready", "False", 2, 700), condition("Stalled", "True", 2, 700)]),
        ),
        target("suspended", 900, &none, true, &json!([condition("Ready", "False", 2, 600)])),
        target("deleting", 900, &deleting(FINALIZER), false, &reconciling(500)),
        target(
            "somebody-elses",
            900,
            &json!({"deletionTimestamp": ago(400), "finalizers": ["x/y"]}),
            false,
            &json!([]),
        ),
    ]
}

#[test]
fn the_names_are_those_that_dashboards_expect() {
    let metrics = Metrics::new(32);
    metrics.pass_ended(PassResult::success);
    metrics.call("create", Duration::from_millis(20), "201");
    metrics.call("create", Duration::from_millis(20), "429");
    drop(metrics.pass());
    let text = metrics.render().unwrap();
    for line in [
        r#"controller_runtime_reconcile_total{controller="target",result="success"} 1"#,
        r#"controller_runtime_reconcile_total{controller="target",result="error"} 0"#,
        r#"controller_runtime_reconcile_errors_total{controller="target"} 0"#,
        r#"controller_runtime_reconcile_panics_total{controller="target"} 0"#,
        r#"controller_runtime_reconcile_time_seconds_count{controller="target"} 1"#,
        r#"controller_runtime_active_workers{controller="target"} 0"#,
        r#"controller_runtime_max_concurrent_reconciles{controller="target"} 32"#,
        r#"workqueue_adds_total{name="target"} 0"#,
        r#"workqueue_queue_duration_seconds_count{name="target"} 0"#,
        r#"zitadel_api_requests_total{op="create",code="201"} 1"#,
        "zitadel_api_rate_limited_total 1",
        r#"zitadel_target_failures_total{reason="NameTaken"} 0"#,
        "zitadel_targets_left_behind_total 0",
        r#"zitadel_target_drift_total{action="observed"} 0"#,
        r#"zitadel_watch_failing{kind="ClusterConnection"} 0"#,
        r#"zitadel_targets{ready="Unknown"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
    }
    for name in [
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_start_time_seconds ",
    ] {
        assert!(text.contains(name), "{name}\nnot in\n{text}");
    }
}

#[test]
fn the_cache_is_counted_as_documented() {
    let text = with(every_kind(), PerTarget::Shown).render().unwrap();
    for (series, expected) in [
        (r#"zitadel_targets{ready="True"}"#, 2.0),
        (r#"zitadel_targets{ready="False"}"#, 4.0),
        (r#"zitadel_targets{ready="Unknown"}"#, 3.0),
        ("zitadel_targets_stalled", 1.0),
        ("zitadel_targets_deleting", 2.0),
        (r#"zitadel_target_status_condition{namespace="a",name="ready",type="Ready",status="True"}"#, 1.0),
        (r#"zitadel_target_status_condition{namespace="a",name="ready",type="Ready",status="False"}"#, 0.0),
        (r#"zitadel_target_status_condition{namespace="a",name="stalled",type="Stalled",status="True"}"#, 1.0),
        (r#"zitadel_target_status_condition{namespace="a",name="new",type="Ready",status="Unknown"}"#, 1.0),
        (r#"zitadel_target_status_condition{namespace="a",name="unreadable",type="Ready",status="Unknown"}"#, 1.0),
        (r#"zitadel_connection_up{connection="default"}"#, 1.0),
        (r#"zitadel_connection_up{connection="Connection/a/b"}"#, 0.0),
        (r#"zitadel_connection_credentials_expiry_timestamp_seconds{connection="default"}"#, 1.9e9),
        (r#"zitadel_connection_last_list_timestamp_seconds{connection="default"}"#, 1.8e9),
        (r#"zitadel_connection_account_shared{connection="default"}"#, 1.0),
        (r#"zitadel_connection_account_shared{connection="Connection/a/b"}"#, 0.0),
    ] {
        assert!((value(&text, series) - expected).abs() < 0.001, "{series} is not {expected}\n{text}");
    }
    // One condition of six objects, two of three: three series each.
    assert_eq!(text.matches("\nzitadel_target_status_condition{").count(), 36);
    assert_eq!(text.matches("\nzitadel_connection_up{").count(), 2, "of what was never probed nothing is known");
    assert_eq!(text.matches("\nzitadel_connection_credentials_expiry_timestamp_seconds{").count(), 1);
    let (deletion, pending) =
        (value(&text, "zitadel_target_oldest_deletion_seconds"), value(&text, "zitadel_target_oldest_pending_seconds"));
    assert!((50.0..55.0).contains(&deletion), "{deletion}");
    assert!((100.0..105.0).contains(&pending), "{pending}");
}

#[test]
fn totals_stay_where_each_target_is_left_out() {
    let text = with(every_kind(), PerTarget::LeftOut).render().unwrap();
    assert!(!text.contains("zitadel_target_status_condition"), "{text}");
    assert!((value(&text, r#"zitadel_targets{ready="True"}"#) - 2.0).abs() < 0.001);
}

#[test]
fn a_wait_begins_with_a_generation_and_ends_with_its_verdict() {
    let waits = Waits::default();
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    let seen = |generation: i64, ready: Option<(&str, i64)>, now| {
        let conditions: Vec<_> = ready.iter().map(|(status, of)| condition("Ready", status, *of, 0)).collect();
        let mut object = target("x", 0, &json!({"generation": generation}), false, &json!(conditions));
        object.metadata.creation_timestamp.as_mut().unwrap().0 = at(1000);
        waits.see(&object, at(now));
        (waits.applied(&object), object)
    };
    assert_eq!(seen(1, None, 1005).0, Some(at(1000)), "from its creation");
    assert_eq!(seen(1, Some(("False", 1)), 1010).0, Some(at(1000)));
    assert_eq!(seen(2, Some(("False", 1)), 1020).0, Some(at(1020)), "from when the change was seen");
    assert_eq!(seen(2, Some(("False", 2)), 1030).0, Some(at(1020)));
    assert_eq!(seen(2, Some(("True", 2)), 1040).0, None, "the verdict is there");
    assert_eq!(seen(2, Some(("False", 2)), 1050).0, None, "it was ready for this generation before");
    assert_eq!(seen(3, Some(("False", 2)), 1060).0, Some(at(1060)));
    let (_, object) = seen(3, Some(("False", 2)), 1070);
    waits.gone(&object);
    assert_eq!(waits.applied(&object), None);
    assert!(waits.lock().is_empty());
}

/// A scrape of very many objects is no burden. The limit is far above what an optimised build needs.
#[test]
fn ten_thousand_targets_are_told_in_one_walk() {
    let one = |number: usize| {
        let conditions = json!([condition("Ready", "False", 2, 9), condition("Reconciling", "True", 2, 9)]);
        target(&format!("target-{number}"), 10, &json!({}), false, &conditions)
    };
    let metrics = with((0..10_000).map(one).collect(), PerTarget::Shown);
    let began = Instant::now();
    let text = metrics.render().unwrap();
    println!("{} bytes in {:?}", text.len(), began.elapsed());
    assert_eq!(text.matches("\nzitadel_target_status_condition{").count(), 60_003);
    assert!(began.elapsed() < Duration::from_secs(10));
}
