//! Rights that go, and admission that says no: nothing is deleted in ZITADEL that could not go in the cluster, and what is
//! missing is said.

use devkit::proxy::{HttpProxy, KubeCall};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use zitadel_stand_in::{Effect, EventKind, Generation, Op, Times};

use crate::account::{Account, rules};
use crate::cluster::client;
use crate::exposition::scrape;
use crate::world::{GENERATIONS, Setup, World, condition, is_ready, log, webhook};

/// A world whose operator has the rights of an installation with `watchNamespaces`.
async fn bounded() -> (Account, World) {
    let account = Account::new(&client().await).await;
    let mut setup = Setup::new(Generation::V2).without_operator();
    setup.kubeconfig = Some(account.kubeconfig());
    let world = World::with(setup).await;
    account.grant(Some(&world.namespace), &rules()).await;
    granted(&account, &world, true).await;
    world.start_operator(&[]).await;
    (account, world)
}

async fn granted(account: &Account, world: &World, so: bool) {
    let namespace = world.namespace.clone();
    let patch = || async { account.may("patch", "targets", &namespace).await == so };
    world.until(&format!("the right to patch Targets is {so}"), patch).await;
}

/// The namespace controller deletes Role and RoleBinding as it deletes the Targets, in any order.
#[tokio::test]
async fn a_namespace_that_is_deleted_with_the_operators_rights_shows_no_ready_target_that_is_gone_in_zitadel() {
    let (account, world) = bounded().await;
    let names = ["a", "b", "c"];
    for name in names {
        world.create(name, webhook()).await;
        world.ready(name).await;
    }
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces.delete(&world.namespace, &DeleteParams::default()).await.unwrap();
    // Each is gone, or its reconciliation was refused.
    let decided = || async {
        let left = world.targets().list(&ListParams::default()).await.unwrap().items;
        let log = log(&world.operator());
        let refused = |name: &str| {
            let mut lines = log.lines().filter(|line| line.contains("a pass failed"));
            lines.any(|line| line.contains(&format!("name=\"{name}\"")) && line.contains("refused"))
        };
        left.iter().all(|target| refused(&target.name_any()))
    };
    world.until("each Target is gone or its reconciliation was refused", decided).await;
    for target in world.targets().list(&ListParams::default()).await.unwrap() {
        let id = crate::world::id(&target);
        let held = world.zitadel.targets().iter().any(|remote| remote.id == id);
        let ready = condition(&target, "Ready").is_some_and(|(status, ..)| status == "True");
        println!("{}: Ready={ready}, in ZITADEL={held}", target.name_any());
        assert!(held || !ready, "{} says Ready of what is gone\n{}", target.name_any(), world.explain().await);
    }
    // What docs/uninstall.md says to do: the rights come from elsewhere.
    account.grant(None, &rules()).await;
    let gone = || async { matches!(namespaces.get_opt(&world.namespace).await, Ok(None)) };
    world.until("the namespace is gone", gone).await;
    assert!(world.zitadel.targets().is_empty(), "{}", world.zitadel.dump());
    account.unbind(None).await;
    world.finish().await;
}

#[tokio::test]
async fn without_the_right_to_remove_the_finalizer_nothing_is_deleted_in_zitadel() {
    let (account, world) = bounded().await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    account.unbind(Some(&world.namespace)).await;
    granted(&account, &world, false).await;
    world.delete("hook").await;
    let failed = || async {
        let log = log(&world.operator());
        log.lines().any(|line| line.contains("a pass failed") && line.contains("cannot patch resource"))
    };
    world.until("the log says which right is missing", failed).await;
    assert_eq!(world.count(EventKind::Removed), 0, "{}", world.zitadel.dump());
    let counted = || async {
        let all = scrape(world.port()).await;
        all.sum("zitadel_target_failures_total", &[("reason", "ClusterAccessDenied")]) >= 1.0
    };
    world.until("a metric counts it", counted).await;
    account.grant(Some(&world.namespace), &rules()).await;
    world.gone("hook").await;
    assert_eq!(world.count(EventKind::Removed), 1, "{}", world.zitadel.dump());
    world.finish().await;
}

/// A ValidatingAdmissionPolicy that refuses every update of Targets in one namespace.
struct Policy {
    client: Client,
    name: String,
}

const REFUSAL: &str = "Targets of this namespace are frozen";

impl Policy {
    async fn new(world: &World) -> Self {
        let name = format!("frozen-{}", world.namespace);
        let api = "admissionregistration.k8s.io/v1";
        let policy = json!({"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": ["zitadel-actions.dev"], "apiVersions": ["*"],
                "operations": ["UPDATE"], "resources": ["targets"]}]},
            "validations": [{"expression": "false", "message": REFUSAL}]}});
        let only = json!({"matchLabels": {"kubernetes.io/metadata.name": world.namespace}});
        let binding = json!({"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": only}}});
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [policy, binding]});
        let applied = world.kubectl(&["apply", "--filename", "-"], &list.to_string()).await;
        assert!(applied.ok, "{}", applied.err);
        Self { client: world.client.clone(), name }
    }

    /// Waits until it acts on an object.
    async fn acts_on(&self, world: &World, object: &str) {
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        let patch = Patch::Merge(json!({"metadata": {"labels": {"try": "it"}}}));
        let refused = || async { world.targets().patch(object, &params, &patch).await.is_err() };
        world.until("the policy acts", refused).await;
    }

    async fn lift(self) {
        use k8s_openapi::api::admissionregistration::v1::{
            ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        };
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.client.clone());
        bindings.delete(&self.name, &DeleteParams::default()).await.unwrap();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client);
        policies.delete(&self.name, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test]
async fn an_admission_policy_that_refuses_updates_is_named_on_the_object_and_nothing_is_deleted() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("old", webhook()).await;
        world.ready("old").await;
        let policy = Policy::new(&world).await;
        policy.acts_on(&world, "old").await;

        world.create("new", webhook()).await;
        let target = world.reason("new", "ClusterAccessDenied").await;
        let (_, _, message) = condition(&target, "Stalled").unwrap();
        println!("new: {message}");
        assert!(message.contains(REFUSAL), "{message}");
        assert!(world.note("ClusterAccessDenied").await.contains(REFUSAL));
        assert_eq!(world.calls(Op::Create), 1, "only the one before the policy\n{}", world.zitadel.dump());

        world.delete("old").await;
        let target = world.reason("old", "ClusterAccessDenied").await;
        let (_, _, message) = condition(&target, "Ready").unwrap();
        println!("old: {message}");
        assert!(message.starts_with("deletion waits") && message.contains(REFUSAL), "{message}");
        assert_eq!(world.count(EventKind::Removed), 0, "{}", world.zitadel.dump());
        assert_eq!(world.notes("Deleted").await, [""; 0]);

        policy.lift().await;
        world.gone("old").await;
        world.ready("new").await;
        assert_eq!(world.count(EventKind::Removed), 1, "{}", world.zitadel.dump());
        world.note("Deleted").await;
        assert_eq!(world.notes("Deleted").await.len(), 1);
        world.finish().await;
    }
}

/// The question whether the finalizer could go costs a call and is no write.
#[tokio::test]
async fn before_a_target_is_deleted_in_zitadel_the_object_is_asked_about_and_not_written() {
    let admin = tokio::task::spawn_blocking(|| crate::cluster::plane().kubeconfig().to_owned()).await.unwrap();
    let proxy = HttpProxy::<KubeCall>::before_kubernetes(&admin).expect("the proxy starts");
    let mut setup = Setup::new(Generation::V2);
    setup.kubeconfig = Some(proxy.kubeconfig());
    let world = World::with(setup).await;
    world.create("hook", webhook()).await;
    let before = world.ready("hook").await;
    assert!(is_ready(&before));
    let held = world.zitadel.fault(Op::Delete, Effect::HoldReply, Times::ONCE);
    world.delete("hook").await;
    let marked = world.get("hook").await.resource_version();
    world.until("the target is deleted in ZITADEL", || async { world.count(EventKind::Removed) == 1 }).await;
    assert_eq!(proxy.count(KubeCall::TryRelease), 1);
    assert_eq!(world.get("hook").await.resource_version(), marked, "the object was written");
    held.release();
    world.gone("hook").await;
    assert_eq!(proxy.count(KubeCall::Release), 1);
    world.finish().await;
}
