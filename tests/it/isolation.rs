//! Neighbours: what a slow server, or a slow Events API, costs those who have nothing to do with it.

use std::time::{Duration, Instant};

use devkit::proxy::{Act, HttpProxy, KubeCall, Rule};
use futures::future::join_all;
use serde_json::json;
use zitadel_stand_in::{Effect, Generation, Op, Options, StandIn, Times};

use crate::cluster::plane;
use crate::connections::{by, connect, secret, setup, to};
use crate::world::{Setup, World, is_ready, webhook};

/// How many Targets depend on the slow server.
const CROWD: usize = 200;
/// How many are created on the healthy one, one after the other.
const SAMPLE: usize = 20;

/// Time from create to Ready of one Target after the other; the median and the worst.
async fn sample(world: &World, name: &str) -> (Duration, Duration) {
    let mut times = Vec::new();
    for index in 0..SAMPLE {
        let began = Instant::now();
        world.create(&format!("{name}-{index}"), webhook()).await;
        world.ready(&format!("{name}-{index}")).await;
        times.push(began.elapsed());
    }
    times.sort();
    (times[SAMPLE / 2], times[SAMPLE - 1])
}

#[tokio::test]
async fn targets_of_a_slow_connection_hold_nobody_else_up() {
    let world = World::with(setup(Generation::V2)).await;
    let slow = StandIn::start(Options::new(Generation::V2)).await.unwrap();
    secret(&world, &world.namespace, "slow", json!({"pat": slow.token()})).await;
    connect(&world, &world.namespace, "slow", to(&slow.url(), "slow")).await;
    let (median, worst) = sample(&world, "alone").await;
    println!("alone: median {median:?}, worst {worst:?}");

    // Within the time-out of 2 s, so that the connection is healthy, and each reconcile takes seconds.
    for op in [Op::Create, Op::List, Op::Get, Op::Update, Op::Events] {
        slow.fault(op, Effect::Latency(Duration::from_millis(1500)), Times::Always);
    }
    join_all((0..CROWD).map(|index| {
        let world = &world;
        async move { world.create(&format!("slow-{index}"), by("slow")).await }
    }))
    .await;
    world.until("the slow server is busy", || async { slow.calls().len() > 20 }).await;
    let (median, worst) = sample(&world, "beside").await;
    let served = world
        .newest()
        .iter()
        .filter(|target| {
            target.metadata.name.as_deref().is_some_and(|name| name.starts_with("slow-")) && is_ready(target)
        })
        .count();
    println!(
        "beside {CROWD} Targets of a slow server, of which {served} are Ready by then: median {median:?}, worst {worst:?}"
    );
    assert!(served < CROWD / 2, "{served} of the slow ones went before");
    world.kill(&world.operator()).await;
}

#[tokio::test]
async fn a_slow_events_api_holds_no_target_up() {
    let proxy = HttpProxy::before_kubernetes(plane().kubeconfig()).unwrap();
    let setup = Setup { kubeconfig: Some(proxy.kubeconfig()), ..Setup::new(Generation::V2) };
    let world = World::with(setup).await;
    let slow = proxy.rule(Rule::every(KubeCall::Event, Act::Delay(Duration::from_secs(20))));
    let began = Instant::now();
    join_all((0..CROWD).map(|index| {
        let world = &world;
        async move { world.create(&format!("hook-{index}"), webhook()).await }
    }))
    .await;
    let ready = || async { world.newest().iter().filter(|target| is_ready(target)).count() == CROWD };
    world.until("all are Ready", ready).await;
    let published = world.notes("Created").await.len();
    println!("{CROWD} Targets Ready in {:?}, while {published} Events were published", began.elapsed());
    assert!(published < CROWD / 2, "{published} Events were waited for");
    slow.clear();
    world.kill(&world.operator()).await;
}
