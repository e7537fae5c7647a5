//! Create, update of every field, delete, retain, suspend: the main path, in both generations.

use serde_json::{Value, json};
use zitadel_stand_in::{Effect, EventKind, Generation, Op, TargetEdit, TargetKind, Times};

use crate::world::{GENERATIONS, Setup, World, condition, id, is_ready, webhook};

#[tokio::test]
async fn a_manifest_becomes_a_target() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("audit-webhook", webhook()).await;
        let target = world.ready("audit-webhook").await;
        let status = target.status.clone().unwrap();

        let remote = world.zitadel.targets();
        assert_eq!(remote.len(), 1);
        assert_eq!(remote[0].name, "audit-webhook", "the name defaults to metadata.name");
        assert_eq!((remote[0].kind, remote[0].interrupt_on_error), (TargetKind::Webhook, true));
        assert_eq!(remote[0].endpoint, "https://hooks.example.com/zitadel");
        assert_eq!(status.id.as_deref(), Some(remote[0].id.as_str()));
        assert_eq!(status.sequence.as_deref(), Some("1"));
        assert_eq!(status.name.as_deref(), Some("audit-webhook"));
        assert_eq!(status.resource_owner, Some(world.zitadel.instance_id()));
        assert_eq!(status.creation_date, Some(remote[0].creation_date.to_string()));
        assert_eq!(status.change_date, status.creation_date);
        let connection = status.connection.unwrap();
        assert_eq!((connection.url, connection.api), (world.zitadel.url(), generation.to_string()));
        assert_eq!(connection.instance, Some(world.zitadel.instance_id()));
        assert!(world.note("Created").await.contains(&remote[0].id));

        let table = world.kubectl(&["get", "targets"], "").await.out;
        let columns: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(columns, ["NAME", "READY", "REASON", "ID", "ENDPOINT", "AGE"]);
        let wide = world.kubectl(&["get", "zt", "-o", "wide"], "").await.out;
        let columns: Vec<_> =
            wide.lines().next().unwrap().split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
        let all = ["NAME", "READY", "REASON", "ID", "ENDPOINT", "AGE", "SEQUENCE", "API", "REMOTE NAME", "MESSAGE"];
        assert_eq!(columns, all, "none twice");
        assert!(wide.contains("Available") && wide.contains(&generation.to_string()), "{wide}");
        assert_eq!(world.count(EventKind::Added), 1);
        world.assert_rests("audit-webhook").await;
        world.finish().await;
    }
}

/// Each field alone, and what ZITADEL then holds.
#[tokio::test]
async fn every_field_can_be_changed() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("hook", webhook()).await;
        let first = world.ready("hook").await;
        let null = Value::Null;
        let edits = [
            json!({"timeout": "0.5s"}),
            json!({"endpoint": "https://other.example.com/x"}),
            json!({"name": "Renamed"}),
            json!({"name": "renamed"}),
            json!({"restWebhook": null, "restCall": {"interruptOnError": true}}),
            json!({"restCall": null, "restAsync": {}}),
            json!({"restAsync": null, "restWebhook": {"interruptOnError": false}}),
            json!({"restWebhook": {"interruptOnError": true}}),
            json!({"name": null, "timeout": "10s", "endpoint": "https://hooks.example.com/zitadel"}),
        ];
        let mut sequence = 1;
        for edit in edits {
            world.edit("hook", edit.clone()).await;
            let target = world.ready("hook").await;
            let remote = world.zitadel.targets().pop().unwrap();
            let spec = serde_json::to_value(&target.spec).unwrap();
            let name = spec.get("name").and_then(Value::as_str).unwrap_or("hook");
            assert_eq!(remote.name, name, "after {edit}");
            assert_eq!(remote.endpoint, spec["endpoint"], "after {edit}");
            let kind = match remote.kind {
                TargetKind::Webhook => "restWebhook",
                TargetKind::Call => "restCall",
                TargetKind::Async => "restAsync",
            };
            assert_ne!(spec.get(kind).unwrap_or(&null), &null, "after {edit}");
            if remote.kind != TargetKind::Async {
                let wanted = spec[kind]["interruptOnError"].as_bool().unwrap_or(false);
                assert_eq!(remote.interrupt_on_error, wanted, "after {edit}");
            }
            let status = target.status.unwrap();
            assert_eq!(status.sequence, Some(remote.sequence.to_string()), "after {edit}");
            assert!(remote.sequence > sequence, "{edit} changed nothing");
            assert_eq!(status.change_date, Some(remote.change_date.to_string()), "after {edit}");
            sequence = remote.sequence;
        }
        assert_eq!(id(&world.get("hook").await), id(&first), "the target was never made anew");
        assert!(world.note("Updated").await.contains("changed target"));
        world.assert_rests("hook").await;
        world.finish().await;
    }
}

/// The server bug of docs/zitadel/observed.md 0.4: created with true, an update to false alone is ignored.
#[tokio::test]
async fn interrupt_on_error_can_be_lowered() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("hook", webhook()).await;
        world.ready("hook").await;
        world.edit("hook", json!({"restWebhook": {"interruptOnError": false}, "timeout": "3s"})).await;
        world.ready("hook").await;
        let remote = world.zitadel.targets().pop().unwrap();
        assert!(!remote.interrupt_on_error);
        assert_eq!(remote.sequence, 3, "one event to raise, one to lower and change the rest");
        world.assert_rests("hook").await;

        // A detour over another kind brings the flag back, unless it is fought again.
        world.create("detour", webhook()).await;
        world.ready("detour").await;
        world.edit("detour", json!({"restWebhook": null, "restAsync": {}})).await;
        world.ready("detour").await;
        world.edit("detour", json!({"restAsync": null, "restCall": {}})).await;
        world.ready("detour").await;
        let remote = world.zitadel.targets().into_iter().find(|target| target.name == "detour").unwrap();
        assert_eq!((remote.kind, remote.interrupt_on_error), (TargetKind::Call, false));
        world.finish().await;
    }
}

#[tokio::test]
async fn capitals_beyond_ascii_are_taken_with_a_warning() {
    let world = World::new(Generation::V2).await;
    let mut spec = webhook();
    spec["name"] = json!("Über");
    world.create("hook", spec).await;
    world.ready("hook").await;
    assert!(world.note("NameMayStayTaken").await.contains("locale C"));
    world.finish().await;
}

#[tokio::test]
async fn durations_are_compared_by_value() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        let mut spec = webhook();
        for timeout in ["0.5s", "0.500s", "0.50s"] {
            spec["timeout"] = json!(timeout);
            let name = format!("t{}", timeout.len());
            spec["name"] = json!(name);
            world.create(&name, spec.clone()).await;
            let target = world.ready(&name).await;
            assert_eq!(target.spec.timeout, timeout, "the notation of the user stays");
        }
        world.assert_rests("t4").await;
        assert_eq!(world.count(EventKind::Changed), 0);
        world.finish().await;
    }
}

#[tokio::test]
async fn deletion_deletes_and_retain_keeps() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("goes", webhook()).await;
        let mut kept = webhook();
        kept["deletionPolicy"] = json!("Retain");
        world.create("stays", kept).await;
        world.ready("goes").await;
        world.ready("stays").await;
        world.delete("goes").await;
        world.gone("goes").await;
        assert!(world.note("Deleted").await.contains("is deleted in ZITADEL"));

        // Retain needs no ZITADEL at all.
        world.zitadel.pause().await;
        world.delete("stays").await;
        world.gone("stays").await;
        world.zitadel.resume().await.unwrap();
        let names: Vec<_> = world.zitadel.targets().into_iter().map(|target| target.name).collect();
        assert_eq!(names, ["stays"]);
        assert!(world.note("Retained").await.contains("stays in ZITADEL"));
        world.finish().await;
    }
}

#[tokio::test]
async fn the_same_manifest_can_be_deleted_and_applied_again_at_once() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        let mut seen = std::collections::BTreeSet::new();
        for round in 1..=3 {
            world.create("hook", webhook()).await;
            seen.insert(id(&world.ready("hook").await));
            assert_eq!(seen.len(), round, "a new target each time");
            world.delete("hook").await;
            world.gone("hook").await;
        }
        assert!(world.zitadel.targets().is_empty());
        assert_eq!((world.count(EventKind::Added), world.count(EventKind::Removed)), (3, 3));
        world.finish().await;
    }
}

#[tokio::test]
async fn a_target_that_is_already_gone_counts_as_deleted() {
    for generation in GENERATIONS {
        let world = World::with(Setup::new(generation).flag("--resync-interval", "3600")).await;
        world.create("hook", webhook()).await;
        let target = world.ready("hook").await;
        world.zitadel.external_delete(&id(&target));
        world.delete("hook").await;
        world.gone("hook").await;
        world.finish().await;
    }
}

#[tokio::test]
async fn deletion_waits_for_zitadel_and_says_so() {
    let world = World::new(Generation::V2).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let fault = world.zitadel.fault(Op::Delete, Effect::Status(503, None), Times::Always);
    world.delete("hook").await;
    let waiting = world.reason("hook", "ZitadelUnavailable").await;
    let (_, _, message) = condition(&waiting, "Ready").unwrap();
    assert!(message.starts_with("deletion waits:") && message.contains("Retain"), "{message}");
    fault.clear();
    world.gone("hook").await;
    assert!(world.zitadel.targets().is_empty());
    world.finish().await;
}

/// The documented way out of a deletion that cannot finish.
#[tokio::test]
async fn retain_on_a_deleting_object_lets_it_go() {
    let world = World::new(Generation::V2).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    world.zitadel.pause().await;
    world.delete("hook").await;
    world.reason("hook", "ZitadelUnavailable").await;
    world.edit("hook", json!({"deletionPolicy": "Retain"})).await;
    world.gone("hook").await;
    world.finish().await;
}

#[tokio::test]
async fn suspend_means_no_call_at_all() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        let mut spec = webhook();
        spec["suspend"] = json!(true);
        world.create("hook", spec).await;
        world.reason("hook", "Suspended").await;
        assert_eq!(world.zitadel.calls().len(), 0, "{}", world.zitadel.dump());

        world.edit("hook", json!({"suspend": false})).await;
        world.ready("hook").await;
        world.edit("hook", json!({"suspend": true, "timeout": "3s"})).await;
        world.reason("hook", "Suspended").await;
        let calls = world.zitadel.calls().len();
        world.delete("hook").await;
        let waiting = world
            .until_target("hook", "waiting for deletion", |target| {
                condition(target, "Ready").is_some_and(|(_, _, message)| message.contains("deletion waits"))
            })
            .await;
        assert!(waiting.metadata.deletion_timestamp.is_some());
        assert_eq!(world.zitadel.calls().len(), calls, "{}", world.zitadel.dump());
        world.edit("hook", json!({"suspend": false})).await;
        world.gone("hook").await;
        assert!(world.zitadel.targets().is_empty());
        world.finish().await;
    }
}

/// What somebody else does to the target is undone at the next resync; what they did to its name too.
#[tokio::test]
async fn drift_is_corrected() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("hook", webhook()).await;
        let target = world.ready("hook").await;
        let edit = TargetEdit {
            name: Some("Hijacked".into()),
            endpoint: Some("https://evil.example.com".into()),
            kind: Some(TargetKind::Async),
            ..TargetEdit::default()
        };
        world.zitadel.external_update(&id(&target), edit);
        world
            .until("the drift is corrected", || async {
                let remote = world.zitadel.targets().pop().unwrap();
                remote.endpoint == "https://hooks.example.com/zitadel" && remote.kind == TargetKind::Webhook
            })
            .await;
        let note = world.note("DriftCorrected").await;
        assert!(note.contains("endpoint") && note.contains("kind") && note.contains("name"), "{note}");
        let remote = world.zitadel.targets().pop().unwrap();
        assert!(remote.interrupt_on_error && remote.name == "hook");
        world.assert_rests("hook").await;
        assert!(is_ready(&world.get("hook").await));
        world.finish().await;
    }
}

#[tokio::test]
async fn a_target_deleted_by_others_is_made_anew() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("hook", webhook()).await;
        let old = id(&world.ready("hook").await);
        world.zitadel.external_delete(&old);
        let new =
            world.until_target("hook", "ready with a new id", |target| is_ready(target) && id(target) != old).await;
        assert_eq!(world.zitadel.targets().pop().unwrap().id, id(&new));
        assert!(world.note("ExternallyDeleted").await.contains(&old));
        assert_eq!(world.count(EventKind::Added), 2);
        world.assert_rests("hook").await;
        world.finish().await;
    }
}

/// Reads lag behind writes; nothing is made anew because of that, and Ready waits for the truth.
#[tokio::test]
async fn projection_lag_changes_nothing() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.zitadel.set_projection_lag(std::time::Duration::from_millis(700));
        world.create("hook", webhook()).await;
        world.ready("hook").await;
        world.edit("hook", json!({"timeout": "3s", "restWebhook": {"interruptOnError": false}})).await;
        world.ready("hook").await;
        assert!(!world.zitadel.targets().pop().unwrap().interrupt_on_error);
        world.resyncs(3).await;
        assert_eq!(world.count(EventKind::Added), 1);
        assert_eq!(world.count(EventKind::Changed), 2);
        world.finish().await;
    }
}

/// Ghost targets come of parallel creates on the old projection, so there they go one at a time.
#[tokio::test]
async fn creates_on_v3alpha_go_one_at_a_time() {
    let world = World::new(Generation::V3Alpha).await;
    world.zitadel.fault(Op::Create, Effect::Latency(std::time::Duration::from_millis(50)), Times::Always);
    for index in 0..6 {
        world.create(&format!("hook-{index}"), webhook()).await;
    }
    for index in 0..6 {
        world.ready(&format!("hook-{index}")).await;
    }
    let mut arrivals: Vec<_> =
        world.zitadel.calls().into_iter().filter(|call| call.op == Some(Op::Create)).map(|call| call.at).collect();
    arrivals.sort();
    for pair in arrivals.windows(2) {
        // Each call takes 50 ms at the server, so calls that begin less than that apart ran at once.
        assert!((pair[1] - pair[0]).as_millis() >= 50, "{arrivals:?}");
    }
    world.finish().await;
}
