//! F19: the operator's own process is short of something: file descriptors, memory, a disk to write on, processor time.

use std::path::Path as File;
use std::process::Command;
use std::time::Duration;

use devkit::proxy::{Act, Canned, Rule};
use devkit::supervisor::Signal;
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use zitadel_stand_in::{Generation, Op};

use crate::answers::not_ready;
use crate::arena::Arena;
use crate::cluster::plane;
use crate::judge::{judge, posts, settled};
use crate::network::{mounted, namespaces};
use crate::path::{Path, Watching};
use crate::report::{Outcome, Suite, trial};
use crate::world::{GENERATIONS, Setup, log, webhook};

/// Changes a limit of the running operator.
fn limit(arena: &Arena, limit: &str) -> Result<(), String> {
    let pid = plane().supervisor().pid(&arena.operator()).expect("the operator runs");
    let tried = Command::new("prlimit").args(["--pid", &pid.to_string(), limit]).output();
    let output = tried.map_err(|error| format!("prlimit: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

async fn descriptors() -> Result<(), Failed> {
    let mut suite = Suite::new("F19 no file descriptor left");
    for generation in GENERATIONS {
        suite.attempt(format!("{generation} for ZITADEL, during an update"), without_descriptors(generation));
        suite.attempt(format!("{generation} for both servers, during a create"), deaf(generation));
    }
    suite.finish().await
}

/// Lower than any that is in use: what is open stays, nothing new can be opened.
const NO_DESCRIPTOR: &str = "--nofile=4:";
const DESCRIPTORS: &str = "--nofile=1024:";

async fn without_descriptors(generation: Generation) -> Outcome {
    let arena = Path::Update.prepare(generation, Watching::Awake).await;
    let operator = arena.operator();
    if let Err(why) = limit(&arena, NO_DESCRIPTOR) {
        return Outcome::Impossible(why);
    }
    arena.remote.cut_connections();
    arena.edit("hook", json!({"timeout": "3s"})).await;
    not_ready(&arena).await;
    limit(&arena, DESCRIPTORS).unwrap();
    judge(&arena, 1).await;
    assert_eq!(arena.operator(), operator);
    assert!(!arena.asleep(), "it survives");
    arena.close().await;
    Outcome::Struck
}

async fn deaf(generation: Generation) -> Outcome {
    let arena = Arena::running(generation).await;
    if let Err(why) = limit(&arena, NO_DESCRIPTOR) {
        return Outcome::Impossible(why);
    }
    arena.remote.cut_connections();
    arena.kube.cut_connections();
    arena.create("hook", webhook()).await;
    let complains = || async { log(&arena.operator()).contains("the watch of Targets failed") };
    arena.until("the watch fails", complains).await;
    limit(&arena, DESCRIPTORS).unwrap();
    judge(&arena, 1).await;
    assert!(!arena.asleep(), "it survives");
    assert_eq!(posts(&arena), 1, "{}", arena.explain().await);
    arena.close().await;
    Outcome::Struck
}

async fn memory() -> Result<(), Failed> {
    let mut suite = Suite::new("F19 no memory left: it aborts, or is killed, and starts again");
    for generation in GENERATIONS {
        for op in [Op::Create, Op::Update] {
            suite.attempt(format!("{generation} {op:?}"), starved(op, generation));
        }
    }
    suite.finish().await
}

/// How long a process that gets no more memory may live on.
const STARVING: Duration = Duration::from_secs(20);

/// SIGSEGV, as a shell tells it: the stack of the main thread could not grow.
const NO_STACK: i32 = 128 + 11;

/// Its address space may not grow any more while the answer to a write is on its way; a large list then ends it.
async fn starved(op: Op, generation: Generation) -> Outcome {
    let path = if op == Op::Create { Path::Create } else { Path::Update };
    let arena = path.prepare(generation, Watching::Awake).await;
    let held = arena.remote.rule(Rule::next(op, Act::HoldAnswer));
    path.act(&arena).await;
    held.reached().await;
    if let Err(why) = limit(&arena, "--as=1:1") {
        return Outcome::Impossible(why);
    }
    let large =
        Canned::new(200, "application/json", &format!("{{\"targets\":[],\"x\":\"{}\"}}", "x".repeat(7_000_000)));
    let rule = arena.remote.rule(Rule::all(Act::Answer(large)));
    held.discard();
    // What the allocator has reserved may be enough to live on; then the kernel's killer comes, as in a container.
    let ends = arena.until("it ends", || async { arena.asleep() });
    if tokio::time::timeout(STARVING, ends).await.is_ok() {
        let (said, code) = (log(&arena.operator()), plane().supervisor().exit_code(&arena.operator()));
        let no_heap = said.contains("memory allocation of");
        assert!(no_heap || code == Some(NO_STACK), "it ended of something else: {code:?}\n{said}");
    } else {
        arena.kill(&arena.operator()).await;
    }
    rule.clear();
    arena.start().await;
    arena.until("the path is done", || path.done(&arena)).await;
    judge(&arena, 1).await;
    assert_eq!(posts(&arena), 1, "{}", arena.explain().await);
    arena.close().await;
    Outcome::Struck
}

async fn disk() -> Result<(), Failed> {
    let mut suite = Suite::new("F19 disk read-only");
    for generation in GENERATIONS {
        suite.attempt(format!("{generation}"), read_only(generation));
    }
    suite.finish().await
}

/// Makes the root read-only in a mount namespace, proves it with a file, and runs the operator.
const READ_ONLY: &str = "mount -o remount,bind,ro / && ! touch \"$0\" 2>&- && exec \"$@\"";

async fn read_only(generation: Generation) -> Outcome {
    if let Err(why) = namespaces() {
        return Outcome::Impossible(why);
    }
    let mut setup = Setup::new(generation);
    setup.wrapper = mounted(READ_ONLY, File::new("/.zitadel-actions-probe"));
    let arena = Arena::with(setup).await;
    arena.start().await;
    arena.create("hook", webhook()).await;
    settled(&arena).await;
    arena.edit("hook", json!({"timeout": "3s"})).await;
    judge(&arena, 1).await;
    arena.delete("hook").await;
    arena.gone("hook").await;
    judge(&arena, 1).await;
    arena.close().await;
    Outcome::Struck
}

async fn processor() -> Result<(), Failed> {
    let mut suite = Suite::new("F19 stopped most of the time (SIGSTOP, SIGCONT)");
    for path in [Path::Create, Path::Update, Path::Delete, Path::Recreate] {
        suite.each(&format!("{path:?}"), move |generation| throttled(path, generation));
    }
    suite.finish().await
}

const STOPPED: Duration = Duration::from_millis(300);
const RUNNING: Duration = Duration::from_millis(30);

async fn throttled(path: Path, generation: Generation) {
    let arena = path.prepare(generation, Watching::Awake).await;
    let operator = arena.operator();
    let brake = async {
        loop {
            for (signal, pause) in [(Signal::Freeze, STOPPED), (Signal::Thaw, RUNNING)] {
                plane().supervisor().signal(&operator, signal).unwrap();
                tokio::time::sleep(pause).await;
            }
        }
    };
    tokio::select! {
        () = brake => {}
        () = async {
            path.act(&arena).await;
            arena.until("the path is done", || path.done(&arena)).await;
        } => {}
    }
    plane().supervisor().signal(&operator, Signal::Thaw).unwrap();
    judge(&arena, path.creates()).await;
    assert_eq!(posts(&arena), path.creates(), "{}", arena.explain().await);
    arena.close().await;
}

pub fn trials() -> Vec<Trial> {
    vec![
        trial("faults_no_descriptors", descriptors),
        trial("faults_no_memory", memory),
        trial("faults_read_only_disk", disk),
        trial("faults_throttled", processor),
    ]
}
