//! F2, F3, F13: answers of ZITADEL that are lost, late, spoilt, or somebody else's.

use std::time::Duration;

use devkit::proxy::{Act, Canned, Rule, TcpMode, TcpProxy};
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Effect, Generation, Op, Times};

use crate::arena::Arena;
use crate::judge::{judge, once, posts, settled};
use crate::path::{Path, Watching};
use crate::report::{Suite, trial};
use crate::world::webhook;

/// How the answer to a call that was carried out can be lost: (label, what the proxy does).
fn losses() -> Vec<(&'static str, Act)> {
    let json = "application/json";
    let after = |status, kind, body: &str| Act::AnswerAfter(Canned::new(status, kind, body));
    vec![
        ("connection closed", Act::CutAfter),
        ("no answer in time", Act::HoldAnswer),
        ("502 of a proxy", after(502, "text/html", "<html>Bad Gateway</html>")),
        ("504 of a proxy", after(504, "text/html", "<html>Gateway Timeout</html>")),
        ("500 in ZITADEL's shape", after(500, json, r#"{"code":13,"message":"An internal error occurred"}"#)),
        ("503 in ZITADEL's shape", after(503, json, r#"{"code":14,"message":"unavailable"}"#)),
        ("200 with a page", after(200, "text/html", "<html>Sign in</html>")),
        ("200 with half of a body", after(200, json, r#"{"id":"12"#)),
        ("200 with another body", after(200, json, r#"{"ok":true}"#)),
        ("200 without a body", after(200, json, "")),
        ("200 with 2 MiB", after(200, json, &format!("\"{}\"", "x".repeat(2 << 20)))),
    ]
}

/// On this path the first call of this kind loses its answer; the history stays that of a run without faults.
async fn lose(path: Path, op: Op, act: Act, generation: Generation) {
    let arena = path.prepare(generation, Watching::Awake).await;
    let rule = arena.remote.rule(Rule::next(op, act));
    path.act(&arena).await;
    arena.until("the answer is lost", || async { rule.acted() > 0 }).await;
    arena.until("the path is done", || path.done(&arena)).await;
    judge(&arena, path.creates()).await;
    assert_eq!(posts(&arena), path.creates(), "a create was repeated\n{}", arena.explain().await);
    once(&arena).await;
    arena.close().await;
}

async fn lost_answers() -> Result<(), Failed> {
    let mut suite = Suite::new("F2");
    for (path, op) in [(Path::Create, Op::Create), (Path::Update, Op::Update), (Path::Delete, Op::Delete)] {
        for (label, act) in losses() {
            suite.line(format!("F2 {op:?} carried out, answer lost: {label}"));
            suite.each(label, |generation| lose(path, op, act.clone(), generation));
        }
    }
    suite.finish().await
}

/// A gateway that repeats a create on its own: the second is refused because of the first.
async fn repeated_by_a_gateway() -> Result<(), Failed> {
    let mut suite = Suite::new("F2 request repeated by a gateway");
    for (path, op) in [(Path::Create, Op::Create), (Path::Update, Op::Update), (Path::Delete, Op::Delete)] {
        suite.each(&format!("{op:?}"), move |generation| async move {
            let arena = path.prepare(generation, Watching::Awake).await;
            arena.remote.rule(Rule::next(op, Act::Repeat));
            path.act(&arena).await;
            let taken = || arena.holds(|all| all.iter().any(|object| reason(object) == Some("NameTaken".to_owned())));
            arena.until("it is over", || async { path.done(&arena).await || taken().await }).await;
            assert!(!taken().await, "our own target is taken for somebody else's\n{}", arena.explain().await);
            judge(&arena, path.creates()).await;
            arena.close().await;
        });
    }
    suite.finish().await
}

/// The create is carried out after the operator has given it up: within the time in which that can happen, and later.
async fn late_commits() -> Result<(), Failed> {
    let mut suite = Suite::new("F3 create carried out late");
    for delay in [1, 3, 8, 14, 20] {
        suite.each(&format!("after {delay} s"), move |generation| async move {
            let arena = Arena::running(generation).await;
            arena.zitadel.fault(Op::Create, Effect::CommitLate(Duration::from_secs(delay)), Times::ONCE);
            arena.create("hook", webhook()).await;
            arena.reason("hook", "CreateOutcomeUnknown").await;
            settled(&arena).await;
            arena.until("the late commit had its time", || async { since_create(&arena) > delay }).await;
            judge(&arena, 1).await;
            if delay < 15 {
                assert_eq!(posts(&arena), 1, "not repeated before it is certainly dead\n{}", arena.explain().await);
            }
            arena.close().await;
        });
    }
    suite.finish().await
}

/// Seconds from the first create call to the newest call.
pub fn since_create(arena: &Arena) -> u64 {
    let calls = arena.zitadel.calls();
    let create = calls.iter().find(|call| call.op == Some(Op::Create)).map_or(Duration::MAX, |call| call.at);
    calls.last().map_or(Duration::ZERO, |call| call.at).saturating_sub(create).as_secs()
}

/// An update that arrives when a newer one has been made: it is corrected like any other drift.
async fn late_updates() -> Result<(), Failed> {
    let mut suite = Suite::new("F3 update carried out after a newer one");
    suite.each("update", |generation| async move {
        let arena = Path::Update.prepare(generation, Watching::Awake).await;
        let old = arena.remote.rule(Rule::next(Op::Update, Act::HoldRequest));
        arena.edit("hook", json!({"timeout": "3s"})).await;
        arena.until("the old update is under way", || async { old.acted() > 0 }).await;
        arena.edit("hook", json!({"timeout": "5s"})).await;
        settled(&arena).await;
        let updates = arena.calls(Op::Update);
        old.release();
        arena.until("the old update arrives", || async { arena.calls(Op::Update) > updates }).await;
        judge(&arena, 1).await;
        arena.close().await;
    });
    suite.finish().await
}

/// What ZITADEL, or something before it, can answer to everything.
fn spoilt() -> Vec<(&'static str, Act)> {
    let json = "application/json";
    let answer = |status, kind, body: &str| Act::Answer(Canned::new(status, kind, body));
    let limited = Canned::new(429, "text/plain", "slow down").header("retry-after", "1");
    let elsewhere = Canned::new(302, "text/html", "").header("location", "http://127.0.0.1:9/elsewhere");
    vec![
        ("500", answer(500, json, r#"{"code":13,"message":"x"}"#)),
        ("502", answer(502, "text/html", "<html/>")),
        ("503", answer(503, "text/plain", "")),
        ("504", answer(504, "text/plain", "upstream request timeout")),
        ("429 with Retry-After", Act::Answer(limited)),
        ("429 without Retry-After", answer(429, "text/plain", "slow down")),
        ("200 with a page", answer(200, "text/html", "<html>Sign in</html>")),
        ("404 with a page", answer(404, "text/html", "<html>Not Found</html>")),
        ("200 with rubbish", answer(200, json, "{\"targets\":[{\"id\":")),
        ("200 with 20 MiB", answer(200, json, &format!("\"{}\"", "x".repeat(20 << 20)))),
        ("redirect", Act::Answer(elsewhere)),
        ("connection closed", Act::Cut),
        ("no answer", Act::HoldRequest),
    ]
}

/// Everything is spoilt while the object is made, while it is changed, and while it is deleted.
async fn spoil(act: Act, generation: Generation) {
    let arena = Arena::running(generation).await;
    let rule = arena.remote.rule(Rule::all(act.clone()));
    arena.create("hook", webhook()).await;
    not_ready(&arena).await;
    rule.clear();
    rule.discard();
    settled(&arena).await;
    let rule = arena.remote.rule(Rule::all(act.clone()));
    arena.edit("hook", json!({"timeout": "3s"})).await;
    not_ready(&arena).await;
    rule.clear();
    rule.discard();
    judge(&arena, 1).await;
    let rule = arena.remote.rule(Rule::all(act));
    arena.delete("hook").await;
    arena.until("a call meets it", || async { rule.acted() > 0 }).await;
    assert_eq!(arena.objects().await.len(), 1, "an object was let go without its target\n{}", arena.explain().await);
    rule.clear();
    rule.discard();
    arena.gone("hook").await;
    judge(&arena, 1).await;
    arena.close().await;
}

fn reason(object: &Target) -> Option<String> {
    crate::world::condition(object, "Ready").map(|(_, reason, _)| reason)
}

pub async fn not_ready(arena: &Arena) {
    let said = |object: &_| {
        let ready = crate::world::condition(object, "Ready");
        crate::world::current(object) && ready.is_some_and(|(status, _, _)| status == "False")
    };
    arena.until_target("hook", "told of the trouble", said).await;
}

async fn spoilt_answers() -> Result<(), Failed> {
    let mut suite = Suite::new("F13");
    for (label, act) in spoilt() {
        suite.line(format!("F13 every answer spoilt during create, update, delete: {label}"));
        suite.each(label, |generation| spoil(act.clone(), generation));
    }
    suite.finish().await
}

/// Below HTTP: resets within an answer, connections on which nothing moves, bytes that trickle.
async fn broken_connections() -> Result<(), Failed> {
    let mut suite = Suite::new("F13");
    let modes = [
        TcpMode::ResetAfter(1),
        TcpMode::ResetAfter(60),
        TcpMode::ResetAfter(250),
        TcpMode::HalfOpen,
        TcpMode::Trickle(Duration::from_millis(50)),
    ];
    for mode in modes {
        suite.line(format!("F13 connections to ZITADEL: {mode:?}"));
        suite.each(&format!("{mode:?}"), move |generation| async move {
            let arena = Arena::new(generation).await;
            let address = arena.zitadel.url().trim_start_matches("http://").parse().unwrap();
            let wire = TcpProxy::start(address).unwrap();
            let url = format!("--zitadel-url={}", wire.url());
            arena.start_with(&[&url, "--zitadel-timeout=1"]).await;
            wire.set(mode);
            arena.create("hook", webhook()).await;
            not_ready(&arena).await;
            wire.set(TcpMode::Pass);
            settled(&arena).await;
            wire.set(mode);
            arena.edit("hook", json!({"timeout": "3s"})).await;
            not_ready(&arena).await;
            wire.set(TcpMode::Pass);
            judge(&arena, 1).await;
            assert_eq!(posts(&arena), 1, "{}", arena.explain().await);
            arena.close().await;
        });
    }
    suite.finish().await
}

pub fn trials() -> Vec<Trial> {
    vec![
        trial("faults_late_commits", late_commits),
        trial("faults_lost_answers", lost_answers),
        trial("faults_repeated_by_a_gateway", repeated_by_a_gateway),
        trial("faults_late_updates", late_updates),
        trial("faults_spoilt_answers", spoilt_answers),
        trial("faults_broken_connections", broken_connections),
    ]
}
