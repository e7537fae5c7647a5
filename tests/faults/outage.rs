//! F5: the API server restarts, and its etcd stands still, while calls are under way. One outage serves every case:
//! nobody else may run meanwhile.

use std::sync::Arc;
use std::time::Duration;

use devkit::control_plane::ETCD;
use devkit::proxy::{Act, Rule};
use devkit::supervisor::Signal;
use libtest_mimic::{Failed, Trial};
use tokio::sync::Barrier;
use zitadel_stand_in::{Generation, Op};

use crate::cluster::plane;
use crate::judge::{judge, posts};
use crate::path::{Path, Watching};
use crate::report::{Suite, trial};

/// As long as a test waits for anything; a case that failed before never comes.
const PATIENCE: Duration = Duration::from_secs(90);
/// Longer than any write of the operator may take.
const STANDSTILL: Duration = Duration::from_secs(12);

const CASES: [(Path, Op); 3] = [(Path::Create, Op::Create), (Path::Update, Op::Update), (Path::Delete, Op::Delete)];

/// Where the cases meet.
async fn meet(barrier: &Barrier) -> bool {
    let met = tokio::time::timeout(PATIENCE, barrier.wait()).await;
    met.expect("another case failed before").is_leader()
}

async fn blocking(work: impl FnOnce() -> anyhow::Result<()> + Send + 'static) {
    tokio::task::spawn_blocking(work).await.unwrap().unwrap();
}

/// What happens to the API server between a call to ZITADEL and its answer, and how it ends.
#[derive(Clone, Copy)]
enum Outage {
    Restart,
    Standstill,
}

impl Outage {
    async fn begin(self) {
        match self {
            Self::Restart => blocking(|| plane().stop_apiserver()).await,
            Self::Standstill => blocking(|| plane().supervisor().signal(ETCD, Signal::Freeze)).await,
        }
    }

    async fn end(self) {
        match self {
            Self::Restart => blocking(|| plane().start_apiserver()).await,
            Self::Standstill => {
                tokio::time::sleep(STANDSTILL).await;
                blocking(|| plane().supervisor().signal(ETCD, Signal::Thaw)).await;
            }
        }
    }
}

async fn endure(outage: Outage, path: Path, op: Op, generation: Generation, barrier: Arc<Barrier>) {
    let arena = path.prepare(generation, Watching::Awake).await;
    let held = arena.remote.rule(Rule::next(op, Act::HoldAnswer));
    path.act(&arena).await;
    held.reached().await;
    if meet(&barrier).await {
        outage.begin().await;
    }
    meet(&barrier).await;
    held.release();
    if meet(&barrier).await {
        outage.end().await;
    }
    meet(&barrier).await;
    arena.until("the path is done", || path.done(&arena)).await;
    judge(&arena, path.creates()).await;
    assert_eq!(posts(&arena), path.creates(), "{}", arena.explain().await);
    arena.close().await;
}

async fn suffer(fault: &str, outage: Outage) -> Result<(), Failed> {
    let mut suite = Suite::alone(fault);
    let barrier = Arc::new(Barrier::new(CASES.len() * crate::world::GENERATIONS.len()));
    for (path, op) in CASES {
        let barrier = Arc::clone(&barrier);
        suite.each(&format!("{op:?}"), move |generation| endure(outage, path, op, generation, Arc::clone(&barrier)));
    }
    suite.finish().await
}

pub fn trials() -> Vec<Trial> {
    vec![
        trial("faults_api_server_restart", || {
            suffer("F5 API server restarted while a call to ZITADEL is in flight", Outage::Restart)
        }),
        trial("faults_etcd_standstill", || {
            suffer("F5 etcd stands still (SIGSTOP) while a call to ZITADEL is in flight", Outage::Standstill)
        }),
    ]
}
