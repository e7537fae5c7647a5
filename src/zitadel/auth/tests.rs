//! Credentials against the stand-in's token endpoint: what is sent, how often, what serves meanwhile, what is told.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use rstest::rstest;
use secrecy::SecretString;
use serde_json::Value;
use zitadel_stand_in::{AssertionRefusal, Effect, EventKind, Function, Generation, Op, Options, Role, StandIn, Times};

use super::*;
use crate::api::reason::Reason;
use crate::zitadel::transport::{Proxy, Settings};
use crate::zitadel::{ApiChoice, Client, Kind as TargetKind, OnError, PayloadType, TargetConfig};

/// Requests a second: so many that the bucket of real connections has no part in what is measured here.
const FAST: NonZeroU32 = NonZeroU32::new(1000).expect("1000 is not zero");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Key,
    Basic,
    Post,
}

/// A server, a client with a credential, and the slots that the credential is read from.
struct Scene {
    server: StandIn,
    client: Client,
    id: Slot,
    secret: Slot,
}

fn put(slot: &Slot, text: &str) {
    slot.set(Some(SecretString::from(text)));
}

fn client(server: &StandIn, host: Option<&str>, credential: Credential) -> Client {
    // The process has one TLS provider; whoever comes second finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = Settings {
        url: server.url().parse().unwrap(),
        host: host.map(|host| host.parse().unwrap()),
        ca: None,
        proxy: Proxy::None,
        credential,
        rate: FAST,
        timeout: Duration::from_secs(10),
    };
    Client::new(ApiChoice::Auto, settings, Box::new(|_, _, _| {}))
}

async fn scene_with(way: Way, options: Options, host: Option<&str>) -> Scene {
    let server = StandIn::start(options).await.unwrap();
    let (id, secret) = (Slot::new("the client id"), Slot::new("the secret"));
    let credential = match way {
        Way::Key => {
            put(&secret, &server.machine_key());
            Credential::PrivateKeyJwt(Source::Slot(secret.clone()))
        }
        Way::Basic | Way::Post => {
            let (name, text) = server.client_credentials();
            put(&id, &name);
            put(&secret, &text);
            let method = if way == Way::Basic { ClientAuth::Basic } else { ClientAuth::Post };
            Credential::ClientCredentials { id: Source::Slot(id.clone()), secret: Source::Slot(secret.clone()), method }
        }
    };
    let client = client(&server, host, credential);
    Scene { server, client, id, secret }
}

async fn scene(way: Way) -> Scene {
    let scene = scene_with(way, Options::new(Generation::V2), None).await;
    scene.client.connect().await.unwrap();
    scene
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

fn config(name: &str) -> TargetConfig {
    TargetConfig {
        name: name.parse().unwrap(),
        kind: TargetKind::Webhook(OnError::Interrupt),
        timeout: "10s".parse().unwrap(),
        endpoint: "https://hooks.example.com/x".parse().unwrap(),
        payload_type: PayloadType::Json,
    }
}

#[rstest]
#[tokio::test]
async fn one_exchange_serves_all_calls(
    #[values(Way::Key, Way::Basic, Way::Post)] way: Way,
    #[values(Generation::V3Alpha, Generation::ResourcesV3Alpha, Generation::V2Beta, Generation::V2)]
    generation: Generation,
    #[values(false, true)] jwt: bool,
) {
    let Scene { server, client, .. } = scene_with(way, Options::new(generation), None).await;
    server.set_jwt_access_tokens(&server.user_id(), jwt);
    for result in join_all((0..4).map(|_| client.connect())).await {
        assert_eq!(result.unwrap().user, Some(server.user_id()));
    }
    assert_eq!(server.token_requests(), 1, "{}", server.dump());
}

#[rstest]
#[tokio::test]
async fn a_token_is_renewed_before_its_end_and_serves_meanwhile(#[values(Way::Key, Way::Basic)] way: Way) {
    let scene = scene_with(way, Options::new(Generation::V2), None).await;
    let Scene { server, client, .. } = &scene;
    server.set_token_lifetime(Duration::from_secs(6));
    client.connect().await.unwrap();
    let held = server.fault(Op::Token, Effect::HoldReply, Times::ONCE);
    until("a renewal begins", async || {
        client.list().await.unwrap();
        server.token_requests() == 2
    })
    .await;
    for result in join_all((0..16).map(|_| client.list())).await {
        result.unwrap();
    }
    assert_eq!(server.token_requests(), 2, "one renewal at a time: {}", server.dump());
    held.release();
    // Past the life of the first token; the second one serves.
    let refused = || server.calls().iter().filter(|call| call.status() == Some(401)).count();
    let probes = refused();
    until("a second renewal", async || {
        client.list().await.unwrap();
        server.token_requests() >= 3
    })
    .await;
    assert_eq!(refused(), probes, "no call met the end of a token: {}", server.dump());
}

#[rstest]
#[tokio::test]
async fn refused_calls_are_repeated_once_with_one_new_token(#[values(Way::Key, Way::Basic)] way: Way) {
    let Scene { server, client, .. } = scene(way).await;
    server.revoke_tokens();
    for result in join_all((0..16).map(|_| client.list())).await {
        result.unwrap();
    }
    assert_eq!(server.token_requests(), 2, "{}", server.dump());
}

#[tokio::test]
async fn an_expired_token_by_another_name_is_replaced_too() {
    let options = Options { expired_tokens_are_forbidden: true, ..Options::new(Generation::V3Alpha) };
    let Scene { server, client, .. } = scene_with(Way::Key, options, None).await;
    client.connect().await.unwrap();
    // The server's clock runs ahead, so that tokens end earlier than we were told.
    server.set_clock_offset(13 * 3600);
    client.list().await.unwrap();
    assert!(server.calls().iter().any(|call| call.status() == Some(403)), "{}", server.dump());
}

#[tokio::test]
async fn a_create_is_repeated_after_a_certain_refusal_only() {
    let Scene { server, client, .. } = scene(Way::Key).await;
    let creates = || server.calls().iter().filter(|call| call.op == Some(Op::Create)).count();
    server.revoke_tokens();
    client.create(client.turn().await.unwrap(), &config("a")).await.unwrap();
    assert_eq!(creates(), 2);
    // Refused again: that is the answer.
    let body = r#"{"code":16,"message":"Errors.Token.Invalid (AUTH-7fs1e)","details":[{"id":"AUTH-7fs1e"}]}"#;
    let fault = server.fault(Op::Create, Effect::Status(401, Some(body.into())), Times::Always);
    let refused = client.create(client.turn().await.unwrap(), &config("b")).await.unwrap_err();
    assert!(refused.refuses_token() && !refused.may_have_committed(), "{refused:?}");
    assert!(creates() <= 4, "{}", server.dump());
    fault.clear();
    // Not refused, but unknown: never repeated.
    server.fault(Op::Create, Effect::LoseReply, Times::ONCE);
    let before = creates();
    let lost = client.create(client.turn().await.unwrap(), &config("c")).await.unwrap_err();
    assert!(lost.may_have_committed());
    assert_eq!(creates(), before + 1);
    assert_eq!(server.events().iter().filter(|event| event.kind == EventKind::Added).count(), 2);
}

/// The time limit of a create holds for its second attempt too: nothing is sent after it.
#[tokio::test]
async fn a_second_attempt_does_not_come_late() {
    let server = StandIn::start(Options::new(Generation::V2)).await.unwrap();
    let slot = Slot::new("the key");
    put(&slot, &server.machine_key());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = Settings {
        url: server.url().parse().unwrap(),
        host: None,
        ca: None,
        proxy: Proxy::None,
        credential: Credential::PrivateKeyJwt(Source::Slot(slot)),
        rate: FAST,
        timeout: Duration::from_secs(2),
    };
    let client = Client::new(ApiChoice::Auto, settings, Box::new(|_, _, _| {}));
    client.connect().await.unwrap();
    server.revoke_tokens();
    // Reading the issuer and the exchange take most of the time limit each.
    for op in [Op::Discovery, Op::Token] {
        server.fault(op, Effect::Latency(Duration::from_millis(1400)), Times::Always);
    }
    let error = client.create(client.turn().await.unwrap(), &config("a")).await.unwrap_err();
    assert!(!error.may_have_committed(), "{error:?}");
    assert!(error.to_string().contains("not sent"), "{error}");
    assert_eq!(server.events().len(), 0);
}

/// An execution of `function/preuserinfo` that fails makes the endpoint answer 500 to the scope `openid`.
#[tokio::test]
async fn a_server_that_fails_at_both_scopes_is_asked_for_the_one_that_suffices() {
    for way in [Way::Key, Way::Basic, Way::Post] {
        let Scene { server, client, .. } = scene_with(way, Options::new(Generation::V2), None).await;
        server.set_failing_functions(&[Function::PreUserinfo]);
        client.connect().await.unwrap();
        assert_eq!(server.token_requests(), 2, "{way:?}: {}", server.dump());
    }
}

/// Since v4.14 a refusal is a refusal, and no error of the server's.
#[tokio::test]
async fn a_newer_server_refuses_a_key_for_certain() {
    let scene = scene_with(Way::Key, Options::new(Generation::V2), None).await;
    scene.server.set_assertion_refusal(AssertionRefusal::InvalidGrant);
    scene.server.remove_key(&key_id(&scene));
    let advice = scene.client.connect().await.unwrap_err().advice();
    assert!(advice.starts_with("credential refused. Check that the key exists"), "{advice}");
    assert_eq!(scene.server.token_requests(), 1, "fewer scopes would not help: {}", scene.server.dump());
}

/// What makes a credential useless.
type Spoil = fn(&Scene);

#[rstest]
#[tokio::test]
async fn a_refusal_names_what_mends_it(#[values(Generation::V3Alpha, Generation::V2)] generation: Generation) {
    let cases: [(Way, Spoil, &str); 9] = [
        (Way::Key, |s| s.server.remove_key(&key_id(s)), "credential refused, or server error"),
        (Way::Key, |s| put(&s.secret, &key_of_another(s)), "credential refused, or server error"),
        (Way::Key, |s| put(&s.secret, &expired_key(s)), "expired at 2020-01-02T03:04:05Z"),
        (Way::Key, |s| s.server.deactivate_user(&s.server.user_id()), "activate it"),
        (Way::Basic, |s| put(&s.secret, "canary"), "refuses the client secret"),
        (Way::Post, |s| put(&s.secret, "canary"), "refuses the client secret"),
        (Way::Basic, |s| s.server.remove_client_secret(&s.server.user_id()), "has no client secret"),
        (Way::Basic, |s| put(&s.id, "nobody"), "knows no service account with this client id"),
        (Way::Basic, |s| s.server.deactivate_user(&s.server.user_id()), "activate it"),
    ];
    for (way, spoil, said) in cases {
        let scene = scene_with(way, Options::new(generation), None).await;
        spoil(&scene);
        let error = scene.client.connect().await.unwrap_err();
        assert_eq!(error.reason(), Reason::AuthenticationFailed, "{error}");
        let advice = error.advice();
        assert!(advice.contains(said), "{advice}\n{}", scene.server.dump());
        assert!(!advice.contains("canary") && !error.to_string().contains("canary"), "{advice}");
        // Asked again at once, it does not ask ZITADEL: not before a second is over, then two, and so on.
        let (asked, since) = (scene.server.token_requests(), Instant::now());
        for _ in 0..5 {
            assert_eq!(scene.client.connect().await.unwrap_err(), error);
        }
        // A key that is answered with 500 is tried with fewer scopes, too.
        let allowed = 2 * usize::try_from(since.elapsed().as_secs()).unwrap();
        assert!(scene.server.token_requests() <= asked + allowed, "{}", scene.server.dump());
    }
}

fn key_id(scene: &Scene) -> String {
    use secrecy::ExposeSecret;
    let file: Value = serde_json::from_str(scene.secret.get().unwrap().expose_secret()).unwrap();
    file["keyId"].as_str().unwrap().to_owned()
}

/// The right key under another's id: the signature does not fit.
fn key_of_another(scene: &Scene) -> String {
    let mut file: Value = serde_json::from_str(&scene.server.machine_key()).unwrap();
    file["keyId"] = key_id(scene).into();
    file.to_string()
}

fn expired_key(scene: &Scene) -> String {
    let date: Timestamp = "2020-01-02T03:04:05Z".parse().unwrap();
    scene.server.machine_key_of(&scene.server.user_id(), Some(date))
}

#[tokio::test]
async fn a_missing_role_is_told_apart_from_a_lesser_one() {
    let Scene { server, client, .. } = scene(Way::Key).await;
    for (role, said) in [(Role::None, "no role at all"), (Role::OrgOwner, "may not manage targets")] {
        server.set_user_role(&server.user_id(), role);
        let error = client.list().await.unwrap_err();
        assert_eq!(error.reason(), Reason::PermissionDenied);
        assert!(error.advice().contains(said) && error.advice().contains("IAM_OWNER"), "{}", error.advice());
    }
    assert_eq!(server.token_requests(), 1, "another token would change nothing");
}

#[rstest]
#[tokio::test]
async fn a_replaced_credential_is_used_and_a_bad_one_does_no_harm(#[values(Way::Key, Way::Basic)] way: Way) {
    let scene = scene(way).await;
    let Scene { server, client, secret, .. } = &scene;
    let fresh = || match way {
        Way::Key => server.machine_key(),
        _ => server.client_credentials().1,
    };
    // Refused, and not even of the right shape.
    for bad in [key_or_text(&scene, way), "canary".to_owned()] {
        let asked = server.token_requests();
        put(secret, &bad);
        until("the change is noticed", async || {
            client.list().await.unwrap();
            server.token_requests() > asked || way == Way::Key && bad == "canary"
        })
        .await;
        for _ in 0..20 {
            client.list().await.unwrap();
        }
        assert!(server.token_requests() <= asked + 2, "{}", server.dump());
    }
    let asked = server.token_requests();
    put(secret, &fresh());
    until("the good one is used", async || {
        client.list().await.unwrap();
        server.token_requests() > asked
    })
    .await;
    until("its token serves after the former one is revoked", async || {
        server.revoke_tokens();
        client.list().await.is_ok()
    })
    .await;
    // Withdrawn: no call is sent, although a token still lives.
    let calls = server.calls().len();
    secret.set(None);
    assert_eq!(client.list().await.unwrap_err(), Error::Credential("the secret is missing".into()));
    assert_eq!(server.calls().len(), calls);
}

fn key_or_text(scene: &Scene, way: Way) -> String {
    if way == Way::Key { expired_key(scene) } else { "wrong".to_owned() }
}

#[tokio::test]
async fn a_failure_is_mended_at_once_by_another_credential() {
    let Scene { server, client, secret, .. } = scene_with(Way::Basic, Options::new(Generation::V2), None).await;
    put(&secret, "wrong");
    client.connect().await.unwrap_err();
    put(&secret, &server.client_credentials().1);
    client.connect().await.unwrap();
}

/// The clock of this machine does not matter: assertions are dated by the server's. If a key is refused all the same,
/// the clocks are named.
#[rstest]
#[case(-7200, true)]
#[case(-30, false)]
#[case(30, false)]
#[case(7200, true)]
#[tokio::test]
async fn clocks_may_differ(#[case] seconds: i64, #[case] told: bool) {
    let scene = scene_with(Way::Key, Options::new(Generation::V2), None).await;
    scene.server.set_clock_offset(seconds);
    scene.client.connect().await.unwrap();
    scene.server.revoke_tokens();
    put(&scene.secret, &key_of_another(&scene));
    let advice = scene.client.list().await.unwrap_err().advice();
    assert!(advice.contains("credential refused"), "{advice}");
    assert_eq!(advice.contains("clocks"), told, "{advice}");
}

/// In a cluster: the address is the Service's, the audience still the external issuer.
#[rstest]
#[tokio::test]
async fn the_audience_is_the_external_issuer(
    #[values(Way::Key, Way::Basic)] way: Way,
    #[values(Generation::V3Alpha, Generation::V2)] generation: Generation,
) {
    let options = || Options {
        external_domain: Some("auth.example.com".into()),
        strict_host: true,
        external_secure: true,
        ..Options::new(generation)
    };
    let scene = scene_with(way, options(), Some("auth.example.com")).await;
    scene.client.connect().await.unwrap();
    for host in [None, Some("wrong.example.com")] {
        let scene = scene_with(way, options(), host).await;
        let error = scene.client.connect().await.unwrap_err();
        assert_eq!(error.reason(), Reason::ZitadelUnavailable);
        assert!(error.advice().contains("set the connection's host"), "{}", error.advice());
        assert!(error.to_string().contains("unable to set instance"), "{error}");
    }
}

#[rstest]
#[case(Op::Discovery, Effect::Html(502), Reason::ZitadelUnavailable)]
#[case(Op::Token, Effect::Html(500), Reason::ZitadelUnavailable)]
#[case(Op::Token, Effect::Html(200), Reason::ZitadelUnavailable)]
#[case(Op::Token, Effect::Status(503, None), Reason::ZitadelUnavailable)]
#[case(Op::Token, Effect::Status(429, Some("{\"error\":\"slow_down\"}".into())), Reason::RateLimited)]
#[case(Op::Token, Effect::Reset, Reason::ZitadelUnavailable)]
#[case(Op::Token, Effect::Truncated, Reason::ZitadelUnavailable)]
#[tokio::test]
async fn trouble_on_the_way_is_no_refusal(#[case] op: Op, #[case] effect: Effect, #[case] reason: Reason) {
    let Scene { server, client, .. } = scene_with(Way::Key, Options::new(Generation::V2), None).await;
    server.fault(op, effect, Times::Always);
    let error = client.connect().await.unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    assert!(!error.may_have_committed(), "the call itself was not sent");
}

/// Proxies quote what they refuse: neither the token of a call nor what it was exchanged for gets through.
#[rstest]
#[tokio::test]
async fn quoted_secrets_are_struck_out(#[values(Way::Key, Way::Basic, Way::Post)] way: Way) {
    let Scene { server, client, secret, .. } = scene(way).await;
    let calls = server.fault(Op::Any, Effect::Quote(400), Times::Always);
    let quoted = client.list().await.unwrap_err().to_string();
    assert!(quoted.contains("Bearer [struck out]"), "{quoted}");
    calls.clear();
    server.fault(Op::Token, Effect::Quote(400), Times::Always);
    server.revoke_tokens();
    if way != Way::Key {
        put(&secret, "canary/with+odd=characters");
    }
    let quoted = client.list().await.unwrap_err().to_string();
    assert!(quoted.contains("[struck out]") && quoted.contains("bad request"), "{quoted}");
    assert!(!quoted.contains("canary") && !quoted.contains("eyJ"), "{quoted}");
}
