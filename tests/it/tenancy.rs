//! What one namespace tries on another: each attack on its own, and that nothing comes of it.
//!
//! Two tenants share a ClusterConnection; each also has Connections of its own. The attacker may write everything in
//! its namespace, and where a test says so also the status of its Targets.

use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{EventKind, Generation, Options, StandIn, TargetEdit};

use crate::cluster::namespace;
use crate::connections::{by, cluster_connections, connect, offer, secret, setup, shared, through, to, turn};
use crate::world::{World, condition, id, is_ready, object, webhook};

/// The victim's namespace is the world's own; the attacker has another one.
pub struct Tenants {
    pub world: World,
    pub attacker: String,
    pub home: String,
    shared: String,
}

impl Tenants {
    /// Both may use the ClusterConnection, and adopt by it.
    pub async fn new() -> Self {
        let tenants = Self::without_operator().await;
        tenants.start(&[]).await;
        tenants
    }

    /// The same, before an operator runs.
    pub async fn without_operator() -> Self {
        let (home, setup) = shared(Generation::V2).await;
        let world = World::with(setup.without_operator()).await;
        let attacker = namespace(&world.client).await;
        secret(&world, &home, "admin", json!({"pat": world.zitadel.token()})).await;
        let shared = format!("shared-{home}");
        let mut spec = to(&world.zitadel.url(), "admin");
        spec["allowedNamespaces"] = json!({"names": [world.namespace, attacker]});
        spec["adoption"] = json!({"allowedNamespaces": {"names": [world.namespace, attacker]}});
        offer(&world, &shared, spec).await;
        Self { world, attacker, home, shared }
    }

    /// Starts an operator that watches both namespaces and its own one.
    pub async fn start(&self, flags: &[&str]) {
        let watched = format!("--watch-namespaces={},{},{}", self.world.namespace, self.attacker, self.home);
        let flags: Vec<&str> = std::iter::once(watched.as_str()).chain(flags.iter().copied()).collect();
        self.world.start_operator(&flags).await;
    }

    pub fn by_shared(&self) -> Value {
        through("ClusterConnection", &self.shared)
    }

    /// Changes the spec of the ClusterConnection.
    pub async fn set_shared(&self, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        let api = cluster_connections(&self.world);
        let generation = api.patch(&self.shared, &PatchParams::default(), &patch).await.unwrap().metadata.generation;
        // What is created next must not meet the policy of before.
        self.world
            .until("the operator has seen the policy", || async {
                let now = api.get(&self.shared).await.unwrap();
                now.status.and_then(|status| status.observed_generation) == generation
            })
            .await;
    }

    pub fn theirs(&self) -> Api<Target> {
        Api::namespaced(self.world.client.clone(), &self.attacker)
    }

    /// The attacker creates a Target.
    pub async fn attack(&self, name: &str, spec: Value) -> Target {
        self.theirs().create(&PostParams::default(), &object(name, spec)).await.unwrap()
    }

    pub async fn edit(&self, name: &str, change: Value) {
        self.theirs().patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    /// The attacker writes a status, which the chart lets nobody do.
    pub async fn forge(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.theirs().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub async fn told(&self, name: &str, reason: &str) -> Target {
        let api = self.theirs();
        self.world
            .until_some(&format!("the attacker's {name} says {reason}"), || async {
                let target = api.get_opt(name).await.ok()??;
                let current = target.status.as_ref()?.observed_generation == target.metadata.generation;
                (current && condition(&target, "Ready")?.1 == reason).then_some(target)
            })
            .await
    }

    pub async fn gone(&self, name: &str) {
        let api = self.theirs();
        api.delete(name, &DeleteParams::default()).await.unwrap();
        self.world.until("the attacker's is gone", || async { matches!(api.get_opt(name).await, Ok(None)) }).await;
    }

    /// The victim is as it was: Ready, its one target untouched.
    pub async fn unharmed(&self, victim: &Target) {
        self.world.resyncs(3).await;
        let now = self.world.get(&victim.name_any()).await;
        assert_eq!(now.metadata.resource_version, victim.metadata.resource_version, "{}", self.world.explain().await);
        assert!(is_ready(&now));
        let remote = self.world.zitadel.targets().into_iter().find(|remote| remote.id == id(victim)).unwrap();
        assert_eq!((remote.sequence, remote.timeout.as_secs()), (1, 10), "{}", self.world.zitadel.dump());
    }

    pub async fn finish(self) {
        let api = cluster_connections(&self.world);
        for target in self.theirs().list(&ListParams::default()).await.unwrap() {
            let freed = json!({"spec": {"deletionPolicy": "Retain"}});
            self.edit(&target.name_any(), freed).await;
            self.gone(&target.name_any()).await;
        }
        for target in self.world.targets().list(&ListParams::default()).await.unwrap() {
            self.world.delete(&target.name_any()).await;
            self.world.gone(&target.name_any()).await;
        }
        api.delete(&self.shared, &DeleteParams::default()).await.unwrap();
        self.world.until("it is gone", || async { matches!(api.get_opt(&self.shared).await, Ok(None)) }).await;
        self.world.finish().await;
    }
}

/// Who may use a ClusterConnection is its own word alone, and taken back at once.
#[tokio::test]
async fn a_cluster_connection_serves_only_whom_it_allows() {
    let _turn = turn().await;
    let tenants = Tenants::new().await;
    let world = &tenants.world;
    let allow = async |allowed: Value| tenants.set_shared(json!({"allowedNamespaces": allowed})).await;
    allow(json!({"names": [world.namespace]})).await;
    world.create("mine", tenants.by_shared()).await;
    let victim = world.ready("mine").await;
    tenants.attack("foreign", tenants.by_shared()).await;
    let told = tenants.told("foreign", "ConnectionNotAllowed").await;
    assert!(told.metadata.finalizers.is_none(), "nothing was begun");
    assert_eq!(world.zitadel.targets().len(), 1);

    // By label, which only an administrator can give a namespace.
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(world.client.clone());
    let label = Patch::Merge(json!({"metadata": {"labels": {"zitadel": "shared"}}}));
    namespaces.patch(&tenants.attacker, &PatchParams::default(), &label).await.unwrap();
    allow(json!({"names": [world.namespace], "selector": {"matchLabels": {"zitadel": "shared"}}})).await;
    tenants.told("foreign", "Available").await;
    // And taken back: what is there stays as it is, and nothing is done any more.
    allow(json!({"names": [world.namespace], "selector": null})).await;
    tenants.told("foreign", "ConnectionNotAllowed").await;
    let events = world.zitadel.events().len();
    tenants.edit("foreign", json!({"spec": {"timeout": "3s"}})).await;
    tenants.told("foreign", "ConnectionNotAllowed").await;
    tenants.theirs().delete("foreign", &DeleteParams::default()).await.unwrap();
    tenants.unharmed(&victim).await;
    assert_eq!(world.zitadel.events().len(), events);
    allow(json!({"names": [world.namespace, tenants.attacker]})).await;
    let theirs = tenants.theirs();
    world.until("the deletion is finished", || async { matches!(theirs.get_opt("foreign").await, Ok(None)) }).await;
    assert_eq!(world.zitadel.targets().len(), 1);
    tenants.finish().await;
}

/// A Secret of another namespace is out of reach, by name and by path, and so is another namespace's Connection.
#[tokio::test]
async fn foreign_secrets_and_connections_are_out_of_reach() {
    let world = World::with(setup(Generation::V2).without_operator()).await;
    let attacker = namespace(&world.client).await;
    world.start_operator(&[&format!("--watch-namespaces={},{attacker}", world.namespace)]).await;
    secret(&world, &world.namespace, "admin", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &world.namespace, "mine", to(&world.zitadel.url(), "admin")).await;
    world.create("mine", by("mine")).await;
    world.ready("mine").await;

    let spy = StandIn::start(Options::new(Generation::V2)).await.unwrap();
    connect(&world, &attacker, "spy", to(&spy.url(), "admin")).await;
    let theirs: Api<Target> = Api::namespaced(world.client.clone(), &attacker);
    for (name, spec) in [("spy", by("spy")), ("foreign", by("mine"))] {
        theirs.create(&PostParams::default(), &object(name, spec)).await.unwrap();
    }
    for (name, reason) in [("spy", "CredentialsUnavailable"), ("foreign", "ConnectionNotFound")] {
        let told = || async { condition(&theirs.get(name).await.ok()?, "Ready").filter(|ready| ready.1 == reason) };
        world.until_some(&format!("{name} says {reason}"), told).await;
    }
    let path = format!("{}/admin", world.namespace);
    let object = json!({
        "apiVersion": "zitadel-actions.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "path"},
        "spec": to(&spy.url(), &path),
    });
    let refused = world.kubectl(&["apply", "-f", "-"], &object.to_string()).await;
    assert!(refused.err.contains("without a namespace"), "{refused:?}");
    assert!(spy.calls().is_empty(), "a credential may have been sent:\n{}", spy.dump());
    assert_eq!(world.zitadel.targets().len(), 1);
    world.finish().await;
}

/// The shared credential goes to the shared URL alone: a Connection of one's own that names its Secret reads nothing, and
/// nothing in a Target says where calls go.
#[tokio::test]
async fn an_own_url_never_meets_the_shared_credential() {
    let _turn = turn().await;
    let tenants = Tenants::new().await;
    let spy = StandIn::start(Options::new(Generation::V2)).await.unwrap();
    let mut spec = to(&spy.url(), "admin");
    connect(&tenants.world, &tenants.attacker, "spy", spec.clone()).await;
    tenants.attack("spy", by("spy")).await;
    tenants.told("spy", "CredentialsUnavailable").await;
    // Of the same name as the shared one: kinds do not mix.
    connect(&tenants.world, &tenants.attacker, &tenants.shared, to(&spy.url(), "admin")).await;
    tenants.attack("mixed", by(&tenants.shared)).await;
    tenants.told("mixed", "CredentialsUnavailable").await;
    tenants.attack("good", tenants.by_shared()).await;
    tenants.told("good", "Available").await;
    tenants.world.create("mine", tenants.by_shared()).await;
    tenants.world.ready("mine").await;
    // A forged record of where the target lives sends nothing there.
    tenants.forge("good", json!({"connection": {"url": spy.url(), "api": "v2"}})).await;
    tenants.edit("good", json!({"spec": {"timeout": "3s"}})).await;
    tenants.told("good", "Available").await;
    for field in ["url", "host", "credentials"] {
        spec[field] = json!("x");
        let manifest = format!(
            "apiVersion: zitadel-actions.dev/v1alpha1\nkind: Target\nmetadata: {{name: f}}\nspec: {{restAsync: {{}}, timeout: 1s, \
             endpoint: \"https://h.example.com\", {field}: x}}\n"
        );
        let said = tenants.world.kubectl(&["apply", "-f", "-"], &manifest).await;
        assert!(said.err.contains("unknown field"), "{said:?}");
    }
    assert!(spy.calls().is_empty(), "{}", spy.dump());
    assert!(tenants.home != tenants.attacker);
    tenants.finish().await;
}

/// Every way to lay a hand on the target of another namespace: by name, by id, by status, by claim.
#[tokio::test]
async fn a_held_target_cannot_be_claimed() {
    let _turn = turn().await;
    let tenants = Tenants::new().await;
    // The attacker's are older, and wait.
    for name in ["older", "forger", "claimant"] {
        let mut spec = tenants.by_shared();
        spec["suspend"] = json!(true);
        spec["timeout"] = json!("3s");
        tenants.attack(name, spec).await;
        tenants.told(name, "Suspended").await;
    }
    let world = &tenants.world;
    let before = world.get_second().await;
    world.until("the victim is younger", || async { world.get_second().await > before }).await;
    world.create("mine", tenants.by_shared()).await;
    let victim = world.ready("mine").await;
    let held = id(&victim);

    // The same name.
    let mut named = tenants.by_shared();
    named["name"] = json!("MINE");
    tenants.attack("named", named).await;
    tenants.told("named", "NameTaken").await;
    // The same id, from an older Target.
    tenants.edit("older", json!({"spec": {"suspend": false, "externalId": held}})).await;
    tenants.told("older", "AdoptionConflict").await;
    // A claim like the victim's own.
    let claim = victim.annotations()["zitadel-actions.dev/create-claim"].clone();
    let claimed = json!({"metadata": {"annotations": {"zitadel-actions.dev/create-claim": claim}}, "spec": {"suspend": false, "name": "mine"}});
    tenants.edit("claimant", claimed).await;
    tenants.told("claimant", "CreateOutcomeUnknown").await;
    tenants.unharmed(&victim).await;
    for name in ["named", "older"] {
        tenants.gone(name).await;
    }
    tenants.unharmed(&victim).await;
    assert_eq!(world.count(EventKind::Removed), 0, "{}", world.zitadel.dump());
    tenants.finish().await;
}

/// What the server of a namespace's own Connection says, an id included, counts for nobody else.
#[tokio::test]
async fn the_word_of_an_own_server_counts_nowhere_else() {
    let _turn = turn().await;
    let tenants = Tenants::new().await;
    let fake = StandIn::start(Options::new(Generation::V2)).await.unwrap();
    secret(&tenants.world, &tenants.attacker, "own", json!({"pat": fake.token()})).await;
    connect(&tenants.world, &tenants.attacker, "fake", to(&fake.url(), "own")).await;
    tenants.attack("older", by("fake")).await;
    tenants.told("older", "Available").await;
    let world = &tenants.world;
    let before = world.get_second().await;
    world.until("the victim is younger", || async { world.get_second().await > before }).await;
    world.create("mine", tenants.by_shared()).await;
    let victim = world.ready("mine").await;

    // As if the fake had answered with the victim's id and instance.
    let recorded = json!({
        "url": fake.url(), "api": "v2", "instance": world.zitadel.instance_id(),
        "ref": {"kind": "Connection", "name": "fake"},
    });
    tenants.forge("older", json!({"id": id(&victim), "connection": recorded})).await;
    tenants.unharmed(&victim).await;
    tenants
        .edit(
            "older",
            json!({"spec": {"timeout": "3s", "connectionRef": {"kind": "ClusterConnection", "name": tenants.shared}}}),
        )
        .await;
    tenants.told("older", "InstanceChanged").await;
    tenants.unharmed(&victim).await;
    tenants.theirs().delete("older", &DeleteParams::default()).await.unwrap();
    tenants.told("older", "InstanceChanged").await;
    tenants.unharmed(&victim).await;
    tenants.finish().await;
}

impl World {
    /// Creation times have whole seconds, by the API server's clock.
    pub async fn get_second(&self) -> jiff::Timestamp {
        let name = format!("clock-{}", self.zitadel.calls().len());
        let mut probe = object(&name, webhook());
        probe.metadata = ObjectMeta { name: Some(name), ..ObjectMeta::default() };
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let shown = self.targets().create(&params, &probe).await.unwrap();
        shown.metadata.creation_timestamp.unwrap().0
    }
}

/// An id written into a status by somebody who may not write the spec: what another made stays untouched.
#[tokio::test]
async fn a_forged_id_of_a_strangers_target_is_not_believed() {
    let world = World::new(Generation::V2).await;
    let stranger = world.zitadel.external_create("theirs", TargetEdit::default());
    let mut spec = webhook();
    spec["suspend"] = json!(true);
    world.create("hook", spec).await;
    world.reason("hook", "Suspended").await;
    // While nobody is there who knows better; a running operator puts its own status back.
    world.terminate(&world.operator()).await;
    let forged = Patch::Merge(json!({"status": {"id": stranger}}));
    world.targets().patch_status("hook", &PatchParams::default(), &forged).await.unwrap();
    world.edit("hook", json!({"suspend": false})).await;
    world.start_operator(&[]).await;
    world.reason("hook", "AdoptionConflict").await;
    world.delete("hook").await;
    let waits = |t: &Target| condition(t, "Ready").is_some_and(|(_, _, text)| text.contains("deletion waits"));
    world.until_target("hook", "held back", waits).await;
    assert_eq!(world.zitadel.events().len(), 1, "{}", world.zitadel.dump());
    world.edit("hook", json!({"deletionPolicy": "Retain"})).await;
    world.gone("hook").await;
    world.finish().await;
}
