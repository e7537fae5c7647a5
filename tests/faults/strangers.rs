//! F26: somebody else uses our account (a script, Terraform, a second cluster): what they make is not ours, what they do
//! to ours is corrected.

use std::time::Duration;

use devkit::proxy::{Act, Rule};
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use zitadel_stand_in::{Generation, Op, TargetEdit, TargetKind};

use crate::arena::Arena;
use crate::judge::judge;
use crate::path::{Path, Watching};
use crate::report::{Suite, trial};
use crate::world::webhook;

/// Before what the stranger makes its target of our name.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Claim,
    Create,
    LostCreate,
    UnansweredCreate,
}

const MOMENTS: [(Moment, &str); 4] = [
    (Moment::Claim, "before the claim"),
    (Moment::Create, "between claim and create"),
    (Moment::LostCreate, "after the claim, our create lost"),
    (Moment::UnansweredCreate, "after the claim, the answer of our create lost"),
];

/// The stranger keeps its target, and we get one when we ask for another name.
async fn created_by_a_stranger(moment: Moment, generation: Generation) {
    let arena = Arena::running(generation).await;
    // It has worked before, so that it knows the dates of older events.
    arena.create("earlier", webhook()).await;
    arena.ready("earlier").await;
    if let Moment::Claim = moment {
        arena.stranger("Hook");
        arena.create("hook", webhook()).await;
    } else {
        let held = arena.remote.rule(Rule::next(Op::Create, Act::HoldRequest));
        arena.create("hook", webhook()).await;
        held.reached().await;
        arena.stranger("Hook");
        match moment {
            Moment::LostCreate => held.discard(),
            Moment::UnansweredCreate => {
                let unknown = |object: &_| {
                    crate::world::condition(object, "Ready").is_some_and(|(_, why, _)| why == "CreateOutcomeUnknown")
                };
                arena.until_target("hook", "given up", unknown).await;
                held.release();
            }
            Moment::Claim | Moment::Create => held.release(),
        }
    }
    arena.reason("hook", "NameTaken").await;
    arena.edit("hook", json!({"name": "own"})).await;
    judge(&arena, 2).await;
    arena.delete("hook").await;
    arena.gone("hook").await;
    judge(&arena, 2).await;
    arena.close().await;
}

/// The name that we are about to give our target.
async fn renamed_before_us(generation: Generation) {
    let arena = Path::Rename.prepare(generation, Watching::Awake).await;
    let held = arena.remote.rule(Rule::next(Op::Update, Act::HoldRequest));
    arena.edit("hook", json!({"name": "renamed"})).await;
    held.reached().await;
    arena.stranger("Renamed");
    held.release();
    arena.reason("hook", "NameTaken").await;
    arena.edit("hook", json!({"name": "own"})).await;
    judge(&arena, 1).await;
    arena.close().await;
}

type MakeEdit = fn() -> TargetEdit;

const EDITS: [(&str, MakeEdit); 4] = [
    ("endpoint", || TargetEdit { endpoint: Some("https://evil.example.com".into()), ..TargetEdit::default() }),
    ("timeout", || TargetEdit { timeout: Some(Duration::from_secs(99)), ..TargetEdit::default() }),
    ("kind", || TargetEdit { kind: Some(TargetKind::Async), ..TargetEdit::default() }),
    ("name", || TargetEdit { name: Some("theirs".into()), ..TargetEdit::default() }),
];

/// Ours is edited with our account, at rest and while we update it.
async fn edited_by_a_stranger(edit: MakeEdit, generation: Generation) {
    let arena = Path::Update.prepare(generation, Watching::Awake).await;
    let (own, id) = (arena.zitadel.user_id(), arena.ours()[0].id.clone());
    arena.zitadel.external_update_by(&own, &id, edit());
    crate::judge::settled(&arena).await;
    let held = arena.remote.rule(Rule::next(Op::Update, Act::HoldRequest));
    arena.edit("hook", json!({"timeout": "3s"})).await;
    held.reached().await;
    arena.zitadel.external_update_by(&own, &id, edit());
    held.release();
    judge(&arena, 1).await;
    arena.close().await;
}

/// Ours is deleted with our account, at rest or while a call of ours is on its way.
async fn deleted_by_a_stranger(during: Option<(Path, Op)>, generation: Generation) {
    let path = during.map_or(Path::Recreate, |(path, _)| path);
    let arena = path.prepare(generation, Watching::Awake).await;
    let (own, id) = (arena.zitadel.user_id(), arena.ours()[0].id.clone());
    if let Some((path, op)) = during {
        let held = arena.remote.rule(Rule::next(op, Act::HoldRequest));
        path.act(&arena).await;
        held.reached().await;
        arena.zitadel.external_delete_by(&own, &id);
        held.release();
    } else {
        arena.zitadel.external_delete_by(&own, &id);
    }
    let creates = if path == Path::Delete { 1 } else { 2 };
    if path == Path::Delete {
        arena.gone("hook").await;
    } else {
        arena.until("there is another one", || async { arena.ours().iter().any(|target| target.id != id) }).await;
    }
    judge(&arena, creates).await;
    arena.close().await;
}

async fn shared_account() -> Result<(), Failed> {
    let mut suite = Suite::new("F26 a stranger with our account makes a target of our name");
    for (moment, label) in MOMENTS {
        suite.each(label, move |generation| created_by_a_stranger(moment, generation));
    }
    suite.each("before a rename", renamed_before_us);
    suite.line("F26 a stranger with our account edits or renames our target");
    for (label, edit) in EDITS {
        suite.each(label, move |generation| edited_by_a_stranger(edit, generation));
    }
    suite.line("F26 a stranger with our account deletes our target");
    for during in
        [None, Some((Path::Update, Op::Update)), Some((Path::Rename, Op::Update)), Some((Path::Delete, Op::Delete))]
    {
        let label = during.map_or("at rest".to_owned(), |(path, _)| format!("during {path:?}"));
        suite.each(&label, move |generation| deleted_by_a_stranger(during, generation));
    }
    suite.finish().await
}

pub fn trials() -> Vec<Trial> {
    vec![trial("faults_shared_account", shared_account)]
}
