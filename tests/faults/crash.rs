//! kill -9 before and after every call, on every path, once and twice.

use std::time::{Duration, Instant};

use devkit::proxy::KubeCall;
use libtest_mimic::{Failed, Trial};
use zitadel_stand_in::{EventKind, Generation, Op};

use crate::arena::Arena;
use crate::judge::{Deed, deeds, judge, posts};
use crate::path::{Path, Watching};
use crate::point::{Armed, Edge, Mark, Point, Spot};
use crate::report::{Outcome, Suite, calmly, long, seed, trial};
use crate::walk::Dice;
use crate::world::{GENERATIONS, condition};

const POLL: Duration = Duration::from_millis(25);
/// After so many looks without a further call to Kubernetes a path is taken to be over.
const CALM: usize = 16;
/// Longest time from one list to the next.
const LIST: Duration = Duration::from_secs(2);
/// How many runs without a fault are recorded.
const RECORDS: usize = 3;
/// How often a run is made again in which its call was not made: with other timing it may be.
const TRIES: usize = 3;

/// A path in one generation, and what a run of it without faults looks like.
#[derive(Clone, Debug)]
struct Course {
    path: Path,
    watching: Watching,
    generation: Generation,
    deeds: Vec<Deed>,
    posts: usize,
}

/// Runs a path without any fault; from its calls come the points. Of a few such runs the one with the fewest calls
/// counts: on a loaded machine a call may time out, and the next ones are then no part of the path.
async fn record(path: Path, watching: Watching, generation: Generation) -> (Course, Vec<Point>) {
    let mut records = Vec::new();
    for _ in 0..RECORDS {
        records.push(record_once(path, watching, generation).await);
    }
    records.into_iter().min_by_key(|(_, points)| points.len()).expect("at least one")
}

async fn record_once(path: Path, watching: Watching, generation: Generation) -> (Course, Vec<Point>) {
    let arena = path.prepare(generation, watching).await;
    let mark = Mark::now(&arena);
    path.act(&arena).await;
    if watching == Watching::Asleep {
        arena.start().await;
    }
    over(&arena, path).await;
    let points = mark.points(&arena);
    verdict(path, &arena).await;
    let course = Course { path, watching, generation, deeds: deeds(&arena), posts: posts(&arena) };
    arena.close().await;
    (course, points)
}

/// The end of every run of a path, with or without faults.
async fn verdict(path: Path, arena: &Arena) {
    if path != Path::Refuse {
        return judge(arena, path.creates()).await;
    }
    let object = arena.get("hook").await;
    assert_eq!(object.status.as_ref().and_then(|status| status.id.clone()), None);
    assert!(condition(&object, "Stalled").is_some_and(|(_, reason, _)| reason == "NameTaken"));
    assert!(object.metadata.annotations.is_none_or(|all| all.is_empty()), "the claim is dropped");
    assert_eq!(arena.zitadel.events().len(), 1, "the foreign target is untouched\n{}", arena.explain().await);
}

/// Waits until the path is done and its last calls (Events come after the status) are made.
async fn over(arena: &Arena, path: Path) {
    arena.until("the path is done", || path.done(arena)).await;
    let (mut calls, mut same) = (0, 0);
    while same < CALM {
        let now = arena.kube.log().len();
        same = if now == calls { same + 1 } else { 0 };
        calls = now;
        tokio::time::sleep(POLL).await;
    }
}

/// A crash: waits until the point is reached, kills, and lets what was held arrive or not.
async fn strike(arena: &Arena, path: Path, point: Point, armed: Armed) -> Outcome {
    let struck = || async { armed.struck() };
    tokio::select! {
        () = arena.until("the point is reached", struck) => {}
        () = over(arena, path) => {
            // A list comes with the next resync, whether or not the path is over.
            if point.spot == Spot::Zitadel(Op::List) {
                let patience = LIST * u32::try_from(point.skip + 2).unwrap();
                let _ = tokio::time::timeout(patience, arena.until("the point is reached", struck)).await;
            }
        }
    }
    if !armed.struck() {
        armed.discard();
        return Outcome::Missed;
    }
    arena.kill(&arena.operator()).await;
    if point.edge == Edge::Late {
        arena.start().await;
        armed.release();
    } else {
        armed.discard();
    }
    Outcome::Struck
}

/// One run: the path with these crashes, then the operator is left alone.
async fn crash(course: Course, crashes: Vec<Point>) -> Outcome {
    let Course { path, watching, generation, .. } = course;
    let started = Instant::now();
    let arena = path.prepare(generation, watching).await;
    let mut outcome = Outcome::Missed;
    for (number, point) in crashes.iter().enumerate() {
        let armed = point.arm(&arena);
        if number == 0 {
            path.act(&arena).await;
        }
        if arena.asleep() {
            arena.spawn();
        }
        let struck = strike(&arena, path, *point, armed).await;
        outcome = if number == 0 { struck } else { outcome };
    }
    if arena.asleep() {
        arena.start().await;
    }
    arena.until("the path is done", || path.done(&arena)).await;
    verdict(path, &arena).await;
    same_history(&course, &crashes, &arena).await;
    arena.close().await;
    told(&course, &crashes, started);
    outcome
}

/// A crash leaves no trace in ZITADEL: our deeds are those of the run without it. An update that arrives late may
/// have to be corrected.
async fn same_history(course: &Course, crashes: &[Point], arena: &Arena) {
    let late = |point: &Point| point.edge == Edge::Late && point.spot == Spot::Zitadel(Op::Update);
    let done = deeds(arena);
    if crashes.iter().any(late) {
        let kinds = |deeds: &[Deed], kind| deeds.iter().filter(|deed| deed.0 == kind).count();
        for kind in [EventKind::Added, EventKind::Removed] {
            assert_eq!(kinds(&done, kind), kinds(&course.deeds, kind), "{}", arena.explain().await);
        }
    } else {
        assert_eq!(done, course.deeds, "not the history of a run without faults\n{}", arena.explain().await);
    }
    if course.path != Path::Refuse {
        assert_eq!(posts(arena), course.posts, "create calls that arrived\n{}", arena.explain().await);
    }
}

fn told(course: &Course, crashes: &[Point], started: Instant) {
    if long() {
        println!("    {:?} {} {crashes:?}: {:?}", course.path, course.generation, started.elapsed());
    }
}

/// The same run again, if its first call never came.
async fn insist(course: Course, crashes: Vec<Point>) -> Outcome {
    let mut outcome = Outcome::Missed;
    for _ in 0..TRIES {
        outcome = crash(course.clone(), crashes.clone()).await;
        if outcome == Outcome::Struck {
            break;
        }
    }
    outcome
}

/// The record of each generation.
async fn records(path: Path, watching: Watching) -> Vec<(Course, Vec<Point>)> {
    let records = GENERATIONS.map(|generation| calmly(path.company(), record(path, watching, generation)));
    futures::future::join_all(records).await
}

/// Every point of a path, once, in both generations.
async fn once(path: Path, watching: Watching) -> Result<(), Failed> {
    let mut suite = Suite::with(path.company(), "F1");
    for (course, points) in records(path, watching).await {
        let generation = course.generation;
        for point in points {
            let start = if watching == Watching::Asleep { " at start" } else { "" };
            let edges = if point.spot.writes() { "before, late, after" } else { "before, after" };
            let line = format!("F1 {path:?}{start}: kill -9 at {} ({edges})", point.spot);
            suite.point(&line);
            suite.run(&line, format!("{generation} {point:?}"), insist(course.clone(), vec![point]));
        }
    }
    suite.finish().await
}

/// Crashes in the life after the first crash: what recovery itself does.
const SECOND: [Point; 8] = [
    Point { spot: Spot::Kube(KubeCall::List), skip: 0, edge: Edge::After },
    Point { spot: Spot::Zitadel(Op::Instance), skip: 0, edge: Edge::After },
    Point { spot: Spot::Zitadel(Op::Events), skip: 0, edge: Edge::After },
    Point { spot: Spot::Zitadel(Op::Update), skip: 0, edge: Edge::After },
    Point { spot: Spot::Zitadel(Op::Delete), skip: 0, edge: Edge::After },
    Point { spot: Spot::Kube(KubeCall::Status), skip: 0, edge: Edge::Before },
    Point { spot: Spot::Kube(KubeCall::Status), skip: 0, edge: Edge::After },
    Point { spot: Spot::Kube(KubeCall::Release), skip: 0, edge: Edge::Late },
];

/// Two crashes in a row: at the same point, and at a different one. The long form takes every point with every second
/// point; the bounded form the calls that write, each with itself and with one that the seed draws.
async fn twice(path: Path) -> Result<(), Failed> {
    let mut suite = Suite::with(path.company(), "F1");
    let mut dice = Dice::new(seed());
    let line = format!("F1 {path:?}: two crashes in a row");
    for (course, points) in records(path, Watching::Awake).await {
        let generation = course.generation;
        for first in points {
            let sampled = first.spot.writes() && first.edge != Edge::Before;
            let drawn = dice.pick(&SECOND);
            for second in SECOND.into_iter().chain([Point { skip: 0, ..first }]) {
                suite.point(&line);
                let same = second.spot == first.spot && second.edge == first.edge;
                if long() || (sampled && (same || second == drawn)) {
                    let label = format!("{generation} {first:?} then {second:?}");
                    suite.run(&line, label, insist(course.clone(), vec![first, second]));
                }
            }
        }
    }
    suite.finish().await
}

pub fn trials() -> Vec<Trial> {
    // Those with the longest recoveries first: seats are given in order.
    let awake = [
        ("faults_crash_recreate", Path::Recreate),
        ("faults_crash_create", Path::Create),
        ("faults_crash_refuse", Path::Refuse),
        ("faults_crash_lower", Path::Lower),
        ("faults_crash_update", Path::Update),
        ("faults_crash_rename", Path::Rename),
        ("faults_crash_drift", Path::Drift),
        ("faults_crash_regain", Path::Regain),
        ("faults_crash_delete", Path::Delete),
    ];
    let asleep = [("faults_crash_create_at_start", Path::Create), ("faults_crash_delete_at_start", Path::Delete)];
    let doubled = [
        ("faults_crash_twice_recreate", Path::Recreate),
        ("faults_crash_twice_create", Path::Create),
        ("faults_crash_twice_lower", Path::Lower),
        ("faults_crash_twice_update", Path::Update),
        ("faults_crash_twice_rename", Path::Rename),
        ("faults_crash_twice_delete", Path::Delete),
    ];
    let awake = awake.into_iter().map(|(name, path)| trial(name, move || once(path, Watching::Awake)));
    let asleep = asleep.into_iter().map(|(name, path)| trial(name, move || once(path, Watching::Asleep)));
    let doubled = doubled.into_iter().map(|(name, path)| trial(name, move || twice(path)));
    doubled.chain(awake).chain(asleep).collect()
}
