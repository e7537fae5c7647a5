//! What the recordings do not show of single generations: their names, the bare paths of the first releases of
//! `resources/v3alpha`, and `/v2beta` on a v4 server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy.toml only exempts inside #[test]"
)]

mod support;

use serde_json::{Value, json};
use support::ask;
use zitadel_stand_in::{Generation, Options, PayloadType, StandIn, TargetEdit};

const ALL: [Generation; 4] = [Generation::V3Alpha, Generation::ResourcesV3Alpha, Generation::V2Beta, Generation::V2];

async fn start(generation: Generation) -> StandIn {
    StandIn::start(Options::new(generation)).await.unwrap()
}

fn body(name: &str, endpoint: &str) -> String {
    json!({ "name": name, "restWebhook": {}, "timeout": "10s", "endpoint": endpoint }).to_string()
}

async fn version(server: &StandIn) -> Value {
    ask(server, "GET", "/admin/v1/instances/me", "").await.json()["instance"]["version"].clone()
}

#[test]
fn names_are_read_back() {
    for generation in ALL {
        assert_eq!(generation.to_string().parse(), Ok(generation));
    }
    assert_eq!(ALL.map(|generation| generation.to_string()), ["v3alpha", "resources/v3alpha", "v2beta", "v2"]);
    let unknown = "v9".parse::<Generation>().unwrap_err().to_string();
    assert!(ALL.iter().all(|generation| unknown.contains(&generation.to_string())), "{unknown}");
}

#[tokio::test]
async fn the_first_releases_of_resources_v3alpha_mount_it_at_the_root() {
    let options = Options { bare_paths: true, ..Options::new(Generation::ResourcesV3Alpha) };
    let server = StandIn::start(options).await.unwrap();
    assert_eq!(version(&server).await, "v2.60.0");
    let created = ask(&server, "POST", "/targets", &body("a", "foo")).await;
    assert_eq!(created.status, 201);
    assert!(created.json().get("signingKey").is_none(), "there were no keys yet: {}", created.body);
    let id = created.json()["details"]["id"].as_str().unwrap().to_owned();
    let path = format!("/targets/{id}");
    let change = r#"{"timeout":"20s","expirationSigningKey":"1s"}"#;
    assert!(ask(&server, "PATCH", &path, change).await.json().get("signingKey").is_none());
    let target = ask(&server, "GET", &path, "").await.json()["target"].clone();
    assert_eq!(target["config"]["timeout"], "20s");
    assert!(target.get("signingKey").is_none());
    assert_eq!(ask(&server, "POST", "/targets/_search?query.limit=1", "[]").await.json()["result"][0], target);
    assert_eq!(ask(&server, "GET", "/resources/v3alpha/actions/executions/functions", "").await.status, 404);
    server.set_actions_feature(false);
    assert_eq!(ask(&server, "GET", &path, "").await.status, 400);
    assert_eq!(ask(&server, "GET", "/executions/functions", "").await.status, 200);
    assert_eq!(ask(&server, "PUT", "/executions", "{}").await.status, 400);
}

#[tokio::test]
async fn only_v2x_servers_have_the_feature_flag() {
    for (generation, status) in ALL.into_iter().zip([200, 200, 400, 400]) {
        let server = start(generation).await;
        let set = ask(&server, "PUT", "/v2/features/instance", r#"{"actions":false}"#).await;
        assert_eq!(set.status, status, "{generation}: {}", set.body);
    }
}

#[tokio::test]
async fn v2beta_on_v4_keeps_its_limits_and_knows_no_payload_types() {
    let server = start(Generation::V2).await;
    let jwt = TargetEdit { payload_type: Some(PayloadType::JWT), ..TargetEdit::default() };
    let id = server.external_create("a", jwt);
    let shown = async |prefix: &str| {
        let path = format!("/{prefix}/actions/targets/{id}");
        ask(&server, "GET", &path, "").await.json()["target"]["payloadType"].clone()
    };
    assert_eq!((shown("v2").await, shown("v2beta").await), (json!("PAYLOAD_TYPE_JWT"), Value::Null));
    let beta = format!("/v2beta/actions/targets/{id}");
    assert_eq!(ask(&server, "POST", &beta, r#"{"payloadType":"PAYLOAD_TYPE_JSON"}"#).await.status, 200);
    assert_eq!(shown("v2").await, "PAYLOAD_TYPE_JWT");
    let long = format!("https://hooks.example.com/{}", "a".repeat(1000));
    let refused = ask(&server, "POST", "/v2beta/actions/targets", &body("b", &long)).await.json();
    assert_eq!(
        refused["message"],
        "invalid CreateTargetRequest.Endpoint: value length must be between 1 and 1000 runes, inclusive"
    );
    assert_eq!(ask(&server, "POST", "/v2/actions/targets", &body("b", &long)).await.status, 200);
    // The deny list is the server's, not the prefix's.
    let denied = ask(&server, "POST", "/v2beta/actions/targets", &body("c", "http://localhost/")).await.json();
    assert_eq!(denied["details"][0]["id"], "COMMAND-NcJUKo");
    let both = r#"{"restCall":{},"restAsync":{}}"#;
    let fault = ask(&server, "POST", &beta, both).await.json()["message"].as_str().unwrap().to_owned();
    assert!(fault.contains("oneof zitadel.action.v2beta.UpdateTargetRequest.target_type"), "{fault}");
}
