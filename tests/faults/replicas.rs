//! F7, F11, F12: processes that are stopped politely, paused in the middle of a create, or doubled.

use devkit::proxy::{Act, KubeCall, Rule};
use devkit::supervisor::Signal;
use libtest_mimic::{Failed, Trial};
use zitadel_stand_in::{Generation, Op};

use crate::arena::Arena;
use crate::cluster::plane;
use crate::judge::{judge, posts, settled};
use crate::path::{Path, Watching};
use crate::point::{Armed, Edge, Point, Spot};
use crate::report::{Suite, trial};
use crate::walk::Dice;
use crate::world::{Setup, log, webhook};

async fn graceful_stop() -> Result<(), Failed> {
    let mut suite = Suite::new("F7");
    for (path, spot) in [
        (Path::Create, Spot::Kube(KubeCall::Claim)),
        (Path::Create, Spot::Zitadel(Op::Create)),
        (Path::Create, Spot::Kube(KubeCall::Status)),
        (Path::Update, Spot::Zitadel(Op::Update)),
        (Path::Delete, Spot::Zitadel(Op::Delete)),
        (Path::Delete, Spot::Kube(KubeCall::Release)),
    ] {
        suite.line("F7 SIGTERM with a call in flight");
        suite.each(&format!("{path:?} {spot}"), move |generation| stop(path, spot, generation));
        suite.line("F7 SIGTERM with a call in flight, SIGKILL before its answer");
        suite.each(&format!("{path:?} {spot}"), move |generation| stop_short(path, spot, generation));
    }
    suite.finish().await
}

/// The operator has been told to stop with this call in flight.
async fn stopping(path: Path, spot: Spot, generation: Generation) -> (Arena, Armed) {
    // Also on a loaded machine the answer is to come in time.
    let setup = Setup::new(generation).flag("--zitadel-timeout", "10");
    let arena = path.prepare_in(setup, Watching::Awake, 0).await;
    let armed = Point { spot, skip: 0, edge: Edge::After }.arm(&arena);
    path.act(&arena).await;
    arena.until("the call is in flight", || async { armed.struck() }).await;
    plane().supervisor().signal(&arena.operator(), Signal::Terminate).unwrap();
    arena.until("the operator is stopping", || async { log(&arena.operator()).contains("stopping") }).await;
    (arena, armed)
}

async fn stop(path: Path, spot: Spot, generation: Generation) {
    let (arena, armed) = stopping(path, spot, generation).await;
    let operator = arena.operator();
    armed.release();
    let code = arena.until_some("the operator ends", || async { plane().supervisor().exit_code(&operator) }).await;
    assert_eq!(code, 0, "{}", arena.explain().await);
    if spot == Spot::Zitadel(Op::Create) {
        let object = arena.get("hook").await;
        assert_eq!(crate::world::id(&object), arena.zitadel.targets()[0].id, "committed before the end");
    }
    resume(arena, path).await;
}

async fn stop_short(path: Path, spot: Spot, generation: Generation) {
    let (arena, armed) = stopping(path, spot, generation).await;
    arena.kill(&arena.operator()).await;
    armed.discard();
    resume(arena, path).await;
}

async fn resume(arena: Arena, path: Path) {
    arena.start().await;
    arena.until("the path is done", || path.done(&arena)).await;
    judge(&arena, path.creates()).await;
    assert_eq!(posts(&arena), path.creates(), "{}", arena.explain().await);
    arena.close().await;
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

async fn paused_replica() -> Result<(), Failed> {
    let mut suite = Suite::new("F11 SIGSTOP in the middle of a create, another takes over, SIGCONT");
    for pause in [Pause::Claimed, Pause::Sent, Pause::Created] {
        suite.each(&format!("{pause:?}"), move |generation| take_over(pause, generation));
    }
    suite.finish().await
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
async fn two_replicas() -> Result<(), Failed> {
    let mut suite = Suite::new("F12 two replicas without election, random kills");
    for seed in 0..3 {
        suite.each(&format!("seed {seed}"), move |generation| doubled(seed, generation));
    }
    suite.finish().await
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

pub fn trials() -> Vec<Trial> {
    vec![
        trial("faults_paused_replica", paused_replica),
        trial("faults_graceful_stop", graceful_stop),
        trial("faults_two_replicas", two_replicas),
    ]
}
