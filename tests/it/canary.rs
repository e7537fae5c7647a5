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

/// The failures that any credential can meet, in the parts of one test each: every one of them is waited for.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// ZITADEL says no, and quotes what it was sent.
    Refusals,
    /// What comes is no answer of ZITADEL's.
    Nonsense,
    /// The token endpoint fails, for credentials that use it.
    Exchange,
    /// The account is not what it was.
    Account,
}

/// Where secrets are carried through failures, and what of them must not be heard of outside.
struct Mine {
    world: World,
    collector: Collector,
    canaries: Canaries,
    round: u32,
}

impl Mine {
    /// Without an operator, whose log will be at its highest level.
    async fn open() -> Self {
        let collector = Collector::start(Manner::Takes).await;
        let setup = Setup::new(Generation::V2).flag("--log-level", "trace").flag("--log-format", "json");
        let setup = setup.flag("--otlp-endpoint", &collector.endpoint()).without_operator();
        Self { world: World::with(setup).await, collector, canaries: Canaries::default(), round: 0 }
    }

    /// The path of a file whose content the operator is given.
    fn put(&self, name: &str, text: &str) -> String {
        put(&self.world, name, text);
        self.world.dir.path().join(name).display().to_string()
    }

    /// An operator with these flags, and a Target that is Ready.
    async fn begin(&self, flags: &[&str], spec: Value) {
        self.world.start_operator(flags).await;
        self.world.create("hook", spec).await;
        self.world.ready("hook").await;
    }

    /// Makes a failure, waits until it is told on the object, and ends it.
    async fn suffer(&mut self, what: &str, fail: impl FnOnce(&World), mend: impl FnOnce(&World)) {
        let world = &self.world;
        self.round += 1;
        fail(world);
        world.edit("hook", json!({"timeout": format!("{}s", 10 + self.round)})).await;
        let not_ready = |target: &_| condition(target, "Ready").is_some_and(|(status, _, _)| status == "False");
        world.until_target("hook", &format!("not Ready: {what}"), not_ready).await;
        mend(world);
        // Some refusals read as if the spec were to blame: those wait for another one.
        world.edit("hook", json!({"timeout": format!("{}s", 100 + self.round)})).await;
        world.ready("hook").await;
    }

    async fn every_failure(&mut self, part: Part) {
        match part {
            Part::Refusals => {
                let quotes = [400, 401, 403, 404, 500].map(Effect::Quote);
                for effect in quotes.into_iter().chain([Effect::Status(429, None)]) {
                    self.answered(Op::Any, effect).await;
                }
            }
            Part::Nonsense => {
                let pages = [200, 502].map(Effect::Html);
                for effect in pages.into_iter().chain([Effect::Reset, Effect::Truncated, Effect::HoldReply]) {
                    self.answered(Op::Any, effect).await;
                }
            }
            Part::Exchange => {
                assert!(self.world.zitadel.token_requests() > 0, "this credential is not exchanged");
                let quotes = [400, 401, 500].map(Effect::Quote);
                for effect in quotes.into_iter().chain([Effect::Html(200), Effect::Truncated]) {
                    let fault = self.world.zitadel.fault(Op::Token, effect.clone(), Times::Always);
                    let what = format!("{effect:?} of the token endpoint");
                    self.suffer(&what, |world| world.zitadel.revoke_tokens(), |_| fault.clear()).await;
                }
            }
            Part::Account => {
                for role in [Role::None, Role::OrgOwner] {
                    let set = |role| move |world: &World| world.zitadel.set_user_role(&world.zitadel.user_id(), role);
                    self.suffer("role", set(role), set(Role::IamOwner)).await;
                }
                self.deactivated().await;
            }
        }
    }

    async fn answered(&mut self, op: Op, effect: Effect) {
        let fault = self.world.zitadel.fault(op, effect.clone(), Times::Always);
        self.suffer(&format!("{effect:?} of {op:?}"), |_| {}, |_| fault.clear()).await;
    }

    async fn deactivated(&mut self) {
        let deactivate = |world: &World| world.zitadel.deactivate_user(&world.zitadel.user_id());
        let reactivate = |world: &World| world.zitadel.reactivate_user(&world.zitadel.user_id());
        self.suffer("deactivated", deactivate, reactivate).await;
    }

    /// Everything that the operator wrote, anywhere.
    async fn assert_silent(mut self) {
        let Self { world, collector, canaries, .. } = &mut self;
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
        self.world.finish().await;
    }
}

#[rstest::rstest]
#[tokio::test]
async fn a_token_is_found_nowhere(#[values(Part::Refusals, Part::Nonsense, Part::Account)] part: Part) {
    let mut mine = Mine::open().await;
    mine.begin(&[], webhook()).await;
    mine.every_failure(part).await;
    mine.assert_silent().await;
}

/// What is put in its place: refused, garbled, absent, another.
#[tokio::test]
async fn what_comes_after_a_token_is_found_nowhere() {
    let mut mine = Mine::open().await;
    mine.begin(&[], webhook()).await;
    let refused = "canary-that-zitadel-does-not-know";
    let garbled = "canary of several words, by mistake";
    for (name, text) in [("refused", refused), ("garbled", garbled)] {
        mine.canaries.add(name, text);
        mine.world.write_token(text);
        mine.world.resyncs(2).await;
    }
    let absent = |world: &World| std::fs::remove_file(world.token_file()).unwrap();
    mine.suffer("absent", absent, |world| world.write_token(&world.zitadel.token())).await;
    let fresh = mine.world.zitadel.issue_token(Role::IamOwner);
    let revoke = |world: &World| world.zitadel.revoke_token(&world.zitadel.token());
    mine.suffer("revoked", revoke, |world| world.write_token(&fresh)).await;
    mine.assert_silent().await;
}

/// An operator with the key of a machine account, which is returned.
async fn with_key() -> (Mine, String) {
    let mut mine = Mine::open().await;
    let key = mine.world.zitadel.machine_key();
    mine.canaries.add_key(&key);
    let path = mine.put("key.json", &key);
    mine.begin(&[&format!("--zitadel-key-file={path}")], webhook()).await;
    (mine, key)
}

#[rstest::rstest]
#[tokio::test]
async fn a_key_is_found_nowhere(#[values(Part::Refusals, Part::Nonsense, Part::Exchange, Part::Account)] part: Part) {
    let (mut mine, _) = with_key().await;
    mine.every_failure(part).await;
    mine.assert_silent().await;
}

/// The key of a system user never leaves the operator, and the tokens that it signs go to ZITADEL alone.
#[rstest::rstest]
#[tokio::test]
async fn the_key_of_a_system_user_is_found_nowhere(#[values(Part::Refusals, Part::Nonsense)] part: Part) {
    let mut mine = Mine::open().await;
    let key = mine.world.zitadel.system_user_key();
    mine.world.zitadel.add_system_user("admin-client", &key.public_key, Role::IamOwner);
    mine.canaries.add_key(&json!({"key": key.private_key}).to_string());
    let path = mine.put("tls.key", &key.private_key);
    let flag = format!("--zitadel-system-user-key-file={path}");
    mine.begin(&["--zitadel-system-user=admin-client", &flag], webhook()).await;
    mine.every_failure(part).await;
    let half = key.private_key[..key.private_key.len() / 2].to_owned();
    // A token that was signed before serves to its end, unless ZITADEL forgets the user.
    let spoil = |world: &World| {
        put(world, "tls.key", &half);
        world.zitadel.remove_system_user("admin-client");
    };
    let mend = |world: &World| {
        put(world, "tls.key", &key.private_key);
        world.zitadel.add_system_user("admin-client", &key.public_key, Role::IamOwner);
    };
    mine.suffer("half a key", spoil, mend).await;
    mine.assert_silent().await;
}

/// Half a key, a key of the wrong kind, one that is not JSON at all, and one that ZITADEL does not know.
#[tokio::test]
async fn a_bad_key_is_found_nowhere() {
    let (mut mine, key) = with_key().await;
    let line = serde_json::from_str::<Value>(&key).unwrap()["key"].as_str().unwrap().lines().nth(1).unwrap().to_owned();
    let mut other: Value = serde_json::from_str(&key).unwrap();
    other["type"] = "application".into();
    let mut unknown: Value = serde_json::from_str(&key).unwrap();
    unknown["keyId"] = "404".into();
    for bad in [key[..key.len() / 2].to_owned(), other.to_string(), line, unknown.to_string()] {
        let spoil = |world: &World| {
            put(world, "key.json", &bad);
            world.zitadel.revoke_tokens();
        };
        mine.suffer("bad key", spoil, |world| put(world, "key.json", &key)).await;
    }
    mine.assert_silent().await;
}

#[rstest::rstest]
#[tokio::test]
async fn a_client_secret_is_found_nowhere(
    #[values("basic", "post")] way: &str,
    #[values(Part::Refusals, Part::Nonsense, Part::Exchange, Part::Account)] part: Part,
) {
    let mut mine = Mine::open().await;
    let (id, secret) = mine.world.zitadel.client_credentials();
    let wrong = "canary-that-is-no-secret-of-this-account";
    mine.canaries.add("the client secret", &secret);
    mine.canaries.add("the wrong client secret", wrong);
    mine.canaries.add("client id and secret", &format!("{id}:{secret}"));
    let flags = [
        format!("--zitadel-client-id-file={}", mine.put("client-id", &id)),
        format!("--zitadel-client-secret-file={}", mine.put("client-secret", &secret)),
        format!("--zitadel-client-auth={way}"),
    ];
    mine.begin(&flags.each_ref().map(String::as_str), webhook()).await;
    mine.every_failure(part).await;
    let spoil = |world: &World| {
        put(world, "client-secret", wrong);
        world.zitadel.revoke_tokens();
    };
    mine.suffer("wrong secret", spoil, |world| put(world, "client-secret", &secret)).await;
    mine.assert_silent().await;
}

/// Secrets that the operator reads by itself pass through the Kubernetes client, which has logs of its own.
#[tokio::test]
async fn a_secret_of_a_connection_is_found_nowhere() {
    let mut mine = Mine::open().await;
    let key = mine.world.zitadel.machine_key();
    mine.canaries.add_key(&key);
    mine.canaries.add("the key file", &key[..96]);
    let secrets: Api<Secret> = Api::namespaced(mine.world.client.clone(), &mine.world.namespace);
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
            "url": mine.world.zitadel.url(),
            "credentials": {"privateKeyJwt": {"secretRef": {"name": "iam-admin", "key": "iam-admin.json"}}},
        },
    });
    let said = mine.world.kubectl(&["apply", "-f", "-"], &connection.to_string()).await;
    assert!(said.ok, "{}", said.err);
    let mut spec = webhook();
    spec["connectionRef"] = json!({"kind": "Connection", "name": "main"});
    mine.begin(&["--zitadel-allow-http"], spec).await;
    assert!(mine.world.zitadel.token_requests() > 0, "the connection is not used");
    let bad = "canary: not a key file at all, {";
    mine.canaries.add("a garbled Secret", bad);
    mine.deactivated().await;
    // What a Connection tries by itself is in no trace: this call is a pass's own.
    mine.answered(Op::Update, Effect::Quote(500)).await;
    secrets.replace("iam-admin", &PostParams::default(), &secret(bad)).await.unwrap();
    mine.world.zitadel.revoke_tokens();
    mine.world.reason("hook", "CredentialsUnavailable").await;
    secrets.replace("iam-admin", &PostParams::default(), &secret(&key)).await.unwrap();
    mine.world.ready("hook").await;
    mine.assert_silent().await;
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
