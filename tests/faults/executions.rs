//! F21: somebody's execution on the Actions API interrupts our calls: before they are carried out, which is a refusal of
//! no meaning for the target, or after, which is an error for what was done.

use libtest_mimic::{Failed, Trial};
use zitadel_stand_in::{Effect, Generation, Interruption, Op, Times};

use crate::judge::{judge, once, posts};
use crate::path::{Path, Watching};
use crate::report::{Suite, long, trial};
use crate::world::GENERATIONS;

/// When it interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Request,
    Response,
}

/// The calls that change something, and the paths on which they are made.
pub const WRITES: [(Path, Op); 4] =
    [(Path::Create, Op::Create), (Path::Update, Op::Update), (Path::Rename, Op::Update), (Path::Delete, Op::Delete)];

/// How its target fails: (label, what the stand-in answers). `v3alpha` does not know of forwarded statuses.
fn failures(generation: Generation) -> Vec<(String, Interruption)> {
    let own = [
        ("its target answers 500".to_owned(), Interruption::Failed),
        ("its target is not reachable".to_owned(), Interruption::Unreachable),
    ];
    let statuses: &[u16] = if generation == Generation::V3Alpha { &[] } else { &[400, 401, 403, 404, 409] };
    let forwarded =
        statuses.iter().map(|status| (format!("it forwards {status}"), Interruption::Forwarded(*status, "no".into())));
    own.into_iter().chain(forwarded).collect()
}

/// A call of this path is interrupted, in the long form three times in a row. What is done in ZITADEL is what is done
/// without the execution.
async fn interrupted(path: Path, op: Op, phase: Phase, failure: Interruption, generation: Generation) {
    let arena = path.prepare(generation, Watching::Awake).await;
    let (effect, times) = match phase {
        Phase::Request => (Effect::RequestExecution(failure), if long() && op != Op::Create { 3 } else { 1 }),
        Phase::Response => (Effect::ResponseExecution(failure), if long() { 3 } else { 1 }),
    };
    let fault = arena.zitadel.fault(op, effect, Times::N(times));
    path.act(&arena).await;
    arena.until("the execution interrupts a call", || async { fault.hits() > 0 }).await;
    arena.until("the path is done", || path.done(&arena)).await;
    judge(&arena, path.creates()).await;
    let interrupted = usize::from(op == Op::Create && phase == Phase::Request);
    assert_eq!(posts(&arena), path.creates() + interrupted, "creates that arrived\n{}", arena.explain().await);
    once(&arena).await;
    arena.close().await;
}

async fn interrupted_calls() -> Result<(), Failed> {
    let mut suite = Suite::new("F21");
    for generation in GENERATIONS {
        for (label, failure) in failures(generation) {
            for (phase, what) in
                [(Phase::Request, "call refused"), (Phase::Response, "call carried out, answer failed")]
            {
                suite.line(format!("F21 {what} by an execution: {label}"));
                for (path, op) in WRITES {
                    let run = interrupted(path, op, phase, failure.clone(), generation);
                    suite.case(format!("{generation} {path:?}"), run);
                }
            }
        }
    }
    suite.finish().await
}

pub fn trials() -> Vec<Trial> {
    vec![trial("faults_executions_interrupt", interrupted_calls)]
}
