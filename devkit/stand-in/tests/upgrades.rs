//! Another release takes over on the same address: what stays, what answers differently, and what is gone for a while.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy.toml only exempts inside #[test]"
)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::oauth::{KeyFile, access_token, by_key};
use support::{Request, Response, address, ask, send};
use zitadel_stand_in::{Effect, EventKind, Generation, Op, Options, StandIn, Times};

use Generation::{ResourcesV3Alpha, V2, V2Beta, V3Alpha};

async fn start(generation: Generation) -> StandIn {
    StandIn::start(Options::new(generation)).await.unwrap()
}

/// Where targets are.
fn targets(generation: Generation) -> &'static str {
    match generation {
        V3Alpha => "/v3alpha/targets",
        ResourcesV3Alpha => "/resources/v3alpha/actions/targets",
        V2Beta => "/v2beta/actions/targets",
        V2 => "/v2/actions/targets",
    }
}

fn search(generation: Generation) -> String {
    let word = if matches!(generation, V3Alpha | V2) { "search" } else { "_search" };
    format!("{}/{word}", targets(generation))
}

fn update(generation: Generation) -> &'static str {
    match generation {
        V3Alpha => "PUT",
        ResourcesV3Alpha => "PATCH",
        V2Beta | V2 => "POST",
    }
}

fn body(name: &str) -> String {
    let endpoint = "https://hooks.example.com/x";
    json!({ "name": name, "restWebhook": {}, "timeout": "10s", "endpoint": endpoint }).to_string()
}

async fn create(server: &StandIn, name: &str) -> String {
    let created = ask(server, "POST", targets(server.generation()), &body(name)).await.json();
    created.get("id").unwrap_or(&created["details"]["id"]).as_str().unwrap_or_else(|| panic!("{created}")).to_owned()
}

async fn get(server: &StandIn, id: &str) -> Response {
    ask(server, "GET", &format!("{}/{id}", targets(server.generation())), "").await
}

async fn version(server: &StandIn) -> Value {
    ask(server, "GET", "/admin/v1/instances/me", "").await.json()["instance"]["version"].clone()
}

/// What a route probe without a token says: served, or not.
async fn is_served(server: &StandIn, generation: Generation) -> bool {
    let probe = targets(generation).replace("/targets", "/executions/functions");
    match send(address(server), &Request::new("GET", &probe)).await.unwrap().unwrap().status {
        401 => true,
        404 => false,
        other => panic!("{other} for {probe}"),
    }
}

#[tokio::test]
async fn everything_stays_but_the_dialect() {
    let server = start(V3Alpha).await;
    let (url, instance, token) = (server.url(), server.instance_id(), server.token());
    let key = KeyFile::parse(&server.machine_key());
    let issued = access_token(&by_key(&server, &key).await);
    let mut ids = Vec::new();
    for (step, generation) in
        [V3Alpha, ResourcesV3Alpha, V2Beta, V2, V2Beta, ResourcesV3Alpha, V3Alpha].into_iter().enumerate()
    {
        server.upgrade(generation);
        assert_eq!((server.generation(), server.url(), server.token()), (generation, url.clone(), token.clone()));
        let me = ask(&server, "GET", "/admin/v1/instances/me", "").await.json();
        assert_eq!(me["instance"]["id"], instance);
        let with_issued = Request::new("GET", "/auth/v1/users/me").bearer(&issued);
        assert_eq!(send(address(&server), &with_issued).await.unwrap().unwrap().status, 200, "{generation}");
        assert_eq!(by_key(&server, &key).await.status, 200, "{generation}");
        ids.push(create(&server, &format!("step-{step}")).await);
        for (at, id) in ids.iter().enumerate() {
            let target = get(&server, id).await.json()["target"].clone();
            let shown = target.get("config").unwrap_or(&target);
            assert_eq!(shown["name"], format!("step-{at}"), "{generation}");
        }
        let path = format!("{}/{}", targets(generation), ids[0]);
        let change = json!({ "timeout": format!("{}s", 20 + step) }).to_string();
        assert_eq!(ask(&server, update(generation), &path, &change).await.status, 200, "{generation}");
        let second = ask(&server, "POST", targets(generation), &body("STEP-0")).await;
        assert_eq!(second.json()["details"][0]["id"], "V3-DKcYh", "{generation}: names stay taken");
    }
    let changes = server.events().iter().filter(|event| event.kind == EventKind::Changed).count();
    assert_eq!((server.targets().len(), changes, server.targets()[0].sequence), (7, 7, 8));
}

#[tokio::test]
async fn only_the_routes_of_the_release_in_charge_are_served() {
    let server = start(V3Alpha).await;
    for (generation, served) in [
        (V3Alpha, vec![V3Alpha]),
        (ResourcesV3Alpha, vec![ResourcesV3Alpha]),
        (V2Beta, vec![V2Beta]),
        (V2, vec![V2Beta, V2]),
    ] {
        server.upgrade(generation);
        for other in [V3Alpha, ResourcesV3Alpha, V2Beta, V2] {
            assert_eq!(is_served(&server, other).await, served.contains(&other), "{other} on {generation}");
        }
    }
}

#[tokio::test]
async fn v4_still_serves_v2beta_but_searches_elsewhere() {
    let server = start(V2Beta).await;
    let id = create(&server, "a").await;
    let (old, new) = (search(V2Beta), format!("{}/search", targets(V2Beta)));
    assert_eq!(ask(&server, "POST", &old, "{}").await.json()["result"][0]["id"], id);
    server.upgrade(V2);
    let found = ask(&server, "POST", &new, "{}").await.json();
    assert_eq!((&found["targets"][0]["id"], &found["result"]), (&json!(id), &Value::Null));
    // An update of a target called `_search`, so a client that goes on as before must not conclude anything from it.
    let answer = ask(&server, "POST", &old, "{}").await;
    assert_eq!((answer.status, answer.json()["details"][0]["id"].clone()), (404, json!("COMMAND-xj14f2cccn")));
    let path = format!("{}/{id}", targets(V2Beta));
    assert_eq!(ask(&server, "POST", &path, r#"{"timeout":"20s"}"#).await.status, 200);
    assert_eq!(get(&server, &id).await.json()["target"]["timeout"], "20s");
}

#[tokio::test]
async fn old_targets_have_no_signing_key_until_one_is_asked_for() {
    let server = start(V3Alpha).await;
    let id = create(&server, "a").await;
    server.upgrade(ResourcesV3Alpha);
    assert_eq!(get(&server, &id).await.json()["target"].get("signingKey"), None);
    server.upgrade(V2);
    assert_eq!(get(&server, &id).await.json()["target"].get("signingKey"), None);
    let path = format!("{}/{id}", targets(V2));
    let rotated = ask(&server, "POST", &path, r#"{"expirationSigningKey":"0s"}"#).await.json();
    assert_eq!(get(&server, &id).await.json()["target"]["signingKey"], rotated["signingKey"]);
}

#[tokio::test]
async fn the_feature_flag_ends_with_v2() {
    let server = start(ResourcesV3Alpha).await;
    let id = create(&server, "a").await;
    server.set_actions_feature(false);
    assert_eq!(get(&server, &id).await.json()["details"][0]["id"], "ACTION-8o6pvqfjhs");
    server.upgrade(V2Beta);
    assert_eq!(get(&server, &id).await.status, 200);
}

#[tokio::test]
async fn the_bare_paths_are_a_release_between() {
    let server = start(V3Alpha).await;
    let id = create(&server, "a").await;
    server.upgrade_to_bare_paths();
    assert_eq!(version(&server).await, "v2.60.0");
    assert_eq!(ask(&server, "GET", &format!("/targets/{id}"), "").await.status, 200);
    server.upgrade(ResourcesV3Alpha);
    assert_eq!(version(&server).await, "v2.71.19");
    assert_eq!(
        ask(&server, "GET", &format!("/targets/{id}"), "").await.json(),
        json!({ "code": 5, "message": "Not Found" })
    );
    assert_eq!(get(&server, &id).await.status, 200);
}

#[tokio::test]
async fn the_read_side_is_built_anew_where_its_table_changed() {
    let server = start(V3Alpha).await;
    let id = create(&server, "a").await;
    server.fault(Op::Create, Effect::Ghost, Times::ONCE);
    let ghost = create(&server, "b").await;
    assert_eq!(get(&server, &ghost).await.status, 404);
    server.set_rebuild_time(Duration::from_mins(10));
    server.upgrade(ResourcesV3Alpha);
    for id in [&id, &ghost] {
        assert_eq!(get(&server, id).await.json()["details"][0]["id"], "QUERY-hj5oaniyrz");
        let path = format!("{}/{id}", targets(ResourcesV3Alpha));
        assert_eq!(ask(&server, "PATCH", &path, "{}").await.status, 200, "the write side knows it");
    }
    assert_eq!(ask(&server, "POST", &search(ResourcesV3Alpha), "[]").await.json().get("result"), None);
    assert_eq!(server.targets().len(), 2);
}

#[tokio::test]
async fn a_rebuild_shows_what_was_skipped_and_comes_once() {
    let server = start(V3Alpha).await;
    server.fault(Op::Create, Effect::Ghost, Times::ONCE);
    let ghost = create(&server, "a").await;
    assert_eq!(get(&server, &ghost).await.status, 404);
    server.upgrade(ResourcesV3Alpha);
    assert_eq!(get(&server, &ghost).await.status, 200);
    assert!(!server.targets()[0].ghost);
    server.set_rebuild_time(Duration::from_mins(10));
    for generation in [V2Beta, V2] {
        server.upgrade(generation);
        assert_eq!(get(&server, &ghost).await.status, 200, "{generation} has the same table");
    }
}

#[tokio::test]
async fn faults_and_the_log_name_operations_whatever_the_release() {
    let server = start(V3Alpha).await;
    server.fault(Op::Create, Effect::Status(503, None), Times::Always);
    for generation in [V3Alpha, ResourcesV3Alpha, V2Beta, V2] {
        server.upgrade(generation);
        assert_eq!(ask(&server, "POST", targets(generation), &body("a")).await.status, 503, "{generation}");
    }
    let creates = server.calls().into_iter().filter(|call| call.op == Some(Op::Create)).count();
    assert_eq!(creates, 4);
}

#[tokio::test]
async fn an_upgrade_with_downtime_keeps_the_address() {
    let server = start(V2Beta).await;
    let id = create(&server, "a").await;
    server.pause().await;
    server.upgrade(V2);
    assert!(send(address(&server), &Request::new("GET", "/debug/healthz")).await.is_err());
    server.resume().await.unwrap();
    assert_eq!(get(&server, &id).await.status, 200);
}
