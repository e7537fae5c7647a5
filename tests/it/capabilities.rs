//! What a connection can do without: hidden, forbidden, slow or broken, it costs sequences and never a Target.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ListParams;
use serde_json::{Value, json};
use zitadel_actions_operator::api::connection::{Capabilities, Capability, ConnectionReport};
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Effect, EventKind, Generation, Op, Role, TargetEdit, Times};

use crate::connections::{by, connect, connections, says, secret, setup, to};
use crate::world::{GENERATIONS, Setup, World, condition, id, webhook};

/// A world with a Connection `main` whose token is in a Secret.
async fn connected(setup: Setup) -> World {
    let world = World::with(setup.without_operator()).await;
    secret(&world, &world.namespace, "pat", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &world.namespace, "main", to(&world.zitadel.url(), "pat")).await;
    world
}

fn ready(report: &ConnectionReport) -> &Condition {
    report.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap()
}

/// Waits until the report of the Connection `main` fits.
async fn reports(world: &World, what: &str, fits: impl Fn(&ConnectionReport) -> bool) -> ConnectionReport {
    let api = connections(world, &world.namespace);
    world.until_some(what, || async { api.get_opt("main").await.ok()??.status.filter(|report| fits(report)) }).await
}

/// Create, change, drift and deletion, one after the other; returns the sequence in status while it lives.
async fn live(world: &World, spec: Value) -> Option<String> {
    world.create("hook", spec).await;
    let target = world.ready("hook").await;
    world.edit("hook", json!({"timeout": "3s"})).await;
    world.ready("hook").await;
    let timeout = || world.zitadel.targets().into_iter().find(|held| held.id == id(&target)).map(|held| held.timeout);
    assert_eq!(timeout(), Some(Duration::from_secs(3)));
    world
        .zitadel
        .external_update(&id(&target), TargetEdit { timeout: Some(Duration::from_secs(9)), ..TargetEdit::default() });
    world.until("the drift is corrected", || async { timeout() == Some(Duration::from_secs(3)) }).await;
    let sequence = world.ready("hook").await.status.unwrap().sequence;
    world.delete("hook").await;
    world.gone("hook").await;
    assert_eq!((world.count(EventKind::Added), world.zitadel.targets().len()), (1, 0), "{}", world.zitadel.dump());
    sequence
}

#[tokio::test]
async fn a_proxy_that_hides_admin_and_auth_costs_sequences_and_nothing_else() {
    for (status, generation) in [(403, Generation::V2), (404, Generation::V2), (403, Generation::V3Alpha)] {
        let world = connected(setup(generation)).await;
        world.zitadel.set_hidden_paths(&[("/admin/", status), ("/auth/", status)]);
        world.start_operator(&["--zitadel-api=auto"]).await;
        let report = says(&world, &world.namespace, "main", "True", "Available").await;
        let (events, hidden) = (Capability::NotServed, Capability::NotServed);
        assert_eq!(report.capabilities, Some(Capabilities { events, identity: hidden, version: hidden }));
        let message = &ready(&report).message;
        assert!(
            message.contains("not available: events (the server does not serve it, or a proxy hides it)"),
            "{message}"
        );
        let sequence = live(&world, by("main")).await;
        // Only the answers of v3alpha carry it.
        assert_eq!(sequence.is_some(), generation == Generation::V3Alpha);
        let hidden = world.zitadel.calls().iter().filter(|call| call.path.starts_with("/admin/v1/events")).count();
        assert_eq!(hidden, 1, "by the proof and nobody else: {}", world.zitadel.dump());
        world.finish().await;
    }
}

/// Slower than any call may take, and broken: as an event store is that waits for a lock.
#[tokio::test]
async fn a_slow_or_failing_event_search_delays_nothing_and_the_sequence_is_filled_in_later() {
    for effect in [Effect::Latency(Duration::from_secs(9)), Effect::Status(500, None)] {
        let world = World::with(Setup::new(Generation::V2).flag("--zitadel-timeout", "10").without_operator()).await;
        let fault = world.zitadel.fault(Op::Events, effect, Times::Always);
        world.start_operator(&[]).await;
        assert_eq!(live(&world, webhook()).await, None);
        world.create("other", webhook()).await;
        assert_eq!(world.ready("other").await.status.unwrap().sequence, None);
        fault.clear();
        // Asked for again after a minute, or when the connection is proved again.
        world.write_token(&world.zitadel.issue_token(Role::IamOwner));
        let filled =
            |target: &Target| target.status.as_ref().is_some_and(|status| status.sequence.as_deref() == Some("1"));
        world.until_target("other", "the sequence is filled in", filled).await;
        world.finish().await;
    }
}

/// Without the permission `events.read` objects in sync cost what they cost with it.
#[tokio::test]
async fn a_credential_that_may_not_read_events_costs_no_more_calls() {
    for generation in GENERATIONS {
        let world = World::with(Setup::new(generation).without_operator()).await;
        world.zitadel.set_events_readable(&world.zitadel.user_id(), false);
        world.start_operator(&[]).await;
        for index in 0..20 {
            world.create(&format!("hook-{index}"), webhook()).await;
        }
        for index in 0..20 {
            world.ready(&format!("hook-{index}")).await;
        }
        world.resyncs(2).await;
        let before: Vec<_> = world.targets().list(&ListParams::default()).await.unwrap().items;
        let others = || world.zitadel.calls().iter().filter(|call| call.op != Some(Op::List)).count();
        let quiet = others();
        world.resyncs(3).await;
        assert_eq!(others(), quiet, "a resync is a list and nothing else: {}", world.zitadel.dump());
        world.terminate(&world.operator()).await;
        let lists = world.calls(Op::List);
        world.start_operator(&[]).await;
        world.until("the new operator has listed", || async { world.calls(Op::List) >= lists + 4 }).await;
        assert!(others() <= quiet + 3, "own user, instance and one search: {}", world.zitadel.dump());
        assert_eq!(world.targets().list(&ListParams::default()).await.unwrap().items, before);
        world.finish().await;
    }
}

#[tokio::test]
async fn a_server_with_a_small_query_limit_is_listed_in_smaller_pages() {
    for generation in [Generation::ResourcesV3Alpha, Generation::V2Beta, Generation::V2] {
        let world = World::with(Setup::new(generation).without_operator()).await;
        world.zitadel.set_max_query_limit(50);
        for index in 0..120 {
            world.zitadel.external_create(&format!("other-{index}"), TargetEdit::default());
        }
        world.start_operator(&[]).await;
        world.create("hook", webhook()).await;
        let target = world.ready("hook").await;
        world.zitadel.external_delete(&id(&target));
        world.until("the deletion is noticed", || async { world.count(EventKind::Added) == 122 }).await;
        world.ready("hook").await;
        world.finish().await;
    }
}

#[tokio::test]
async fn a_list_that_keeps_failing_is_reported_on_the_connection_with_the_time() {
    let world = connected(setup(Generation::V2)).await;
    world.start_operator(&[]).await;
    world.create("hook", by("main")).await;
    world.ready("hook").await;
    world.resyncs(2).await;
    let body = r#"{"code":3,"message":"Errors.Query.LimitExceeded (QUERY-4M0fs)","details":[{"id":"QUERY-4M0fs"}]}"#;
    let fault = world.zitadel.fault(Op::List, Effect::Status(400, Some(body.into())), Times::Always);
    let blind = |report: &ConnectionReport| ready(report).message.contains("its targets could not be listed since 20");
    let report = reports(&world, "the connection says since when it cannot list", blind).await;
    assert_eq!(ready(&report).status, "True", "Targets are created and changed all the same");
    let (_, metrics) = world.http("/metrics").await.unwrap();
    let age = "zitadel_connection_last_list_timestamp_seconds{connection=\"Connection/";
    assert!(metrics.contains(age), "{metrics}");
    fault.clear();
    reports(&world, "it lists again", |report| !blind(report)).await;
    world.finish().await;
}

/// ZITADEL resolves the host of an endpoint before it answers, with a time limit of its own.
#[tokio::test]
async fn an_endpoint_check_that_is_slower_than_a_read_may_be_ends_in_its_answer() {
    let world = World::new(Generation::V2).await;
    let slow = Duration::from_secs(3);
    world.zitadel.set_slow_look_ups(&[("slow.example.com", slow), ("nowhere.example.com", slow)]);
    world.zitadel.set_resolvable_hosts(&["slow.example.com", "hooks.example.com"]);
    let to = |host: &str| {
        let mut spec = webhook();
        spec["endpoint"] = format!("https://{host}/zitadel").into();
        spec
    };
    world.create("slow", to("slow.example.com")).await;
    world.ready("slow").await;
    world.create("denied", to("nowhere.example.com")).await;
    world.reason("denied", "EndpointDenied").await;
    world.edit("slow", json!({"endpoint": "https://nowhere.example.com/zitadel"})).await;
    world.reason("slow", "EndpointDenied").await;
    assert!(world.notes("CreateOutcomeUnknown").await.is_empty(), "{}", world.explain().await);
    world.finish().await;
}

/// Terraform, a person or a second cluster with the operator's own account.
#[tokio::test]
async fn a_service_account_that_others_use_is_reported_on_the_connection() {
    let world = connected(setup(Generation::V2)).await;
    world.start_operator(&[]).await;
    world.create("hook", by("main")).await;
    world.ready("hook").await;
    let shared =
        |report: &ConnectionReport| report.conditions.iter().any(|condition| condition.type_ == "AccountShared");
    // What the process before this one may have left under way is not held against anybody.
    let user = world.zitadel.user_id();
    world.zitadel.external_create_by(&user, "early", TargetEdit::default());
    world.edit("hook", json!({"timeout": "3s"})).await;
    world.ready("hook").await;
    world.resyncs(2).await;
    assert!(!shared(&connections(&world, &world.namespace).get("main").await.unwrap().status.unwrap()));
    world.zitadel.set_clock_offset(900);
    let stranger = world.zitadel.external_create_by(&user, "late", TargetEdit::default());
    world.edit("hook", json!({"timeout": "4s"})).await;
    world.ready("hook").await;
    let report = reports(&world, "the account is known to be shared", shared).await;
    let said = report.conditions.iter().find(|condition| condition.type_ == "AccountShared").unwrap();
    assert_eq!((said.status.as_str(), said.reason.as_str()), ("True", "ForeignWrites"));
    assert!(said.message.contains(&format!("target {stranger} was created")), "{}", said.message);
    assert!(said.message.contains("service account of its own"), "{}", said.message);
    let (_, metrics) = world.http("/metrics").await.unwrap();
    assert!(metrics.lines().any(|line| line.starts_with("zitadel_connection_account_shared") && line.ends_with(" 1")));
    world.finish().await;
}

/// Newer charts of ZITADEL set up nothing else: it is in no projection, and signs its own tokens.
#[tokio::test]
async fn a_system_user_does_everything_without_a_token_request() {
    for generation in GENERATIONS {
        let world = World::with(setup(generation).without_operator()).await;
        let key = world.zitadel.system_user_key();
        world.zitadel.add_system_user("admin-client", &key.public_key, Role::IamOwner);
        secret(&world, &world.namespace, "admin-service-key", json!({"tls.key": key.private_key})).await;
        let key_ref = json!({"name": "admin-service-key", "key": "tls.key"});
        let credentials = json!({"systemUser": {"name": "admin-client", "privateKeySecretRef": key_ref}});
        connect(&world, &world.namespace, "main", json!({"url": world.zitadel.url(), "credentials": credentials}))
            .await;
        let file = world.dir.path().join("tls.key");
        std::fs::write(&file, &key.private_key).unwrap();
        let flag = format!("--zitadel-system-user-key-file={}", file.display());
        world.start_operator(&["--zitadel-system-user=admin-client", &flag]).await;
        let report = says(&world, &world.namespace, "main", "True", "Available").await;
        let all = Capabilities {
            events: Capability::Available,
            identity: Capability::Available,
            version: Capability::Available,
        };
        assert_eq!(report.capabilities, Some(all), "the name is who we are");
        assert!(live(&world, by("main")).await.is_some());
        // The default connection, and a lost answer: what was made is found by its editor.
        let lost = world.zitadel.fault(Op::Create, Effect::LoseReply, Times::ONCE);
        world.create("hook", webhook()).await;
        world.ready("hook").await;
        // The Event comes after the status that says Ready.
        world.note("Recovered").await;
        assert_eq!(lost.hits(), 1);
        assert_eq!(world.zitadel.token_requests(), 0, "{}", world.zitadel.dump());
        world.finish().await;
    }
}

#[tokio::test]
async fn a_system_user_that_zitadel_does_not_know_is_refused_in_words() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let (key, other) = (world.zitadel.system_user_key(), world.zitadel.system_user_key());
    world.zitadel.add_system_user("admin-client", &key.certificate, Role::IamOwner);
    let file = world.dir.path().join("tls.key");
    std::fs::write(&file, &other.private_key).unwrap();
    let flag = format!("--zitadel-system-user-key-file={}", file.display());
    world.start_operator(&["--zitadel-system-user=admin-client", &flag]).await;
    world.create("hook", webhook()).await;
    world.reason("hook", "AuthenticationFailed").await;
    // A certificate in place of its key.
    let fresh = world.dir.path().join("fresh");
    std::fs::write(&fresh, &key.certificate).unwrap();
    std::fs::rename(&fresh, &file).unwrap();
    let target = world.reason("hook", "CredentialsUnavailable").await;
    let (_, _, message) = condition(&target, "Ready").unwrap();
    assert!(message.contains("tls.key holds no RSA private key in PEM form"), "{message}");
    std::fs::write(&fresh, &key.private_key).unwrap();
    std::fs::rename(&fresh, &file).unwrap();
    world.ready("hook").await;
    world.finish().await;
}
