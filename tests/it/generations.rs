//! The same behaviour on every generation of the API and every way in which servers mount it.
//! `cargo test --test it generations -- --nocapture` prints the matrix.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{
    Effect, EventKind, Generation, Op, Options, Role, Target as Held, TargetEdit, TargetKind, Times,
};

use crate::world::{Setup, World, condition, id, is_ready, webhook};

/// A way in which a server serves the API: its name, the server, the flag, and what `status.connection.api` says.
struct Way {
    name: &'static str,
    server: Options,
    flag: &'static str,
    api: &'static str,
}

fn ways() -> [Way; 6] {
    let bare = Options { bare_paths: true, ..Options::new(Generation::ResourcesV3Alpha) };
    let way = |name, server, flag, api| Way { name, server, flag, api };
    [
        way("v3alpha", Options::new(Generation::V3Alpha), "auto", "v3alpha"),
        way("bare", bare, "auto", "resources/v3alpha"),
        way("resources", Options::new(Generation::ResourcesV3Alpha), "auto", "resources/v3alpha"),
        way("v2beta", Options::new(Generation::V2Beta), "auto", "v2beta"),
        way("v2beta/v4", Options::new(Generation::V2), "v2beta", "v2beta"),
        way("v2", Options::new(Generation::V2), "auto", "v2"),
    ]
}

pub fn setup(server: Options, flag: &str) -> Setup {
    let mut setup = Setup::new(server.generation).flag("--zitadel-api", flag);
    setup.stand_in = server;
    setup
}

const BEHAVIOURS: [&str; 9] =
    ["create", "every field", "rename", "drift", "rest", "name taken", "lost answer", "Retain", "delete"];

async fn behave(world: &World, api: &str, behaviour: &str) {
    match behaviour {
        "create" => create(world, api).await,
        "every field" => every_field(world).await,
        "rename" => rename(world).await,
        "drift" => drift(world).await,
        "rest" => world.assert_rests("hook").await,
        "name taken" => name_taken(world).await,
        "lost answer" => lost_answer(world).await,
        "Retain" => retain(world).await,
        "delete" => delete(world).await,
        other => panic!("no behaviour {other}"),
    }
}

#[tokio::test]
async fn every_behaviour_on_every_generation() {
    let columns = join_all(ways().map(|way| tokio::spawn(column(way)))).await;
    let columns: Vec<_> =
        columns.into_iter().map(|column| column.expect("a column catches its own failures")).collect();
    let line = |head: &str, cells: Vec<&str>| {
        let cells: Vec<_> = cells.into_iter().map(|cell| format!("{cell:>11}")).collect();
        format!("{head:14}{}", cells.concat())
    };
    let head = line("", columns.iter().map(|(name, _)| name.as_ref()).collect());
    let rows = BEHAVIOURS.iter().enumerate().map(|(row, behaviour)| {
        line(behaviour, columns.iter().map(|(_, cells)| cells.get(row).copied().unwrap_or("-")).collect())
    });
    let matrix = [head].into_iter().chain(rows).collect::<Vec<_>>().join("\n");
    println!("{matrix}");
    let passed =
        columns.iter().all(|(_, cells)| cells.len() == BEHAVIOURS.len() && cells.iter().all(|cell| *cell == "ok"));
    assert!(passed, "\n{matrix}");
}

/// One server through all behaviours; each goes on from where the one before ended.
async fn column(way: Way) -> (&'static str, Vec<&'static str>) {
    let world = std::sync::Arc::new(World::with(setup(way.server, way.flag)).await);
    let mut cells = vec![];
    for behaviour in BEHAVIOURS {
        let shared = std::sync::Arc::clone(&world);
        let outcome = tokio::spawn(async move { behave(&shared, way.api, behaviour).await }).await;
        cells.push(if outcome.is_ok() { "ok" } else { "FAILED" });
        if outcome.is_err() {
            return (way.name, cells);
        }
    }
    let world = std::sync::Arc::into_inner(world).expect("the behaviours have ended");
    let finished = tokio::spawn(world.finish()).await;
    if finished.is_err() {
        cells.push("FAILED");
    }
    (way.name, cells)
}

/// The one target that the world is about, as ZITADEL holds it.
pub fn held(world: &World, target: &Target) -> Held {
    let id = id(target);
    let found = world.zitadel.targets().into_iter().find(|held| held.id == id);
    found.unwrap_or_else(|| panic!("ZITADEL holds no {id}\n{}", world.zitadel.dump()))
}

/// Status tells what ZITADEL holds, sequence and owner included, which most answers do not carry.
pub fn assert_told(world: &World, target: &Target, api: &str) {
    let (held, status) = (held(world, target), target.status.clone().unwrap());
    assert_eq!(status.name, Some(held.name));
    assert_eq!(status.sequence, Some(held.sequence.to_string()));
    assert_eq!(status.change_date, Some(held.change_date.to_string()));
    assert_eq!(status.creation_date, Some(held.creation_date.to_string()));
    assert_eq!(status.resource_owner, Some(world.zitadel.instance_id()));
    let connection = status.connection.unwrap();
    assert_eq!((connection.api.as_str(), connection.instance), (api, Some(world.zitadel.instance_id())));
}

async fn create(world: &World, api: &str) {
    world.create("hook", webhook()).await;
    let target = world.ready("hook").await;
    assert_told(world, &target, api);
    let held = held(world, &target);
    assert_eq!((held.name.as_str(), held.kind, held.interrupt_on_error), ("hook", TargetKind::Webhook, true));
    assert_eq!((held.timeout, held.endpoint.as_str()), (Duration::from_secs(10), "https://hooks.example.com/zitadel"));
    assert_eq!(world.count(EventKind::Added), 1);
}

async fn every_field(world: &World) {
    let edits = [
        json!({"timeout": "0.5s"}),
        json!({"endpoint": "https://other.example.com/x"}),
        // Created with true: the server ignores a mere false.
        json!({"restWebhook": {"interruptOnError": false}}),
        json!({"restWebhook": null, "restCall": {"interruptOnError": true}}),
        json!({"restCall": null, "restAsync": {}}),
        json!({"restAsync": null, "restWebhook": {}}),
    ];
    for edit in edits {
        world.edit("hook", edit.clone()).await;
        let target = world.ready("hook").await;
        let (held, spec) = (held(world, &target), serde_json::to_value(&target.spec).unwrap());
        assert_eq!(
            held.timeout,
            if spec["timeout"] == "10s" { Duration::from_secs(10) } else { Duration::from_millis(500) }
        );
        assert_eq!(held.endpoint, spec["endpoint"], "after {edit}");
        let kind =
            [("restWebhook", TargetKind::Webhook), ("restCall", TargetKind::Call), ("restAsync", TargetKind::Async)];
        let (field, wanted) = kind.into_iter().find(|(field, _)| spec.get(field).is_some()).unwrap();
        let interrupts = spec[field]["interruptOnError"].as_bool().unwrap_or_default();
        assert_eq!((held.kind, held.interrupt_on_error), (wanted, interrupts), "after {edit}");
        assert_eq!(target.status.unwrap().sequence, Some(held.sequence.to_string()), "after {edit}");
    }
}

async fn rename(world: &World) {
    let before = id(&world.get("hook").await);
    for name in ["Renamed", "renamed"] {
        world.edit("hook", json!({"name": name})).await;
        let target = world.ready("hook").await;
        assert_eq!((held(world, &target).name.as_str(), id(&target)), (name, before.clone()));
    }
    assert_eq!(world.count(EventKind::Added), 1);
}

async fn drift(world: &World) {
    let id = id(&world.get("hook").await);
    let drifted = TargetEdit { timeout: Some(Duration::from_secs(99)), ..TargetEdit::default() };
    world.zitadel.external_update(&id, drifted);
    world.zitadel.external_rename(&id, "stolen");
    world
        .until("drift is repaired", || async {
            let held = world.zitadel.targets().pop().unwrap();
            held.timeout == Duration::from_millis(500) && held.name == "renamed"
        })
        .await;
    assert!(world.note("DriftCorrected").await.contains("name, timeout"));
    world
        .until_target("hook", "told of its repair", |target| {
            let sequence = target.status.as_ref().and_then(|status| status.sequence.clone());
            is_ready(target) && sequence == Some(held(world, target).sequence.to_string())
        })
        .await;
}

async fn name_taken(world: &World) {
    world.zitadel.external_create("Taken", TargetEdit::default());
    let mut spec = webhook();
    spec["name"] = json!("tAKEN");
    world.create("second", spec).await;
    world.reason("second", "NameTaken").await;
    assert_eq!(world.count(EventKind::Added), 2);
    world.edit("second", json!({"name": "free"})).await;
    let target = world.ready("second").await;
    assert_eq!(held(world, &target).name, "free");
    assert_eq!(world.count(EventKind::Added), 3);
}

async fn lost_answer(world: &World) {
    world.zitadel.fault(Op::Create, Effect::LoseReply, Times::ONCE);
    world.create("lost", webhook()).await;
    let target = world.ready("lost").await;
    assert_eq!(held(world, &target).name, "lost");
    assert_eq!(world.count(EventKind::Added), 4, "a lost answer is no reason for a second target");
    assert!(world.note("Recovered").await.contains(&id(&target)));
}

async fn retain(world: &World) {
    world.edit("lost", json!({"deletionPolicy": "Retain"})).await;
    let target = world.ready("lost").await;
    world.delete("lost").await;
    world.gone("lost").await;
    assert_eq!(held(world, &target).name, "lost");
    assert_eq!(world.count(EventKind::Removed), 0);
}

async fn delete(world: &World) {
    let (first, second) = (id(&world.get("hook").await), id(&world.get("second").await));
    world.delete("hook").await;
    world.gone("hook").await;
    // Gone already: 404 on older servers, 200 on newer ones.
    world.zitadel.external_delete(&second);
    world.delete("second").await;
    world.gone("second").await;
    let left = world.zitadel.targets();
    assert!(left.iter().all(|held| held.id != first && held.id != second));
    assert_eq!(world.count(EventKind::Removed), 2);
}

/// Where answers carry no sequence it comes from the event store: for all objects at once, and only if the credential
/// may read it.
#[tokio::test]
async fn sequences_are_read_in_bulk_where_events_may_be_read() {
    for generation in [Generation::ResourcesV3Alpha, Generation::V2Beta, Generation::V2] {
        let world = World::with(setup(Options::new(generation), "auto").without_operator()).await;
        let denied =
            r#"{"code":7,"message":"No matching permissions found (AUTH-5mWD2)","details":[{"id":"AUTH-5mWD2"}]}"#;
        let fault = world.zitadel.fault(Op::Events, Effect::Status(403, Some(denied.into())), Times::Always);
        world.start_operator(&[]).await;
        for count in 0..20 {
            world.create(&format!("hook-{count}"), webhook()).await;
        }
        for count in 0..20 {
            let target = world.ready(&format!("hook-{count}")).await;
            assert_eq!(target.status.unwrap().sequence, None, "without the right to read events it is absent");
        }
        let before = world.calls(Op::Events);
        fault.clear();
        for count in 0..20 {
            let name = format!("hook-{count}");
            let told = |target: &Target| target.status.as_ref().is_some_and(|status| status.sequence.is_some());
            let target = world.until_target(&name, "counted", told).await;
            assert_told(&world, &target, &generation.to_string());
        }
        let asked = world.calls(Op::Events) - before;
        assert!(asked <= 5, "{asked} questions for 20 targets\n{}", world.zitadel.dump());
        world.assert_rests("hook-0").await;
        world.finish().await;
    }
}

#[tokio::test]
async fn the_feature_flag_is_told_and_nothing_is_lost_while_it_is_off() {
    for generation in [Generation::V3Alpha, Generation::ResourcesV3Alpha] {
        let server = Options { actions_feature: false, ..Options::new(generation) };
        let world = World::with(setup(server, "auto")).await;
        world.create("hook", webhook()).await;
        let target = world.reason("hook", "ActionsDisabled").await;
        let (_, _, message) = condition(&target, "Reconciling").unwrap();
        assert!(message.contains("PUT /v2beta/features/instance {\"actions\":true}"), "{message}");
        world.zitadel.set_actions_feature(true);
        let target = world.ready("hook").await;
        assert_told(&world, &target, &generation.to_string());

        world.zitadel.set_actions_feature(false);
        world.edit("hook", json!({"timeout": "3s"})).await;
        world.reason("hook", "ActionsDisabled").await;
        world.zitadel.set_actions_feature(true);
        let after = world.ready("hook").await;
        assert_eq!((id(&after), held(&world, &after).timeout), (id(&target), Duration::from_secs(3)));
        assert_eq!((world.count(EventKind::Added), world.count(EventKind::Removed)), (1, 0));
        world.finish().await;
    }
}

/// No credential, whatever it may do, is needed to find out which generation is there.
#[tokio::test]
async fn a_credential_without_rights_is_told_so_on_every_generation() {
    for way in ways() {
        let world = World::with(setup(way.server, way.flag).without_operator()).await;
        world.write_token(&world.zitadel.issue_token(Role::OrgOwner));
        world.start_operator(&[]).await;
        world.create("hook", webhook()).await;
        world.reason("hook", "PermissionDenied").await;
        world.write_token(&world.zitadel.token());
        let target = world.ready("hook").await;
        assert_eq!(target.status.unwrap().connection.unwrap().api, way.api, "{}", way.name);
        world.finish().await;
    }
}
