//! The same behaviour on every generation of the API, every way in which servers mount it, and every credential.
//!
//! `cargo test --test it generations -- --nocapture` prints the matrix. What is done there is in
//! [`crate::behaviours`], and what a real server adds in [`crate::real`].

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Effect, EventKind, Generation, Op, Options, Role, Target as Held, Times};

use crate::behaviours::{Behaviour, Cell, Line, behave, matrix};
use crate::credentials::{Way, start};
use crate::scene::Scene;
use crate::world::{Setup, World, condition, id, webhook};

/// A way in which a server serves the API: its name, the server, the flag, and what `status.connection.api` says.
struct Mounted {
    name: &'static str,
    server: Options,
    flag: &'static str,
    api: &'static str,
}

fn ways() -> [Mounted; 6] {
    let bare = Options { bare_paths: true, ..Options::new(Generation::ResourcesV3Alpha) };
    let way = |name, server, flag, api| Mounted { name, server, flag, api };
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

/// What each server is asked with.
const KINDS: [Option<Way>; 4] = [None, Some(Way::Key), Some(Way::Basic), Some(Way::Post)];

const fn kind_name(kind: Option<Way>) -> &'static str {
    match kind {
        None => "token",
        Some(Way::Key) => "jwt",
        Some(Way::Basic) => "client",
        Some(Way::Post) => "client post",
    }
}

#[tokio::test]
async fn every_behaviour_on_every_generation_with_every_credential() {
    let lines = KINDS.into_iter().flat_map(|kind| ways().map(|way| tokio::spawn(line(way, kind))));
    let lines = join_all(lines).await.into_iter().map(|line| line.expect("failures are caught in the cells"));
    let mut lines: Vec<Line> = lines.collect();
    lines.sort_by_key(|line| ways().iter().position(|way| line.head.split(' ').next() == Some(way.name)));
    let matrix = matrix(&Behaviour::ALL, &lines);
    println!("{matrix}");
    assert!(lines.iter().all(|line| line.cells.iter().all(|cell| *cell == Cell::Passed)), "\n{matrix}");
}

/// One server and credential through all behaviours.
async fn line(way: Mounted, kind: Option<Way>) -> Line {
    let world = World::with(setup(way.server, way.flag).without_operator()).await;
    match kind {
        None => world.start_operator(&[]).await,
        Some(kind) => start(&world, kind).await,
    };
    let scene = Arc::new(Scene { world, run: "it".to_owned(), api: way.api.to_owned(), real: None });
    let mut cells = behave(&scene, &Behaviour::ALL).await;
    let scene = Arc::into_inner(scene).expect("the behaviours have ended");
    let exchanged = scene.world.zitadel.token_requests() > 0;
    assert_eq!(exchanged, kind.is_some(), "only a personal access token is sent as it is");
    if !cells.contains(&Cell::Failed) && tokio::spawn(scene.world.finish()).await.is_err() {
        cells.fill(Cell::Failed);
    }
    Line { head: format!("{} {}", way.name, kind_name(kind)), cells }
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
        // What may not be read is asked for again every ten minutes, and when the connection is proved again: at once with
        // another credential.
        world.write_token(&world.zitadel.issue_token(Role::IamOwner));
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
