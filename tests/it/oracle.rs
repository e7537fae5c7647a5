//! The status contract (README, "Conditions"), checked on every version of every Target that a test sees: kstatus, Argo
//! CD, Flux, Helm and `kubectl wait` all read what is checked here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, ResourceExt};
use tokio::task::JoinHandle;
use zitadel_actions_operator::api::reason::Reason;
use zitadel_actions_operator::api::target::Target;

/// Shows the oracle every version of every Target in a namespace, and keeps the newest at hand.
#[derive(Debug)]
pub struct Witness {
    oracle: Arc<Mutex<Oracle>>,
    newest: Store<Target>,
    watching: JoinHandle<()>,
}

impl Witness {
    /// Begins to watch. What happens before [`Witness::awake`] may be missed.
    pub fn start(api: Api<Target>) -> Self {
        let oracle = Arc::new(Mutex::new(Oracle::default()));
        let (newest, writer) = reflector::store();
        let told = Arc::clone(&oracle);
        // Streamed, so that the end of the list says that the watch is open: between a list and the watch after it an
        // object may come and go while the API server restarts.
        let stream = watcher(api, watcher::Config::default().streaming_lists()).default_backoff().reflect(writer);
        let watching = tokio::spawn(stream.for_each(move |event| {
            if let Ok(event) = event {
                told.lock().unwrap().hear(event);
            }
            std::future::ready(())
        }));
        Self { oracle, newest, watching }
    }

    /// Whether the watch is open: from here on nothing is missed.
    pub fn awake(&self) -> bool {
        self.oracle().watching
    }

    pub fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap()
    }

    /// The newest version of each Target, as far as it was seen.
    pub fn newest(&self) -> Vec<Target> {
        self.newest.state().iter().map(|object| Target::clone(object)).collect()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Remembers what was seen and what was wrong with it.
#[derive(Debug, Default)]
pub struct Oracle {
    last: HashMap<String, Target>,
    pub violations: Vec<String>,
    pub seen: usize,
    /// The last version of each object that was removed.
    pub removed: Vec<Target>,
    watching: bool,
}

impl Oracle {
    fn hear(&mut self, event: watcher::Event<Target>) {
        match event {
            watcher::Event::Apply(target) | watcher::Event::InitApply(target) => self.see(&target),
            watcher::Event::Delete(target) => self.removed.push(target),
            watcher::Event::InitDone => self.watching = true,
            watcher::Event::Init => {}
        }
    }

    /// Checks one version of an object against the contract and against the version before.
    pub fn see(&mut self, target: &Target) {
        self.seen += 1;
        let uid = target.uid().unwrap_or_default();
        let mut wrong = contract(target);
        if let Some(before) = self.last.get(&uid) {
            wrong.extend(transition(before, target));
        }
        let place = format!("{} at resourceVersion {:?}", target.name_any(), target.resource_version());
        self.violations.extend(wrong.into_iter().map(|what| format!("{place}: {what}\n{:#?}", target.status)));
        self.last.insert(uid, target.clone());
    }
}

fn contract(target: &Target) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let Some(status) = &target.status else { return vec!["no status at all, though the CRD has a default".into()] };
    let observed = status.observed_generation.unwrap_or(-2);
    let generation = target.metadata.generation.unwrap_or(0);
    check(observed <= generation, "observedGeneration is ahead of generation");
    if observed == -1 {
        let pending = matches!(&*status.conditions, [one] if one.status == "Unknown" && one.reason == "Pending");
        check(pending, "another condition than Ready=Unknown before the first pass");
        return wrong;
    }
    let get = |kind: &str| status.conditions.iter().find(|condition| condition.type_ == kind);
    let (ready, reconciling, stalled) = (get("Ready"), get("Reconciling"), get("Stalled"));
    check(ready.is_some(), "no condition Ready");
    check(status.conditions.iter().filter(|c| c.type_ == "Ready").count() <= 1, "Ready twice");
    check(reconciling.is_none() || stalled.is_none(), "Reconciling and Stalled at once");
    check(reconciling.is_none_or(|c| c.status == "True"), "Reconciling is present and not True");
    check(stalled.is_none_or(|c| c.status == "True"), "Stalled is present and not True");
    let abnormal = reconciling.is_some() || stalled.is_some();
    check(
        ready.is_none_or(|c| (c.status == "True" && !abnormal) || c.status == "False"),
        "Ready contradicts the others",
    );
    // The rules of fluxcd/pkg (runtime/conditions/check) are all here but two: that Ready is not True while
    // observedGeneration is behind. No status can keep those in the moment after an edit; readers compare the numbers.
    let idle = ready.is_some_and(|c| c.status == "False" && c.reason != Reason::Suspended.as_str());
    check(abnormal || !idle, "Ready=False without Reconciling or Stalled, and not suspended");
    let cause = |ready: &Condition| format!("{}: {}", ready.reason, ready.message);
    let told = |c: &Condition| {
        if c.reason == Reason::ProgressDeadlineExceeded.as_str() {
            c.type_ == "Stalled" && ready.is_some_and(|ready| c.message.ends_with(&cause(ready)))
        } else {
            ready.is_some_and(|ready| (&ready.reason, &ready.message) == (&c.reason, &c.message))
        }
    };
    check([reconciling, stalled].into_iter().flatten().all(told), "Ready tells another reason than the one beside it");
    let late = Reason::ProgressDeadlineExceeded.as_str();
    check(ready.is_none_or(|c| c.reason != late), "Ready says how long it takes in place of why");
    for condition in &status.conditions {
        check(condition.observed_generation == Some(observed), "a condition speaks of another generation");
        check(Reason::parse(&condition.reason).is_some(), "a reason that is not documented");
        check(!condition.message.is_empty(), "an empty message");
    }
    if ready.is_some_and(|c| c.status == "True") {
        // The sequence is not among them: where events may not be read, v2 tells none.
        let known = status.id.is_some() && status.connection.is_some() && status.name.is_some();
        check(known, "Ready without id, name or connection");
    }
    wrong.extend(ownership(target));
    wrong
}

/// We own status, our finalizer and our annotation, and nothing else.
fn ownership(target: &Target) -> Vec<String> {
    let mut wrong = Vec::new();
    for entry in target.metadata.managed_fields.iter().flatten() {
        let Some(fields) = &entry.fields_v1 else { continue };
        if entry.manager.as_deref() != Some("zitadel-actions-operator") {
            continue;
        }
        for (path, allowed) in [("", "f:metadata f:status"), ("/f:metadata", "f:annotations f:finalizers")] {
            let level = fields.0.pointer(path).and_then(|level| level.as_object());
            for key in level.into_iter().flat_map(|level| level.keys()) {
                if !allowed.split(' ').any(|field| field == key) {
                    wrong.push(format!("the operator owns {path}/{key}"));
                }
            }
        }
    }
    wrong
}

fn transition(before: &Target, after: &Target) -> Vec<String> {
    let mut wrong = Vec::new();
    let empty = Vec::new();
    let conditions = |target: &Target| target.status.as_ref().map_or(empty.clone(), |status| status.conditions.clone());
    let (old, new): (Vec<Condition>, Vec<Condition>) = (conditions(before), conditions(after));
    for condition in &new {
        let Some(previous) = old.iter().find(|c| c.type_ == condition.type_) else { continue };
        let moved = previous.last_transition_time != condition.last_transition_time;
        if previous.status == condition.status && moved {
            wrong.push(format!("lastTransitionTime of {} moved without a flip", condition.type_));
        }
    }
    let id = |target: &Target| target.status.as_ref().and_then(|status| status.id.clone());
    if id(before).is_some() && id(after).is_none() {
        wrong.push("the id was lost".into());
    }
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(status: serde_json::Value) -> Target {
        serde_json::from_value(json!({
            "apiVersion": "zitadel-actions.dev/v1alpha1", "kind": "Target",
            "metadata": {"name": "a", "uid": "u", "generation": 2},
            "spec": {"restAsync": {}, "timeout": "1s", "endpoint": "https://h/"},
            "status": status,
        }))
        .unwrap()
    }

    fn condition(kind: &str, status: &str, generation: i64, time: &str) -> serde_json::Value {
        json!({"type": kind, "status": status, "reason": "NameTaken", "message": "m",
               "observedGeneration": generation, "lastTransitionTime": time})
    }

    #[test]
    fn the_oracle_finds_what_it_is_for() {
        let t = "2026-11-24T10:00:00Z";
        let later = "2026-11-24T10:00:01Z";
        let good = json!({"observedGeneration": 2, "conditions": [condition("Ready", "False", 2, t), condition("Stalled", "True", 2, t)]});
        let mut other = condition("Stalled", "True", 2, t);
        other["reason"] = json!("InvalidSpec");
        let bad = [
            json!({"observedGeneration": 3, "conditions": [condition("Ready", "False", 3, t)]}),
            json!({"observedGeneration": 2, "conditions": []}),
            json!({"observedGeneration": -1, "conditions": []}),
            json!({"observedGeneration": 2, "conditions": [condition("Ready", "False", 1, t)]}),
            json!({"observedGeneration": 2, "conditions": [condition("Ready", "True", 2, t)]}),
            json!({"observedGeneration": 2, "conditions": [condition("Ready", "True", 2, t), condition("Stalled", "True", 2, t)]}),
            json!({"observedGeneration": 2, "conditions": [condition("Ready", "False", 2, t), condition("Reconciling", "False", 2, t)]}),
            json!({"observedGeneration": 2, "conditions": [condition("Ready", "False", 2, t)]}),
            json!({"observedGeneration": 2, "conditions": [condition("Ready", "False", 2, t), other]}),
        ];
        let mut late = condition("Stalled", "True", 2, t);
        (late["reason"], late["message"]) = (json!("ProgressDeadlineExceeded"), json!("still trying. NameTaken: m"));
        let overdue = json!({"observedGeneration": 2, "conditions": [condition("Ready", "False", 2, t), late]});
        let mut oracle = Oracle::default();
        for status in [overdue, good.clone()] {
            oracle.see(&target(status));
        }
        assert_eq!(oracle.violations, Vec::<String>::new());
        for status in bad {
            let mut oracle = Oracle::default();
            oracle.see(&target(status.clone()));
            assert!(!oracle.violations.is_empty(), "{status}");
        }
        let moved = json!({"observedGeneration": 2, "conditions": [condition("Ready", "False", 2, later), condition("Stalled", "True", 2, t)]});
        oracle.see(&target(moved));
        assert!(oracle.violations.iter().any(|what| what.contains("without a flip")));
    }
}
