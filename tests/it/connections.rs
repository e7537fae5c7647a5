//! Connections as resources: what they report, whom they serve, how they change and how they go.

use std::sync::OnceLock;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use zitadel_actions_operator::api::connection::{ClusterConnection, Connection, ConnectionReport};
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{EventKind, Generation, Op, Options, Role, StandIn};

use crate::cluster::{client, namespace};
use crate::command::NO_DEFAULT;
use crate::world::{GENERATIONS, Setup, World, condition, id, is_ready, log, webhook};

/// Connections to the stand-in need http; the Secrets of ClusterConnections are in the operator's namespace.
pub fn setup(generation: Generation) -> Setup {
    Setup::new(generation).flag("--zitadel-allow-http", "")
}

/// ClusterConnections belong to no namespace: the tests that have some take turns.
pub async fn turn() -> MutexGuard<'static, ()> {
    static TURN: OnceLock<Mutex<()>> = OnceLock::new();
    TURN.get_or_init(Mutex::default).lock().await
}

/// The operator's own namespace, and a setup that serves ClusterConnections from it.
pub async fn shared(generation: Generation) -> (String, Setup) {
    let home = namespace(&client().await).await;
    let setup = setup(generation).flag("--cluster-connections", "true").flag("--operator-namespace", &home);
    (home, setup)
}

/// Writes a Secret, new or not.
pub async fn secret(world: &World, namespace: &str, name: &str, data: Value) {
    let api: Api<Secret> = Api::namespaced(world.client.clone(), namespace);
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(body)).await.unwrap();
}

pub async fn drop_secret(world: &World, namespace: &str, name: &str) {
    Api::<Secret>::namespaced(world.client.clone(), namespace).delete(name, &DeleteParams::default()).await.unwrap();
}

/// A spec that reads its token from the key `pat` of a Secret.
pub fn to(url: &str, secret: &str) -> Value {
    json!({"url": url, "credentials": {"personalAccessToken": {"secretRef": {"name": secret, "key": "pat"}}}})
}

pub fn connections(world: &World, namespace: &str) -> Api<Connection> {
    Api::namespaced(world.client.clone(), namespace)
}

pub fn cluster_connections(world: &World) -> Api<ClusterConnection> {
    Api::all(world.client.clone())
}

pub async fn connect(world: &World, namespace: &str, name: &str, spec: Value) {
    let object = Connection::new(name, serde_json::from_value(spec).unwrap());
    connections(world, namespace).create(&PostParams::default(), &object).await.expect("the Connection is accepted");
}

/// A ClusterConnection that no other test has.
pub async fn offer(world: &World, name: &str, spec: Value) {
    let object = ClusterConnection::new(name, serde_json::from_value(spec).unwrap());
    cluster_connections(world).create(&PostParams::default(), &object).await.expect("it is accepted");
}

/// A webhook by a Connection of the same namespace.
pub fn by(name: &str) -> Value {
    through("Connection", name)
}

pub fn through(kind: &str, name: &str) -> Value {
    let mut spec = webhook();
    spec["connectionRef"] = json!({"kind": kind, "name": name});
    spec
}

/// Waits until Ready of a connection has this status and reason.
pub async fn says(world: &World, namespace: &str, name: &str, status: &str, reason: &str) -> ConnectionReport {
    let api = connections(world, namespace);
    world
        .until_some(&format!("the Connection {name} says {status} {reason}"), || async {
            reported(api.get_opt(name).await.ok()??, status, reason)
        })
        .await
}

fn reported(object: Connection, status: &str, reason: &str) -> Option<ConnectionReport> {
    let generation = object.meta().generation;
    let report = object.status?;
    let ready = report.conditions.iter().find(|condition| condition.type_ == "Ready")?;
    let fits = ready.status == status && ready.reason == reason && ready.observed_generation == generation;
    fits.then_some(report)
}

/// A second instance, with the default connection's world around it.
async fn second(generation: Generation) -> StandIn {
    StandIn::start(Options::new(generation)).await.unwrap()
}

/// What a chart installs that was given no ZITADEL: it is up, says what is missing, and serves connections.
#[tokio::test]
async fn an_operator_without_a_default_connection_serves_the_others() {
    let world = World::with(setup(Generation::V2).flag(NO_DEFAULT, "")).await;
    let ns = world.namespace.clone();
    world.create("hook", webhook()).await;
    let target = world.reason("hook", "ConnectionNotFound").await;
    let told = condition(&target, "Ready").unwrap().2;
    assert!(told.contains("no default connection") && told.contains("spec.connectionRef"), "{told}");
    secret(&world, &ns, "admin", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &ns, "mine", to(&world.zitadel.url(), "admin")).await;
    world.edit("hook", json!({"connectionRef": {"kind": "Connection", "name": "mine"}})).await;
    world.ready("hook").await;
    world.create("other", webhook()).await;
    world.reason("other", "ConnectionNotFound").await;
    for name in ["other", "hook"] {
        world.delete(name).await;
        world.gone(name).await;
    }
    assert!(world.zitadel.targets().is_empty());
    world.finish().await;
}

#[tokio::test]
async fn a_connection_says_what_answers_and_serves_its_namespace() {
    for generation in GENERATIONS {
        let world = World::with(setup(generation)).await;
        let other = second(generation).await;
        secret(&world, &world.namespace, "admin", json!({"pat": other.token()})).await;
        connect(&world, &world.namespace, "other", to(&other.url(), "admin")).await;
        let report = says(&world, &world.namespace, "other", "True", "Available").await;
        assert_eq!(report.api, Some(generation.to_string()));
        assert_eq!(report.instance, Some(other.instance_id()));
        assert!(report.issuer.is_some() && report.server_version.is_some(), "{report:?}");

        world.create("hook", by("other")).await;
        world.create("plain", webhook()).await;
        let target = world.ready("hook").await;
        assert_eq!(other.targets()[0].id, id(&target));
        let recorded = target.status.unwrap().connection.unwrap();
        assert_eq!((recorded.url, recorded.instance), (other.url(), Some(other.instance_id())));
        assert_eq!(recorded.reference.unwrap().name, "other");
        world.ready("plain").await;
        assert_eq!((world.zitadel.targets().len(), other.targets().len()), (1, 1), "each at its own instance");

        // Drift is corrected at the second instance too, and nothing moves at rest.
        other.external_update(
            &other.targets()[0].id,
            zitadel_stand_in::TargetEdit { endpoint: Some("https://x.example.com".into()), ..Default::default() },
        );
        let endpoint = || other.targets()[0].endpoint.clone();
        world.until("the drift is corrected", || async { endpoint() == "https://hooks.example.com/zitadel" }).await;
        // The Event is told after status is written.
        world.note("DriftCorrected").await;
        let version = connections(&world, &world.namespace).get("other").await.unwrap().metadata.resource_version;
        world.assert_rests("hook").await;
        let now = connections(&world, &world.namespace).get("other").await.unwrap();
        assert_eq!(now.metadata.resource_version, version, "a connection at rest was written");

        let table = world.kubectl(&["get", "connections"], "").await.out;
        let columns: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(columns, ["NAME", "READY", "REASON", "URL", "API", "VERSION", "AGE"]);
        world.delete("hook").await;
        world.gone("hook").await;
        assert!(other.targets().is_empty());
        assert!(!log(&world.operator()).contains(&other.token()), "the token is in the log");
        world.finish().await;
    }
}

#[tokio::test]
async fn every_kind_of_credential_is_read_from_secrets() {
    let world = World::with(setup(Generation::V2)).await;
    let ns = world.namespace.clone();
    let (user, password) = world.zitadel.client_credentials();
    secret(&world, &ns, "iam-admin", json!({"iam-admin.json": world.zitadel.machine_key()})).await;
    secret(&world, &ns, "client", json!({"id": user, "secret": password})).await;
    let key = json!({"privateKeyJwt": {"secretRef": {"name": "iam-admin", "key": "iam-admin.json"}}});
    let pair = json!({"clientCredentials": {
        "clientIdSecretRef": {"name": "client", "key": "id"},
        "clientSecretSecretRef": {"name": "client", "key": "secret"},
    }});
    for (name, credentials) in [("key", key), ("pair", pair)] {
        connect(&world, &ns, name, json!({"url": world.zitadel.url(), "credentials": credentials})).await;
        says(&world, &ns, name, "True", "Available").await;
        world.create(name, by(name)).await;
        world.ready(name).await;
    }
    let log = log(&world.operator());
    assert!(!log.contains(&password) && !log.contains("PRIVATE KEY"), "a secret is in the log");
    world.finish().await;
}

/// From nothing to Ready in the order of a user who finds out step by step.
#[tokio::test]
async fn what_is_missing_is_told_and_awaited() {
    let world = World::with(setup(Generation::V2)).await;
    let ns = world.namespace.clone();
    world.create("hook", by("mine")).await;
    let target = world.reason("hook", "ConnectionNotFound").await;
    assert!(condition(&target, "Reconciling").unwrap().2.contains("there is no Connection mine in this namespace"));
    world.note("ConnectionNotFound").await;

    connect(&world, &ns, "mine", to(&world.zitadel.url(), "admin")).await;
    let target = world.reason("hook", "CredentialsUnavailable").await;
    let message = condition(&target, "Reconciling").unwrap().2;
    assert!(message.contains("the Secret admin") && message.contains("does not exist"), "{message}");
    says(&world, &ns, "mine", "False", "CredentialsUnavailable").await;
    assert!(world.zitadel.calls().is_empty());

    secret(&world, &ns, "admin", json!({"token": world.zitadel.token()})).await;
    let missing = |target: &Target| condition(target, "Ready").is_some_and(|(_, _, text)| text.contains("key pat"));
    world.until_target("hook", "told of the missing key", missing).await;
    secret(&world, &ns, "admin", json!({"pat": "wrong"})).await;
    world.reason("hook", "AuthenticationFailed").await;
    secret(&world, &ns, "admin", json!({"pat": world.zitadel.token()})).await;
    world.ready("hook").await;
    says(&world, &ns, "mine", "True", "Available").await;
    world.finish().await;
}

/// A revoked token is told on all objects, and the new Secret is found without a watch on Secrets.
#[tokio::test]
async fn a_rotated_secret_wakes_its_own_targets_only() {
    let world = World::with(setup(Generation::V2)).await;
    let other = second(Generation::V2).await;
    let (ns, token) = (world.namespace.clone(), other.issue_token(Role::IamOwner));
    secret(&world, &ns, "admin", json!({"pat": token})).await;
    connect(&world, &ns, "mine", to(&other.url(), "admin")).await;
    world.create("mine", by("mine")).await;
    world.create("plain", webhook()).await;
    world.ready("mine").await;
    let plain = world.ready("plain").await;
    let passes = |name: &str| passes_of(&world, name);
    let before = passes("plain");

    other.revoke_token(&token);
    world.reason("mine", "AuthenticationFailed").await;
    says(&world, &ns, "mine", "False", "AuthenticationFailed").await;
    secret(&world, &ns, "admin", json!({"pat": other.issue_token(Role::IamOwner)})).await;
    world.ready("mine").await;
    says(&world, &ns, "mine", "True", "Available").await;
    // A change of the connection itself wakes its own, too.
    let woken = passes("mine");
    let change = Patch::Merge(json!({"spec": {"requestsPerSecond": 30}}));
    connections(&world, &ns).patch("mine", &PatchParams::default(), &change).await.unwrap();
    world.until("its Target is looked at", || async { passes("mine") > woken }).await;
    assert_eq!(passes("plain"), before, "another connection's Target was woken");
    assert_eq!(world.get("plain").await.metadata.resource_version, plain.metadata.resource_version);
    world.finish().await;
}

fn passes_of(world: &World, name: &str) -> usize {
    let mark = format!("resource=\"{name}\"");
    log(&world.operator()).lines().filter(|line| line.contains(&mark) && line.contains("Connect")).count()
}

#[tokio::test]
async fn another_url_is_another_instance_and_touches_nothing() {
    let world = World::with(setup(Generation::V2)).await;
    let (ns, other) = (world.namespace.clone(), second(Generation::V2).await);
    secret(&world, &ns, "admin", json!({"pat": world.zitadel.token()})).await;
    secret(&world, &ns, "other", json!({"pat": other.token()})).await;
    connect(&world, &ns, "mine", to(&world.zitadel.url(), "admin")).await;
    world.create("hook", by("mine")).await;
    world.ready("hook").await;
    let events = world.zitadel.events().len();
    let spec = |url: &str, secret: &str| Patch::Merge(json!({"spec": to(url, secret)}));
    connections(&world, &ns).patch("mine", &PatchParams::default(), &spec(&other.url(), "other")).await.unwrap();
    world.reason("hook", "InstanceChanged").await;
    assert!(other.events().is_empty() && world.zitadel.events().len() == events);
    connections(&world, &ns)
        .patch("mine", &PatchParams::default(), &spec(&world.zitadel.url(), "admin"))
        .await
        .unwrap();
    world.ready("hook").await;
    assert_eq!(world.count(EventKind::Added), 1);
    world.finish().await;
}

/// As when a namespace is deleted: everything goes at once, the Secret first, and yet nothing stays behind.
#[tokio::test]
async fn a_deleted_connection_stays_until_its_targets_are_gone() {
    let world = World::with(setup(Generation::V2)).await;
    let ns = world.namespace.clone();
    secret(&world, &ns, "admin", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &ns, "mine", to(&world.zitadel.url(), "admin")).await;
    world.create("hook", by("mine")).await;
    world.ready("hook").await;
    connections(&world, &ns).delete("mine", &DeleteParams::default()).await.unwrap();
    let report = says(&world, &ns, "mine", "False", "InUse").await;
    assert!(report.conditions[0].message.contains(&format!("{ns}/hook")), "{report:?}");
    // Nothing new is begun by it.
    world.create("late", by("mine")).await;
    let late = world.reason("late", "ConnectionNotFound").await;
    assert!(condition(&late, "Reconciling").unwrap().2.contains("is being deleted"));

    drop_secret(&world, &ns, "admin").await;
    world.edit("hook", json!({"timeout": "3s"})).await;
    world.ready("hook").await;
    world.delete("hook").await;
    world.gone("hook").await;
    assert!(world.zitadel.targets().is_empty());
    let api = connections(&world, &ns);
    world.until("the connection is gone", || async { matches!(api.get_opt("mine").await, Ok(None)) }).await;
    let target = world.get("late").await;
    assert!(target.metadata.finalizers.is_none(), "nothing was made for it");
    world.finish().await;
}

/// An unused connection goes at once.
#[tokio::test]
async fn an_unused_connection_goes() {
    let world = World::with(setup(Generation::V2)).await;
    let ns = world.namespace.clone();
    secret(&world, &ns, "admin", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &ns, "mine", to(&world.zitadel.url(), "admin")).await;
    says(&world, &ns, "mine", "True", "Available").await;
    let api = connections(&world, &ns);
    api.delete("mine", &DeleteParams::default()).await.unwrap();
    world.until("the connection is gone", || async { matches!(api.get_opt("mine").await, Ok(None)) }).await;
    assert!(world.zitadel.calls().iter().all(|call| call.op != Some(Op::Create)));
    world.finish().await;
}

/// A restart with Targets in sync by a connection writes nothing and reads one list.
#[tokio::test]
async fn a_restart_finds_connections_before_it_judges() {
    let world = World::with(setup(Generation::V2)).await;
    let ns = world.namespace.clone();
    secret(&world, &ns, "admin", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &ns, "mine", to(&world.zitadel.url(), "admin")).await;
    for index in 0..5 {
        let name = format!("hook-{index}");
        world.create(&name, by("mine")).await;
        world.ready(&name).await;
    }
    let before: Vec<Target> = world.targets().list(&ListParams::default()).await.unwrap().items;
    world.terminate(&world.operator()).await;
    let events = world.zitadel.events().len();
    world.start_operator(&[]).await;
    world.resyncs(2).await;
    let after = world.targets().list(&ListParams::default()).await.unwrap().items;
    let versions = |all: &[Target]| all.iter().map(|t| t.metadata.resource_version.clone()).collect::<Vec<_>>();
    assert!(after.iter().all(is_ready));
    assert_eq!(versions(&after), versions(&before), "a Target in sync was written");
    assert_eq!(world.zitadel.events().len(), events);
    world.finish().await;
}

/// http is refused unless the operator was started with it: the connection says so, and nothing is sent.
#[tokio::test]
async fn plain_http_is_for_the_operators_flag_to_allow() {
    let world = World::new(Generation::V2).await;
    let ns = world.namespace.clone();
    secret(&world, &ns, "admin", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &ns, "mine", to(&world.zitadel.url(), "admin")).await;
    let report = says(&world, &ns, "mine", "False", "InvalidSpec").await;
    assert!(report.conditions[0].message.contains("url must be https"), "{report:?}");
    world.create("hook", by("mine")).await;
    world.reason("hook", "ConnectionNotAllowed").await;
    assert!(world.zitadel.calls().is_empty());
    world.finish().await;
}
