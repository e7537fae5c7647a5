//! F23, F24: servers and proxies that serve less than usual: smaller pages, no paths but those of targets, an event
//! search that fails, endpoints whose host takes long to look up.

use std::time::Duration;

use devkit::proxy::{Act, Rule};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use zitadel_stand_in::{Effect, Generation, Op, TargetEdit, Times};

use crate::arena::Arena;
use crate::executions::WRITES;
use crate::judge::{judge, once, posts, settled};
use crate::path::{Path, Watching};
use crate::report::{Suite, long, trial};
use crate::world::{GENERATIONS, webhook};

/// More than fit on the smallest page.
const OTHERS: usize = 120;

/// The server allows so few rows a page, and there are more targets than that.
async fn small_pages(path: Path, rows: u64, watching: Watching, generation: Generation) {
    let arena = path.prepare(generation, watching).await;
    arena.zitadel.set_max_query_limit(rows);
    for index in 0..OTHERS {
        arena.zitadel.external_create(&format!("other-{index}"), TargetEdit::default());
    }
    path.act(&arena).await;
    if watching == Watching::Asleep {
        arena.start().await;
    }
    arena.until("the path is done", || path.done(&arena)).await;
    judge(&arena, path.creates()).await;
    arena.close().await;
}

async fn list_limits() -> Result<(), Failed> {
    let mut suite = Suite::new("F23");
    let paths = [Path::Create, Path::Update, Path::Rename, Path::Delete, Path::Recreate, Path::Drift];
    let mut number = 0;
    for rows in [250, 50] {
        suite.line(format!("F23 the server allows {rows} rows a page"));
        for path in paths {
            // v3alpha has no limit.
            for generation in [Generation::ResourcesV3Alpha, Generation::V2Beta, Generation::V2] {
                for (watching, when) in [(Watching::Awake, "under way"), (Watching::Asleep, "at start")] {
                    number += 1;
                    // The bounded form takes one of six, another one for each path.
                    if long() || number % 7 == 1 {
                        suite.case(
                            format!("{generation} {path:?} {when}"),
                            small_pages(path, rows, watching, generation),
                        );
                    } else {
                        suite.point(&format!("F23 the server allows {rows} rows a page"));
                    }
                }
            }
        }
    }
    suite.finish().await
}

/// What keeps the operator from all but the targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Barrier {
    /// A proxy hides `/admin/` and `/auth/` with this status.
    Hidden(u16),
    /// The event search fails.
    Failing,
    /// It takes longer than it may.
    Slow,
}

impl Barrier {
    fn raise(self, arena: &Arena) {
        match self {
            Self::Hidden(status) => arena.zitadel.set_hidden_paths(&[("/admin/", status), ("/auth/", status)]),
            Self::Failing => drop(arena.zitadel.fault(Op::Events, Effect::Status(500, None), Times::Always)),
            Self::Slow => drop(arena.zitadel.fault(Op::Events, Effect::Latency(Duration::from_secs(5)), Times::Always)),
        }
        arena.lose_events();
    }
}

/// The barrier is there for good: under way, or from the start of the operator on; with the answer of the call lost too,
/// if need be.
async fn behind(path: Path, barrier: Barrier, watching: Watching, generation: Generation) {
    let arena = path.prepare(generation, watching).await;
    barrier.raise(&arena);
    path.act(&arena).await;
    if watching == Watching::Asleep {
        arena.start().await;
    }
    arena.until("the path is done", || path.done(&arena)).await;
    judge(&arena, path.creates()).await;
    assert_eq!(posts(&arena), path.creates(), "{}", arena.explain().await);
    if path != Path::Recreate {
        once(&arena).await;
    }
    arena.close().await;
}

/// Longest time of a path on a loaded machine.
const USUAL: Duration = Duration::from_secs(90);
/// The same of a create whose answer is lost: the event store alone tells who made a target, and it is given 83 s to answer
/// before the name has to do; the last pause before that may have been almost as long.
const WITHOUT_EVENTS: Duration = Duration::from_mins(4);

async fn behind_with_a_lost_answer(path: Path, op: Op, barrier: Barrier, generation: Generation) {
    let arena = path.prepare(generation, Watching::Awake).await;
    barrier.raise(&arena);
    let lost = arena.remote.rule(Rule::next(op, Act::CutAfter));
    path.act(&arena).await;
    arena.until("the answer is lost", || async { lost.acted() > 0 }).await;
    path.done_within(&arena, if op == Op::Create { WITHOUT_EVENTS } else { USUAL }).await;
    judge(&arena, path.creates()).await;
    assert_eq!(posts(&arena), path.creates(), "{}", arena.explain().await);
    once(&arena).await;
    arena.close().await;
}

async fn targets_alone() -> Result<(), Failed> {
    let mut suite = Suite::new("F23");
    let paths = [Path::Create, Path::Update, Path::Rename, Path::Delete, Path::Recreate, Path::Drift];
    let barriers = [
        (Barrier::Hidden(403), "a proxy answers 403 for /admin/ and /auth/"),
        (Barrier::Hidden(404), "a proxy answers 404 for /admin/ and /auth/"),
        (Barrier::Failing, "the event search answers 500"),
        (Barrier::Slow, "the event search gives no answer in time"),
    ];
    let mut number = 0;
    for (barrier, label) in barriers {
        let line = format!("F23 {label}");
        suite.line(&*line);
        for path in paths {
            for generation in GENERATIONS {
                for (watching, when) in [(Watching::Awake, "under way"), (Watching::Asleep, "at start")] {
                    number += 1;
                    // The bounded form takes two of four.
                    if long() || (number + number / 4) % 2 == 0 {
                        suite
                            .case(format!("{generation} {path:?} {when}"), behind(path, barrier, watching, generation));
                    } else {
                        suite.point(&line);
                    }
                }
            }
        }
        suite.line(format!("{line}, and an answer is lost"));
        for (path, op) in WRITES {
            suite
                .each(&format!("{path:?}"), move |generation| behind_with_a_lost_answer(path, op, barrier, generation));
        }
    }
    suite.finish().await
}

/// Longer than a read may take, and longer than a write may take, where calls are given up after two and six seconds.
const LOOK_UPS: [u64; 2] = [3, 8];
const SLOW: &str = "slow.example.com";

fn at_slow() -> Value {
    let mut spec = webhook();
    spec["endpoint"] = json!(format!("https://{SLOW}/zitadel"));
    spec
}

fn slow_look_ups(arena: &Arena, seconds: u64, exists: bool) {
    arena.zitadel.set_slow_look_ups(&[(SLOW, Duration::from_secs(seconds))]);
    arena.zitadel.set_resolvable_hosts(if exists { &["example.com"] } else { &["hooks.example.com"] });
}

/// Accepted in the end.
async fn looked_up(path: Path, seconds: u64) {
    let arena = path.prepare(Generation::V2, Watching::Awake).await;
    slow_look_ups(&arena, seconds, true);
    match path {
        Path::Create => drop(arena.create("hook", at_slow()).await),
        Path::Update => drop(arena.edit("hook", at_slow()).await),
        // Neither needs a look-up of the endpoint that is there.
        _ => {
            arena.edit("hook", at_slow()).await;
            settled(&arena).await;
            path.act(&arena).await;
        }
    }
    arena.until("the path is done", || path.done(&arena)).await;
    judge(&arena, 1).await;
    assert_eq!(posts(&arena), 1, "{}", arena.explain().await);
    once(&arena).await;
    arena.close().await;
}

/// Refused in the end, and corrected by the user.
async fn refused(path: Path, seconds: u64) {
    let arena = path.prepare(Generation::V2, Watching::Awake).await;
    slow_look_ups(&arena, seconds, false);
    if path == Path::Create {
        arena.create("hook", at_slow()).await;
    } else {
        arena.edit("hook", at_slow()).await;
    }
    if seconds == LOOK_UPS[0] {
        arena.reason("hook", "EndpointDenied").await;
    } else {
        crate::answers::not_ready(&arena).await;
    }
    if path == Path::Delete {
        arena.delete("hook").await;
        arena.gone("hook").await;
    } else {
        arena.edit("hook", json!({"endpoint": "https://hooks.example.com/zitadel"})).await;
    }
    judge(&arena, 1).await;
    arena.close().await;
}

async fn endpoint_look_ups() -> Result<(), Failed> {
    let mut suite = Suite::new("F24");
    for (seconds, label) in LOOK_UPS.into_iter().zip(["a read", "a write"]) {
        suite.line(format!("F24 looking up the endpoint takes longer than {label} may, accepted"));
        for path in [Path::Create, Path::Update, Path::Rename, Path::Delete] {
            suite.case(format!("{path:?}"), looked_up(path, seconds));
        }
        suite.line(format!("F24 looking up the endpoint takes longer than {label} may, refused"));
        for path in [Path::Create, Path::Update, Path::Delete] {
            suite.case(format!("{path:?}"), refused(path, seconds));
        }
    }
    suite.finish().await
}

pub fn trials() -> Vec<Trial> {
    vec![
        trial("faults_targets_alone", targets_alone),
        trial("faults_endpoint_look_ups", endpoint_look_ups),
        trial("faults_list_limits", list_limits),
    ]
}
