//! F4, F14, F15: a read side that lags, credentials that come and go, clocks that jump.

use std::time::Duration;

use devkit::proxy::{Act, Rule};
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use zitadel_stand_in::{EventKind, Generation, Op, Role};

use crate::arena::Arena;
use crate::judge::{deeds, judge, posts, settled};
use crate::path::{Path, Watching};
use crate::report::{Suite, long, trial};
use crate::world::{GENERATIONS, webhook};

/// Longest time of a path without any lag, on a loaded machine.
const USUAL: Duration = Duration::from_secs(90);
/// Longest time that a lag of a second may add: one to see, one to see what was done, and the back-off in between.
const MOST_LAGS: Duration = Duration::from_secs(4);

async fn projection_lag() -> Result<(), Failed> {
    let mut suite = Suite::new("F4");
    let paths = [Path::Create, Path::Update, Path::Lower, Path::Rename, Path::Delete, Path::Recreate, Path::Drift];
    suite.line("F4 read side 70 s behind");
    for path in paths {
        // What is corrected by what is read takes two or three times the lag.
        if long() || matches!(path, Path::Create | Path::Update | Path::Delete | Path::Recreate) {
            suite.alternate(&format!("{path:?}"), move |generation| lagging(path, 70, generation));
        } else {
            for _ in GENERATIONS {
                suite.point("F4 read side 70 s behind");
            }
        }
    }
    for lag in [5, 1, 0] {
        suite.line(format!("F4 read side {lag} s behind"));
        for path in paths {
            suite.each(&format!("{path:?}"), move |generation| lagging(path, lag, generation));
        }
    }
    suite.finish().await
}

/// With a lagging read side the deeds are those of a run without it. Only what the lag hides may take an update more:
/// a drift is corrected on what is read.
async fn lagging(path: Path, lag: u64, generation: Generation) {
    let arena = path.prepare(generation, Watching::Awake).await;
    arena.zitadel.set_projection_lag(Duration::from_secs(lag));
    path.act(&arena).await;
    path.done_within(&arena, MOST_LAGS * u32::try_from(lag).unwrap() + USUAL).await;
    // Longer than the lag: what was hidden is shown by now.
    if path != Path::Delete {
        for _ in 0..=lag {
            arena.resyncs(1).await;
        }
    }
    judge(&arena, path.creates()).await;
    assert_eq!(posts(&arena), path.creates(), "{}", arena.explain().await);
    let done = deeds(&arena);
    let expected = match path {
        Path::Create => 1,
        Path::Lower => 3,
        _ => 2,
    };
    // Without an interrupting flag on record the first of the two updates changes nothing and leaves no event.
    assert!(done.len() <= expected, "{done:#?}\n{}", arena.explain().await);
    arena.close().await;
}

async fn credentials() -> Result<(), Failed> {
    let mut suite = Suite::new("F14 token revoked, emptied, garbled, removed, downgraded, rotated");
    for trouble in [Trouble::Revoked, Trouble::Emptied, Trouble::Garbled, Trouble::Removed, Trouble::Downgraded] {
        suite.each(&format!("{trouble:?}"), move |generation| locked_out(trouble, generation));
    }
    suite.each("rotated under way", |generation| async move {
        let arena = Arena::running(generation).await;
        for index in 0..5 {
            arena.create(&format!("hook-{index}"), webhook()).await;
            let fresh = arena.zitadel.issue_token(Role::IamOwner);
            arena.write_token(&fresh);
        }
        arena
            .until("all are Ready", || arena.holds(|all| all.len() == 5 && all.iter().all(crate::world::is_ready)))
            .await;
        assert_eq!(arena.zitadel.targets().len(), 5, "{}", arena.explain().await);
        arena.close().await;
    });
    suite.finish().await
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Revoked,
    Emptied,
    Garbled,
    Removed,
    Downgraded,
}

/// Locked out with an object Ready, one being made and one being deleted; repaired without a restart.
async fn locked_out(trouble: Trouble, generation: Generation) {
    let arena = Arena::running(generation).await;
    for name in ["old", "leaving"] {
        arena.create(name, webhook()).await;
    }
    settled(&arena).await;
    let before = deeds(&arena);
    let token = arena.zitadel.token();
    let reason = match trouble {
        Trouble::Revoked => {
            arena.zitadel.revoke_token(&token);
            "AuthenticationFailed"
        }
        Trouble::Emptied => {
            arena.write_token("");
            "CredentialsUnavailable"
        }
        // While the former token works, a wrong one in its place does no harm.
        Trouble::Garbled => {
            arena.zitadel.revoke_token(&token);
            arena.write_token("no-token-at-all");
            "AuthenticationFailed"
        }
        Trouble::Removed => {
            std::fs::remove_file(arena.token_file()).unwrap();
            "CredentialsUnavailable"
        }
        Trouble::Downgraded => {
            arena.zitadel.set_role(&token, Role::None);
            "PermissionDenied"
        }
    };
    arena.create("new", webhook()).await;
    arena.delete("leaving").await;
    arena.reason("new", reason).await;
    arena.edit("old", json!({"timeout": "3s"})).await;
    arena.reason("old", reason).await;
    assert_eq!(deeds(&arena), before, "locked out, and yet something was done");
    arena.zitadel.set_role(&token, Role::IamOwner);
    // The same user with another token, where the old one is of no use: deeds are told by user.
    let repaired = if matches!(trouble, Trouble::Revoked | Trouble::Garbled) {
        arena.zitadel.issue_token(Role::IamOwner)
    } else {
        token
    };
    arena.write_token(&repaired);
    arena.gone("leaving").await;
    let ready = |all: &[zitadel_actions_operator::api::target::Target]| {
        all.len() == 2 && all.iter().all(crate::world::is_ready)
    };
    arena.until("both are Ready", || arena.holds(ready)).await;
    assert_eq!(arena.zitadel.targets().len(), 2, "{}", arena.explain().await);
    assert_eq!(arena.count(EventKind::Added), 3, "nothing was made twice\n{}", arena.explain().await);
    arena.close().await;
}

async fn clocks() -> Result<(), Failed> {
    let mut suite = Suite::new("F15 ZITADEL's clock is off, and jumps");
    for offset in [600, -600] {
        for path in [Path::Create, Path::Update, Path::Delete, Path::Recreate] {
            suite.each(&format!("{offset} s off, {path:?}"), move |generation| async move {
                let arena = path.prepare_with(generation, Watching::Awake, offset).await;
                path.act(&arena).await;
                arena.until("the path is done", || path.done(&arena)).await;
                judge(&arena, path.creates()).await;
                arena.close().await;
            });
        }
        suite.each(&format!("{offset} s off, answer of the create lost"), move |generation| async move {
            let arena = Path::Create.prepare_with(generation, Watching::Awake, offset).await;
            arena.remote.rule(Rule::next(Op::Create, Act::CutAfter));
            arena.create("hook", webhook()).await;
            judge(&arena, 1).await;
            assert_eq!(posts(&arena), 1, "{}", arena.explain().await);
            arena.close().await;
        });
    }
    for jump in [60, -60, 600] {
        suite.each(&format!("jumps {jump} s between a lost create and its recovery"), move |generation| async move {
            let arena = Arena::running(generation).await;
            let held = arena.remote.rule(Rule::next(Op::Create, Act::HoldAnswer));
            arena.create("hook", webhook()).await;
            held.reached().await;
            arena.zitadel.set_clock_offset(jump);
            held.discard();
            judge(&arena, 1).await;
            arena.close().await;
        });
    }
    for jump in [60, -60, 600] {
        suite.each(&format!("jumps {jump} s between claim and create"), move |generation| {
            jump_before_create(jump, generation)
        });
    }
    suite.finish().await
}

async fn jump_before_create(jump: i64, generation: Generation) {
    let arena = Arena::running(generation).await;
    let held = arena.remote.rule(Rule::next(Op::Create, Act::HoldRequest));
    arena.create("hook", webhook()).await;
    held.reached().await;
    arena.zitadel.set_clock_offset(jump);
    // It arrives, dated by the new clock, and its answer is lost.
    arena
        .until("the create is given up", || async {
            crate::world::log(&arena.operator()).contains("CreateOutcomeUnknown")
        })
        .await;
    held.release();
    judge(&arena, 1).await;
    arena.close().await;
}

pub fn trials() -> Vec<Trial> {
    vec![
        trial("faults_projection_lag", projection_lag),
        trial("faults_clocks", clocks),
        trial("faults_credentials", credentials),
    ]
}
