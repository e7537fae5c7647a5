//! Secrets stay secret: after a run through every failure, at the highest log level, nothing that the operator wrote
//! anywhere has a token, a key or a client secret in it.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use zitadel_stand_in::{Effect, Generation, Op, Role, Times};

use crate::collector::{Collector, Manner};
use crate::world::{Setup, World, condition, log, webhook};

/// What must not appear, each with a name for the message.
#[derive(Default)]
struct Canaries(Vec<(String, String)>);

impl Canaries {
    fn add(&mut self, name: &str, text: &str) {
        // Shorter pieces would be found by chance.
        assert!(text.len() >= 16, "{name} is too short to be a canary");
        self.0.push((name.to_owned(), text.to_owned()));
        // As Secrets and HTTP basic have it, without the end that depends on what follows.
        let whole = ByteString(text.as_bytes()[..text.len() / 3 * 3].to_vec());
        let encoded = serde_json::to_value(whole).unwrap().as_str().unwrap().to_owned();
        self.0.push((format!("{name}, base64"), encoded));
    }

    /// A key: any line of its PEM, and what is signed with it.
    fn add_key(&mut self, file: &str) {
        let file: Value = serde_json::from_str(file).unwrap();
        let pem = file["key"].as_str().unwrap();
        for line in pem.lines().filter(|line| line.len() >= 48 && !line.starts_with("---")) {
            self.add("a line of the private key", line);
        }
    }

    fn assert_absent(&self, place: &str, text: &str) {
        assert!(!text.is_empty(), "{place} is empty: nothing was looked at");
        for (name, canary) in &self.0 {
            if let Some(at) = text.find(canary) {
                let line = text[..at].matches('\n').count() + 1;
                panic!("{name} is in {place}, line {line}");
            }
        }
    }
}

fn put(world: &World, name: &str, text: &str) {
    let fresh = world.dir.path().join(format!("{name}.fresh"));
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, world.dir.path().join(name)).unwrap();
}

/// Makes a failure, waits until it is told on the object, and ends it.
async fn suffer(world: &World, what: &str, round: &mut u32, fail: impl FnOnce(&World), mend: impl FnOnce(&World)) {
    *round += 1;
    fail(world);
    world.edit("hook", json!({"timeout": format!("{}s", 10 + *round)})).await;
    let not_ready = |target: &_| condition(target, "Ready").is_some_and(|(status, _, _)| status == "False");
    world.until_target("hook", &format!("not Ready: {what}"), not_ready).await;
    mend(world);
    // Some of the refusals above read as if the spec were to blame: those wait for another one.
    world.edit("hook", json!({"timeout": format!("{}s", 100 + *round)})).await;
    world.ready("hook").await;
}

/// The failures that any credential can meet.
async fn every_failure(world: &World, round: &mut u32) {
    let effects = [
        Effect::Quote(400),
        Effect::Quote(401),
        Effect::Quote(403),
        Effect::Quote(404),
        Effect::Quote(500),
        Effect::Status(429, None),
        Effect::Html(200),
        Effect::Html(502),
        Effect::Reset,
        Effect::Truncated,
        Effect::HoldReply,
    ];
    for effect in effects {
        let fault = world.zitadel.fault(Op::Any, effect.clone(), Times::Always);
        suffer(world, &format!("{effect:?}"), round, |_| {}, |_| fault.clear()).await;
    }
    let exchanged = world.zitadel.token_requests() > 0;
    for effect in [Effect::Quote(400), Effect::Quote(401), Effect::Quote(500), Effect::Html(200), Effect::Truncated] {
        if exchanged {
            let fault = world.zitadel.fault(Op::Token, effect.clone(), Times::Always);
            let what = format!("{effect:?} of the token endpoint");
            suffer(world, &what, round, |world| world.zitadel.revoke_tokens(), |_| fault.clear()).await;
        }
    }
    let user = world.zitadel.user_id();
    for role in [Role::None, Role::OrgOwner] {
        let (fail, mend) = (user.clone(), user.clone());
        let lower = move |world: &World| world.zitadel.set_user_role(&fail, role);
        let raise = move |world: &World| world.zitadel.set_user_role(&mend, Role::IamOwner);
        suffer(world, "role", round, lower, raise).await;
    }
    let (off, on) = (user.clone(), user);
    let deactivate = move |world: &World| world.zitadel.deactivate_user(&off);
    suffer(world, "deactivated", round, deactivate, move |world| world.zitadel.reactivate_user(&on)).await;
}

/// Everything that the operator wrote, anywhere.
async fn assert_silent(world: &World, collector: &Collector, canaries: &mut Canaries) {
    for token in world.zitadel.every_token() {
        canaries.add("a token", &token);
    }
    let events: Api<Event> = Api::namespaced(world.client.clone(), &world.namespace);
    let events = events.list(&ListParams::default()).await.unwrap();
    canaries.assert_absent("Events", &serde_json::to_string(&events.items).unwrap());
    let targets = world.targets().list(&ListParams::default()).await.unwrap();
    canaries.assert_absent("Targets and their status", &serde_json::to_string(&targets.items).unwrap());
    for path in ["/metrics", "/startupz", "/livez", "/readyz"] {
        canaries.assert_absent(path, &world.http(path).await.unwrap().1);
    }
    let operator = world.operator();
    world.terminate(&operator).await;
    let log = log(&operator);
    assert!(log.contains("\"level\":\"TRACE\""), "the log is not at its highest level");
    assert!(!log.contains("panicked"), "{log}");
    canaries.assert_absent("the log, panics included", &log);
    assert!(collector.spans().iter().any(|span| span.failed), "no failure was traced");
    canaries.assert_absent("the traces", &collector.text());
}

async fn world() -> (World, Collector, u32) {
    let collector = Collector::start(Manner::Takes).await;
    let setup = Setup::new(Generation::V2).flag("--log-level", "trace").flag("--log-format", "json");
    let setup = setup.flag("--otlp-endpoint", &collector.endpoint()).without_operator();
    (World::with(setup).await, collector, 0)
}

#[tokio::test]
async fn a_token_is_found_nowhere() {
    let (world, collector, mut round) = world().await;
    let mut canaries = Canaries::default();
    world.start_operator(&[]).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    every_failure(&world, &mut round).await;
    // What is put in its place: refused, garbled, absent.
    let refused = "canary-that-zitadel-does-not-know";
    let garbled = "canary of several words, by mistake";
    for (name, text) in [("refused", refused), ("garbled", garbled)] {
        canaries.add(name, text);
        world.write_token(text);
        world.resyncs(2).await;
    }
    let absent = |world: &World| std::fs::remove_file(world.token_file()).unwrap();
    suffer(&world, "absent", &mut round, absent, |world| world.write_token(&world.zitadel.token())).await;
    let fresh = world.zitadel.issue_token(Role::IamOwner);
    let revoke = |world: &World| world.zitadel.revoke_token(&world.zitadel.token());
    suffer(&world, "revoked", &mut round, revoke, |world| world.write_token(&fresh)).await;
    assert_silent(&world, &collector, &mut canaries).await;
    world.finish().await;
}

#[tokio::test]
async fn a_key_is_found_nowhere() {
    let (world, collector, mut round) = world().await;
    let mut canaries = Canaries::default();
    let key = world.zitadel.machine_key();
    canaries.add_key(&key);
    put(&world, "key.json", &key);
    world.start_operator(&[&format!("--zitadel-key-file={}", world.dir.path().join("key.json").display())]).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let line = serde_json::from_str::<Value>(&key).unwrap()["key"].as_str().unwrap().lines().nth(1).unwrap().to_owned();
    every_failure(&world, &mut round).await;
    // Half a key, a key of the wrong kind, one that is not JSON at all, and one that ZITADEL does not know.
    let mut other: Value = serde_json::from_str(&key).unwrap();
    other["type"] = "application".into();
    let mut unknown: Value = serde_json::from_str(&key).unwrap();
    unknown["keyId"] = "404".into();
    for bad in [key[..key.len() / 2].to_owned(), other.to_string(), line, unknown.to_string()] {
        let spoil = |world: &World| {
            put(world, "key.json", &bad);
            world.zitadel.revoke_tokens();
        };
        suffer(&world, "bad key", &mut round, spoil, |world| put(world, "key.json", &key)).await;
    }
    assert_silent(&world, &collector, &mut canaries).await;
    world.finish().await;
}

#[rstest::rstest]
#[tokio::test]
async fn a_client_secret_is_found_nowhere(#[values("basic", "post")] way: &str) {
    let (world, collector, mut round) = world().await;
    let mut canaries = Canaries::default();
    let (id, secret) = world.zitadel.client_credentials();
    let wrong = "canary-that-is-no-secret-of-this-account";
    canaries.add("the client secret", &secret);
    canaries.add("the wrong client secret", wrong);
    canaries.add("client id and secret", &format!("{id}:{secret}"));
    put(&world, "client-id", &id);
    put(&world, "client-secret", &secret);
    let file = |name: &str| world.dir.path().join(name).display().to_string();
    let flags = [
        format!("--zitadel-client-id-file={}", file("client-id")),
        format!("--zitadel-client-secret-file={}", file("client-secret")),
        format!("--zitadel-client-auth={way}"),
    ];
    world.start_operator(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    every_failure(&world, &mut round).await;
    let spoil = |world: &World| {
        put(world, "client-secret", wrong);
        world.zitadel.revoke_tokens();
    };
    suffer(&world, "wrong secret", &mut round, spoil, |world| put(world, "client-secret", &secret)).await;
    assert_silent(&world, &collector, &mut canaries).await;
    world.finish().await;
}

/// Secrets that the operator reads by itself pass through the Kubernetes client, which has logs of its own.
#[tokio::test]
async fn a_secret_of_a_connection_is_found_nowhere() {
    let (world, collector, mut round) = world().await;
    let mut canaries = Canaries::default();
    let key = world.zitadel.machine_key();
    canaries.add_key(&key);
    canaries.add("the key file", &key[..96]);
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
    let secret = |text: &str| -> Secret {
        let secret = json!({"metadata": {"name": "iam-admin"}, "stringData": {"iam-admin.json": text}});
        serde_json::from_value(secret).unwrap()
    };
    secrets.create(&PostParams::default(), &secret(&key)).await.unwrap();
    let connection = json!({
        "apiVersion": "zitadel-actions.dev/v1alpha1",
        "kind": "Connection",
        "metadata": {"name": "main"},
        "spec": {
            "url": world.zitadel.url(),
            "credentials": {"privateKeyJwt": {"secretRef": {"name": "iam-admin", "key": "iam-admin.json"}}},
        },
    });
    let said = world.kubectl(&["apply", "-f", "-"], &connection.to_string()).await;
    assert!(said.ok, "{}", said.err);
    world.start_operator(&["--zitadel-allow-http"]).await;
    let mut spec = webhook();
    spec["connectionRef"] = json!({"kind": "Connection", "name": "main"});
    world.create("hook", spec).await;
    world.ready("hook").await;
    assert!(world.zitadel.token_requests() > 0, "the connection is not used");
    let bad = "canary: not a key file at all, {";
    canaries.add("a garbled Secret", bad);
    let user = world.zitadel.user_id();
    let (off, on) = (user.clone(), user);
    let deactivate = move |world: &World| world.zitadel.deactivate_user(&off);
    suffer(&world, "deactivated", &mut round, deactivate, move |world| world.zitadel.reactivate_user(&on)).await;
    secrets.replace("iam-admin", &PostParams::default(), &secret(bad)).await.unwrap();
    world.zitadel.revoke_tokens();
    world.reason("hook", "CredentialsUnavailable").await;
    secrets.replace("iam-admin", &PostParams::default(), &secret(&key)).await.unwrap();
    world.ready("hook").await;
    assert_silent(&world, &collector, &mut canaries).await;
    world.finish().await;
}

/// The search itself works: what is there is found, in each of its forms.
#[test]
fn a_canary_that_sings_is_heard() {
    let mut canaries = Canaries::default();
    canaries.add("a secret", "canary-in-a-mine-1");
    canaries.assert_absent("nothing", "all is quiet");
    for song in ["Bearer canary-in-a-mine-1", "Basic Y2FuYXJ5LWluLWEtbWluZS0x"] {
        assert!(std::panic::catch_unwind(|| canaries.assert_absent("a song", song)).is_err(), "{song}");
    }
    assert!(std::panic::catch_unwind(|| canaries.assert_absent("silence", "")).is_err());
}
