//! F18: a spec that flaps, an object that always fails beside others, many objects at once, a refused spec.

use devkit::proxy::{Act, KubeCall, Rule};
use futures::StreamExt;
use kube::ResourceExt;
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Effect, Generation, Op, TargetEdit, Times};

use crate::arena::Arena;
use crate::judge::{deeds, judge, posts, settled};
use crate::path::{Path, Watching};
use crate::report::{Suite, trial};
use crate::world::{is_ready, webhook};

async fn floods() -> Result<(), Failed> {
    let mut suite = Suite::new("F18 spec flapped 100 times");
    suite.each("flapped", |generation| async move {
        let arena = Path::Update.prepare(generation, Watching::Awake).await;
        for number in 0..100 {
            let name = if number % 2 == 0 { "flip" } else { "flop" };
            arena.edit("hook", json!({"name": name, "timeout": format!("{}s", 1 + number)})).await;
        }
        judge(&arena, 1).await;
        let changes = deeds(&arena).len();
        assert!(changes <= 101, "{changes} deeds for 100 edits");
        arena.close().await;
    });
    suite.line("F18 one object that always fails beside ten others");
    suite.each("poison", |generation| async move {
        let arena = Arena::running(generation).await;
        arena.zitadel.external_create("poison", TargetEdit::default());
        arena.create("poison", webhook()).await;
        arena.reason("poison", "NameTaken").await;
        for index in 0..10 {
            arena.create(&format!("hook-{index}"), webhook()).await;
        }
        let others = |objects: &[Target]| {
            let good: Vec<_> = objects.iter().filter(|object| object.name_any() != "poison").collect();
            good.len() == 10 && good.iter().all(|object| is_ready(object))
        };
        arena.until("the others are Ready", || arena.holds(others)).await;
        assert_eq!(posts(&arena), 11, "{}", arena.explain().await);
        arena.delete("poison").await;
        arena.gone("poison").await;
        judge(&arena, 10).await;
        arena.close().await;
    });
    suite.line(format!("F18 {CROWD} objects applied at once (10 000 scaled down), then listed anew (F8)"));
    suite.alternate("crowd", crowd);
    suite.line("F18 a spec that ZITADEL refuses, and back");
    suite.each("invalid and back", |generation| async move {
        let arena = Path::Update.prepare(generation, Watching::Awake).await;
        let body =
            r#"{"code":3,"message":"invalid UpdateTargetRequest (COMMAND-zzz)","details":[{"id":"COMMAND-zzz"}]}"#;
        let before = deeds(&arena);
        for _ in 0..3 {
            arena.zitadel.fault(Op::Update, Effect::Status(400, Some(body.into())), Times::ONCE);
            arena.edit("hook", json!({"timeout": "7s"})).await;
            arena.reason("hook", "InvalidSpec").await;
            arena.edit("hook", json!({"timeout": "10s"})).await;
            settled(&arena).await;
        }
        assert_eq!(deeds(&arena), before, "back to where it was, without a write");
        judge(&arena, 1).await;
        arena.close().await;
    });
    suite.finish().await
}

/// Ten thousand would take the pace of ZITADEL's quota (20 calls a second) and ten minutes; nothing depends on the
/// number but pages: Kubernetes lists 500 at a time, ZITADEL 1000.
const CROWD: usize = 120;

async fn crowd(generation: Generation) {
    let arena = Arena::running(generation).await;
    let names: Vec<String> = (0..CROWD).map(|index| format!("hook-{index}")).collect();
    futures::stream::iter(&names)
        .for_each_concurrent(16, |name| async { drop(arena.create(name, webhook()).await) })
        .await;
    let ready = |objects: &[Target]| objects.len() == CROWD && objects.iter().all(is_ready);
    arena.until("all are Ready", || arena.holds(ready)).await;
    judge(&arena, CROWD).await;
    assert_eq!(posts(&arena), CROWD, "one create each");
    let (before, objects) = (deeds(&arena), arena.objects().await);
    let calls = arena.zitadel.calls().len();
    let lists = arena.kube.count(KubeCall::List);
    arena.kube.rule(Rule::next(KubeCall::Watch, Act::Expire));
    arena.kube.cut_connections();
    arena.until("the operator lists anew", || async { arena.kube.count(KubeCall::List) > lists }).await;
    arena.resyncs(2).await;
    assert_eq!((deeds(&arena), arena.objects().await), (before, objects), "a list made the operator write");
    let made = arena.zitadel.calls().len() - calls;
    assert!(made < 20, "{made} calls for objects that did not change");
    arena.close().await;
}

pub fn trials() -> Vec<Trial> {
    vec![trial("faults_floods", floods)]
}
