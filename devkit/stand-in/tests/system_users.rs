//! System users: who signs a token himself is believed, on every API, and is in no projection. And the newer answers of
//! the token endpoint.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy.toml only exempts inside #[test]"
)]

mod support;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::oauth::{self, BEARER, KeyFile, SCOPE, access_token, by_key, by_secret};
use support::{APIS, Response, new_target, refusal};
use zitadel_stand_in::{AssertionRefusal, Function, Generation, Options, Role, StandIn, SystemUserKey};

const NAME: &str = "admin-client";

fn signer(key: &SystemUserKey) -> KeyFile {
    KeyFile { id: "whatever".to_owned(), user: NAME.to_owned(), pem: key.private_key.clone() }
}

async fn ask(server: &StandIn, token: &str, method: &str, path: &str, body: &str) -> Response {
    let request = support::Request::new(method, path).bearer(token).body(body);
    support::send(support::address(server), &request).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_system_user_works_by_key_and_by_certificate_on_every_generation_and_has_no_profile() {
    for api in APIS {
        let server = api.start().await;
        for by_certificate in [false, true] {
            let key = server.system_user_key();
            server.add_system_user(
                NAME,
                if by_certificate { &key.certificate } else { &key.public_key },
                Role::IamOwner,
            );
            let token = signer(&key).assertion(&server.url());
            let name = if by_certificate { "b" } else { "a" };
            let body = new_target(name, "https://hooks.example.com/x");
            let created = ask(&server, &token, "POST", api.targets, &body).await;
            assert!(created.status < 300, "{}: {}", api.generation, created.body);
            assert_eq!(server.events().last().unwrap().editor, NAME);
            assert_eq!(server.calls().last().unwrap().user.as_deref(), Some(NAME));
            for (method, path, expected) in [
                ("GET", "/auth/v1/users/me", (404, 5, Some("QUERY-Dfbg2".to_owned()))),
                ("GET", "/admin/v1/instances/me", (200, 0, None)),
                ("POST", "/admin/v1/events/_search", (200, 0, None)),
            ] {
                assert_eq!(refusal(&ask(&server, &token, method, path, "").await), expected, "{path}");
            }
            assert!(server.every_token().contains(&token), "a token that no log may show");
        }
        assert_eq!(server.token_requests(), 0);
    }
}

#[tokio::test]
async fn a_system_users_token_is_believed_only_when_everything_fits() {
    let server = APIS[3].start().await;
    let (key, other) = (server.system_user_key(), server.system_user_key());
    server.add_system_user(NAME, &key.public_key, Role::IamOwner);
    let now = Timestamp::now().as_second();
    let (signer, url) = (signer(&key), server.url());
    let claims = |edit: &dyn Fn(&mut Value)| {
        let mut claims = signer.claims(&url, now);
        edit(&mut claims);
        signer.sign("RS256", None, &claims)
    };
    let me = async |token: &str| refusal(&ask(&server, token, "GET", "/admin/v1/instances/me", "").await);
    let refused = (401, 16, Some("AUTH-7fs1e".to_owned()));
    assert_eq!(me(&claims(&|_| {})).await, (200, 0, None));
    for token in [
        claims(&|claims| claims["aud"] = json!("https://elsewhere.example.com")),
        claims(&|claims| claims["iss"] = json!("somebody")),
        claims(&|claims| claims["exp"] = json!(now - 60)),
        claims(&|claims| claims["iat"] = json!(now - 3700)),
        claims(&|claims| claims["iat"] = json!(now + 60)),
        signer.sign("HS256", None, &signer.claims(&url, now)),
        KeyFile { pem: other.private_key.clone(), ..signer.clone() }.assertion(&url),
        KeyFile { user: "nobody".to_owned(), ..signer.clone() }.assertion(&url),
    ] {
        assert_eq!(me(&token).await, refused, "{token}");
    }
    server.remove_system_user(NAME);
    assert_eq!(me(&signer.assertion(&url)).await, refused);
}

#[tokio::test]
async fn roles_of_system_users_are_those_of_the_configuration() {
    let server = APIS[3].start().await;
    let key = server.system_user_key();
    let denied = (403, 7, Some("AUTH-5mWD2".to_owned()));
    for (role, reads, writes) in [
        (Role::IamOwner, (200, 0, None), (200, 0, None)),
        (Role::IamOwnerViewer, (200, 0, None), denied.clone()),
        (Role::None, denied.clone(), denied.clone()),
    ] {
        server.add_system_user(NAME, &key.certificate, role);
        let token = signer(&key).assertion(&server.url());
        assert_eq!(refusal(&ask(&server, &token, "POST", "/v2/actions/targets/search", "{}").await), reads, "{role:?}");
        let body = new_target("a", "https://hooks.example.com/x");
        assert_eq!(refusal(&ask(&server, &token, "POST", "/v2/actions/targets", &body).await), writes, "{role:?}");
        assert_eq!(ask(&server, &token, "GET", "/v2/actions/executions/functions", "").await.status, 200, "{role:?}");
    }
}

#[tokio::test]
async fn the_audience_is_the_configured_origin_whatever_a_proxy_says() {
    let options = Options {
        external_domain: Some("auth.example.com".to_owned()),
        strict_host: true,
        external_secure: true,
        ..Options::new(Generation::V2)
    };
    let server = StandIn::start(options).await.unwrap();
    let key = server.system_user_key();
    server.add_system_user(NAME, &key.public_key, Role::IamOwner);
    for (audience, status) in
        [("https://auth.example.com", 200), ("http://auth.example.com", 401), (server.url().as_str(), 401)]
    {
        let request = support::Request::new("GET", "/admin/v1/instances/me").header("host", "auth.example.com");
        let request = request.header("x-forwarded-proto", "http").bearer(&signer(&key).assertion(audience));
        let answer = support::send(support::address(&server), &request).await.unwrap().unwrap();
        assert_eq!(answer.status, status, "{audience}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_certificate_is_good_for_its_own_time() {
    let server = APIS[3].start().await;
    let key = server.system_user_key();
    server.add_system_user(NAME, &key.certificate, Role::IamOwner);
    let after: Timestamp = "2120-01-02T00:00:00Z".parse().unwrap();
    server.freeze_clock(Some(after));
    let token = |now: Timestamp| {
        let signer = signer(&key);
        signer.sign("RS256", None, &signer.claims(&server.url(), now.as_second()))
    };
    assert_eq!(ask(&server, &token(after), "GET", "/admin/v1/instances/me", "").await.status, 401);
    server.add_system_user(NAME, &key.public_key, Role::IamOwner);
    assert_eq!(ask(&server, &token(after), "GET", "/admin/v1/instances/me", "").await.status, 200);
    server.add_system_user(NAME, &key.certificate, Role::IamOwner);
    let before = after - SignedDuration::from_hours(24 * 30);
    server.freeze_clock(Some(before));
    assert_eq!(ask(&server, &token(before), "GET", "/admin/v1/instances/me", "").await.status, 200);
}

fn token_refusal(answer: &Response) -> (u16, Value) {
    (answer.status, answer.json()["error"].clone())
}

#[tokio::test]
async fn newer_token_endpoints_call_a_bad_assertion_an_invalid_grant() {
    let server = APIS[3].start().await;
    let key = KeyFile::parse(&server.machine_key());
    server.remove_key(&key.id);
    assert_eq!(token_refusal(&by_key(&server, &key).await), (500, json!("server_error")));
    server.set_assertion_refusal(AssertionRefusal::InvalidGrant);
    let answer = by_key(&server, &key).await;
    assert_eq!(token_refusal(&answer), (400, json!("invalid_grant")));
    assert_eq!(answer.json()["error_description"], "invalid assertion");
    let (id, _) = server.client_credentials();
    let wrong = by_secret(&server, &(id, "wrong".to_owned())).await;
    assert_eq!(token_refusal(&wrong), (400, json!("invalid_request")), "client credentials are answered as ever");
}

#[tokio::test]
async fn a_broken_function_fails_tokens_with_the_scope_openid_or_of_users_with_jwt_tokens() {
    let audience = SCOPE.strip_prefix("openid ").unwrap();
    for api in APIS {
        let server = api.start().await;
        let key = KeyFile::parse(&server.machine_key());
        let ask = async |scope: &str| {
            let assertion = key.assertion(&server.url());
            oauth::post(
                &server,
                &oauth::request(&[("grant_type", BEARER), ("scope", scope), ("assertion", &assertion)]),
            )
            .await
        };
        let breaks = matches!(api.generation, Generation::V2Beta | Generation::V2);
        let broken = if breaks { 500 } else { 200 };
        server.set_failing_functions(&[Function::PreUserinfo]);
        assert_eq!(ask(SCOPE).await.status, broken, "{}", api.generation);
        access_token(&ask(audience).await);
        server.set_failing_functions(&[Function::PreAccessToken]);
        access_token(&ask(SCOPE).await);
        server.set_jwt_access_tokens(&server.user_id(), true);
        assert_eq!(ask(audience).await.status, broken, "{}", api.generation);
        server.set_failing_functions(&[]);
        access_token(&ask(SCOPE).await);
    }
}
