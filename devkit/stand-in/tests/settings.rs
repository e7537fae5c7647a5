//! What installations of one release differ in: page limits, proxies with opinions, look-ups that take their time, deny
//! lists, a shared account.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy.toml only exempts inside #[test]"
)]

mod support;

use std::time::{Duration, Instant};

use support::{APIS, Api, address, ask, new_target, refusal, rows, send};
use zitadel_stand_in::{DenyList, Generation, TargetEdit};

const V2: Api = APIS[3];
/// Far above what anything here takes; tests end early when the condition holds.
const PATIENCE: Duration = Duration::from_secs(20);

fn denied_create() -> (u16, u64, Option<String>) {
    (400, 3, Some("COMMAND-NcJUKo".to_owned()))
}

fn denied_update() -> (u16, u64, Option<String>) {
    (400, 3, Some("COMMAND-jKbbu2".to_owned()))
}

#[tokio::test]
async fn a_page_may_not_be_longer_than_configured_and_is_a_hundred_long_when_nothing_is_said() {
    for api in APIS {
        let server = api.start().await;
        for count in 0..120 {
            server.external_create(&format!("a-{count}"), TargetEdit::default());
        }
        server.set_max_query_limit(50);
        let has_limits = api.generation != Generation::V3Alpha;
        let (long, silent) = (api.list(&server, Some(51)).await, api.list(&server, None).await);
        if has_limits {
            assert_eq!(refusal(&long), (400, 3, Some("QUERY-4M0fs".to_owned())), "{}", api.generation);
        } else {
            assert_eq!(rows(&long), 51);
        }
        assert_eq!(rows(&silent), if has_limits { 100 } else { 120 }, "{}", api.generation);
        assert_eq!(rows(&api.list(&server, Some(50)).await), 50, "{}", api.generation);
        let events = ask(&server, "POST", "/admin/v1/events/_search", r#"{"limit":1000}"#).await.json();
        assert_eq!(events["events"].as_array().unwrap().len(), 120, "the event store has a limit of its own");
        server.set_max_query_limit(1000);
        assert_eq!(rows(&api.list(&server, Some(1000)).await), 120);
    }
}

#[tokio::test]
async fn a_proxy_hides_admin_paths_behind_a_page() {
    for api in APIS {
        let server = api.start().await;
        server.set_hidden_paths(&[("/admin/", 403), ("/auth/", 404)]);
        for (method, path, status) in [
            ("POST", "/admin/v1/events/_search", 403),
            ("GET", "/admin/v1/instances/me", 403),
            ("GET", "/auth/v1/users/me", 404),
        ] {
            let answer = ask(&server, method, path, "").await;
            assert_eq!((answer.status, answer.headers["content-type"].as_str()), (status, "text/html; charset=utf-8"));
        }
        assert!(api.create(&server, "a").await.status < 300, "{}", api.generation);
        assert_eq!(server.calls().len(), 4, "what was hidden is in the log");
        server.set_hidden_paths(&[]);
        assert_eq!(ask(&server, "GET", "/auth/v1/users/me", "").await.status, 200);
    }
}

#[tokio::test]
async fn a_slow_look_up_delays_create_and_update_and_then_decides() {
    const SLOW: Duration = Duration::from_millis(80);
    let server = V2.start().await;
    server.set_slow_look_ups(&[("nowhere.test", SLOW), ("slow.example.com", SLOW)]);
    let id = V2.create(&server, "quick").await.json()["id"].as_str().unwrap().to_owned();
    let (nowhere, slow) = ("https://a.nowhere.test/", "https://slow.example.com/");
    let update = |endpoint: &str| serde_json::json!({ "endpoint": endpoint }).to_string();
    for (path, body, expected) in [
        (V2.targets.to_owned(), new_target("a", nowhere), denied_create()),
        (V2.one(&id), update(nowhere), denied_update()),
        (V2.targets.to_owned(), new_target("b", slow), (200, 0, None)),
        (V2.one(&id), update(slow), (200, 0, None)),
    ] {
        let started = Instant::now();
        assert_eq!(refusal(&ask(&server, "POST", &path, &body).await), expected, "{body}");
        assert!(started.elapsed() >= SLOW, "{body}");
    }
    let names: Vec<_> = server.targets().into_iter().map(|target| target.name).collect();
    assert_eq!((names, server.targets()[0].endpoint.as_str()), (vec!["quick".to_owned(), "b".to_owned()], slow));
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_the_look_up_has_created_all_the_same() {
    let server = V2.start().await;
    server.set_slow_look_ups(&[("example.com", Duration::from_millis(300))]);
    let create = support::Request::new("POST", V2.targets).bearer(&server.token());
    let create = create.body(&new_target("a", "https://hooks.example.com/x"));
    let to = address(&server);
    let client = tokio::spawn(async move { send(to, &create).await });
    assert!(server.wait_for(PATIENCE, |server| !server.calls().is_empty()).await);
    client.abort();
    assert!(server.wait_for(PATIENCE, |server| server.targets().len() == 1).await, "{}", server.dump());
}

#[tokio::test]
async fn only_servers_with_a_deny_list_look_names_up() {
    for api in APIS {
        let server = api.start().await;
        server.set_slow_look_ups(&[("example.com", Duration::from_hours(1))]);
        server.set_deny_list(DenyList::Private);
        if api.generation != Generation::V2 {
            let body = new_target("a", "http://hooks.example.com.svc/");
            assert!(ask(&server, "POST", api.targets, &body).await.status < 300, "{}", api.generation);
            assert!(api.create(&server, "b").await.status < 300, "{}", api.generation);
        }
    }
}

#[tokio::test]
async fn a_newer_server_refuses_the_endpoint_that_a_target_has() {
    let server = V2.start().await;
    let endpoint = "http://hooks.apps.svc.cluster.local/pre-token";
    let made = ask(&server, "POST", V2.targets, &new_target("a", endpoint)).await.json();
    let path = V2.one(made["id"].as_str().unwrap());
    server.set_deny_list(DenyList::Private);
    server.set_version("v4.15.3");
    let version = ask(&server, "GET", "/admin/v1/instances/me", "").await.json()["instance"]["version"].clone();
    assert_eq!(version, "v4.15.3");
    let same = serde_json::json!({ "endpoint": endpoint }).to_string();
    assert_eq!(refusal(&ask(&server, "POST", &path, &same).await), denied_update(), "although nothing changes");
    assert_eq!(ask(&server, "POST", &path, r#"{"timeout":"33s"}"#).await.status, 200, "other fields are accepted");
    assert_eq!(ask(&server, "GET", &path, "").await.json()["target"]["endpoint"], endpoint);
    assert_eq!(refusal(&ask(&server, "POST", V2.targets, &new_target("b", endpoint)).await), denied_create());
    server.set_deny_list(DenyList::Empty);
    assert_eq!(ask(&server, "POST", &path, &same).await.status, 200);
    server.upgrade(Generation::V2);
    let version = ask(&server, "GET", "/admin/v1/instances/me", "").await.json()["instance"]["version"].clone();
    assert_eq!(version, "v4.13.1");
}

#[tokio::test]
async fn somebody_else_can_have_the_account_of_the_operator() {
    for api in APIS {
        let server = api.start().await;
        let own = server.user_id();
        let edit =
            TargetEdit { endpoint: Some("https://hooks.example.com/theirs".to_owned()), ..TargetEdit::default() };
        let id = server.external_create_by(&own, "a", edit);
        server.external_update_by(&own, &id, TargetEdit { name: Some("b".to_owned()), ..TargetEdit::default() });
        server.external_delete_by(&own, &id);
        assert!(server.events().iter().all(|event| event.editor == own), "{}", server.dump());
        let body = format!(r#"{{"asc":true,"editorUserId":"{own}"}}"#);
        let events = ask(&server, "POST", "/admin/v1/events/_search", &body).await.json();
        assert_eq!(events["events"].as_array().unwrap().len(), 3, "{}", api.generation);
        assert_eq!(events["events"][0]["payload"]["endpoint"], "https://hooks.example.com/theirs");
    }
}
