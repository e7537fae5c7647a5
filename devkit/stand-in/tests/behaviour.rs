//! What tests rely on and no recording shows: the event store search, projection lag, external edits, clocks, hosts,
//! and what the stand-in tells about itself.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy.toml only exempts inside #[test]"
)]

mod support;

use std::time::Duration;

use support::{Request, Response, address, ask, send};
use zitadel_stand_in::{EventKind, Generation, Op, Options, Role, StandIn, TargetEdit, TargetKind};

const EVENTS: &str = "/admin/v1/events/_search";

async fn start(generation: Generation) -> StandIn {
    StandIn::start(Options::new(generation)).await.unwrap()
}

async fn with_token(server: &StandIn, token: &str, method: &str, path: &str) -> Response {
    let request = Request::new(method, path).bearer(token);
    send(address(server), &request).await.unwrap().unwrap()
}

fn body(name: &str) -> String {
    format!(
        r#"{{"name":"{name}","restWebhook":{{"interruptOnError":true}},"timeout":"0.5s","endpoint":"https://hooks.example.com/x"}}"#
    )
}

#[tokio::test]
async fn events_tell_the_whole_story_on_every_generation() {
    for (generation, targets, update) in [
        (Generation::V3Alpha, "/v3alpha/targets", "PUT"),
        (Generation::ResourcesV3Alpha, "/resources/v3alpha/actions/targets", "PATCH"),
        (Generation::V2Beta, "/v2beta/actions/targets", "POST"),
        (Generation::V2, "/v2/actions/targets", "POST"),
    ] {
        let server = start(generation).await;
        assert_eq!(ask(&server, "POST", EVENTS, "").await.body, "{}");
        let created = ask(&server, "POST", targets, &body("a")).await.json();
        let id = created.get("id").unwrap_or(&created["details"]["id"]).as_str().unwrap().to_owned();
        let path = format!("{targets}/{id}");
        ask(&server, update, &path, r#"{"timeout":"20s"}"#).await;
        server.external_delete(&id);
        let all = ask(&server, "POST", EVENTS, r#"{"asc":true,"aggregateTypes":["target"]}"#).await.json();
        let [added, changed, removed] = all["events"].as_array().unwrap().as_slice() else { panic!("{all}") };
        assert_eq!(added["aggregate"]["id"], id);
        assert_eq!(added["aggregate"]["resourceOwner"], server.instance_id());
        assert_eq!(added["editor"]["userId"], server.user_id());
        assert_eq!(added["type"]["type"], "target.added");
        assert_eq!(added["payload"]["timeout"], 500_000_000);
        assert_eq!(added["payload"]["interruptOnError"], true);
        assert_eq!(added["payload"]["targetType"], 0);
        assert_eq!(added["payload"].get("payloadType").is_some(), generation == Generation::V2);
        assert_eq!(added["payload"].get("signingKey").is_some(), generation != Generation::V3Alpha);
        assert_eq!(changed["payload"], serde_json::json!({ "timeout": 20_000_000_000_u64 }));
        assert_eq!((&removed["sequence"], &removed["payload"]), (&"3".into(), &serde_json::json!({})));
        assert_eq!(removed["editor"]["userId"], server.external_user_id());

        // `from` is exclusive when ascending; filters are ANDed; newest first is the default.
        let from = added["creationDate"].as_str().unwrap();
        let later = ask(&server, "POST", EVENTS, &format!(r#"{{"asc":true,"from":"{from}"}}"#)).await.json();
        assert_eq!(later["events"].as_array().unwrap().len(), 2);
        let newest = ask(&server, "POST", EVENTS, r#"{"limit":1}"#).await.json();
        assert_eq!(newest["events"][0]["type"]["type"], "target.removed");
        let filter = format!(r#"{{"eventTypes":["target.added"],"aggregateId":"{id}"}}"#);
        assert_eq!(ask(&server, "POST", EVENTS, &filter).await.json()["events"].as_array().unwrap().len(), 1);
        let kinds: Vec<_> = server.events().iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::Added, EventKind::Changed, EventKind::Removed]);
    }
}

#[tokio::test]
async fn events_need_a_role_of_the_instance() {
    let server = start(Generation::V3Alpha).await;
    for (role, status) in [(Role::IamOwner, 200), (Role::IamOwnerViewer, 200), (Role::OrgOwner, 403), (Role::None, 404)]
    {
        let token = server.issue_token(role);
        assert_eq!(with_token(&server, &token, "POST", EVENTS).await.status, status, "{role:?}");
    }
}

#[tokio::test]
async fn own_user_and_instance_can_be_read() {
    let server = start(Generation::V2).await;
    assert_eq!(ask(&server, "GET", "/auth/v1/users/me", "").await.json()["user"]["id"], server.user_id());
    let instance = ask(&server, "GET", "/admin/v1/instances/me", "").await.json();
    assert_eq!(instance["instance"]["id"], server.instance_id());
    assert_ne!(server.instance_id(), start(Generation::V2).await.instance_id());
}

#[tokio::test]
async fn reads_lag_and_writes_do_not() {
    let server = start(Generation::V3Alpha).await;
    server.set_projection_lag(Duration::from_hours(1));
    let id = ask(&server, "POST", "/v3alpha/targets", &body("a")).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v3alpha/targets/{id}");
    assert_eq!(ask(&server, "GET", &path, "").await.status, 404);
    assert_eq!(ask(&server, "PUT", &path, "{}").await.json()["details"]["sequence"], "1");
    assert_eq!(ask(&server, "POST", "/v3alpha/targets", &body("A")).await.status, 409);
    server.set_projection_lag(Duration::ZERO);
    assert_eq!(ask(&server, "GET", &path, "").await.json()["target"]["timeout"], "0.500s");
}

#[tokio::test]
async fn the_feature_flag_guards_v3alpha_after_validation() {
    let server = start(Generation::V3Alpha).await;
    server.set_actions_feature(false);
    let refused = ask(&server, "POST", "/v3alpha/targets", &body("a")).await;
    assert_eq!(refused.json()["details"][0]["id"], "ACTION-8o6pvqfjhs");
    assert_eq!(ask(&server, "POST", "/v3alpha/targets", "{}").await.json()["code"], 3);
    assert_eq!(ask(&server, "PUT", "/v2/features/instance", r#"{"actions":true}"#).await.status, 200);
    assert_eq!(ask(&server, "POST", "/v3alpha/targets", &body("a")).await.status, 201);
}

#[tokio::test]
async fn external_edits_are_another_users() {
    let server = start(Generation::V2).await;
    let id = server.external_create("a", TargetEdit { kind: Some(TargetKind::Call), ..TargetEdit::default() });
    server.external_rename(&id, "b");
    server.external_update(&id, TargetEdit { interrupt_on_error: Some(true), ..TargetEdit::default() });
    let target = server.targets().pop().unwrap();
    assert_eq!(
        (target.name.as_str(), target.kind, target.interrupt_on_error, target.sequence),
        ("b", TargetKind::Call, true, 3)
    );
    assert!(server.events().iter().all(|event| event.editor == server.external_user_id()));
}

#[tokio::test]
async fn expired_and_revoked_tokens_are_refused() {
    let server = start(Generation::V2).await;
    let expiring =
        server.issue_token_until(Role::IamOwner, jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1));
    let revoked = server.issue_token(Role::IamOwner);
    assert_eq!(with_token(&server, &expiring, "GET", "/auth/v1/users/me").await.status, 200);
    server.set_clock_offset(7200);
    server.revoke_token(&revoked);
    for token in [expiring, revoked] {
        let refused = with_token(&server, &token, "GET", "/auth/v1/users/me").await;
        assert_eq!(
            (refused.status, refused.headers["www-authenticate"].as_str()),
            (401, "Errors.Token.Invalid (AUTH-7fs1e)")
        );
    }
}

#[tokio::test]
async fn the_date_header_follows_the_servers_clock() {
    let server = start(Generation::V2).await;
    server.set_clock_offset(-86_400 * 365);
    let date = ask(&server, "GET", "/debug/healthz", "").await.headers["date"].clone();
    let shown = jiff::fmt::rfc2822::parse(&date).unwrap().timestamp();
    assert!(shown < jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * 360), "{date}");
}

#[tokio::test]
async fn only_a_strict_server_insists_on_its_domain() {
    for (strict_host, status) in [(false, 200), (true, 404)] {
        let options =
            Options { strict_host, external_domain: Some("auth.example.com".to_owned()), ..Options::default() };
        let server = StandIn::start(options).await.unwrap();
        assert_eq!(ask(&server, "GET", "/auth/v1/users/me", "").await.status, status);
        let request =
            Request::new("GET", "/auth/v1/users/me").bearer(&server.token()).header("host", "auth.example.com:8080");
        assert_eq!(send(address(&server), &request).await.unwrap().unwrap().status, 200);
    }
}

#[tokio::test]
async fn resolvable_names_pass_the_deny_list() {
    let server = start(Generation::V2).await;
    assert_eq!(ask(&server, "POST", "/v2/actions/targets", &body("a")).await.status, 200);
    server.set_resolvable_hosts(&[]);
    let refused = ask(&server, "POST", "/v2/actions/targets", &body("b")).await;
    assert_eq!(refused.json()["details"][0]["id"], "COMMAND-NcJUKo");
}

#[tokio::test]
async fn the_log_names_operations_and_users_and_the_dump_no_secret() {
    let server = start(Generation::V2).await;
    let stranger = server.issue_token(Role::None);
    ask(&server, "POST", "/v2/actions/targets", &body("a")).await;
    with_token(&server, &stranger, "POST", "/v2/actions/targets/search").await;
    with_token(&server, "garbage", "GET", "/v2/actions/executions/functions").await;
    let calls = server.calls();
    let ops: Vec<_> = calls.iter().map(|call| call.op).collect();
    assert_eq!(ops, [Some(Op::Create), Some(Op::List), None]);
    assert_eq!(calls.iter().map(|call| call.status().unwrap()).collect::<Vec<_>>(), [200, 404, 401]);
    assert_eq!(calls[0].user, Some(server.user_id()));
    assert_eq!(calls[0].body, body("a"));
    assert_eq!(calls[2].user, None);
    let shown = format!("{}{server:?}{calls:?}", server.dump());
    assert!(shown.contains("/v2/actions/targets") && shown.contains("Added"), "{shown}");
    assert!(!shown.contains(&server.token()) && !shown.contains(&stranger), "{shown}");
}

#[tokio::test]
async fn many_run_side_by_side() {
    let mut servers = Vec::new();
    for _ in 0..20 {
        servers.push(start(Generation::V2).await);
    }
    for server in &servers {
        assert_eq!(ask(server, "POST", "/v2/actions/targets", &body("a")).await.status, 200);
        assert_eq!(server.targets().len(), 1);
    }
}
