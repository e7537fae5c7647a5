//! Every kind of credential, by the real binary: that it works, is replaced without a restart, and says what mends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};
use zitadel_stand_in::{EventKind, Generation, Op, Options};

use crate::world::{GENERATIONS, Setup, World, condition, is_ready, log, webhook};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Key,
    Basic,
    Post,
}

/// Replaces a file as a mounted Secret is replaced: by a rename.
fn put(world: &World, name: &str, text: &str) {
    let fresh = world.dir.path().join(format!("{name}.fresh"));
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, world.dir.path().join(name)).unwrap();
}

fn put_fresh(world: &World, way: Way) {
    if way == Way::Key {
        put(world, "key.json", &world.zitadel.machine_key());
    } else {
        let (id, secret) = world.zitadel.client_credentials();
        put(world, "client-id", &id);
        put(world, "client-secret", &secret);
    }
}

/// Starts an operator with a fresh credential of this kind.
pub async fn start(world: &World, way: Way) -> String {
    put_fresh(world, way);
    let file = |name: &str| world.dir.path().join(name).display().to_string();
    let flags = match way {
        Way::Key => vec![format!("--zitadel-key-file={}", file("key.json"))],
        Way::Basic | Way::Post => vec![
            format!("--zitadel-client-id-file={}", file("client-id")),
            format!("--zitadel-client-secret-file={}", file("client-secret")),
            format!("--zitadel-client-auth={}", if way == Way::Post { "post" } else { "basic" }),
        ],
    };
    world.start_operator(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn world_with(generation: Generation, way: Way) -> World {
    let world = World::with(Setup::new(generation).without_operator()).await;
    start(&world, way).await;
    world
}

/// Ready=False with a reason and advice in words.
async fn assert_told(world: &World, name: &str, reason: &str, advice: &str) {
    let told = |target: &_| {
        condition(target, "Ready").is_some_and(|(_, why, message)| why == reason && message.contains(advice))
    };
    world.until_target(name, &format!("told {reason}: {advice}"), told).await;
}

/// The id in a key file.
fn key_id(world: &World) -> String {
    let text = std::fs::read_to_string(world.dir.path().join("key.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["keyId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_kind_does_everything_with_one_token() {
    for generation in GENERATIONS {
        for way in [Way::Key, Way::Basic, Way::Post] {
            let world = world_with(generation, way).await;
            world.create("hook", webhook()).await;
            world.ready("hook").await;
            world.edit("hook", json!({"timeout": "3s"})).await;
            world.ready("hook").await;
            world.delete("hook").await;
            world.gone("hook").await;
            assert_eq!(world.zitadel.token_requests(), 1, "{way:?}: {}", world.zitadel.dump());
            let by_us = world.zitadel.events().iter().all(|event| event.editor == world.zitadel.user_id());
            assert!(by_us && world.count(EventKind::Removed) == 1, "{}", world.zitadel.dump());
            let (_, metrics) = world.http("/metrics").await.unwrap();
            assert!(metrics.contains(r#"zitadel_api_requests_total{op="token",code="200"}"#), "{metrics}");
            world.finish().await;
        }
    }
}

#[tokio::test]
async fn a_credential_is_replaced_without_notice() {
    for way in [Way::Key, Way::Basic] {
        let world = world_with(Generation::V2, way).await;
        world.create("one", webhook()).await;
        world.ready("one").await;
        let old = (way == Way::Key).then(|| key_id(&world));
        // A new client secret makes the old one useless by itself.
        put_fresh(&world, way);
        if let Some(old) = old {
            world.zitadel.remove_key(&old);
        }
        world.zitadel.revoke_tokens();
        world.create("two", webhook()).await;
        world.ready("two").await;
        assert!(is_ready(&world.get("one").await));
        let failures = world.notes("AuthenticationFailed").await;
        assert!(failures.is_empty(), "{failures:?}\n{}", world.explain().await);
        world.finish().await;
    }
}

/// Also where nothing else would make a call for a day: whoever removes the old key next is safe.
#[tokio::test]
async fn a_replaced_key_is_tried_at_once_while_nothing_happens() {
    let setup = Setup::new(Generation::V2).flag("--resync-interval", "86400").without_operator();
    let world = World::with(setup).await;
    start(&world, Way::Key).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let asked = world.zitadel.token_requests();
    put_fresh(&world, Way::Key);
    world.until("the new key is exchanged", || async { world.zitadel.token_requests() > asked }).await;
    assert!(is_ready(&world.get("hook").await));
    world.finish().await;
}

/// Tokens of a few seconds: renewed before their end, so that no call is ever refused.
#[tokio::test]
async fn tokens_are_renewed_before_they_end() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    world.zitadel.set_token_lifetime(std::time::Duration::from_secs(6));
    start(&world, Way::Key).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    world.until("tokens come and go", || async { world.zitadel.token_requests() >= 4 }).await;
    // Without a token, and so refused: the probes of the routes alone.
    let refused = |call: &zitadel_stand_in::Call| call.status() == Some(401) && call.op.is_some();
    assert!(!world.zitadel.calls().iter().any(refused), "{}", world.zitadel.dump());
    assert!(is_ready(&world.get("hook").await));
    world.finish().await;
}

/// What makes a key useless, what is told, and what mends it.
type Case = (&'static str, fn(&World), &'static str, &'static str, fn(&World));

/// Spoils the credential in each way, one after the other; the object says why and recovers by itself.
async fn told_and_mended(world: &World, cases: &[Case]) {
    for (round, (name, spoil, reason, advice, mend)) in cases.iter().enumerate() {
        spoil(world);
        world.zitadel.revoke_tokens();
        world.edit("hook", json!({"timeout": format!("{}s", 20 + round)})).await;
        assert_told(world, "hook", reason, advice).await;
        let target = world.get("hook").await;
        assert!(condition(&target, "Reconciling").is_some() && condition(&target, "Stalled").is_none(), "{name}");
        mend(world);
        world.ready("hook").await;
    }
}

#[tokio::test]
async fn a_refused_key_names_what_mends_it() {
    let fresh: fn(&World) = |world| put_fresh(world, Way::Key);
    let cases: [Case; 6] = [
        ("removed", |w| w.zitadel.remove_key(&key_id(w)), "AuthenticationFailed", "or server error", fresh),
        (
            "expired",
            |w| {
                let expired = "2020-01-02T03:04:05Z".parse().ok();
                put(w, "key.json", &w.zitadel.machine_key_of(&w.zitadel.user_id(), expired));
            },
            "AuthenticationFailed",
            "expired at 2020-01-02T03:04:05Z",
            fresh,
        ),
        (
            "deactivated",
            |w| w.zitadel.deactivate_user(&w.zitadel.user_id()),
            "AuthenticationFailed",
            "activate it",
            |w| w.zitadel.reactivate_user(&w.zitadel.user_id()),
        ),
        ("garbled", |w| put(w, "key.json", "{}"), "CredentialsUnavailable", "JSON key file", fresh),
        ("emptied", |w| put(w, "key.json", "\n"), "CredentialsUnavailable", "is empty", fresh),
        (
            "gone",
            |w| std::fs::remove_file(w.dir.path().join("key.json")).unwrap(),
            "CredentialsUnavailable",
            "cannot be read",
            fresh,
        ),
    ];
    let world = world_with(Generation::V3Alpha, Way::Key).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    told_and_mended(&world, &cases).await;
    assert_eq!(world.count(EventKind::Added), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_refused_client_names_what_mends_it() {
    let fresh: fn(&World) = |world| put_fresh(world, Way::Basic);
    let cases: [Case; 4] = [
        ("wrong", |w| put(w, "client-secret", "wrong"), "AuthenticationFailed", "refuses the client secret", fresh),
        (
            "removed",
            |w| w.zitadel.remove_client_secret(&w.zitadel.user_id()),
            "AuthenticationFailed",
            "has no client secret",
            fresh,
        ),
        ("unknown", |w| put(w, "client-id", "nobody"), "AuthenticationFailed", "knows no service account", fresh),
        ("emptied", |w| put(w, "client-id", ""), "CredentialsUnavailable", "client-id is empty", fresh),
    ];
    let world = world_with(Generation::V2, Way::Basic).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    told_and_mended(&world, &cases).await;
    world.finish().await;
}

/// A refusal is not met by asking again and again: neither per object nor per second.
#[tokio::test]
async fn a_refused_credential_is_not_hammered() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let key = world.zitadel.machine_key();
    let id = serde_json::from_str::<Value>(&key).unwrap()["keyId"].as_str().unwrap().to_owned();
    world.zitadel.remove_key(&id);
    put(&world, "key.json", &key);
    world.start_operator(&[&format!("--zitadel-key-file={}", world.dir.path().join("key.json").display())]).await;
    for index in 0..20 {
        world.create(&format!("hook-{index}"), webhook()).await;
    }
    for index in 0..20 {
        world.reason(&format!("hook-{index}"), "AuthenticationFailed").await;
    }
    world.until("it is tried a few times", || async { world.zitadel.token_requests() >= 3 }).await;
    let asked = world.zitadel.token_requests();
    assert!(asked <= 6, "{asked} exchanges for 20 objects:\n{}", world.zitadel.dump());
    put_fresh(&world, Way::Key);
    for index in 0..20 {
        world.ready(&format!("hook-{index}")).await;
    }
    world.finish().await;
}

#[tokio::test]
async fn a_bad_token_does_not_displace_a_good_one() {
    let world = World::new(Generation::V2).await;
    world.create("one", webhook()).await;
    world.ready("one").await;
    let good = world.zitadel.token();
    for bad in ["no-token-of-this-instance", "two words"] {
        world.write_token(bad);
        world.resyncs(2).await;
        assert!(is_ready(&world.get("one").await), "{}", world.explain().await);
    }
    world.create("two", webhook()).await;
    world.ready("two").await;
    assert!(log(&world.operator()).contains("the former one is still used"));
    // When the good one ends, the bad one is what there is.
    world.write_token("no-token-of-this-instance");
    world.zitadel.revoke_token(&good);
    world.create("three", webhook()).await;
    assert_told(&world, "three", "AuthenticationFailed", "replace the token").await;
    world.write_token(&world.zitadel.issue_token(zitadel_stand_in::Role::IamOwner));
    world.ready("three").await;
    world.finish().await;
}

/// In a cluster the URL is a Service's; a key signs for the external issuer all the same.
#[tokio::test]
async fn a_key_works_by_an_address_in_the_cluster() {
    for generation in GENERATIONS {
        let mut setup = Setup::new(generation).flag("--zitadel-host", "auth.example.com").without_operator();
        setup.stand_in = Options {
            external_domain: Some("auth.example.com".into()),
            strict_host: true,
            external_secure: true,
            ..Options::new(generation)
        };
        let world = World::with(setup).await;
        let operator = start(&world, Way::Key).await;
        world.create("hook", webhook()).await;
        world.ready("hook").await;
        world.terminate(&operator).await;
        let key = format!("--zitadel-key-file={}", world.dir.path().join("key.json").display());
        world.start_operator(&[&key, "--zitadel-host=wrong.example.com"]).await;
        world.edit("hook", json!({"timeout": "3s"})).await;
        assert_told(&world, "hook", "ZitadelUnavailable", "external domain").await;
        assert_eq!(world.zitadel.events().len(), 1, "nothing was touched");
        world.finish().await;
    }
}

#[tokio::test]
async fn a_key_works_whatever_the_clock_says() {
    for seconds in [-7200, 7200] {
        let world = World::with(Setup::new(Generation::V2).without_operator()).await;
        world.zitadel.set_clock_offset(seconds);
        start(&world, Way::Key).await;
        world.create("hook", webhook()).await;
        world.ready("hook").await;
        world.finish().await;
    }
}

/// Pods often have these variables for other purposes; a token must not take a way that nobody chose for it.
#[tokio::test]
async fn a_proxy_of_the_environment_is_used_when_asked_for() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let proxy = Router::new().fallback(move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        StatusCode::BAD_GATEWAY
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, proxy).await });
    let mut setup = Setup::new(Generation::V2);
    setup.env =
        vec![("HTTP_PROXY".into(), url.clone()), ("http_proxy".into(), url), ("NO_PROXY".into(), String::new())];
    let world = World::with(setup).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    assert_eq!(seen.load(Ordering::SeqCst), 0, "nobody asked for a proxy");
    world.terminate(&world.operator()).await;
    let calls = world.calls(Op::Update);
    world.start_operator(&["--zitadel-use-proxy"]).await;
    world.edit("hook", json!({"timeout": "3s"})).await;
    world.reason("hook", "ZitadelUnavailable").await;
    assert!(seen.load(Ordering::SeqCst) > 0);
    assert_eq!(world.calls(Op::Update), calls, "nothing went past the proxy");
    serving.abort();
    world.finish().await;
}
