//! A random walk: specs drawn from the schema (valid, invalid, back to valid), deletions, external edits, kills, pauses
//! and faults, in an order that a seed decides. In the end the faults stop, and the result must equal the last specs
//! applied alone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use devkit::proxy::{Act, Canned, KubeCall, Rule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Effect, EventKind, Generation, Op, TargetEdit, TargetKind, Times};

use crate::arena::Arena;
use crate::judge::settled;
use crate::report::{Suite, long, number, seed, trial};
use crate::specs::{Specs, bare};
use crate::world::is_ready;

/// A small generator of numbers that a seed decides (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // Mixed once, or neighbouring seeds would draw the same numbers, one step apart.
        Self(Self(seed).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// Objects of a walk.
const NAMES: [&str; 3] = ["ada", "bob", "cyd"];

/// One step of the walk, told as it is done.
async fn step(arena: &Arena, dice: &mut Dice, specs: &mut Specs) -> String {
    let name = dice.pick(&NAMES);
    match dice.below(14) {
        0..4 => apply(arena, name, specs.valid(name)).await,
        4 => apply(arena, name, specs.doubtful(name)).await,
        5 => delete(arena, name).await,
        6 => meddle(arena, dice),
        7 => {
            if !arena.asleep() {
                arena.kill(&arena.operator()).await;
            }
            arena.spawn();
            "kill -9, and start again".to_owned()
        }
        8 => {
            let op = dice.pick(&[Op::Create, Op::Update, Op::Delete, Op::Any]);
            let late = Effect::CommitLate(Duration::from_secs(2));
            let effects = [Effect::LoseReply, Effect::Reset, Effect::Status(503, None), Effect::HtmlAfterCommit, late];
            let effect = dice.pick(&effects);
            arena.zitadel.fault(op, effect.clone(), Times::ONCE);
            format!("ZITADEL: {effect:?} on the next {op:?}")
        }
        9 => {
            let call = dice.pick(&[KubeCall::Claim, KubeCall::Status, KubeCall::Release, KubeCall::Event]);
            let conflict = Canned::kubernetes(409, "Conflict");
            let broken = Canned::kubernetes(500, "InternalError");
            let acts = [
                Act::Answer(conflict.clone()),
                Act::AnswerAfter(conflict),
                Act::AnswerAfter(broken),
                Act::Cut,
                Act::CutAfter,
            ];
            let act = dice.pick(&acts);
            arena.kube.rule(Rule::next(call, act.clone()));
            format!("Kubernetes: {act:?} on the next {call:?}")
        }
        10 => {
            arena.kube.rule(Rule::next(KubeCall::Watch, Act::Trail(Duration::from_secs(1))));
            arena.kube.cut_connections();
            "connections to Kubernetes cut; the next watch is late".to_owned()
        }
        11 => {
            // Not longer: what a fault has stopped may take its time, and other steps belong into that time too.
            let over =
                |objects: &[Target]| objects.iter().all(|object| is_ready(object) || object.spec.suspend == Some(true));
            let rest = arena.until("the objects are Ready", || arena.holds(over));
            let rested = tokio::time::timeout(Duration::from_secs(4), rest).await.is_ok();
            format!("wait until all are Ready: {rested}")
        }
        _ => {
            let calls = arena.zitadel.calls().len() + 1 + dice.below(4);
            arena.zitadel.wait_for(Duration::from_secs(2), |zitadel| zitadel.calls().len() >= calls).await;
            "wait for a few calls".to_owned()
        }
    }
}

/// Deletes an object that has its finalizer. Without one, Kubernetes may delete it although a finalizer was accepted
/// meanwhile (kube-apiserver decides before it deletes), and then nobody can know of its target any more.
async fn delete(arena: &Arena, name: &str) -> String {
    let held = |object: Target| !object.finalizers().is_empty();
    if !arena.targets().get_opt(name).await.is_ok_and(|found| found.is_some_and(held)) {
        return format!("{name} is not to be deleted yet");
    }
    let deleted = arena.targets().delete(name, &DeleteParams::default()).await.is_ok();
    format!("delete {name}: {deleted}")
}

/// Patches an object that is there and makes one that is not; as a person would, refusals are shrugged off.
async fn apply(arena: &Arena, name: &str, spec: Value) -> String {
    let patch = Patch::Merge(json!({"spec": spec}));
    let mut accepted = arena.targets().patch(name, &PatchParams::default(), &patch).await.is_ok();
    if !accepted && let Ok(None) = arena.targets().get_opt(name).await {
        // Not every refusal is one of the API server: some specs have no shape that a program could send.
        if let Ok(bare) = serde_json::from_value(bare(&spec)) {
            accepted = arena.targets().create(&PostParams::default(), &Target::new(name, bare)).await.is_ok();
        }
    }
    format!("apply {name} {spec}: {accepted}")
}

/// Somebody edits or deletes one of our targets in ZITADEL.
fn meddle(arena: &Arena, dice: &mut Dice) -> String {
    let targets = arena.zitadel.targets();
    if targets.is_empty() {
        return "nothing to meddle with".to_owned();
    }
    let id = targets[dice.below(targets.len())].id.clone();
    match dice.below(3) {
        0 => arena.zitadel.external_delete(&id),
        1 => {
            let edit = TargetEdit { timeout: Some(Duration::from_secs(77)), ..TargetEdit::default() };
            arena.zitadel.external_update(&id, edit);
        }
        _ => arena.zitadel.external_rename(&id, &format!("theirs-{}", dice.below(1_000_000))),
    }
    format!("meddle with {id}")
}

/// Tells seed and steps, if the walk fails.
struct Trace {
    seed: u64,
    steps: Arc<Mutex<Vec<String>>>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let steps = self.steps.lock().unwrap().join("\n  ");
            eprintln!("=== FAULTS_SEED={} FAULTS_SEEDS=1; the walk:\n  {steps}", self.seed);
        }
    }
}

async fn walk(seed: u64, length: usize, generation: Generation) {
    let arena = Arena::running(generation).await;
    let steps = Arc::new(Mutex::new(Vec::new()));
    let _trace = Trace { seed, steps: Arc::clone(&steps) };
    let (mut dice, mut specs) = (Dice::new(seed), Specs::new(seed));
    for _ in 0..length {
        let told = step(&arena, &mut dice, &mut specs).await;
        steps.lock().unwrap().push(told);
    }
    // The faults stop, and every object is given a spec that can be fulfilled.
    arena.zitadel.clear_faults();
    arena.kube.clear();
    let mut last = Vec::new();
    for name in NAMES {
        let mut spec = specs.valid(name);
        spec["suspend"] = Value::Null;
        let staying = || async {
            let object = arena.targets().get_opt(name).await.ok()?;
            let leaving = object.is_some_and(|object| object.metadata.deletion_timestamp.is_some());
            // Also where it is leaving: a suspended object does not leave.
            let accepted = apply(&arena, name, spec.clone()).await.ends_with("true");
            (!leaving && accepted).then_some(())
        };
        arena.until_some("the last spec is accepted", staying).await;
        steps.lock().unwrap().push(format!("at last {name} {spec}"));
        last.push((name, bare(&spec)));
    }
    settled(&arena).await;
    balanced(&arena).await;
    let walked = picture(&arena).await;
    arena.close().await;
    let alone = Arena::running(generation).await;
    for (name, spec) in last {
        alone.create(name, spec).await;
    }
    settled(&alone).await;
    assert_eq!(walked, picture(&alone).await, "not the state of the last specs alone");
    alone.close().await;
}

/// What is there in ZITADEL and in status, without what tells one life from another: ids, sequences, dates.
async fn picture(arena: &Arena) -> (Vec<String>, Vec<String>) {
    let target = |target: zitadel_stand_in::Target| {
        // An asynchronous target has no flag; what the server remembers of an earlier kind shows nowhere.
        let flag = target.kind != TargetKind::Async && target.interrupt_on_error;
        format!("{} {:?} {flag} {:?} {}", target.name, target.kind, target.timeout, target.endpoint)
    };
    let mut targets: Vec<_> = arena.zitadel.targets().into_iter().map(target).collect();
    targets.sort();
    let status = |object: &Target| {
        let status = object.status.clone().unwrap_or_default();
        let told = |c: &Condition| format!("{} {} {} {}", c.type_, c.status, c.reason, c.message);
        let conditions: Vec<_> = status.conditions.iter().map(told).collect();
        format!("{} {:?} {conditions:?} {:?}", object.name_any(), status.name, object.metadata.finalizers)
    };
    let mut objects: Vec<_> = arena.objects().await.iter().map(status).collect();
    objects.sort();
    (targets, objects)
}

/// Each create belongs to a life: what was added is there, or was removed; and never two of one name at once.
async fn balanced(arena: &Arena) {
    let (added, removed) = (arena.count(EventKind::Added), arena.count(EventKind::Removed));
    assert_eq!(added, removed + NAMES.len(), "{}", arena.explain().await);
    let own = arena.zitadel.user_id();
    let mut living: Vec<(String, usize)> = Vec::new();
    let name_of = |event: &zitadel_stand_in::Event| {
        let name = event.payload["name"].as_str().unwrap_or_default().to_lowercase();
        NAMES.iter().position(|own| name.starts_with(own))
    };
    for event in arena.zitadel.events() {
        match event.kind {
            EventKind::Added if event.editor == own => {
                let owner = name_of(&event).expect("we make no other names");
                let twin = living.iter().any(|(_, other)| *other == owner);
                assert!(!twin, "two targets of {} at once\n{}", NAMES[owner], arena.explain().await);
                living.push((event.target_id, owner));
            }
            EventKind::Removed => living.retain(|(id, _)| *id != event.target_id),
            _ => {}
        }
    }
}

async fn random_walk() -> Result<(), Failed> {
    let first = seed();
    let seeds = number("FAULTS_SEEDS").unwrap_or(if long() { 50 } else { 6 });
    let mut suite = Suite::busy(format!("random walk, seeds {first} to {}", first + seeds - 1));
    for seed in first..first + seeds {
        suite.each(&format!("seed {seed}"), move |generation| walk(seed, 30, generation));
    }
    suite.finish().await
}

pub fn trials() -> Vec<Trial> {
    vec![trial("faults_random_walk", random_walk)]
}
