//! Several replicas: one works, the others stand by, and whatever happens to the one, every Target has its one target.
//!
//! Figures are printed (`cargo test --test it -- --nocapture election`); what is asserted does not depend on the speed of
//! the machine.

use std::time::{Duration, Instant};

use devkit::host::http_get;
use devkit::proxy::{Act, Canned, HttpProxy, KubeCall, Rule};
use devkit::supervisor::Signal;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use zitadel_stand_in::{Effect, EventKind, Generation, Op, Times};

use crate::cluster::plane;
use crate::connections::{by, connect, secret, to};
use crate::exposition::{CALLS, scrape};
use crate::world::{Setup, World, is_ready, log, webhook};

const LEASE: &str = "zitadel-actions-operator";
/// How many Targets there are while the leader goes.
const TARGETS: usize = 50;

/// A replica of a test.
#[derive(Debug, Clone)]
struct Replica {
    name: String,
    port: u16,
}

impl Replica {
    /// One that has ended, or stands still, does not.
    async fn leads(&self) -> bool {
        let Some((_, text)) = http_get(self.port, "/metrics").await else { return false };
        text.lines().any(|line| line == format!("leader_election_master_status{{name=\"{LEASE}\"}} 1"))
    }

    fn signal(&self, signal: Signal) {
        plane().supervisor().signal(&self.name, signal).unwrap();
    }
}

/// Replicas whose lease lasts this long.
fn electing(seconds: u64) -> Setup {
    let renew = (seconds * 2 / 3).to_string();
    Setup::new(Generation::V2)
        .flag("--leader-elect", "")
        .flag("--leader-elect-lease-duration", &seconds.to_string())
        .flag("--leader-elect-renew-deadline", &renew)
        .flag("--leader-elect-retry-period", "1")
        .without_operator()
}

/// A world with a leader and a replica that stands by; both are ready.
async fn pair(mut setup: Setup) -> (World, Replica, Replica) {
    let namespace = "--leader-elect-resource-namespace";
    setup.start_operator = false;
    let world = World::with(setup).await;
    let flag = format!("{namespace}={}", world.namespace);
    let replica = |(name, port)| Replica { name, port };
    let leader = replica(world.spawn_operator(&[&flag]));
    world.until("the first replica leads", || leader.leads()).await;
    let other = replica(world.spawn_operator(&[&flag]));
    for replica in [&leader, &other] {
        let ready = || async { http_get(replica.port, "/readyz").await.is_some_and(|(status, _)| status == 200) };
        world.until("the replica is ready", ready).await;
    }
    (world, leader, other)
}

async fn lease(world: &World) -> Lease {
    let api: Api<Lease> = Api::namespaced(world.client.clone(), &world.namespace);
    api.get(LEASE).await.expect("there is a Lease")
}

fn name(index: usize) -> String {
    format!("hook-{index}")
}

/// Every Target is created and Ready.
async fn populate(world: &World) {
    let create = |index| async move { world.create(&name(index), webhook()).await };
    join_all((0..TARGETS).map(create)).await;
    for index in 0..TARGETS {
        world.ready(&name(index)).await;
    }
}

/// Some are changed, some go, some come: as the leader goes.
async fn stir(world: &World) {
    for index in 0..TARGETS {
        match index % 5 {
            0 => world.delete(&name(index)).await,
            1 => drop(world.create(&format!("new-{index}"), webhook()).await),
            _ => drop(world.edit(&name(index), json!({"timeout": format!("{}s", 20 + index)})).await),
        }
    }
}

/// Everything is as the manifests say, with one target each; returns when that was.
async fn settled(world: &World) -> Instant {
    let all_ready = || async {
        let targets = world.targets().list(&ListParams::default()).await.unwrap().items;
        targets.len() == TARGETS && targets.iter().all(is_ready)
    };
    world.until("every Target is Ready", all_ready).await;
    let when = Instant::now();
    let held = world.zitadel.targets();
    for target in world.targets().list(&ListParams::default()).await.unwrap().items {
        let (name, id) = (target.metadata.name.as_deref().unwrap(), crate::world::id(&target));
        let of_it: Vec<_> = held
            .iter()
            .filter(|held| held.name == name)
            .map(|held| (&held.id, format!("{}s", held.timeout.as_secs())))
            .collect();
        assert_eq!(of_it, [(&id, target.spec.timeout)], "{name}\n{}", world.zitadel.dump());
    }
    assert_eq!(held.len(), TARGETS, "none is lost, none doubled");
    assert_eq!(world.count(EventKind::Added), TARGETS + TARGETS / 5, "{}", world.zitadel.dump());
    when
}

/// How the leader goes.
#[derive(Debug, Clone, Copy)]
enum Exit {
    Terminated,
    Killed,
    Frozen,
}

/// The leader goes while Targets change; the other one takes over. Returns how long that took.
async fn take_over(exit: Exit, seconds: u64) -> (World, Replica, Replica) {
    let (world, leader, other) = pair(electing(seconds)).await;
    populate(&world).await;
    let before = lease(&world).await.spec.unwrap();
    let (gone, ()) = futures::join!(
        async {
            let now = (Instant::now(), Timestamp::now());
            leader.signal(match exit {
                Exit::Terminated => Signal::Terminate,
                Exit::Killed => Signal::Kill,
                Exit::Frozen => Signal::Freeze,
            });
            now
        },
        stir(&world)
    );
    world.until("the other replica leads", || other.leads()).await;
    let done = settled(&world).await - gone.0;
    let after = lease(&world).await.spec.unwrap();
    assert_eq!(after.lease_transitions, before.lease_transitions.map(|count| count + 1));
    let renewed = before.renew_time.expect("a held lease has a date").0;
    let acquired = after.acquire_time.expect("a held lease has a date").0;
    let (led, waited) = (acquired.duration_since(gone.1), acquired.duration_since(renewed));
    let bound = match exit {
        Exit::Terminated => Duration::from_secs(1),
        Exit::Killed | Exit::Frozen => Duration::from_secs(seconds + 1),
    };
    let acted = first_change(&log(&other.name)).duration_since(gone.1);
    println!(
        "election: {exit:?}: the other replica leads after {:.2} s (bound {} s; lease of {seconds} s), has made its first \
         change after {:.2} s, and all {TARGETS} Targets are Ready after {:.2} s",
        led.as_secs_f64(),
        bound.as_secs(),
        acted.as_secs_f64(),
        done.as_secs_f64()
    );
    // Given back, the lease is not waited for; held to the end, it is not taken early.
    let lease = jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap());
    match exit {
        Exit::Terminated => assert!(waited < lease, "{waited:?}"),
        Exit::Killed | Exit::Frozen => assert!(waited >= lease, "{waited:?}"),
    }
    (world, leader, other)
}

/// When an operator first told of a change.
fn first_change(log: &str) -> Timestamp {
    let line = log.lines().find(|line| line.contains("outcome=")).expect("it has changed something");
    line.split(' ').next().and_then(|date| date.parse().ok()).expect("a line begins with its date")
}

#[tokio::test]
async fn one_works_and_the_other_stands_by() {
    let (world, leader, other) = pair(electing(15)).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    world.edit("hook", json!({"timeout": "20s"})).await;
    world.ready("hook").await;
    world.resyncs(3).await;
    assert!(leader.leads().await && !other.leads().await);
    assert!(scrape(leader.port).await.sum(CALLS, &[]) > 0.0);
    let idle = scrape(other.port).await;
    assert_eq!(idle.find(CALLS, &[]).count(), 0, "who stands by asks ZITADEL nothing");
    let succeeded = [("controller", "target"), ("result", "success")];
    let passes = idle.find("controller_runtime_reconcile_total", &succeeded);
    assert_eq!(passes.map(|one| one.value).collect::<Vec<_>>(), [0.0]);
    let (live, _) = http_get(other.port, "/livez").await.unwrap();
    assert_eq!(live, 200);
    let holder = lease(&world).await.spec.unwrap().holder_identity.unwrap();
    assert!(log(&leader.name).contains(&holder), "{holder}");
    world.finish().await;
}

/// Who stands by knows the connections too, so a hand-over shows in no Target.
#[tokio::test]
async fn a_hand_over_shows_in_no_target() {
    let (world, leader, other) = pair(electing(60).flag("--zitadel-allow-http", "")).await;
    secret(&world, &world.namespace, "admin", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &world.namespace, "mine", to(&world.zitadel.url(), "admin")).await;
    world.create("hook", by("mine")).await;
    let version = world.ready("hook").await.metadata.resource_version;
    // Soon after its start a process waits for its first list of connections; that is not what is looked at here.
    let old = || async {
        let started = scrape(other.port).await.sum("process_start_time_seconds", &[]);
        jiff::Timestamp::now().as_duration().as_secs_f64() - started > 11.0
    };
    world.until("the other replica is past its start", old).await;
    leader.signal(Signal::Terminate);
    world.until("the other replica leads", || other.leads()).await;
    let looked = || async { scrape(other.port).await.sum("controller_runtime_reconcile_total", &[]) > 0.0 };
    world.until("it has looked at the Target", looked).await;
    assert_eq!(world.get("hook").await.metadata.resource_version, version, "{}", log(&other.name));
    world.finish().await;
}

#[tokio::test]
async fn a_leader_that_is_stopped_hands_over() {
    // So long a lease that only its release explains a take-over.
    let (world, leader, _) = take_over(Exit::Terminated, 60).await;
    let code = world.until_some("the leader ends", || async { plane().supervisor().exit_code(&leader.name) }).await;
    assert_eq!(code, 0, "{}", log(&leader.name));
    world.finish().await;
}

#[tokio::test]
async fn a_leader_that_is_killed_is_waited_for() {
    let (world, ..) = take_over(Exit::Killed, 8).await;
    world.finish().await;
}

#[tokio::test]
async fn a_leader_that_was_frozen_finds_that_it_leads_no_more() {
    let (world, leader, other) = take_over(Exit::Frozen, 8).await;
    leader.signal(Signal::Thaw);
    let code = world.until_some("it ends", || async { plane().supervisor().exit_code(&leader.name) }).await;
    assert_eq!(code, 1, "{}", log(&leader.name));
    assert!(log(&leader.name).contains("the lease is lost"), "{}", log(&leader.name));
    assert!(other.leads().await);
    settled(&world).await;
    world.finish().await;
}

/// The first create is slow when the leader is told to stop: the lease goes at once, the create is committed all the same.
#[tokio::test]
async fn a_slow_create_holds_no_hand_over() {
    let (world, leader, other) = pair(electing(60).flag("--zitadel-timeout", "20")).await;
    let held = world.zitadel.fault(Op::Create, Effect::HoldReply, Times::ONCE);
    world.create("hook", webhook()).await;
    world.until("the create is carried out", || async { world.count(EventKind::Added) == 1 }).await;
    leader.signal(Signal::Terminate);
    world.until("the other replica leads", || other.leads()).await;
    held.release();
    let code = world.until_some("the leader ends", || async { plane().supervisor().exit_code(&leader.name) }).await;
    assert_eq!(code, 0, "{}", log(&leader.name));
    world.ready("hook").await;
    assert_eq!(world.count(EventKind::Added), 1, "{}", world.zitadel.dump());
    world.finish().await;
}

/// Nobody reaches the Lease: the leader stops before another may begin, and when it can be reached again, one leads.
#[tokio::test]
async fn without_the_lease_nobody_works() {
    let admin = tokio::task::spawn_blocking(|| plane().kubeconfig().to_owned()).await.unwrap();
    let proxy = tokio::task::spawn_blocking(move || HttpProxy::before_kubernetes(&admin).unwrap()).await.unwrap();
    let mut setup = electing(8);
    setup.kubeconfig = Some(proxy.kubeconfig());
    let (world, leader, other) = pair(setup).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let outage = proxy.rule(Rule::every(KubeCall::Lease, Act::Answer(Canned::kubernetes(500, "InternalError"))));
    let code = world.until_some("the leader ends", || async { plane().supervisor().exit_code(&leader.name) }).await;
    assert_eq!(code, 1, "{}", log(&leader.name));
    let (live, _) = http_get(other.port, "/livez").await.unwrap();
    assert_eq!((live, other.leads().await), (200, false));
    world.edit("hook", json!({"timeout": "20s"})).await;
    outage.clear();
    world.until("the other replica leads", || other.leads()).await;
    world.ready("hook").await;
    assert_eq!(world.count(EventKind::Added), 1);
    world.finish().await;
}

/// A lease is deleted, or somebody writes something else into it: its holder keeps it.
#[tokio::test]
async fn a_lease_that_others_touch_is_kept() {
    let (world, leader, other) = pair(electing(15)).await;
    let api: Api<Lease> = Api::namespaced(world.client.clone(), &world.namespace);
    let began: Timestamp = lease(&world).await.spec.unwrap().renew_time.unwrap().0;
    let label = Patch::Merge(json!({"metadata": {"labels": {"touched": "yes"}}}));
    api.patch(LEASE, &PatchParams::default(), &label).await.unwrap();
    let renewed = || async { lease(&world).await.spec.unwrap().renew_time.unwrap().0 > began };
    world.until("it is renewed", renewed).await;
    assert_eq!(lease(&world).await.metadata.labels.unwrap()["touched"], "yes");
    api.delete(LEASE, &DeleteParams::default()).await.unwrap();
    let again = || async { api.get_opt(LEASE).await.unwrap() };
    world.until_some("there is a Lease again", again).await;
    // Whoever made it anew leads; the other one does not.
    world.until("one leads", || async { leader.leads().await != other.leads().await }).await;
    world.finish().await;
}

/// A lease that may not be read: the probes answer, the log says what is missing, nothing is done.
#[tokio::test]
async fn a_lease_out_of_reach_is_told() {
    let world = World::with(electing(15)).await;
    let nowhere = "--leader-elect-resource-namespace=nowhere";
    let (name, port) = world.spawn_operator(&[nowhere]);
    world.until("the log tells", || async { log(&name).contains("the lease cannot be taken") }).await;
    world.create("hook", webhook()).await;
    let ready = || async { http_get(port, "/readyz").await.is_some_and(|(status, _)| status == 200) };
    world.until("the caches are filled", ready).await;
    assert_eq!(world.zitadel.calls().len(), 0);
    assert!(world.get("hook").await.status.is_none_or(|status| status.id.is_none()));
    world.finish().await;
}
