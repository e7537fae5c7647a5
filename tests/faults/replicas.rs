//! F7, F11, F12: processes that are stopped politely, paused in the middle of a create, or doubled.

use devkit::proxy::{Act, KubeCall, Rule};
use devkit::supervisor::Signal;
use zitadel_stand_in::{Generation, Op};

use crate::arena::Arena;
use crate::cluster::plane;
use crate::judge::{judge, posts, settled};
use crate::path::{Path, Watching};
use crate::point::Spot;
use crate::report::Suite;
use crate::walk::Dice;
use crate::world::{log, webhook};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_graceful_stop() {
    let mut suite = Suite::new("F7 SIGTERM with a call in flight");
    for (path, spot) in [
        (Path::Create, Spot::Kube(KubeCall::Claim)),
        (Path::Create, Spot::Zitadel(Op::Create)),
        (Path::Create, Spot::Kube(KubeCall::Status)),
        (Path::Update, Spot::Zitadel(Op::Update)),
        (Path::Delete, Spot::Zitadel(Op::Delete)),
        (Path::Delete, Spot::Kube(KubeCall::Release)),
    ] {
        suite.each(&format!("{path:?} {spot:?}"), move |generation| async move {
            let arena = path.prepare(generation, Watching::Awake).await;
            let point = crate::point::Point { spot, skip: 0, edge: crate::point::Edge::After };
            let armed = point.arm(&arena);
            path.act(&arena).await;
            arena.until("the call is in flight", || async { armed.struck() }).await;
            let operator = arena.operator();
            plane().supervisor().signal(&operator, Signal::Terminate).unwrap();
            arena.until("the operator is stopping", || async { log(&operator).contains("stopping") }).await;
            armed.release();
            let code =
                arena.until_some("the operator ends", || async { plane().supervisor().exit_code(&operator) }).await;
            assert_eq!(code, 0, "{}", arena.explain().await);
            if spot == Spot::Zitadel(Op::Create) {
                let object = arena.get("hook").await;
                assert_eq!(crate::world::id(&object), arena.zitadel.targets()[0].id, "committed before the end");
            }
            arena.start().await;
            arena.until("the path is done", || path.done(&arena)).await;
            judge(&arena, path.creates()).await;
            assert_eq!(posts(&arena), path.creates(), "{}", arena.explain().await);
            arena.close().await;
        });
    }
    suite.finish().await;
}

/// Where the first operator is paused.
#[derive(Clone, Copy, Debug)]
enum Pause {
    /// Its claim is written; it does not know yet.
    Claimed,
    /// Its create is under way and arrives when everything is over.
    Sent,
    /// Its create was carried out; it does not know yet.
    Created,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_paused_replica() {
    let mut suite = Suite::new("F11 SIGSTOP in the middle of a create, another takes over, SIGCONT");
    for pause in [Pause::Claimed, Pause::Sent, Pause::Created] {
        suite.each(&format!("{pause:?}"), move |generation| take_over(pause, generation));
    }
    suite.finish().await;
}

async fn take_over(pause: Pause, generation: Generation) {
    let arena = Arena::running(generation).await;
    let first = arena.operator();
    let claim = matches!(pause, Pause::Claimed).then(|| arena.kube.rule(Rule::next(KubeCall::Claim, Act::HoldAnswer)));
    let create = match pause {
        Pause::Claimed => None,
        Pause::Sent => Some(arena.remote.rule(Rule::next(Op::Create, Act::HoldRequest))),
        Pause::Created => Some(arena.remote.rule(Rule::next(Op::Create, Act::HoldAnswer))),
    };
    arena.create("hook", webhook()).await;
    let reached = || async {
        claim.as_ref().is_some_and(|held| held.acted() > 0) || create.as_ref().is_some_and(|held| held.acted() > 0)
    };
    arena.until("the first operator is in the middle of it", reached).await;
    plane().supervisor().signal(&first, Signal::Freeze).unwrap();
    arena.start().await;
    settled(&arena).await;
    claim.iter().for_each(devkit::proxy::RuleHandle::release);
    create.iter().for_each(devkit::proxy::RuleHandle::release);
    plane().supervisor().signal(&first, Signal::Thaw).unwrap();
    let awake = log(&first).len();
    arena.until("the first operator goes on", || async { log(&first).len() > awake }).await;
    arena.resyncs(2).await;
    judge(&arena, 1).await;
    arena.close().await;
}

/// Two operators without any election; one of them is killed and started again, over and over, while objects come,
/// change and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_two_replicas() {
    let mut suite = Suite::new("F12 two replicas without election, random kills");
    for seed in 0..3 {
        suite.each(&format!("seed {seed}"), move |generation| doubled(seed, generation));
    }
    suite.finish().await;
}

async fn doubled(seed: u64, generation: Generation) {
    let mut dice = Dice::new(seed);
    let arena = Arena::running(generation).await;
    let mut replicas = vec![arena.operator(), arena.start().await];
    for index in 0..6 {
        arena.create(&format!("hook-{index}"), webhook()).await;
        if dice.below(2) == 0 {
            let victim = replicas.remove(dice.below(replicas.len()));
            arena.kill(&victim).await;
            replicas.push(arena.spawn());
        }
    }
    settled(&arena).await;
    for index in 0..6 {
        arena.edit(&format!("hook-{index}"), serde_json::json!({"timeout": format!("{}s", 20 + index)})).await;
        if index % 3 == 0 {
            let victim = replicas.remove(dice.below(replicas.len()));
            arena.kill(&victim).await;
            replicas.push(arena.spawn());
        }
    }
    settled(&arena).await;
    for index in 0..3 {
        arena.delete(&format!("hook-{index}")).await;
    }
    let victim = replicas.remove(0);
    arena.kill(&victim).await;
    judge(&arena, 6).await;
    arena.close().await;
}
