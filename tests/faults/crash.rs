//! kill -9 before and after every call, on every path, once and twice.

use std::time::{Duration, Instant};

use devkit::proxy::KubeCall;
use zitadel_stand_in::{EventKind, Generation, Op};

use crate::arena::Arena;
use crate::judge::{Deed, deeds, judge, posts};
use crate::path::{Path, Watching};
use crate::point::{Armed, Edge, Mark, Point, Spot};
use crate::report::{Outcome, Suite, long};
use crate::world::{GENERATIONS, condition};

const POLL: Duration = Duration::from_millis(25);
/// After so many looks without a further call to Kubernetes a path is taken to be over.
const CALM: usize = 16;

/// A path in one generation, and what a run of it without faults looks like.
#[derive(Clone, Debug)]
struct Course {
    path: Path,
    watching: Watching,
    generation: Generation,
    deeds: Vec<Deed>,
    posts: usize,
}

/// Runs a path without any fault; from its calls come the points.
async fn record(path: Path, watching: Watching, generation: Generation) -> (Course, Vec<Point>) {
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
    tokio::select! {
        () = arena.until("the point is reached", || async { armed.struck() }) => {}
        () = over(arena, path) => {}
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

/// Every point of a path, once, in both generations.
async fn once(path: Path, watching: Watching) {
    let mut suite = Suite::new(format!("F1 {path:?}, operator {watching:?}: kill -9 at each call"));
    for generation in GENERATIONS {
        let (course, points) = record(path, watching, generation).await;
        for point in points {
            suite.point();
            let label = format!("{generation} {point:?}");
            suite.run(label, crash(course.clone(), vec![point]));
        }
    }
    suite.finish().await;
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

/// Two crashes in a row: at the same point, and at a different one. The bounded form takes the calls that write, and
/// one second point each; the long form takes everything with everything.
async fn twice(path: Path) {
    let mut suite = Suite::new(format!("F1 {path:?}: two crashes in a row"));
    for generation in GENERATIONS {
        let (course, points) = record(path, Watching::Awake, generation).await;
        let firsts = points.into_iter().filter(|point| long() || (point.spot.writes() && point.edge != Edge::Before));
        for (number, first) in firsts.enumerate() {
            let seconds: Vec<Point> = if long() { SECOND.to_vec() } else { vec![SECOND[number % SECOND.len()]] };
            let same = Point { skip: 0, ..first };
            for second in seconds.into_iter().chain([same]) {
                suite.point();
                let label = format!("{generation} {first:?} then {second:?}");
                suite.run(label, crash(course.clone(), vec![first, second]));
            }
        }
    }
    suite.finish().await;
}

macro_rules! crashes {
    ($($name:ident: $run:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            $run.await;
        }
    )*};
}

crashes! {
    faults_crash_create: once(Path::Create, Watching::Awake);
    faults_crash_create_at_start: once(Path::Create, Watching::Asleep);
    faults_crash_update: once(Path::Update, Watching::Awake);
    faults_crash_lower: once(Path::Lower, Watching::Awake);
    faults_crash_rename: once(Path::Rename, Watching::Awake);
    faults_crash_delete: once(Path::Delete, Watching::Awake);
    faults_crash_delete_at_start: once(Path::Delete, Watching::Asleep);
    faults_crash_recreate: once(Path::Recreate, Watching::Awake);
    faults_crash_drift: once(Path::Drift, Watching::Awake);
    faults_crash_regain: once(Path::Regain, Watching::Awake);
    faults_crash_refuse: once(Path::Refuse, Watching::Awake);
    faults_crash_twice_create: twice(Path::Create);
    faults_crash_twice_lower: twice(Path::Lower);
    faults_crash_twice_delete: twice(Path::Delete);
    faults_crash_twice_recreate: twice(Path::Recreate);
}
