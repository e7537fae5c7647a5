//! F5, F6, F8, F9, F10: the API server refuses, vanishes, falls silent, or shows an old world.

use std::time::Duration;

use devkit::proxy::{Act, Canned, Entry, Fate, KubeCall, Rule, RuleHandle};
use kube::api::{Patch, PatchParams};
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use zitadel_stand_in::{Effect, EventKind, Generation, Op, Times};

use crate::arena::Arena;
use crate::judge::{deeds, judge, posts, settled};
use crate::path::{Path, Watching};
use crate::report::{Suite, trial};
use crate::world::{Setup, log, webhook};

/// The writes of each path, and the calls around them.
const MEETINGS: [(Path, KubeCall); 8] = [
    (Path::Create, KubeCall::Claim),
    (Path::Create, KubeCall::Status),
    (Path::Create, KubeCall::Event),
    (Path::Update, KubeCall::Status),
    (Path::Delete, KubeCall::Release),
    (Path::Recreate, KubeCall::Claim),
    (Path::Regain, KubeCall::Hold),
    (Path::Refuse, KubeCall::DropClaim),
];

/// On this path every call of this kind meets a refusal, several times.
async fn refuse(path: Path, call: KubeCall, act: Act, generation: Generation) {
    let arena = path.prepare(generation, Watching::Awake).await;
    let rule = arena.kube.rule(Rule::every(call, act).times(3));
    path.act(&arena).await;
    arena.until("a call is refused", || async { rule.acted() > 0 }).await;
    arena.until("the path is done", || path.done(&arena)).await;
    rule.clear();
    if path == Path::Refuse {
        let bare = |object: &_| kube::ResourceExt::annotations(object).is_empty();
        arena.until_target("hook", "without a claim", bare).await;
        assert_eq!(arena.zitadel.events().len(), 1, "the foreign target is untouched");
    } else {
        judge(&arena, path.creates()).await;
        assert_eq!(posts(&arena), path.creates(), "a create was repeated\n{}", arena.explain().await);
    }
    // Nobody else writes status here: what was written and not answered is the operator's own.
    let restored = log(&arena.operator()).contains("status was changed by somebody else");
    assert!(!restored, "the operator took its own status for somebody else's\n{}", arena.explain().await);
    arena.close().await;
}

async fn refusals(fault: &str, refusals: &[(&str, Act)]) -> Result<(), Failed> {
    let mut suite = Suite::new(fault);
    for (path, call) in MEETINGS {
        for (label, act) in refusals {
            suite.line(format!("{fault}: {label}"));
            suite.alternate(&format!("{path:?} {call:?} {label}"), |generation| {
                refuse(path, call, act.clone(), generation)
            });
        }
    }
    suite.finish().await
}

async fn api_server_trouble() -> Result<(), Failed> {
    let busy = Canned::kubernetes(429, "TooManyRequests").header("retry-after", "1");
    refusals(
        "F5 API server answers a write with",
        &[
            ("500", Act::Answer(Canned::kubernetes(500, "InternalError"))),
            ("503", Act::Answer(Canned::kubernetes(503, "ServiceUnavailable"))),
            ("429", Act::Answer(busy)),
            ("cut", Act::Cut),
            ("500 after", Act::AnswerAfter(Canned::kubernetes(500, "InternalError"))),
            ("504 after", Act::AnswerAfter(Canned::kubernetes(504, "Timeout"))),
            ("cut after", Act::CutAfter),
        ],
    )
    .await
}

async fn conflicts() -> Result<(), Failed> {
    let conflict = Canned::kubernetes(409, "Conflict");
    refusals("F9 409 Conflict", &[("before", Act::Answer(conflict.clone())), ("after", Act::AnswerAfter(conflict))])
        .await
}

/// How often somebody else writes, as fast as the API server takes it.
const SCRIBBLES: usize = 100;

/// Somebody else writes the object, over and over.
async fn scribble(arena: &Arena) {
    for number in 0..SCRIBBLES {
        let label = format!("n{number}");
        let metadata = json!({"labels": {"scribble": label}, "annotations": {"example.com/x": label}});
        let patch = Patch::Merge(json!({"metadata": metadata}));
        // The object may be gone already.
        let _ = arena.targets().patch("hook", &PatchParams::default(), &patch).await;
    }
}

async fn other_writers() -> Result<(), Failed> {
    let mut suite = Suite::new("F9 other writers at once: labels, annotations, finalizers");
    for path in [Path::Create, Path::Update, Path::Lower, Path::Delete, Path::Recreate] {
        suite.each(&format!("scribbling during {path:?}"), move |generation| async move {
            let arena = path.prepare(generation, Watching::Awake).await;
            path.act(&arena).await;
            scribble(&arena).await;
            arena.until("the path is done", || path.done(&arena)).await;
            judge(&arena, path.creates()).await;
            assert_eq!(posts(&arena), path.creates(), "{}", arena.explain().await);
            arena.close().await;
        });
    }
    suite.each("a foreign finalizer during the create", |generation| async move {
        let arena = Arena::running(generation).await;
        let held = arena.zitadel.fault(Op::Create, Effect::HoldReply, Times::ONCE);
        arena.create("hook", webhook()).await;
        arena.until("the create is under way", || async { arena.count(EventKind::Added) == 1 }).await;
        let patch = Patch::Merge(json!({"metadata": {
            "finalizers": ["example.com/foreign", "zitadel-actions.dev/target"], "labels": {"a": "b"}}}));
        arena.targets().patch("hook", &PatchParams::default(), &patch).await.unwrap();
        held.release();
        judge(&arena, 1).await;
        assert_eq!(posts(&arena), 1);
        arena.delete("hook").await;
        arena.until("the target is gone", || async { arena.zitadel.targets().is_empty() }).await;
        let foreign = |object: &_| kube::ResourceExt::finalizers(object) == ["example.com/foreign"];
        arena.until_target("hook", "held by the foreign finalizer alone", foreign).await;
        let patch = Patch::Merge(json!({"metadata": {"finalizers": []}}));
        arena.targets().patch("hook", &PatchParams::default(), &patch).await.unwrap();
        arena.gone("hook").await;
        arena.close().await;
    });
    suite.finish().await
}

/// Connections to the API server stay open and nothing moves on them, for longer than any write may take.
async fn api_server_silent() -> Result<(), Failed> {
    let mut suite = Suite::new("F6 half-open connections to the API server");
    for (path, call) in [
        (Path::Create, KubeCall::Claim),
        (Path::Create, KubeCall::Status),
        (Path::Update, KubeCall::Status),
        (Path::Delete, KubeCall::Release),
    ] {
        suite.each(&format!("{path:?} {call:?}"), move |generation| async move {
            let arena = path.prepare(generation, Watching::Awake).await;
            let held = arena.kube.rule(Rule::next(call, Act::HoldRequest));
            path.act(&arena).await;
            held.reached().await;
            arena.kube.freeze();
            let given_up = || async { log(&arena.operator()).contains("did not answer within") };
            arena.until("the write is given up", given_up).await;
            arena.kube.thaw();
            held.discard();
            arena.until("the path is done", || path.done(&arena)).await;
            judge(&arena, path.creates()).await;
            assert_eq!(posts(&arena), path.creates(), "{}", arena.explain().await);
            arena.close().await;
        });
    }
    suite.finish().await
}

/// A list or a watch gets no answer, or a watch falls silent after one: it is given up, and what was missed is seen.
async fn reads_silent() -> Result<(), Failed> {
    let mut suite = Suite::new("F6 a read of the API server falls silent");
    let acts = [
        ("the list has no answer", KubeCall::List, Act::HoldRequest),
        ("the watch has no answer", KubeCall::Watch, Act::HoldRequest),
        ("the watch tells nothing", KubeCall::Watch, Act::Stall),
    ];
    for (label, call, act) in acts {
        suite.alternate(label, move |generation| {
            let act = act.clone();
            async move {
                let arena = Path::Update.prepare(generation, Watching::Awake).await;
                if call == KubeCall::List {
                    arena.kube.rule(Rule::next(KubeCall::Watch, Act::Expire));
                }
                let held = arena.kube.rule(Rule::next(call, act));
                arena.kube.cut_connections();
                held.reached().await;
                Path::Update.act(&arena).await;
                arena.until("the path is done", || Path::Update.done(&arena)).await;
                judge(&arena, 1).await;
                arena.close().await;
            }
        });
    }
    suite.finish().await
}

/// Watches end in every way; nothing is written for objects that did not change, and later edits are seen.
async fn watches() -> Result<(), Failed> {
    let mut suite = Suite::new("F8");
    let gone = Canned::kubernetes(410, "Expired");
    let acts = [
        ("closed", None),
        ("expired inside the stream", Some((KubeCall::Watch, Act::Expire))),
        ("410 at its start", Some((KubeCall::Watch, Act::Answer(gone.clone())))),
        ("410 for the list", Some((KubeCall::List, Act::Answer(gone)))),
        ("500 for the list", Some((KubeCall::List, Act::Answer(Canned::kubernetes(500, "InternalError"))))),
        ("garbage", Some((KubeCall::Watch, Act::Answer(Canned::new(200, "application/json", "{\"type\":"))))),
    ];
    for (label, act) in acts {
        suite.line(format!("F8 watch interrupted: {label}"));
        suite.each(label, move |generation| {
            let act = act.clone();
            async move { interrupt(generation, act).await }
        });
    }
    for (label, act) in [("every event twice", Act::Double), ("events of different objects change places", Act::Swap)] {
        suite.line(format!("F8 watch: {label}"));
        suite.each(label, move |generation| distort(act.clone(), generation));
    }
    suite.line("F8 watch: nothing but a bookmark");
    suite.each("bookmarks", only_bookmarks);
    suite.finish().await
}

/// Every watch of the operator is distorted while three objects are made, changed and deleted.
async fn distort(act: Act, generation: Generation) {
    let arena = Arena::new(generation).await;
    arena.kube.rule(Rule::every(KubeCall::Watch, act));
    arena.start().await;
    for name in ["a", "b", "c"] {
        arena.create(name, webhook()).await;
    }
    judge(&arena, 3).await;
    for name in ["a", "b", "c"] {
        arena.edit(name, json!({"timeout": "3s"})).await;
    }
    judge(&arena, 3).await;
    assert_eq!(arena.calls(Op::Update), 3, "{}", arena.explain().await);
    arena.delete("a").await;
    arena.delete("b").await;
    arena.until("two are gone", || arena.holds(|objects| objects.len() == 1)).await;
    judge(&arena, 3).await;
    assert_eq!(posts(&arena), 3, "{}", arena.explain().await);
    arena.close().await;
}

/// Watches that tell a resourceVersion and end, over and over, and then a real one.
async fn only_bookmarks(generation: Generation) {
    let arena = Path::Update.prepare(generation, Watching::Awake).await;
    let version = arena.get("hook").await.metadata.resource_version;
    let bookmark = json!({"type": "BOOKMARK", "object": {"apiVersion": "zitadel-actions.dev/v1alpha1", "kind": "Target",
        "metadata": {"resourceVersion": version, "creationTimestamp": null}, "spec": {"timeout": "", "endpoint": ""}}});
    let answer = Canned::new(200, "application/json", &format!("{bookmark}\n"));
    let rule = arena.kube.rule(Rule::every(KubeCall::Watch, Act::Answer(answer)));
    let (before, objects) = (deeds(&arena), arena.objects().await);
    arena.kube.cut_connections();
    arena.until("several watches brought a bookmark", || async { rule.acted() > 2 }).await;
    assert_eq!((deeds(&arena), arena.objects().await), (before, objects), "a bookmark made the operator write");
    arena.edit("hook", json!({"timeout": "3s"})).await;
    rule.clear();
    judge(&arena, 1).await;
    arena.close().await;
}

/// An etcd that takes two seconds for each write, as the operator sees it.
async fn slow_writes() -> Result<(), Failed> {
    let mut suite = Suite::new("F5 every write to the API server takes 2 s");
    for path in [Path::Create, Path::Update, Path::Delete, Path::Recreate] {
        suite.each(&format!("{path:?}"), move |generation| async move {
            // A create is sent within the time-out of its claim or not at all: a shorter one would never send it.
            let setup = Setup::new(generation).flag("--zitadel-timeout", "5");
            let arena = path.prepare_in(setup, Watching::Awake, 0).await;
            for call in [KubeCall::Claim, KubeCall::Status, KubeCall::Release, KubeCall::Hold, KubeCall::Event] {
                arena.kube.rule(Rule::every(call, Act::Delay(Duration::from_secs(2))));
            }
            path.act(&arena).await;
            arena.until("the path is done", || path.done(&arena)).await;
            judge(&arena, path.creates()).await;
            assert_eq!(posts(&arena), path.creates(), "{}", arena.explain().await);
            arena.close().await;
        });
    }
    suite.finish().await
}

async fn interrupt(generation: Generation, act: Option<(KubeCall, Act)>) {
    let arena = Path::Update.prepare(generation, Watching::Awake).await;
    arena.create("other", webhook()).await;
    settled(&arena).await;
    let (before, objects) = (deeds(&arena), arena.objects().await);
    for _ in 0..3 {
        if matches!(act, Some((KubeCall::List, _))) {
            // Nothing else makes the operator list again.
            arena.kube.rule(Rule::next(KubeCall::Watch, Act::Expire));
        }
        let rule = act.clone().map(|(call, act)| arena.kube.rule(Rule::next(call, act)));
        let watches = arena.kube.count(KubeCall::Watch);
        arena.kube.cut_connections();
        if let Some(rule) = &rule {
            arena.until("the watch is interrupted", || async { rule.acted() > 0 }).await;
            rule.clear();
        }
        arena.until("a watch is open again", || async { arena.kube.count(KubeCall::Watch) > watches }).await;
    }
    arena.resyncs(1).await;
    assert_eq!(deeds(&arena), before, "an interrupted watch made the operator write");
    assert_eq!(arena.objects().await, objects, "an interrupted watch made the operator write");
    arena.edit("hook", json!({"timeout": "3s"})).await;
    judge(&arena, 2).await;
    arena.close().await;
}

/// The operator sees an old world while people go on: edits, deletion, a new object of the same name.
async fn stale_cache() -> Result<(), Failed> {
    let mut suite = Suite::new("F10 watch events arrive seconds late");
    for behind in [2, 4] {
        suite.each(&format!("all events {behind} s late"), move |generation| async move {
            let arena = Arena::new(generation).await;
            arena.kube.rule(Rule::every(KubeCall::Watch, Act::Trail(Duration::from_secs(behind))));
            arena.start().await;
            arena.create("hook", webhook()).await;
            arena.edit("hook", json!({"timeout": "3s"})).await;
            arena.edit("hook", json!({"name": "renamed"})).await;
            settled(&arena).await;
            arena.edit("hook", json!({"timeout": "4s"})).await;
            arena.edit("hook", json!({"restWebhook": {"interruptOnError": false}})).await;
            judge(&arena, 1).await;
            arena.delete("hook").await;
            arena.gone("hook").await;
            arena.create("hook", webhook()).await;
            judge(&arena, 2).await;
            arena.close().await;
        });
    }
    suite.each("asleep while the object is deleted and made anew", |generation| async move {
        let (arena, stalled) = asleep(generation).await;
        arena.delete("hook").await;
        stalled.release();
        arena.gone("hook").await;
        arena.create("hook", webhook()).await;
        judge(&arena, 2).await;
        arena.close().await;
    });
    suite.finish().await
}

/// The watch has fallen asleep, the object was edited since, the remote target is lost, and a claim on the old view
/// was refused.
async fn asleep(generation: Generation) -> (Arena, RuleHandle<KubeCall>) {
    let arena = Path::Update.prepare(generation, Watching::Awake).await;
    let stalled = arena.kube.rule(Rule::next(KubeCall::Watch, Act::Stall));
    arena.kube.cut_connections();
    arena.until("the watch sleeps", || async { stalled.acted() > 0 }).await;
    arena.edit("hook", json!({"timeout": "3s"})).await;
    arena.zitadel.external_delete(&arena.zitadel.targets()[0].id);
    let refused = |entry: &Entry<KubeCall>| entry.call == KubeCall::Claim && entry.fate == Fate::Answered(409);
    arena.until("a stale claim is refused", || async { arena.kube.log().iter().any(refused) }).await;
    assert_eq!(posts(&arena), 1, "a create on a stale view\n{}", arena.explain().await);
    (arena, stalled)
}

/// While the cache is old, whoever lost a race does not run again and again: a few calls, not hundreds.
async fn stale_cache_is_no_hot_loop() -> Result<(), Failed> {
    let mut suite = Suite::new("F10 stale cache: no hot loop (I6)");
    suite.each("ten resyncs with a watch that sleeps", |generation| async move {
        let (arena, stalled) = asleep(generation).await;
        let before = arena.calls(Op::Update);
        arena.resyncs(10).await;
        let probes = arena.calls(Op::Update) - before;
        assert!(probes <= 10, "{probes} probes in ten resyncs: a hot loop\n{}", arena.explain().await);
        stalled.release();
        judge(&arena, 2).await;
        arena.close().await;
    });
    suite.finish().await
}

pub fn trials() -> Vec<Trial> {
    vec![
        trial("faults_api_server_silent", api_server_silent),
        trial("faults_reads_silent", reads_silent),
        trial("faults_stale_cache", stale_cache),
        trial("faults_watches", watches),
        trial("faults_slow_writes", slow_writes),
        trial("faults_stale_cache_is_no_hot_loop", stale_cache_is_no_hot_loop),
        trial("faults_api_server_trouble", api_server_trouble),
        trial("faults_conflicts", conflicts),
        trial("faults_other_writers", other_writers),
    ]
}
