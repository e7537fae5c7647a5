//! What every pass shares.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use kube::runtime::events::{EventType, Recorder, Reporter};
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::backoff::Backoff;
use super::cluster::{self, Cluster, WriteError};
use super::duty::Duty;
use super::holders::{self, Holders};
use super::link::Key;
use super::links::Links;
use super::target::claim_of;
use super::{Guarded, has_finalizer};
use crate::api::FIELD_MANAGER;
use crate::api::claim::ClaimState;
use crate::api::target::{Target, TargetStatus};
use crate::ops::Metrics;
use crate::plan::ownership::Place;
use crate::zitadel::Version;

/// Longest wait at shutdown for creates whose answer is not committed yet.
const LAST_COMMITS: Duration = Duration::from_secs(25);

/// Shared by all passes.
pub struct Context {
    client: Client,
    cluster: Cluster,
    recorder: Recorder,
    reporter: Reporter,
    holders: Holders,
    links: Links,
    metrics: Arc<Metrics>,
    backoff: Backoff,
    resync: Duration,
    duty: Duty,
    stores: OnceLock<Vec<Store<Guarded>>>,
    watched: OnceLock<Vec<Api<Guarded>>>,
    filled: Semaphore,
    memory: Mutex<HashMap<String, Memory>>,
    /// Objects that were asked to look again since their last pass began, by uid.
    disturbed: Mutex<HashSet<String>>,
    creates: TaskTracker,
    passes: AtomicU64,
    /// Objects (uids) that were let go and whose end the watch has not shown yet.
    let_go: Mutex<HashSet<String>>,
}

/// What this process knows of an object beyond the cache, which lags behind our own writes.
#[derive(Debug, Clone)]
struct Memory {
    object: Arc<Target>,
    /// How long the object needs no look, if nothing newer than our own write is seen.
    rest: Rest,
    /// What was written and not read back yet.
    written: Option<Version>,
}

/// How long an object is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Not at all.
    Never,
    /// Until its next look is due.
    Until(Instant),
    /// Until it changes.
    UntilChange,
}

impl Context {
    /// A context for one process.
    #[must_use]
    pub fn new(client: Client, links: Links, metrics: Arc<Metrics>, resync: Duration, duty: Duty) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: std::env::var("POD_NAME").ok() };
        Self {
            recorder: Recorder::new(client.clone(), reporter.clone()),
            reporter,
            holders: Holders::default(),
            cluster: Cluster::new(client.clone()),
            client,
            links,
            metrics,
            backoff: Backoff::default(),
            resync,
            duty,
            stores: OnceLock::new(),
            watched: OnceLock::new(),
            filled: Semaphore::new(0),
            memory: Mutex::default(),
            disturbed: Mutex::default(),
            creates: TaskTracker::new(),
            passes: AtomicU64::new(0),
            let_go: Mutex::default(),
        }
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(super) const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Repeated warnings become one series, which keeps its first note (kube's Recorder). Good news is told anew each
    /// time: its notes name what was changed.
    pub(super) fn recorder(&self, kind: EventType) -> Recorder {
        match kind {
            EventType::Warning => self.recorder.clone(),
            EventType::Normal => Recorder::new(self.client.clone(), self.reporter.clone()),
        }
    }

    pub(super) const fn links(&self) -> &Links {
        &self.links
    }

    pub(super) const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) const fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    pub(super) const fn resync(&self) -> Duration {
        self.resync
    }

    pub(super) const fn duty(&self) -> &Duty {
        &self.duty
    }

    pub(super) fn set_watches(&self, stores: Vec<Store<Guarded>>, watched: Vec<Api<Guarded>>) {
        // Set once, by the one `run` of the process; a second set would be of the same.
        let _ = self.stores.set(stores);
        let _ = self.watched.set(watched);
    }

    /// Notes that a watch has delivered its first list.
    ///
    /// Not left to `Store::wait_until_ready`: it wakes one waiter only (seen with kube 5.0.0), and that one is the
    /// controller itself.
    pub(super) fn filled(&self) {
        self.filled.add_permits(1);
    }

    /// Finds out whether the definition of Targets may be read, for the time when that is refused.
    pub async fn definition_looked_for(&self) {
        if let Err(error) = self.cluster.definition_going().await {
            tracing::warn!(%error, "the definition of Targets cannot be read yet");
        }
    }

    /// Waits until this many watches have delivered their first list.
    pub async fn caches_filled(&self, watches: u32) {
        // The semaphore is never closed.
        let _ = self.filled.acquire_many(watches).await;
    }

    /// Every Target of the cache.
    pub(super) fn targets(&self) -> Vec<Arc<Guarded>> {
        self.stores.get().into_iter().flatten().flat_map(Store::state).collect()
    }

    /// The Targets (namespace/name) of the cache that need this connection.
    pub(super) fn users(&self, key: &Key) -> Vec<String> {
        let targets = self.targets();
        let readable = targets.iter().filter_map(|object| object.0.as_ref().ok());
        readable.filter(|target| needs(target, key)).map(shown).collect()
    }

    /// Where a Target's id counts.
    pub(super) fn place(&self, target: &Target) -> Option<Place> {
        holders::place_of(target, &self.links)
    }

    /// Every Target that this operator cares for, as the API server has it now: the cache may lag behind what another
    /// replica, or another pass, has just written.
    ///
    /// # Errors
    /// Of the first list that fails.
    pub(super) async fn current_targets(&self) -> Result<Vec<Target>, WriteError> {
        let mut all = Vec::new();
        for api in self.watched.get().into_iter().flatten() {
            all.extend(cluster::list(api).await?);
        }
        Ok(all.into_iter().filter_map(|object| object.0.ok()).collect())
    }

    /// The Target (namespace and name) that holds this remote id with more right, or is about to take it over, if there
    /// is one.
    pub(super) fn older_holder(&self, id: &str, target: &Target) -> Option<(String, String)> {
        self.holders.rival(id, target, || self.targets(), &self.links)
    }

    /// The other Targets (namespace and name) that record this remote id at the same place, whoever is older.
    pub(super) fn co_holders(&self, id: &str, target: &Target) -> Vec<(String, String)> {
        holders::co_holders(id, target, &self.targets(), &self.links)
    }

    /// Reserves a remote id for an adoption that is about to be recorded, unless another Target has it.
    pub(super) fn reserve(&self, id: &str, target: &Target) -> bool {
        self.holders.reserve(id, target, &self.links) && self.co_holders(id, target).is_empty()
    }

    /// Gives back what the Target has reserved: it was not recorded.
    pub(super) fn unreserve(&self, target: &Target) {
        self.holders.unreserve(target);
    }

    /// Has it looked up again who holds what: who may adopt has changed.
    pub(super) fn forget_holders(&self) {
        self.holders.forget();
    }

    /// The newer of the cached object and what our own last write returned, and how long it may rest.
    pub(super) fn newest(&self, cached: &Target) -> (Arc<Target>, Rest) {
        let uid = cached.metadata.uid.as_deref().unwrap_or_default();
        // A pass that was under way when the object was disturbed has put it to rest all the same.
        let disturbed = self.disturbed.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match memory.get(uid) {
            Some(known) if !is_newer(cached, &known.object) => {
                let over = matches!(known.rest, Rest::Until(due) if due <= Instant::now());
                (Arc::clone(&known.object), if over || disturbed { Rest::Never } else { known.rest })
            }
            _ => (Arc::new(cached.clone()), Rest::Never),
        }
    }

    /// The status that this process last wrote or agreed with, where somebody else has written another one since: status
    /// is ours to write, so the id, too, is what we recorded.
    ///
    /// While a claim is open its create may be committed beside a pass; and a claim that this process has not written is
    /// another replica's, whose status counts.
    pub(super) fn overwritten(&self, seen: &Target) -> Option<TargetStatus> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &memory.get(seen.metadata.uid.as_deref()?)?.object;
        let written = known.status.as_ref().filter(|_| is_newer(seen, known))?;
        let (own, shown) = (claim_of(known), claim_of(seen));
        let open = matches!(&own, ClaimState::Held(claim) if claim.is_open(written.id.as_deref()));
        let ours = !open && (shown == own || shown == ClaimState::Absent);
        (ours && seen.status.as_ref() != Some(written)).then(|| written.clone())
    }

    /// Remembers an object as the API server returned it.
    pub(super) fn remember(&self, object: &Arc<Target>, rest: Rest, written: Option<Version>) {
        let Some(uid) = object.metadata.uid.clone() else { return };
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.insert(uid, Memory { object: Arc::clone(object), rest, written });
    }

    /// Notes the newest state that the write side is known to have, as soon as it is known: the pass may end anyhow.
    pub(super) fn note_written(&self, object: &Arc<Target>, written: Option<&Version>) {
        if self.written(object).as_ref() == written {
            return;
        }
        let Some(uid) = object.metadata.uid.clone() else { return };
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let known = memory.entry(uid).or_insert_with(|| Memory {
            object: Arc::clone(object),
            rest: Rest::Never,
            written: None,
        });
        known.written = written.cloned();
    }

    /// What an earlier pass wrote to the object's target and could not read back yet.
    pub(super) fn written(&self, object: &Target) -> Option<Version> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.get(object.metadata.uid.as_deref().unwrap_or_default()).and_then(|known| known.written.clone())
    }

    /// Ends the rest of an object: the cause of its trouble may be gone.
    pub(super) fn disturb(&self, object: &Target) {
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        self.backoff.reset(uid);
        self.disturbed.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned());
    }

    /// Forgets an object that is gone.
    pub(super) fn forget(&self, object: &Target) {
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        self.backoff.reset(uid);
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.disturbed.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// Notes that an object is about to be let go. One whose end no watch shows (it fell between two lists) stays
    /// noted: 36 bytes.
    pub(super) fn letting_go(&self, object: &Target) {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        self.let_go.lock().unwrap_or_else(PoisonError::into_inner).insert(uid);
    }

    /// Whether this process has let an object go, whose end the watch has just shown.
    pub(super) fn was_let_go(&self, object: &Target) -> bool {
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        self.let_go.lock().unwrap_or_else(PoisonError::into_inner).remove(uid)
    }

    /// A number for a pass, by which its lines in the log are found.
    pub(super) fn next_pass(&self) -> u64 {
        self.passes.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) const fn creates(&self) -> &TaskTracker {
        &self.creates
    }

    /// Waits until every create in flight is answered and committed.
    pub(super) async fn finish_creates(&self) {
        self.creates.close();
        if tokio::time::timeout(LAST_COMMITS, self.creates.wait()).await.is_err() {
            tracing::error!("a create was not committed in time; the next start settles it by its claim");
        }
    }
}

/// Whether something may have been made for the Target by this connection: then it needs it once more.
pub(super) fn needs(target: &Target, key: &Key) -> bool {
    Key::of(target) == *key && has_finalizer(target.metadata.finalizers.as_deref())
}

/// namespace/name.
pub(super) fn shown(object: &impl Resource) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// Compares by resourceVersion, which Kubernetes orders as a number (KEP-5504; etcd revisions before).
fn is_newer(cached: &Target, known: &Target) -> bool {
    let version = |object: &Target| object.metadata.resource_version.as_deref()?.parse::<u64>().ok();
    match (version(cached), version(known)) {
        (Some(cached), Some(known)) => cached > known,
        _ => true,
    }
}
