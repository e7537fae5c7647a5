//! The cause stays on the object: what `kubectl get` and `kubectl describe` say after a quarter of an hour of trouble, with
//! Events and log long gone. One test for each class of fault, for a Target and for a Connection.

use jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use zitadel_stand_in::{Effect, Generation, Op, Times};

use crate::connections::{connect, connections, secret, setup, to};
use crate::world::{World, condition, log, webhook};

/// What trouble there is.
struct Trouble<'a> {
    url: String,
    /// More flags of the default connection, and more fields of the Connection.
    flags: Vec<String>,
    fields: Value,
    /// What has to be read.
    says: &'a str,
}

/// Brings a Target and a Connection into trouble, lets a quarter of an hour pass, and reads what kubectl shows.
async fn assert_cause_stays(world: &World, trouble: &Trouble<'_>) {
    let url = format!("--zitadel-url={}", trouble.url);
    let flags: Vec<&str> = [url.as_str()].into_iter().chain(trouble.flags.iter().map(String::as_str)).collect();
    let operator = world.start_operator(&flags).await;
    secret(world, &world.namespace, "admin", json!({"pat": world.zitadel.token()})).await;
    let mut spec = to(&trouble.url, "admin");
    spec.as_object_mut().unwrap().extend(trouble.fields.as_object().cloned().unwrap_or_default());
    connect(world, &world.namespace, "mine", spec).await;
    world.create("hook", webhook()).await;
    world.reason("hook", "ZitadelUnavailable").await;
    until_connection(world, "Reconciling", "ZitadelUnavailable").await;
    world.kill(&operator).await;
    world.age("hook").await;
    age_connection(world).await;
    world.start_operator(&flags).await;
    world.until_target("hook", "stalled", |target| condition(target, "Stalled").is_some()).await;
    until_connection(world, "Stalled", "ProgressDeadlineExceeded").await;

    for kind in ["target/hook", "connection/mine"] {
        let table = world.kubectl(&["get", kind], "").await.out;
        assert!(table.contains("False") && table.contains("ZitadelUnavailable"), "{table}");
        let wide = world.kubectl(&["get", kind, "-o", "wide"], "").await.out;
        assert!(wide.contains(trouble.says), "{wide}\nwithout {}", trouble.says);
        let described = world.kubectl(&["describe", kind], "").await.out;
        let (described, _) = described.split_once("\nEvents:").unwrap_or((&described, ""));
        assert!(described.contains(trouble.says), "{described}\nwithout {}", trouble.says);
        assert!(described.contains("ProgressDeadlineExceeded"), "{described}");
        println!("{wide}");
    }
    assert!(!log(&world.operator()).contains(&world.zitadel.token()));
    world.pardon("lastTransitionTime");
}

async fn until_connection(world: &World, kind: &str, reason: &str) {
    let api = connections(world, &world.namespace);
    let fits = || async {
        let status = api.get("mine").await.ok()?.status?;
        status.conditions.into_iter().find(|condition| condition.type_ == kind && condition.reason == reason)
    };
    world.until_some(&format!("the Connection says {kind} {reason}"), fits).await;
}

async fn age_connection(world: &World) {
    let api = connections(world, &world.namespace);
    let mut conditions = api.get("mine").await.unwrap().status.unwrap().conditions;
    for condition in &mut conditions {
        condition.last_transition_time.0 -= SignedDuration::from_mins(15);
    }
    let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
    api.patch_status("mine", &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_dead_server_is_named_after_a_quarter_of_an_hour() {
    let world = World::with(setup(Generation::V2).without_operator()).await;
    world.zitadel.pause().await;
    let says = "connection refused by 127.0.0.1:";
    let trouble = Trouble { url: world.zitadel.url(), flags: vec![], fields: json!({}), says };
    assert_cause_stays(&world, &trouble).await;
    // And when it is back, nothing of it is left.
    world.zitadel.resume().await.unwrap();
    world.ready("hook").await;
    world.finish().await;
}

#[tokio::test]
async fn a_host_that_does_not_resolve_is_named_after_a_quarter_of_an_hour() {
    let world = World::with(setup(Generation::V2).without_operator()).await;
    let says = "cannot resolve host zitadel.invalid";
    let trouble = Trouble { url: "https://zitadel.invalid".into(), flags: vec![], fields: json!({}), says };
    assert_cause_stays(&world, &trouble).await;
    world.finish().await;
}

/// kube-apiserver is the one TLS server at hand.
#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_named_after_a_quarter_of_an_hour() {
    let world = World::with(setup(Generation::V2).without_operator()).await;
    let unrelated = include_str!("testdata/unrelated-ca.pem");
    let file = world.dir.path().join("ca.pem");
    std::fs::write(&file, unrelated).unwrap();
    let trouble = Trouble {
        url: crate::cluster::plane().url(),
        flags: vec![format!("--zitadel-ca-file={}", file.display())],
        fields: json!({"caBundle": unrelated}),
        says: "is not trusted: unknown issuer",
    };
    assert_cause_stays(&world, &trouble).await;
    world.finish().await;
}

#[tokio::test]
async fn a_503_is_named_after_a_quarter_of_an_hour() {
    let world = World::with(setup(Generation::V2).without_operator()).await;
    let fault = world.zitadel.fault(Op::Any, Effect::Status(503, None), Times::Always);
    let trouble = Trouble { url: world.zitadel.url(), flags: vec![], fields: json!({}), says: "HTTP 503" };
    assert_cause_stays(&world, &trouble).await;
    fault.clear();
    world.ready("hook").await;
    world.finish().await;
}

/// The key of a service account is exchanged for a token first: what stands in the way there is named just so.
#[tokio::test]
async fn a_page_of_a_proxy_before_the_token_endpoint_is_named() {
    let world = World::with(setup(Generation::V2)).await;
    let page = "<!DOCTYPE html><html><body>Service unavailable</body></html>";
    let _fault = world.zitadel.fault(Op::Token, Effect::Status(502, Some(page.into())), Times::Always);
    secret(&world, &world.namespace, "key", json!({"key": world.zitadel.machine_key()})).await;
    let mut spec = to(&world.zitadel.url(), "key");
    spec["credentials"] = json!({"privateKeyJwt": {"secretRef": {"name": "key", "key": "key"}}});
    connect(&world, &world.namespace, "mine", spec).await;
    until_connection(&world, "Reconciling", "ZitadelUnavailable").await;
    let described = world.kubectl(&["describe", "connection/mine"], "").await.out;
    assert!(
        described
            .contains("no access token: HTTP 502: ZITADEL, or a proxy before it, does not work properly (an HTML page"),
        "{described}"
    );
    world.finish().await;
}

/// Somebody's execution on the Actions API refuses a call: nobody's rights are in doubt, and no target is gone.
#[tokio::test]
async fn what_an_execution_refuses_is_called_that_whatever_its_status() {
    let world = World::new(Generation::V2).await;
    world.create("hook", webhook()).await;
    let before = crate::world::id(&world.ready("hook").await);
    for (status, code) in [(401, 16), (403, 7), (404, 5), (409, 6), (400, 9)] {
        let body = json!({"code": code, "message": "no thanks", "details": [{
            "@type": "type.googleapis.com/zitadel.v1.ErrorDetail", "id": "EXEC-reUaUZCzCp", "message": "no thanks",
        }]});
        let fault = world.zitadel.fault(Op::Update, Effect::Status(status, Some(body.to_string())), Times::Always);
        world.edit("hook", json!({"timeout": format!("{status}ms")})).await;
        let target = world.reason("hook", "ExecutionFailed").await;
        let (_, _, message) = condition(&target, "Reconciling").unwrap();
        assert!(message.contains("(EXEC-reUaUZCzCp): fix or remove that execution"), "{message}");
        fault.clear();
        assert_eq!(crate::world::id(&world.ready("hook").await), before);
    }
    assert_eq!(world.calls(Op::Create), 1);
    world.finish().await;
}
