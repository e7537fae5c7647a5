//! Each alert begins with its cause and ends with it, in a real Prometheus that reads real operators.
//!
//! Of the rules only times are changed ([`hurried`]): for how long a cause must last, on how much an alert looks back, and at which
//! age something is late. The causes are real, and those of [`crate::replicas`] are the only ones that are not here.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::{Duration, Instant};

use devkit::proxy::{Act, Canned, HttpProxy, KubeCall, Rule};
use futures::future::join_all;
use jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use zitadel_stand_in::{Effect, Generation, Op, Role, TargetEdit, Times};

use crate::alerts::names;
use crate::cluster::{namespace, plane};
use crate::prometheus::{Observed, Prometheus, replica, rules, two_ports, write_key};
use crate::reading::ask_for_a_pass;
use crate::replicas;
use crate::world::{Setup, World, webhook};

/// Times in queries, and what they become.
const TIMES: [(&str, &str); 8] = [
    ("[5m]", "[5s]"),
    ("[10m]", "[5s]"),
    ("[15m]", "[5s]"),
    ("[30m]", "[5s]"),
    ("[1h]", "[5s]"),
    ("offset 20m", "offset 3s"),
    ("> 600", "> 2"),
    ("> 900", "> 2"),
];
/// Longer than the 15 seconds of `ZitadelActionsReconcileSlow`, which are not changed.
const SLOW: Duration = Duration::from_secs(16);
/// Half as many again as there are workers.
const MANY: usize = 24;

/// The alerts that a cause has fired.
type Shown = Vec<&'static str>;

/// The chart's alerts with other times; a cause must last for `patience`.
pub fn hurried(patience: &str) -> Value {
    let mut all = rules();
    let mut used = BTreeSet::new();
    for rule in all["groups"][0]["rules"].as_array_mut().unwrap() {
        if let Some(wait) = rule.get_mut("for") {
            *wait = json!(patience);
        }
        let mut query = rule["expr"].as_str().unwrap().to_owned();
        for (slow, quick) in TIMES {
            if query.contains(slow) {
                used.insert(slow);
                query = query.replace(slow, quick);
            }
        }
        rule["expr"] = json!(query);
    }
    assert_eq!(used.len(), TIMES.len(), "the alerts use these times: {used:?}");
    all
}

/// Waits until each of these alerts fires.
pub async fn fire(world: &World, prometheus: &Prometheus, alerts: &[&'static str]) -> Shown {
    let began = Instant::now();
    for name in alerts {
        world.until(&format!("{name} fires"), || fires(prometheus, name)).await;
        println!("{name} fires after {:.1} s", began.elapsed().as_secs_f64());
    }
    alerts.to_vec()
}

/// Waits until none of these alerts fires.
pub async fn end(world: &World, prometheus: &Prometheus, alerts: &[&'static str]) {
    let began = Instant::now();
    for name in alerts {
        world.until(&format!("{name} ends"), || async { !fires(prometheus, name).await }).await;
        println!("{name} ends after {:.1} s", began.elapsed().as_secs_f64());
    }
}

async fn fires(prometheus: &Prometheus, name: &str) -> bool {
    prometheus.firing().await.iter().any(|alert| alert["labels"]["alertname"] == name)
}

impl Observed {
    async fn fire(&self, alerts: &[&'static str]) -> Shown {
        fire(&self.world, &self.prometheus, alerts).await
    }

    async fn end(&self, alerts: &[&'static str]) {
        end(&self.world, &self.prometheus, alerts).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_alert_begins_with_its_cause_and_ends_with_it() {
    let rules = &hurried("1s");
    let causes: [Pin<Box<dyn Future<Output = Shown> + '_>>; 8] = [
        Box::pin(a_name_is_taken(rules)),
        Box::pin(zitadel_is_down(rules)),
        Box::pin(an_answer_is_lost_and_a_finalizer_removed(rules)),
        Box::pin(a_key_ends_tomorrow(rules)),
        Box::pin(a_token_is_refused_and_calls_are_limited(rules)),
        Box::pin(zitadel_is_slow(rules)),
        Box::pin(the_api_server_refuses(rules)),
        Box::pin(another_replica_has_a_lease_of_its_own_and_all_end(rules)),
    ];
    let shown = join_all(causes).await.concat();
    let mut shown: BTreeSet<String> = shown.into_iter().map(str::to_owned).collect();
    shown.insert(replicas::NO_LEADER.to_owned());
    assert_eq!(shown, names());
}

async fn a_name_is_taken(rules: &Value) -> Shown {
    let observed = Observed::start(rules, Setup::new(Generation::V2)).await;
    let world = &observed.world;
    let taken = world.zitadel.external_create("taken", TargetEdit::default());
    world.create("taken", webhook()).await;
    let shown = observed.fire(&["ZitadelActionsTargetNotReady", "ZitadelActionsTargetsStalled"]).await;
    world.zitadel.external_delete(&taken);
    ask_for_a_pass(world, "taken", "now").await;
    observed.end(&shown).await;
    observed.world.finish().await;
    shown
}

async fn zitadel_is_down(rules: &Value) -> Shown {
    let observed = Observed::start(rules, Setup::new(Generation::V2)).await;
    let world = &observed.world;
    world.create("old", webhook()).await;
    world.ready("old").await;
    world.zitadel.pause().await;
    world.create("late", webhook()).await;
    world.delete("old").await;
    let alerts = [
        "ZitadelActionsConnectionDown",
        "ZitadelActionsConnectionNotObserved",
        "ZitadelActionsTargetPending",
        "ZitadelActionsDeletionStuck",
    ];
    let shown = observed.fire(&alerts).await;
    world.zitadel.resume().await.unwrap();
    observed.end(&shown).await;
    observed.world.finish().await;
    shown
}

async fn an_answer_is_lost_and_a_finalizer_removed(rules: &Value) -> Shown {
    let observed = Observed::start(rules, Setup::new(Generation::V2)).await;
    let world = &observed.world;
    world.zitadel.fault(Op::Create, Effect::LoseReply, Times::ONCE);
    world.create("lost", webhook()).await;
    let mut shown = observed.fire(&["ZitadelActionsCreateOutcomeUnknown", "ZitadelActionsOrphansFound"]).await;
    // Its deletion waits, so that nobody is faster than the person who removes the finalizer.
    world.ready("lost").await;
    world.edit("lost", json!({"suspend": true})).await;
    world.reason("lost", "Suspended").await;
    world.delete("lost").await;
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world.targets().patch("lost", &PatchParams::default(), &free).await.unwrap();
    shown.extend(observed.fire(&["ZitadelActionsTargetsLeftBehind"]).await);
    observed.end(&shown).await;
    observed.world.finish().await;
    shown
}

async fn a_key_ends_tomorrow(rules: &Value) -> Shown {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let key = write_key(&world, SignedDuration::from_hours(24));
    world.start_operator(&[&key]).await;
    let observed = Observed::of(world, rules).await;
    observed.world.create("hook", webhook()).await;
    let shown = observed.fire(&["ZitadelActionsCredentialsExpire"]).await;
    write_key(&observed.world, SignedDuration::from_hours(30 * 24));
    observed.end(&shown).await;
    observed.world.finish().await;
    shown
}

async fn a_token_is_refused_and_calls_are_limited(rules: &Value) -> Shown {
    let observed = Observed::start(rules, Setup::new(Generation::V2)).await;
    let world = &observed.world;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    world.zitadel.revoke_token(&world.zitadel.token());
    let mut shown = observed.fire(&["ZitadelActionsCredentialsRefused"]).await;
    world.write_token(&world.zitadel.issue_token(Role::IamOwner));
    observed.end(&shown).await;
    let limit = world.zitadel.fault(Op::Any, Effect::Status(429, None), Times::Always);
    let limited = observed.fire(&["ZitadelActionsRateLimited"]).await;
    limit.clear();
    observed.end(&limited).await;
    shown.extend(limited);
    observed.world.finish().await;
    shown
}

async fn zitadel_is_slow(rules: &Value) -> Shown {
    let observed = Observed::start(rules, Setup::new(Generation::V2).flag("--zitadel-timeout", "30")).await;
    let world = &observed.world;
    let slow = world.zitadel.fault(Op::Create, Effect::Latency(SLOW), Times::Always);
    for index in 0..MANY {
        world.create(&format!("hook-{index}"), webhook()).await;
    }
    let mut shown = observed.fire(&["ZitadelActionsQueueNotDraining"]).await;
    slow.clear();
    shown.extend(observed.fire(&["ZitadelActionsReconcileSlow"]).await);
    observed.end(&shown).await;
    for index in 0..MANY {
        world.ready(&format!("hook-{index}")).await;
    }
    observed.world.finish().await;
    shown
}

async fn the_api_server_refuses(rules: &Value) -> Shown {
    let admin = plane().kubeconfig().to_owned();
    let proxy = tokio::task::spawn_blocking(move || HttpProxy::<KubeCall>::before_kubernetes(&admin).unwrap());
    let proxy = proxy.await.unwrap();
    let mut setup = Setup::new(Generation::V2);
    setup.kubeconfig = Some(proxy.kubeconfig());
    let observed = Observed::start(rules, setup).await;
    let world = &observed.world;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let error = || Act::Answer(Canned::kubernetes(500, "InternalError"));
    let writes = proxy.rule(Rule::every(KubeCall::Status, error()));
    world.edit("hook", json!({"timeout": "20s"})).await;
    let mut shown = observed.fire(&["ZitadelActionsReconcileErrors"]).await;
    writes.clear();
    let watches = proxy.rule(Rule::every(KubeCall::Watch, error()));
    proxy.cut_connections();
    shown.extend(observed.fire(&["ZitadelActionsWatchFailing"]).await);
    watches.clear();
    observed.end(&shown).await;
    world.ready("hook").await;
    observed.world.finish().await;
    shown
}

async fn another_replica_has_a_lease_of_its_own_and_all_end(rules: &Value) -> Shown {
    let world = World::with(Setup::new(Generation::V2).flag("--leader-elect", "").without_operator()).await;
    let elsewhere = namespace(&world.client).await;
    let ports = two_ports();
    let prometheus = Prometheus::start(&world.namespace, rules, &ports).await;
    let start_first = || replica(&world, ports[0], &world.namespace);
    let (first, second) = (start_first(), replica(&world, ports[1], &elsewhere));
    let mut shown = fire(&world, &prometheus, &["ZitadelActionsSeveralLeaders"]).await;
    world.kill(&second).await;
    end(&world, &prometheus, &shown).await;
    world.kill(&first).await;
    let down = fire(&world, &prometheus, &["ZitadelActionsOperatorDown"]).await;
    start_first();
    end(&world, &prometheus, &down).await;
    shown.extend(down);
    world.finish().await;
    shown
}
