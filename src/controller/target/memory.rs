//! What this process knows of each Target beyond the cache, which lags behind our own writes. Forgotten with the object.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::api::claim::ClaimState;
use crate::api::condition::own;
use crate::api::target::{Target, TargetStatus};
use crate::controller::target::executor::claim_of;
use crate::zitadel::Version;

/// How long an object is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Not at all.
    Never,
    /// Until its next look is due.
    Until(Instant),
    /// Until it changes.
    UntilChange,
}

/// What is known of all Targets, by uid.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    known: HashMap<String, Known>,
    /// Objects that were asked to look again since their last pass began.
    woken: HashSet<String>,
    /// Objects that were let go and whose end the watch has not shown yet.
    released: HashSet<String>,
    /// Since when this process has seen that an object is being deleted.
    deleting: HashMap<String, Instant>,
}

#[derive(Debug, Clone)]
struct Known {
    object: Arc<Target>,
    /// How long the object needs no look, if nothing newer than our own write is seen.
    rest: Rest,
    /// What was written and not read back yet.
    written: Option<Version>,
    /// Whether a write of ours may have landed since without an answer: then a newer status may be our own.
    doubtful: bool,
}

impl Memory {
    /// The newer of the cached object and what our own last write returned, and how long it may rest.
    pub(crate) fn newest(&self, cached: &Target) -> (Arc<Target>, Rest) {
        let uid = uid_of(cached);
        let mut state = self.lock();
        // A pass that was under way when the object was disturbed has put it to rest all the same.
        let woken = state.woken.remove(uid);
        match state.known.get(uid) {
            Some(known) if !is_newer(cached, &known.object) => {
                let over = matches!(known.rest, Rest::Until(due) if due <= Instant::now());
                (Arc::clone(&known.object), if over || woken { Rest::Never } else { known.rest })
            }
            _ => (Arc::new(cached.clone()), Rest::Never),
        }
    }

    /// The status that this process wrote, if somebody else has changed it since and what the claims say does not decide.
    pub(crate) fn overwritten(&self, seen: &Target) -> Option<TargetStatus> {
        let state = self.lock();
        let known = &state.known.get(uid_of(seen)).filter(|known| !known.doubtful)?.object;
        let written = known.status.as_ref().filter(|_| is_newer(seen, known))?;
        let (held, shown) = (claim_of(known), claim_of(seen));
        let open = matches!(&held, ClaimState::Held(claim) if claim.is_open(written.id.as_deref()));
        let ours = !open && (shown == held || shown == ClaimState::Absent);
        let written = with_own_conditions(written);
        (ours && seen.status.as_ref().map(with_own_conditions).as_ref() != Some(&written)).then_some(written)
    }

    /// Remembers an object as the API server returned it.
    pub(crate) fn remember(&self, object: &Arc<Target>, rest: Rest, written: Option<Version>) {
        let Some(uid) = object.metadata.uid.clone() else { return };
        self.lock().known.insert(uid, Known { object: Arc::clone(object), rest, written, doubtful: false });
    }

    /// Notes the newest state that the write side is known to have, as soon as it is known: the pass may end anyhow.
    pub(crate) fn note_written(&self, object: &Arc<Target>, written: Option<&Version>) {
        if self.written(object).as_ref() == written {
            return;
        }
        let Some(uid) = object.metadata.uid.clone() else { return };
        let fresh = || Known { object: Arc::clone(object), rest: Rest::Never, written: None, doubtful: false };
        self.lock().known.entry(uid).or_insert_with(fresh).written = written.cloned();
    }

    /// What an earlier pass wrote to the object's target and could not read back yet.
    pub(crate) fn written(&self, object: &Target) -> Option<Version> {
        self.lock().known.get(uid_of(object)).and_then(|known| known.written.clone())
    }

    /// Notes that a pass ended without the answer to a write.
    pub(crate) fn doubt(&self, object: &Target) {
        if let Some(known) = self.lock().known.get_mut(uid_of(object)) {
            known.doubtful = true;
        }
    }

    /// Ends the rest of an object: the cause of its trouble may be gone.
    pub(crate) fn wake(&self, object: &Target) {
        self.lock().woken.insert(uid_of(object).to_owned());
    }

    /// When this process first saw that the object is being deleted: now, if it has not yet.
    pub(crate) fn deleting_since(&self, object: &Target) -> Instant {
        *self.lock().deleting.entry(uid_of(object).to_owned()).or_insert_with(Instant::now)
    }

    /// Notes that an object is about to be let go.
    pub(crate) fn releasing(&self, object: &Target) {
        self.lock().released.insert(uid_of(object).to_owned());
    }

    /// Whether this process has let an object go, whose end the watch has just shown.
    pub(crate) fn was_released(&self, uid: &str) -> bool {
        self.lock().released.remove(uid)
    }

    /// Forgets an object that is gone, but not that it was let go: the watch may not have shown its end yet.
    pub(crate) fn forget(&self, uid: &str) {
        let mut state = self.lock();
        state.known.remove(uid);
        state.woken.remove(uid);
        state.deleting.remove(uid);
    }

    /// Forgets every object but these, of which a new list has just told.
    pub(crate) fn keep_only(&self, living: &HashSet<String>) {
        let mut state = self.lock();
        state.known.retain(|uid, _| living.contains(uid));
        state.woken.retain(|uid| living.contains(uid));
        state.released.retain(|uid| living.contains(uid));
        state.deleting.retain(|uid, _| living.contains(uid));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Conditions of other types are their writers' to change.
fn with_own_conditions(status: &TargetStatus) -> TargetStatus {
    TargetStatus { conditions: own(&status.conditions), ..status.clone() }
}

fn uid_of(object: &Target) -> &str {
    object.metadata.uid.as_deref().unwrap_or_default()
}

/// Compares by resourceVersion, which Kubernetes orders as a number (KEP-5504; etcd revisions before).
fn is_newer(cached: &Target, known: &Target) -> bool {
    let version = |object: &Target| object.metadata.resource_version.as_deref()?.parse::<u64>().ok();
    match (version(cached), version(known)) {
        (Some(cached), Some(known)) => cached > known,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(uid: &str) -> Arc<Target> {
        let spec = json!({"restAsync": {}, "timeout": "10s", "endpoint": "https://h/x"});
        let mut target = Target::new("hook", serde_json::from_value(spec).unwrap());
        target.metadata.uid = Some(uid.to_owned());
        Arc::new(target)
    }

    fn all_of(memory: &Memory, uid: &str) {
        let object = object(uid);
        memory.remember(&object, Rest::UntilChange, None);
        memory.wake(&object);
        memory.deleting_since(&object);
        memory.releasing(&object);
    }

    fn sizes(memory: &Memory) -> [usize; 4] {
        let state = memory.lock();
        [state.known.len(), state.woken.len(), state.deleting.len(), state.released.len()]
    }

    #[test]
    fn nothing_is_kept_of_an_object_that_is_gone() {
        let memory = Memory::default();
        all_of(&memory, "a");
        all_of(&memory, "b");
        memory.forget("a");
        assert_eq!(sizes(&memory), [1, 1, 1, 2], "its end may still be shown");
        assert!(memory.was_released("a") && !memory.was_released("a"));
        memory.forget("b");
        assert!(memory.was_released("b"));
        assert_eq!(sizes(&memory), [0, 0, 0, 0]);
    }

    #[test]
    fn what_a_new_list_does_not_show_is_forgotten() {
        let memory = Memory::default();
        all_of(&memory, "a");
        all_of(&memory, "b");
        memory.keep_only(&HashSet::from(["b".to_owned()]));
        assert_eq!(sizes(&memory), [1, 1, 1, 1]);
        assert!(memory.was_released("b"));
        memory.keep_only(&HashSet::new());
        assert_eq!(sizes(&memory), [0, 0, 0, 0]);
    }
}
