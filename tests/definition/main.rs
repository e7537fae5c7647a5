//! The CRD of Targets is deleted while Targets exist, whatever rights go before it: as with Retain, nothing is deleted in
//! ZITADEL.
//!
//! A test target of its own, because what it does ends every other test on the same control plane; its tests take turns.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]
#![allow(clippy::needless_pass_by_value, reason = "json!() values are built for the call")]
#![allow(dead_code, reason = "the helpers are those of the behaviour tests, which use all of them")]

#[path = "../it/account.rs"]
mod account;
#[path = "../it/cluster.rs"]
mod cluster;
#[path = "../it/command.rs"]
mod command;
#[path = "../it/oracle.rs"]
mod oracle;
#[path = "../it/world.rs"]
mod world;

use std::path::Path;
use std::sync::OnceLock;

use devkit::proxy::{Act, Fate, HttpProxy, KubeCall, Rule};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::DeleteParams;
use tokio::sync::{Mutex, MutexGuard};
use zitadel_stand_in::{EventKind, Generation};

use account::{Account, rules};
use cluster::{client, kubectl, plane};
use serde_json::{Value, json};
use world::{Setup, World, condition, log, webhook};

const CRD: &str = "targets.zitadel-actions.dev";
/// In place of the one namespace that tests watch.
const EVERYWHERE: &str = "--watch-namespaces=";

/// One test at a time, with the CRDs.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: OnceLock<Mutex<()>> = OnceLock::new();
    let turn = TURN.get_or_init(Mutex::default).lock().await;
    let install = || {
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        for arguments in [
            &["apply", "--filename", crds.to_str().unwrap()][..],
            &["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"],
        ] {
            let said = kubectl(plane(), arguments, "");
            assert!(said.ok, "{}", said.err);
        }
    };
    tokio::task::spawn_blocking(install).await.unwrap();
    turn
}

/// The rules of an installation for all namespaces, which may read the CRD.
fn cluster_rules() -> Value {
    let mut rules = rules();
    rules.as_array_mut().unwrap().push(json!({
        "apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
        "resourceNames": ["targets.zitadel-actions.dev"], "verbs": ["get"],
    }));
    rules
}

fn definitions(world: &World) -> Api<CustomResourceDefinition> {
    Api::all(world.client.clone())
}

async fn delete_crd(world: &World) {
    definitions(world).delete(CRD, &DeleteParams::default()).await.unwrap();
}

async fn crd_gone(world: &World) {
    let gone = || async { matches!(definitions(world).get_opt(CRD).await, Ok(None)) };
    world.until("the CRD is gone", gone).await;
}

/// Three Targets in ZITADEL.
async fn three(world: &World) {
    for index in 0..3 {
        let name = format!("hook-{index}");
        world.create(&name, webhook()).await;
        world.ready(&name).await;
    }
}

/// Nothing was deleted in ZITADEL.
fn assert_kept(world: &World) {
    println!("removed in ZITADEL: {}, left: {}", world.count(EventKind::Removed), world.zitadel.targets().len());
    assert_eq!(world.count(EventKind::Removed), 0, "{}", world.zitadel.dump());
    assert_eq!(world.zitadel.targets().len(), 3);
}

/// A world for an operator of this account, behind a proxy.
async fn behind(account: &Account) -> (HttpProxy<KubeCall>, World) {
    let proxy = HttpProxy::before_kubernetes(&account.kubeconfig()).expect("the proxy starts");
    let mut setup = Setup::new(Generation::V2).without_operator();
    setup.kubeconfig = Some(proxy.kubeconfig());
    (proxy, World::with(setup).await)
}

/// The first question about the CRD is lost; it is answered later. Then rights go, and then the CRD.
async fn first_question_lost(account: &Account) -> World {
    account.grant(None, &cluster_rules()).await;
    let (proxy, world) = behind(account).await;
    let may_read = || async { account.may("get", &format!("crd/{CRD}"), &world.namespace).await };
    world.until("the operator may read the CRD", may_read).await;
    let lost = proxy.rule(Rule::next(KubeCall::Crd, Act::Cut));
    world.start_operator(&[EVERYWHERE]).await;
    lost.reached().await;
    three(&world).await;
    let answered = |entry: &devkit::proxy::Entry<_>| entry.call == KubeCall::Crd && entry.fate == Fate::Answered(200);
    world.until("the question is asked again", || async { proxy.log().iter().any(answered) }).await;
    // The operator goes on using it.
    std::mem::forget(proxy);
    world
}

#[tokio::test]
async fn a_lost_question_at_start_and_a_right_that_goes_before_the_crd_delete_nothing() {
    let _turn = turn().await;
    let account = Account::new(&client().await).await;
    let world = first_question_lost(&account).await;
    account.grant(None, &rules()).await;
    let refused = || async { !account.may("get", &format!("crd/{CRD}"), &world.namespace).await };
    world.until("the right is gone", refused).await;
    delete_crd(&world).await;
    crd_gone(&world).await;
    assert_kept(&world);
    assert_eq!(world.terminate(&world.operator()).await, 0);
    account.unbind(None).await;
}

#[tokio::test]
async fn a_lost_question_at_start_and_a_binding_that_goes_before_the_crd_delete_nothing() {
    let _turn = turn().await;
    let account = Account::new(&client().await).await;
    let world = first_question_lost(&account).await;
    account.unbind(None).await;
    let refused = || async { !account.may("patch", "targets", &world.namespace).await };
    world.until("the rights are gone", refused).await;
    delete_crd(&world).await;
    let refused = |name: &str| {
        let log = log(&world.operator());
        let mut lines = log.lines().filter(|line| line.contains("a pass failed"));
        lines.any(|line| line.contains(&format!("name=\"{name}\"")) && line.contains("refused"))
    };
    let all = || async { ["hook-0", "hook-1", "hook-2"].iter().all(|name| refused(name)) };
    world.until("the log says of each Target that the API server refuses", all).await;
    assert_kept(&world);
    // With its rights back the operator lets them go.
    account.grant(None, &cluster_rules()).await;
    crd_gone(&world).await;
    assert_kept(&world);
    assert_eq!(world.terminate(&world.operator()).await, 0);
    account.unbind(None).await;
}

#[tokio::test]
async fn an_operator_of_all_namespaces_that_may_not_read_the_crd_says_so_and_deletes_nothing_until_it_may() {
    let _turn = turn().await;
    let account = Account::new(&client().await).await;
    account.grant(None, &rules()).await;
    let (_proxy, world) = behind(&account).await;
    let granted = || async { account.may("patch", "targets", &world.namespace).await };
    world.until("the rights are there", granted).await;
    world.start_operator(&[EVERYWHERE]).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    world.delete("hook").await;
    let target = world.reason("hook", "ClusterAccessDenied").await;
    let (_, _, message) = condition(&target, "Ready").unwrap();
    println!("{message}");
    assert!(message.contains("customresourcedefinitions"), "{message}");
    assert!(world.note("ClusterAccessDenied").await.contains("customresourcedefinitions"));
    assert_eq!(world.count(EventKind::Removed), 0, "{}", world.zitadel.dump());
    account.grant(None, &cluster_rules()).await;
    world.gone("hook").await;
    assert_eq!(world.count(EventKind::Removed), 1, "{}", world.zitadel.dump());
    world.finish().await;
    account.unbind(None).await;
}

/// It has no right to read the CRD, and needs none.
#[tokio::test]
async fn an_operator_of_one_namespace_deletes_targets_but_not_for_a_crd_that_is_deleted() {
    let _turn = turn().await;
    let account = Account::new(&client().await).await;
    let (_proxy, world) = behind(&account).await;
    account.grant(Some(&world.namespace), &rules()).await;
    let granted = || async { account.may("patch", "targets", &world.namespace).await };
    world.until("the rights are there", granted).await;
    world.start_operator(&[]).await;
    world.create("other", webhook()).await;
    world.ready("other").await;
    world.delete("other").await;
    world.gone("other").await;
    assert_eq!(world.count(EventKind::Removed), 1, "{}", world.zitadel.dump());
    three(&world).await;
    delete_crd(&world).await;
    crd_gone(&world).await;
    println!("removed in ZITADEL: {}, left: {}", world.count(EventKind::Removed), world.zitadel.targets().len());
    assert_eq!((world.count(EventKind::Removed), world.zitadel.targets().len()), (1, 3), "{}", world.zitadel.dump());
    assert_eq!(world.terminate(&world.operator()).await, 0);
}

#[tokio::test]
async fn a_deleted_definition_lets_every_target_go_and_deletes_none() {
    let _turn = turn().await;
    // Connections are not installed here: the default one works, the probes do not mind, and who asks for one is told.
    for kind in ["connections", "clusterconnections"] {
        let name = format!("{kind}.zitadel-actions.dev");
        let deleted = tokio::task::spawn_blocking(move || kubectl(plane(), &["delete", "crd", &name], ""));
        assert!(deleted.await.unwrap().ok);
    }
    let world = World::new(Generation::V2).await;
    three(&world).await;
    let mut spec = webhook();
    spec["connectionRef"] = serde_json::json!({"kind": "Connection", "name": "mine"});
    world.create("connected", spec).await;
    let target = world.reason("connected", "ConnectionNotFound").await;
    assert!(world::condition(&target, "Reconciling").unwrap().2.contains("Connections cannot be read"));
    assert_eq!(world.http("/readyz").await.unwrap().0, 200);

    delete_crd(&world).await;
    crd_gone(&world).await;
    assert_kept(&world);
    // The process lives on without its resource, and ends when it is told to.
    assert_eq!(world.http("/livez").await.unwrap().0, 200);
    assert_eq!(world.terminate(&world.operator()).await, 0);

    // Nor does one that never saw its resource hang when it is told to end.
    let (operator, _) = world.spawn_operator(&[]);
    world.until("the watch fails", || async { world::log(&operator).contains("the watch of Targets failed") }).await;
    assert_eq!(world.terminate(&operator).await, 0);
}
