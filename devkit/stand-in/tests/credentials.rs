//! Tokens for service accounts: private key JWT and client credentials on every generation, how long tokens live, what
//! revokes them, and the faults of the token endpoint. Single answers are in the recordings (`replay.rs`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy.toml only exempts inside #[test]"
)]

mod support;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::oauth::{self, BEARER, KeyFile, SCOPE, access_token, by_key, by_secret};
use support::{Request, Response, address, send};
use zitadel_stand_in::{Answer, Effect, Generation, Op, Options, Role, StandIn, Times};

const ALL: [Generation; 4] = [Generation::V3Alpha, Generation::ResourcesV3Alpha, Generation::V2Beta, Generation::V2];
const ME: &str = "/auth/v1/users/me";

async fn start(generation: Generation) -> StandIn {
    StandIn::start(Options::new(generation)).await.unwrap()
}

async fn with_token(server: &StandIn, token: &str, path: &str) -> Response {
    send(address(server), &Request::new("GET", path).bearer(token)).await.unwrap().unwrap()
}

fn error_id(answer: &Response) -> (u16, Value) {
    (answer.status, answer.json()["details"][0]["id"].clone())
}

fn refusal(answer: &Response) -> (u16, Value, Value) {
    let body = answer.json();
    (answer.status, body["error"].clone(), body["error_description"].clone())
}

fn internal() -> (u16, Value, Value) {
    (500, json!("server_error"), json!("Errors.Internal"))
}

fn invalid_token() -> (u16, Value) {
    (401, json!("AUTH-7fs1e"))
}

#[tokio::test]
async fn both_grants_earn_tokens_of_the_same_user_on_every_generation() {
    for generation in ALL {
        let server = start(generation).await;
        let key = KeyFile::parse(&server.machine_key());
        let credentials = server.client_credentials();
        for answer in [by_key(&server, &key).await, by_secret(&server, &credentials).await] {
            assert_eq!(answer.json()["expires_in"], 43199, "{generation}");
            let me = with_token(&server, &access_token(&answer), ME).await;
            assert_eq!(me.json()["user"]["id"], server.user_id(), "{generation}");
        }
        assert_eq!(server.token_requests(), 2);
    }
}

#[tokio::test]
async fn the_key_file_is_the_one_that_zitadel_issues() {
    let server = start(Generation::V2).await;
    let file: Value = serde_json::from_str(&server.machine_key()).unwrap();
    let names: Vec<&String> = file.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert_eq!(file["expirationDate"], "9999-12-31T23:59:59Z");
    let pem = file["key"].as_str().unwrap();
    assert!(pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"), "PKCS#1, not PKCS#8");
    let other = KeyFile::parse(&server.machine_key());
    assert_ne!((file["keyId"].as_str().unwrap(), pem), (other.id.as_str(), other.pem.as_str()));
}

#[tokio::test]
async fn the_audience_follows_the_host_that_is_asked_for() {
    let domain = "auth.example.com";
    for (generation, external_secure) in ALL.into_iter().flat_map(|one| [(one, false), (one, true)]) {
        let options = Options {
            external_domain: Some(domain.to_owned()),
            strict_host: true,
            external_secure,
            ..Options::new(generation)
        };
        let server = StandIn::start(options).await.unwrap();
        let issuer = format!("{}://{domain}", if external_secure { "https" } else { "http" });
        let key = KeyFile::parse(&server.machine_key());
        let ask = async |audience: &str| {
            let assertion = key.assertion(audience);
            let form = [("grant_type", BEARER), ("scope", SCOPE), ("assertion", &assertion)];
            oauth::post(&server, &oauth::request(&form).header("host", domain)).await
        };
        let discovery = Request::new("GET", "/.well-known/openid-configuration").header("host", domain);
        assert_eq!(oauth::post(&server, &discovery).await.json()["issuer"], json!(issuer), "{generation}");
        assert_eq!(ask(&issuer).await.status, 200, "{generation}");
        assert_eq!(refusal(&ask(&server.url()).await), internal(), "{generation}");
        assert_eq!(by_key(&server, &key).await.status, 404, "the address is no instance");
    }
}

#[tokio::test]
async fn a_forwarded_scheme_changes_the_audience_from_the_second_generation_on() {
    for (generation, expected) in ALL.into_iter().zip([500, 200, 200, 200]) {
        let server = start(generation).await;
        let key = KeyFile::parse(&server.machine_key());
        let assertion = key.assertion(&server.url().replace("http:", "https:"));
        let form = [("grant_type", BEARER), ("scope", SCOPE), ("assertion", &assertion)];
        let answer = oauth::post(&server, &oauth::request(&form).header("x-forwarded-proto", "https")).await;
        assert_eq!(answer.status, expected, "{generation}: {}", answer.body);
    }
}

#[tokio::test]
async fn assertions_are_judged_by_the_clock_of_the_server() {
    let server = start(Generation::V2).await;
    let key = KeyFile::parse(&server.machine_key());
    server.set_clock_offset(-60);
    assert_eq!(refusal(&by_key(&server, &key).await), internal(), "issued in the future");
    server.set_clock_offset(400);
    assert_eq!(refusal(&by_key(&server, &key).await), internal(), "expired");
    server.set_clock_offset(200);
    assert_eq!(by_key(&server, &key).await.status, 200);
}

#[tokio::test]
async fn a_token_lives_as_long_as_it_says() {
    let server = start(Generation::V2).await;
    let key = KeyFile::parse(&server.machine_key());
    server.set_token_lifetime(Duration::from_mins(10));
    let answer = by_key(&server, &key).await;
    assert_eq!(answer.json()["expires_in"], 599);
    let token = access_token(&answer);
    server.set_clock_offset(595);
    assert_eq!(with_token(&server, &token, ME).await.status, 200);
    server.set_clock_offset(600);
    assert_eq!(error_id(&with_token(&server, &token, ME).await), invalid_token());
}

#[tokio::test]
async fn early_releases_forbid_an_expired_token() {
    let options = Options { expired_tokens_are_forbidden: true, ..Options::new(Generation::V3Alpha) };
    let server = StandIn::start(options).await.unwrap();
    let issued = access_token(&by_secret(&server, &server.client_credentials()).await);
    let personal = server.issue_token_until(Role::IamOwner, Timestamp::now() + SignedDuration::from_hours(1));
    server.set_clock_offset(24 * 3600);
    let answer = with_token(&server, &issued, ME).await;
    assert_eq!(error_id(&answer), (403, json!("QUERY-SAF3rf")));
    assert_eq!(answer.json()["code"], 7);
    assert_eq!(error_id(&with_token(&server, &personal, ME).await), invalid_token());
}

#[tokio::test]
async fn revoked_tokens_are_refused_and_new_ones_are_issued() {
    let server = start(Generation::V2).await;
    let credentials = server.client_credentials();
    let token = access_token(&by_secret(&server, &credentials).await);
    server.revoke_tokens();
    assert_eq!(error_id(&with_token(&server, &token, ME).await), invalid_token());
    assert_eq!(with_token(&server, &server.token(), ME).await.status, 200, "personal tokens stay");
    let fresh = access_token(&by_secret(&server, &credentials).await);
    assert_eq!(with_token(&server, &fresh, ME).await.status, 200);
    server.revoke_token(&fresh);
    assert_eq!(error_id(&with_token(&server, &fresh, ME).await), invalid_token());
}

#[tokio::test]
async fn a_removed_or_expired_key_is_an_internal_error_and_its_tokens_stay() {
    for generation in ALL {
        let server = start(generation).await;
        let (old, new) = (KeyFile::parse(&server.machine_key()), KeyFile::parse(&server.machine_key()));
        let token = access_token(&by_key(&server, &old).await);
        server.remove_key(&old.id);
        assert_eq!(refusal(&by_key(&server, &old).await), internal(), "{generation}");
        assert_eq!(with_token(&server, &token, ME).await.status, 200, "{generation}");
        assert_eq!(by_key(&server, &new).await.status, 200, "{generation}: keys overlap in a rotation");
        let expired = server.machine_key_of(&server.user_id(), Some(Timestamp::now()));
        assert_eq!(refusal(&by_key(&server, &KeyFile::parse(&expired)).await), internal(), "{generation}");
    }
}

#[tokio::test]
async fn there_is_one_secret_per_user() {
    let server = start(Generation::V2).await;
    let old = server.client_credentials();
    let token = access_token(&by_secret(&server, &old).await);
    let new = server.client_credentials();
    assert_eq!(old.0, new.0, "the client id is the user's name");
    let refused = |text: &str| (400, json!("invalid_request"), json!(text));
    assert_eq!(refusal(&by_secret(&server, &old).await), refused("Errors.User.Machine.Secret.Invalid"));
    assert_eq!(by_secret(&server, &new).await.status, 200);
    server.remove_client_secret(&server.user_id());
    assert_eq!(refusal(&by_secret(&server, &new).await), refused("Errors.User.Machine.Secret.NotExisting"));
    assert_eq!(with_token(&server, &token, ME).await.status, 200);
}

#[tokio::test]
async fn users_are_deactivated_and_removed() {
    for generation in ALL {
        let server = start(generation).await;
        let user = server.add_user(Role::IamOwner);
        let key = KeyFile::parse(&server.machine_key_of(&user, None));
        let token = access_token(&by_key(&server, &key).await);
        server.deactivate_user(&user);
        assert_eq!(error_id(&with_token(&server, &token, ME).await), invalid_token());
        let inactive = (400, json!("invalid_request"), json!("Errors.User.NotActive"));
        assert_eq!(refusal(&by_key(&server, &key).await), inactive, "{generation}");
        server.reactivate_user(&user);
        assert_eq!(with_token(&server, &token, ME).await.status, 200);
        server.remove_user(&user);
        assert_eq!(error_id(&with_token(&server, &token, ME).await), invalid_token());
        let removed = match generation {
            Generation::V3Alpha => (404, json!("invalid_request"), json!("Errors.User.NotFound")),
            _ => internal(),
        };
        assert_eq!(refusal(&by_key(&server, &key).await), removed, "{generation}");
    }
}

#[tokio::test]
async fn access_tokens_may_be_json_web_tokens() {
    let server = start(Generation::V2).await;
    let credentials = server.client_credentials();
    let opaque = access_token(&by_secret(&server, &credentials).await);
    assert!(!opaque.contains('.'));
    server.set_jwt_access_tokens(&server.user_id(), true);
    let jwt = access_token(&by_secret(&server, &credentials).await);
    assert_eq!(jwt.split('.').count(), 3, "{jwt}");
    assert_eq!(with_token(&server, &jwt, ME).await.status, 200);
    server.revoke_tokens();
    assert_eq!(error_id(&with_token(&server, &jwt, ME).await), invalid_token());
}

#[tokio::test]
async fn the_token_endpoint_has_faults_of_its_own() {
    let server = start(Generation::V2).await;
    let credentials = server.client_credentials();
    server.fault(Op::Token, Effect::Status(503, None), Times::ONCE);
    assert_eq!(by_secret(&server, &credentials).await.status, 503);
    let slow = server.fault(Op::Token, Effect::Latency(Duration::from_millis(20)), Times::ONCE);
    assert_eq!(by_secret(&server, &credentials).await.status, 200);
    assert_eq!(slow.hits(), 1);
    server.fault(Op::Token, Effect::LoseReply, Times::ONCE);
    let (id, secret) = &credentials;
    let form = [("grant_type", "client_credentials"), ("scope", SCOPE), ("client_id", id), ("client_secret", secret)];
    assert!(send(address(&server), &oauth::request(&form)).await.unwrap().is_none());
    assert_eq!(with_token(&server, &server.token(), ME).await.status, 200, "nothing else is hit");
    let answers: Vec<Answer> =
        server.calls().into_iter().filter(|call| call.op == Some(Op::Token)).map(|call| call.answer).collect();
    assert_eq!(answers, [Answer::Status(503), Answer::Status(200), Answer::None]);
    assert_eq!(server.token_requests(), 3);
    assert!(!server.dump().contains(secret.as_str()), "the log holds no secret");
    assert!(server.dump().contains(SCOPE.split(' ').next().unwrap()));
}
