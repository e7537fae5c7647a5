//! Who may use a connection, and who may take over what is in ZITADEL already. Each attack leaves its victim as it was.

use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Effect, EventKind, Op, TargetEdit, Times};

use crate::connections::{by, connect, secret, to, turn};
use crate::tenancy::Tenants;
use crate::world::{condition, id, is_ready, object, webhook};

const CLAIM: &str = "zitadel-actions.dev/create-claim";
const FINALIZER: &str = "zitadel-actions.dev/target";

fn with(mut spec: Value, fields: &Value) -> Value {
    let more = fields.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(more);
    spec
}

fn message(target: &Target) -> String {
    condition(target, "Ready").unwrap().2
}

impl Tenants {
    /// The victim's target, held by a Connection of its own to the URL that the shared one has.
    async fn held_by_an_own_connection(&self) -> Target {
        let (world, ns) = (&self.world, &self.world.namespace);
        secret(world, ns, "own", json!({"pat": world.zitadel.token()})).await;
        connect(world, ns, "own", to(&world.zitadel.url(), "own")).await;
        world.create("mine", by("own")).await;
        world.ready("mine").await
    }

    /// An edit of the victim's arrives, and its deletion leaves nothing behind.
    async fn still_holds(&self, victim: &Target) {
        let (world, name) = (&self.world, victim.name_any());
        world.edit(&name, json!({"timeout": "20s"})).await;
        world.ready(&name).await;
        let remote = || world.zitadel.targets().into_iter().find(|remote| remote.id == id(victim));
        assert_eq!(remote().unwrap().timeout.as_secs(), 20, "{}", world.zitadel.dump());
        world.delete(&name).await;
        world.gone(&name).await;
        assert!(remote().is_none(), "{}", world.zitadel.dump());
    }

    /// Creates an attacker's Target with a claim on a name, and our finalizer if `held`.
    async fn claim(&self, name: &str, claimed: &str, spec: Value, held: bool) {
        let mut target = object(name, spec);
        let claim = json!({
            "name": claimed, "since": "2020-01-01T00:00:00Z", "after": "2020-01-01T00:00:00Z", "time": "2099-01-01T00:00:00Z",
        });
        target.annotations_mut().insert(CLAIM.to_owned(), claim.to_string());
        target.finalizers_mut().extend(held.then(|| FINALIZER.to_owned()));
        self.theirs().create(&PostParams::default(), &target).await.unwrap();
    }

    /// The victim's create is settled, as if nobody else claimed its name.
    async fn settles(&self, name: &str) {
        let world = &self.world;
        world.ready(name).await;
        assert_eq!(world.count(EventKind::Added), 1, "{}", world.zitadel.dump());
        world.delete(name).await;
        world.gone(name).await;
        assert!(world.zitadel.targets().is_empty(), "{}", world.zitadel.dump());
    }
}

#[tokio::test]
async fn a_suspended_wish_of_a_namespace_that_is_not_allowed_dispossesses_nobody() {
    let _turn = turn().await;
    let tenants = Tenants::new().await;
    tenants.set_shared(json!({"allowedNamespaces": {"names": [tenants.world.namespace]}})).await;
    let victim = tenants.held_by_an_own_connection().await;
    let wish = with(tenants.by_shared(), &json!({"suspend": true, "externalId": id(&victim)}));
    tenants.attack("wish", wish).await;
    tenants.told("wish", "Suspended").await;
    tenants.unharmed(&victim).await;
    tenants.still_holds(&victim).await;
    tenants.finish().await;
}

#[tokio::test]
async fn a_wish_on_an_administrators_connection_takes_nothing_from_a_holder_by_an_own_one() {
    let _turn = turn().await;
    let tenants = Tenants::new().await;
    let victim = tenants.held_by_an_own_connection().await;
    tenants.attack("wish", with(tenants.by_shared(), &json!({"externalId": id(&victim)}))).await;
    tenants.told("wish", "AdoptionConflict").await;
    tenants.unharmed(&victim).await;
    tenants.still_holds(&victim).await;
    tenants.finish().await;
}

/// What an administrator made by hand, for an execution to call, stays his; also to look at it needs the right.
#[tokio::test]
async fn a_hand_made_target_is_not_taken_over_by_whoever_may_edit_targets() {
    let _turn = turn().await;
    let tenants = Tenants::without_operator().await;
    // As without the flag: the operator's own namespace alone.
    tenants.start(&["--adoption-namespaces="]).await;
    let (world, home) = (&tenants.world, &tenants.home);
    world.create("mine", tenants.by_shared()).await;
    world.ready("mine").await;
    let (events, gets) = (world.zitadel.events().len(), world.calls(Op::Get));
    let made = world.zitadel.external_create("token-enricher", TargetEdit::default());
    let wish = with(webhook(), &json!({"externalId": made}));
    tenants.attack("adopts", wish.clone()).await;
    tenants.attack("looks", with(wish.clone(), &json!({"managementPolicy": "Observe"}))).await;
    for name in ["adopts", "looks"] {
        let told = tenants.told(name, "ConnectionNotAllowed").await;
        let said = message(&told);
        assert!(
            said.contains("--adoption-namespaces") && said.contains("zitadel.adoption.allowedNamespaces"),
            "{said}"
        );
        assert!(told.metadata.finalizers.is_none(), "nothing was begun");
        assert!(told.status.unwrap().id.is_none(), "nothing was learned");
        tenants.gone(name).await;
    }
    assert_eq!(world.zitadel.events().len(), events + 1, "{}", world.zitadel.dump());
    assert_eq!(world.calls(Op::Get), gets, "the target was read");

    let own: Api<Target> = Api::namespaced(world.client.clone(), home);
    own.create(&PostParams::default(), &object("adopts", wish)).await.unwrap();
    let ready = || async { is_ready(&own.get("adopts").await.unwrap()) };
    world.until("the operator's own namespace adopts", ready).await;
    own.delete("adopts", &DeleteParams::default()).await.unwrap();
    world.until("it goes", || async { matches!(own.get_opt("adopts").await, Ok(None)) }).await;
    assert!(world.zitadel.targets().iter().all(|target| target.id != made), "{}", world.zitadel.dump());
    tenants.finish().await;
}

#[tokio::test]
async fn the_default_connection_serves_only_whom_it_allows() {
    let _turn = turn().await;
    let tenants = Tenants::without_operator().await;
    let (world, attacker) = (&tenants.world, &tenants.attacker);
    let named = format!("--allowed-namespaces={}", world.namespace);
    tenants.start(&[&named]).await;
    world.create("mine", webhook()).await;
    world.ready("mine").await;
    tenants.attack("foreign", webhook()).await;
    let told = tenants.told("foreign", "ConnectionNotAllowed").await;
    let said = message(&told);
    assert!(said.contains("--allowed-namespaces") && said.contains("zitadel.allowedNamespaces"), "{said}");
    assert!(told.metadata.finalizers.is_none(), "nothing was begun");
    assert_eq!(world.zitadel.targets().len(), 1, "{}", world.zitadel.dump());

    // By label, which only an administrator can give a namespace.
    world.terminate(&world.operator()).await;
    let selected = format!("--allowed-namespace-selector=kubernetes.io/metadata.name in ({attacker})");
    tenants.start(&[&named, &selected]).await;
    tenants.told("foreign", "Available").await;
    assert!(is_ready(&world.get("mine").await));
    tenants.gone("foreign").await;
    tenants.finish().await;
}

/// The right is taken back and given again: what was adopted is not touched in between, and each change is heard at
/// once.
#[tokio::test]
async fn a_right_to_adopt_can_be_taken_back() {
    let _turn = turn().await;
    let tenants = Tenants::new().await;
    let (world, attacker) = (&tenants.world, &tenants.attacker);
    let allow = async |names: Value| {
        tenants.set_shared(json!({"adoption": {"allowedNamespaces": {"names": names}}})).await;
    };
    world.create("mine", tenants.by_shared()).await;
    let victim = world.ready("mine").await;
    let made = world.zitadel.external_create("legacy", TargetEdit::default());
    tenants.attack("adopts", with(tenants.by_shared(), &json!({"externalId": made}))).await;
    tenants.told("adopts", "Available").await;
    tenants.attack("own", tenants.by_shared()).await;
    tenants.told("own", "Available").await;

    allow(json!([])).await;
    let told = tenants.told("adopts", "ConnectionNotAllowed").await;
    assert!(message(&told).contains("spec.adoption.allowedNamespaces"), "{}", message(&told));
    let events = world.zitadel.events().len();
    tenants.edit("adopts", json!({"spec": {"timeout": "3s"}})).await;
    tenants.told("adopts", "ConnectionNotAllowed").await;
    tenants.theirs().delete("adopts", &DeleteParams::default()).await.unwrap();
    let waits = || async { message(&tenants.theirs().get("adopts").await.unwrap()).contains("deletion waits") };
    world.until("its deletion waits", waits).await;
    world.resyncs(3).await;
    assert_eq!(world.zitadel.events().len(), events, "{}", world.zitadel.dump());
    // What it creates is its own all the while.
    tenants.edit("own", json!({"spec": {"timeout": "3s"}})).await;
    tenants.told("own", "Available").await;

    allow(json!([attacker])).await;
    let theirs = tenants.theirs();
    world.until("the deletion ends", || async { matches!(theirs.get_opt("adopts").await, Ok(None)) }).await;
    assert!(world.zitadel.targets().iter().all(|target| target.id != made), "{}", world.zitadel.dump());
    tenants.gone("own").await;
    tenants.unharmed(&victim).await;
    tenants.finish().await;
}

/// A claim counts by the connection of its object alone: here there is none, and one that does not allow it.
#[tokio::test]
async fn an_older_forged_claim_takes_no_target_away() {
    let _turn = turn().await;
    let tenants = Tenants::new().await;
    let world = &tenants.world;
    tenants.set_shared(json!({"allowedNamespaces": {"names": [world.namespace]}})).await;
    tenants.claim("nowhere", "mine", by("nowhere"), false).await;
    tenants.told("nowhere", "ConnectionNotFound").await;
    tenants.claim("held", "mine", tenants.by_shared(), true).await;
    tenants.told("held", "ConnectionNotAllowed").await;
    let before = world.get_second().await;
    world.until("the victim is younger", || async { world.get_second().await > before }).await;

    world.zitadel.fault(Op::Create, Effect::LoseReply, Times::ONCE);
    world.create("mine", tenants.by_shared()).await;
    tenants.settles("mine").await;
    tenants.finish().await;
}

#[tokio::test]
async fn a_younger_forged_claim_holds_nothing_up() {
    let _turn = turn().await;
    let tenants = Tenants::new().await;
    let world = &tenants.world;
    tenants.set_shared(json!({"allowedNamespaces": {"names": [world.namespace]}})).await;
    let held = world.zitadel.fault(Op::Create, Effect::HoldReply, Times::ONCE);
    world.create("mine", tenants.by_shared()).await;
    world.until("its create is under way", || async { held.hits() > 0 }).await;
    tenants.claim("nowhere", "mine", by("nowhere"), false).await;
    tenants.claim("held", "mine", tenants.by_shared(), true).await;
    tenants.settles("mine").await;
    tenants.finish().await;
}

#[tokio::test]
async fn a_conflict_names_no_object_of_another_namespace() {
    let _turn = turn().await;
    let tenants = Tenants::new().await;
    let world = &tenants.world;
    world.create("secret-project", tenants.by_shared()).await;
    let victim = world.ready("secret-project").await;
    let wish = with(tenants.by_shared(), &json!({"externalId": id(&victim)}));
    tenants.attack("spy", wish.clone()).await;
    let told = tenants.told("spy", "AdoptionConflict").await;
    let shown = serde_json::to_string(&told.status).unwrap();
    assert!(message(&told).contains("a Target of another namespace"), "{shown}");
    assert!(!shown.contains("secret-project") && !shown.contains(&world.namespace), "{shown}");
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(world.client.clone(), &tenants.attacker);
    let told_by = || async {
        let all = events.list(&kube::api::ListParams::default()).await.unwrap();
        all.into_iter().find(|event| event.reason.as_deref() == Some("AdoptionConflict"))?.note
    };
    let note = world.until_some("an Event tells of it", told_by).await;
    assert!(!note.contains("secret-project"), "{note}");
    // In its own namespace it is named.
    world.create("twin", wish).await;
    let twin = world.reason("twin", "AdoptionConflict").await;
    assert!(message(&twin).contains("secret-project"), "{}", message(&twin));
    tenants.finish().await;
}

/// As a restore leaves it, which can put both into one second; here the copy is even the older one.
#[tokio::test]
async fn a_copy_does_not_go_before_its_original() {
    let _turn = turn().await;
    let tenants = Tenants::new().await;
    let world = &tenants.world;
    tenants.attack("copy", with(tenants.by_shared(), &json!({"suspend": true, "timeout": "3s", "name": "mine"}))).await;
    tenants.told("copy", "Suspended").await;
    let before = world.get_second().await;
    world.until("the original is younger", || async { world.get_second().await > before }).await;
    world.create("mine", tenants.by_shared()).await;
    let original = world.ready("mine").await;

    let mut claim: Value = serde_json::from_str(&original.annotations()[CLAIM]).unwrap();
    claim["object"] = json!(original.uid());
    let annotations = json!({CLAIM: claim.to_string()});
    tenants.edit("copy", json!({"metadata": {"annotations": annotations, "finalizers": [FINALIZER]}})).await;
    let status = serde_json::to_value(&original.status).unwrap();
    tenants.forge("copy", json!({"id": status["id"], "connection": status["connection"]})).await;
    tenants.edit("copy", json!({"spec": {"suspend": false}})).await;
    tenants.told("copy", "AdoptionConflict").await;
    tenants.unharmed(&original).await;
    tenants.gone("copy").await;
    tenants.unharmed(&original).await;
    tenants.finish().await;
}

/// Neither shows yet in what the other looks at: one of them has it, and the other one never writes.
#[tokio::test]
async fn of_two_adoptions_at_once_one_writes() {
    let _turn = turn().await;
    let tenants = Tenants::without_operator().await;
    tenants.start(&["--zitadel-timeout=30"]).await;
    let world = &tenants.world;
    let as_specified = TargetEdit {
        interrupt_on_error: Some(true),
        endpoint: Some("https://hooks.example.com/zitadel".to_owned()),
        ..TargetEdit::default()
    };
    let made = world.zitadel.external_create("legacy", as_specified);
    let spec = |timeout: &str| with(tenants.by_shared(), &json!({"name": "legacy", "timeout": timeout}));
    tenants.attack("older", with(spec("3s"), &json!({"suspend": true}))).await;
    tenants.told("older", "Suspended").await;

    let held = world.zitadel.fault(Op::Get, Effect::HoldReply, Times::N(2));
    world.create("younger", with(spec("20s"), &json!({"externalId": made}))).await;
    world.until("the younger one reads it", || async { held.hits() == 1 }).await;
    tenants.edit("older", json!({"spec": {"suspend": false, "externalId": made}})).await;
    world.until("the older one reads it", || async { held.hits() == 2 }).await;
    held.release();

    let settled = || async {
        let both = [world.get("younger").await, tenants.theirs().get("older").await.unwrap()];
        let conflict = |target: &Target| condition(target, "Ready").is_some_and(|ready| ready.1 == "AdoptionConflict");
        both.iter().any(is_ready) && both.iter().any(conflict)
    };
    world.until("one of them has it", settled).await;
    assert_eq!(world.count(EventKind::Changed), 1, "{}", world.zitadel.dump());
    tenants.finish().await;
}
