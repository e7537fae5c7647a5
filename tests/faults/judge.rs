//! What must hold in the end, whatever happened: every live Target is Ready and equals its target in ZITADEL, nothing
//! of ours is left without an owner, nothing of others was touched, nothing was made twice or written without a reason.

use std::collections::HashSet;
use std::time::Duration;

use kube::ResourceExt;
use serde_json::Value;
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Event, EventKind, Op, TargetKind};

use crate::arena::Arena;
use crate::world::is_ready;

/// Calls a second that are never exceeded over a whole run (one object, a resync each second), plus a start.
const CALLS_A_SECOND: f64 = 8.0;
const CALLS_AT_START: f64 = 138.0;
/// The bound of the claim, and the create.
const CALLS_A_CREATE: f64 = 2.0;
/// Read, update, read back, and the sequence of what was done.
const CALLS_AN_EDIT: f64 = 4.0;

/// One event of our own, without what differs from run to run.
pub type Deed = (EventKind, Value);

/// What our own user did, in order: the true history.
pub fn deeds(arena: &Arena) -> Vec<Deed> {
    let own = arena.zitadel.user_id();
    let ours = arena.zitadel.events().into_iter().filter(|event| event.editor == own);
    ours.map(|event| (event.kind, plain(event))).collect()
}

/// Nothing was done twice in a row. Not for where somebody else undoes what we did.
pub async fn once(arena: &Arena) {
    let done = deeds(arena);
    let mut once = done.clone();
    once.dedup();
    assert_eq!(done, once, "a deed was repeated\n{}", arena.explain().await);
}

fn plain(event: Event) -> Value {
    let mut payload = event.payload;
    if let Some(fields) = payload.as_object_mut() {
        fields.remove("signingKey");
    }
    payload
}

/// Waits until every live Target is Ready and equal to ZITADEL, and nothing of ours is there without an owner.
pub async fn settled(arena: &Arena) {
    arena
        .until("every Target is Ready, equals ZITADEL, and nothing is left over", || async {
            arena.holds(|objects| wrong(arena, objects).is_empty()).await
        })
        .await;
}

/// Waits until it is settled, looks once more after a resync, and checks the whole history.
pub async fn judge(arena: &Arena, creates: usize) {
    settled(arena).await;
    rests(arena).await;
    let touched = touched(arena);
    assert!(touched.is_empty(), "what others made was written: {touched:?}\n{}", arena.explain().await);
    assert_eq!(arena.count(EventKind::Added) - foreign(arena), creates, "creates\n{}", arena.explain().await);
    let calls = arena.zitadel.calls();
    let first = calls.first().map_or(Duration::ZERO, |call| call.at);
    let span = calls.last().map_or(Duration::ZERO, |call| call.at).saturating_sub(first).as_secs_f64();
    let number = |count: usize| f64::from(u32::try_from(count).unwrap());
    let edits =
        arena.objects().await.iter().filter_map(|object| usize::try_from(object.metadata.generation? - 1).ok()).sum();
    let budget =
        CALLS_AT_START + CALLS_A_SECOND * span + CALLS_A_CREATE * number(creates) + CALLS_AN_EDIT * number(edits);
    let count = number(calls.len());
    assert!(count <= budget, "{count} calls in {span} s\n{}", arena.explain().await);
}

/// Once settled, nothing is written any more: neither in ZITADEL nor in the cluster.
async fn rests(arena: &Arena) {
    let versions = |objects: Vec<Target>| objects.into_iter().map(|o| o.resource_version()).collect::<Vec<_>>();
    let before = (arena.zitadel.events().len(), versions(arena.objects().await));
    if !before.1.is_empty() {
        arena.resyncs(1).await;
    }
    let after = (arena.zitadel.events().len(), versions(arena.objects().await));
    assert_eq!(before, after, "written though settled\n{}", arena.explain().await);
    let wrong = wrong(arena, &arena.objects().await);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), arena.explain().await);
}

/// The creates of others, also those with our account.
fn foreign(arena: &Arena) -> usize {
    let own = arena.zitadel.user_id();
    let foreign = |event: &&Event| event.editor != own || arena.is_strangers(&event.target_id);
    arena.zitadel.events().iter().filter(|event| event.kind == EventKind::Added).filter(foreign).count()
}

/// What we have changed or deleted although another user has made it.
fn touched(arena: &Arena) -> Vec<String> {
    let (own, events) = (arena.zitadel.user_id(), arena.zitadel.events());
    let foreign = |event: &&Event| event.kind == EventKind::Added && event.editor != own;
    let foreign: HashSet<_> = events.iter().filter(foreign).map(|event| event.target_id.clone()).collect();
    let ours = events.into_iter().filter(|event| event.editor == own);
    ours.map(|event| event.target_id).filter(|id| foreign.contains(id)).collect()
}

/// What is not as it must be in the end.
fn wrong(arena: &Arena, objects: &[Target]) -> Vec<String> {
    let mut wrong = Vec::new();
    let remote = arena.zitadel.targets();
    let mut held = HashSet::new();
    for object in objects {
        let name = object.name_any();
        if object.metadata.deletion_timestamp.is_some() {
            wrong.push(format!("{name} is still being deleted"));
        }
        let Some(id) = object.status.as_ref().and_then(|status| status.id.clone()) else {
            wrong.push(format!("{name} has no id"));
            continue;
        };
        if !is_ready(object) {
            wrong.push(format!("{name} is not Ready"));
        }
        match remote.iter().find(|target| target.id == id) {
            Some(target) if equal(arena, object, target) => {}
            Some(target) => wrong.push(format!("{name} differs from {target:?}")),
            None => wrong.push(format!("{name} says {id}, which does not exist")),
        }
        if !held.insert(id.clone()) {
            wrong.push(format!("{id} is held twice"));
        }
    }
    let leaked = arena.ours().into_iter().filter(|target| !held.contains(&target.id));
    wrong.extend(leaked.map(|target| format!("{} ({}) has no owner", target.id, target.name)));
    for id in arena.strangers() {
        let untouched = remote.iter().any(|target| target.id == id && target.sequence == 1);
        if !untouched || held.contains(&id) {
            wrong.push(format!("{id}, which somebody else made with our account, was taken, changed or deleted"));
        }
    }
    wrong
}

/// Whether the remote target is what the spec says; written anew here, so that a bug of the operator is not shared.
pub fn equal(arena: &Arena, object: &Target, target: &zitadel_stand_in::Target) -> bool {
    let spec = &object.spec;
    let (kind, interrupts) = match (&spec.rest_webhook, &spec.rest_call, &spec.rest_async) {
        (Some(kind), None, None) => (TargetKind::Webhook, kind.interrupt_on_error.unwrap_or(false)),
        (None, Some(kind), None) => (TargetKind::Call, kind.interrupt_on_error.unwrap_or(false)),
        _ => (TargetKind::Async, false),
    };
    let name = spec.name.clone().unwrap_or_else(|| object.name_any());
    let sequence = object.status.as_ref().and_then(|status| status.sequence.clone());
    let unknown = sequence.is_none() && arena.may_lack_sequences();
    target.name == name
        && target.kind == kind
        // An asynchronous target has no flag; what the server remembers of an earlier kind shows nowhere.
        && (kind == TargetKind::Async || target.interrupt_on_error == interrupts)
        && Some(target.timeout) == duration(&spec.timeout)
        && target.endpoint == spec.endpoint
        && (unknown || sequence.as_deref() == Some(target.sequence.to_string().as_str()))
}

/// A Go duration, cut off at nanoseconds term by term as in Go; none for what is no such text.
pub fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text.strip_prefix('+').unwrap_or(text), 0);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(char::is_alphabetic)?);
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len()));
        let nanos: u128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let billionths: u128 = format!("{part:0<9}").parse().ok()?;
        sum += whole * nanos + billionths * nanos / 1_000_000_000;
        rest = after;
    }
    Some(Duration::from_nanos(u64::try_from(sum).ok()?))
}

/// How many create calls reached the server.
pub fn posts(arena: &Arena) -> usize {
    arena.calls(Op::Create)
}
