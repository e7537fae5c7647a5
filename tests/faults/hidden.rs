//! F22: the event store does not tell what happened: an open transaction of another ZITADEL pod hides the newest events
//! for a time, audit-log retention hides the oldest for ever.

use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::json;
use zitadel_stand_in::{Effect, Generation, HiddenFrom, Op, Times};

use crate::answers::since_create;
use crate::arena::Arena;
use crate::executions::WRITES;
use crate::judge::{judge, once, posts};
use crate::path::{Path, Watching};
use crate::report::{Suite, trial};
use crate::world::{GENERATIONS, Setup, condition};

/// Those of 2.x: later ones wait for an open transaction in place of leaving events out.
const HIDING: [Generation; 2] = [Generation::V3Alpha, Generation::ResourcesV3Alpha];
/// A create of these worlds is dead after 2 s until it is sent, 6 s until it is given up, and 15 s for a late commit; in
/// seconds, with room for the look-up that follows.
const DEAD: u64 = 26;
/// How many resyncs events stay hidden.
const RESYNCS: usize = 3;

/// What becomes of the answer of the call that is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Read,
    Lost,
}

/// What this path does is hidden, from whom it may be, and appears again.
async fn hidden(path: Path, op: Op, from: HiddenFrom, answer: Answer, generation: Generation) {
    let arena = path.prepare(generation, Watching::Awake).await;
    arena.zitadel.hide_events_from_now(from);
    let before = arena.calls(op);
    if answer == Answer::Lost {
        arena.zitadel.fault(op, Effect::LoseReply, Times::ONCE);
    }
    path.act(&arena).await;
    arena.until("the call arrives", || async { arena.calls(op) > before }).await;
    if path == Path::Create && answer == Answer::Lost {
        arena.until("a second create could be sent", || async { since_create(&arena) > DEAD }).await;
    } else if path == Path::Delete {
        // Nothing is left to compare.
        arena.gone("hook").await;
    } else {
        arena.resyncs(RESYNCS).await;
    }
    arena.zitadel.show_events();
    arena.until("the path is done", || path.done(&arena)).await;
    judge(&arena, path.creates()).await;
    // Hidden from reads too, nothing but a second create can show that the name is taken.
    let repeated = usize::from(op == Op::Create && answer == Answer::Lost && from == HiddenFrom::SearchAndReads);
    let sent = posts(&arena);
    assert!((path.creates()..=path.creates() + repeated).contains(&sent), "{sent} creates\n{}", arena.explain().await);
    once(&arena).await;
    arena.close().await;
}

async fn open_transactions() -> Result<(), Failed> {
    let mut suite = Suite::new("F22");
    for (from, whom) in [(HiddenFrom::Search, "the search"), (HiddenFrom::SearchAndReads, "search and reads")] {
        for (answer, what) in [(Answer::Read, "answer read"), (Answer::Lost, "answer lost")] {
            suite.line(format!("F22 an open transaction hides the call from {whom}, {what}"));
            for generation in HIDING {
                for (path, op) in WRITES {
                    suite.case(format!("{generation} {path:?}"), hidden(path, op, from, answer, generation));
                }
            }
        }
    }
    suite.finish().await
}

/// Retention hides every event there is and will be.
async fn forgotten(path: Path, op: Op, answer: Answer, generation: Generation) {
    let arena = path.prepare(generation, Watching::Awake).await;
    arena.zitadel.set_audit_log_retention(Some(Duration::ZERO));
    arena.lose_events();
    let before = arena.calls(op);
    if answer == Answer::Lost {
        arena.zitadel.fault(op, Effect::LoseReply, Times::ONCE);
    }
    path.act(&arena).await;
    arena.until("the call arrives", || async { arena.calls(op) > before }).await;
    if path == Path::Create && answer == Answer::Lost {
        decided_by_a_person(&arena).await;
    }
    arena.until("the path is done", || path.done(&arena)).await;
    judge(&arena, path.creates()).await;
    assert_eq!(posts(&arena), path.creates(), "{}", arena.explain().await);
    once(&arena).await;
    arena.close().await;
}

/// Nothing tells any more who made the target that has the name: it is neither taken nor called somebody else's, and a
/// person says whose it is.
async fn decided_by_a_person(arena: &Arena) {
    let id = arena.zitadel.targets()[0].id.clone();
    let asks = |object: &_| {
        let (_, reason, message) = condition(object, "Ready").unwrap_or_default();
        assert_ne!(reason, "NameTaken", "our own target is taken for somebody else's");
        reason == "CreateOutcomeUnknown" && message.contains(&format!("set spec.externalId to {id}"))
    };
    arena.until_target("hook", "in need of a decision", asks).await;
    arena.edit("hook", json!({"externalId": id})).await;
}

/// Retention hides what was before; the operator is started again.
async fn forgotten_before(path: Path, generation: Generation) {
    let arena = path.prepare(generation, Watching::Asleep).await;
    arena.zitadel.forget_events_until_now();
    path.act(&arena).await;
    arena.start().await;
    arena.until("the path is done", || path.done(&arena)).await;
    judge(&arena, path.creates()).await;
    if path != Path::Recreate {
        once(&arena).await;
    }
    arena.close().await;
}

/// A target that was there before has the name, and nothing tells who made it.
async fn forgotten_stranger(generation: Generation) {
    let arena = Arena::with(Setup::new(generation)).await;
    arena.stranger("Hook");
    arena.zitadel.forget_events_until_now();
    arena.start().await;
    arena.create("hook", crate::world::webhook()).await;
    arena.reason("hook", "NameTaken").await;
    arena.edit("hook", json!({"name": "own"})).await;
    judge(&arena, 1).await;
    arena.close().await;
}

async fn retention() -> Result<(), Failed> {
    let mut suite = Suite::new("F22");
    for (answer, what) in [(Answer::Read, "answer read"), (Answer::Lost, "answer lost")] {
        suite.line(format!("F22 retention hides every event, {what}"));
        for generation in GENERATIONS {
            for (path, op) in WRITES {
                suite.case(format!("{generation} {path:?}"), forgotten(path, op, answer, generation));
            }
        }
    }
    suite.line("F22 retention hides what was before the start of the operator");
    for path in [Path::Update, Path::Rename, Path::Delete, Path::Recreate, Path::Drift] {
        suite.each(&format!("{path:?}"), move |generation| forgotten_before(path, generation));
    }
    suite.each("a stranger with our account has the name", forgotten_stranger);
    suite.finish().await
}

pub fn trials() -> Vec<Trial> {
    vec![trial("faults_open_transactions", open_transactions), trial("faults_retention", retention)]
}
