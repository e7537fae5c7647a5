//! Sees every version of every object of a world and asks all judges about it. They must agree on each; what they said
//! is kept in order.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::contribution;
use crate::judges;
use crate::world::World;

const PATIENCE: Duration = Duration::from_mins(1);

/// What was said of one version of an object.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// When it was seen.
    pub at: Instant,
    pub name: String,
    pub reason: String,
    /// Argo CD's word.
    pub argo: String,
    pub message: String,
    pub kstatus: String,
}

/// Watches one kind in the namespace of a world.
pub struct Witness {
    seen: Arc<Mutex<Vec<Verdict>>>,
    wrong: Arc<Mutex<Vec<String>>>,
    watching: JoinHandle<()>,
}

impl Witness {
    pub fn of(world: &World, kind: &str) -> Self {
        judges::summon();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("zitadel-actions.dev", "v1alpha1", kind));
        let api = Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
        let (seen, wrong) = (Arc::<Mutex<Vec<Verdict>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let watching = tokio::spawn(watch(api, kind.to_owned(), Arc::clone(&seen), Arc::clone(&wrong)));
        Self { seen, wrong, watching }
    }

    /// Everything said of an object so far.
    pub fn of_object(&self, name: &str) -> Vec<Verdict> {
        self.seen.lock().unwrap().iter().filter(|verdict| verdict.name == name).cloned().collect()
    }

    /// Waits until the last word on an object is this one of Argo CD's.
    pub async fn until(&self, name: &str, argo: &str) -> Verdict {
        self.until_said(name, argo, |verdict| verdict.argo == argo).await
    }

    /// Waits until the last word on an object fits.
    pub async fn until_said(&self, name: &str, what: &str, fits: impl Fn(&Verdict) -> bool) -> Verdict {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = self.of_object(name);
            if let Some(last) = all.last().filter(|last| fits(last)) {
                return last.clone();
            }
            assert!(Instant::now() < deadline, "waited in vain until {name} is {what}: {all:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The end: every version was judged, and all judges agreed on each. Prints what they said.
    pub fn finish(self, title: &str) {
        self.watching.abort();
        let wrong = self.wrong.lock().unwrap().clone();
        assert!(wrong.is_empty(), "the judges disagree:\n{}", wrong.join("\n"));
        let seen = self.seen.lock().unwrap();
        assert!(!seen.is_empty(), "the witness saw nothing");
        print!("{}", table(title, &seen));
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

async fn watch(api: Api<DynamicObject>, kind: String, seen: Arc<Mutex<Vec<Verdict>>>, wrong: Arc<Mutex<Vec<String>>>) {
    let mut stream = Box::pin(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    while let Some(event) = stream.next().await {
        let Ok(object) = event else { continue };
        let mut value = serde_json::to_value(&object).unwrap();
        // Objects of a list come without these.
        (value["apiVersion"], value["kind"]) = (json!("zitadel-actions.dev/v1alpha1"), json!(kind));
        let verdict = verdict(&value, &object.name_any());
        contribution::offer(&value, &verdict);
        if let Some(what) = disagreement(&verdict) {
            wrong.lock().unwrap().push(what);
        }
        seen.lock().unwrap().push(verdict);
    }
}

fn verdict(object: &Value, name: &str) -> Verdict {
    let at = Instant::now();
    let health = judges::health(object);
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
    let reason = ready.and_then(|ready| ready["reason"].as_str()).unwrap_or("-").to_owned();
    Verdict {
        at,
        name: name.to_owned(),
        reason,
        argo: health.status,
        message: health.message,
        kstatus: judges::kstatus(object),
    }
}

/// The words of Argo CD and kstatus that mean the same. kstatus has none for what rests on request.
fn disagreement(verdict: &Verdict) -> Option<String> {
    let fits = matches!(
        (verdict.argo.as_str(), verdict.kstatus.as_str()),
        ("Healthy", "Current")
            | ("Progressing", "InProgress" | "Terminating")
            | ("Suspended", "InProgress")
            | ("Degraded", "Failed")
    );
    (!fits).then(|| format!("{verdict:?}"))
}

/// What was said, repetitions left out.
fn table(title: &str, seen: &[Verdict]) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    for verdict in seen {
        let row = format!("{:<24} {:<12} {}", verdict.reason, verdict.argo, verdict.kstatus);
        if rows.iter().rev().find(|(name, _)| *name == verdict.name).is_none_or(|(_, last)| *last != row) {
            rows.push((&verdict.name, row));
        }
    }
    let rows: Vec<_> = rows.iter().map(|(name, row)| format!("  {name:<12} {row}\n")).collect();
    let rows = rows.concat();
    format!("{title}: {} versions\n  {:<12} {:<24} {:<12} kstatus\n{rows}", seen.len(), "object", "reason", "Argo CD")
}
