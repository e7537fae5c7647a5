//! What every pass shares.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::runtime::events::{EventType, Recorder, Reporter};
use kube::runtime::reflector::{self, ObjectRef};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backoff::Backoff;
use super::cluster::{self, Cluster, WriteError};
use super::crd::{CrdReader, Finding};
use super::duty::Duty;
use super::holders::{self, Holders};
use super::link::Key;
use super::links::Links;
use super::memory::Memory;
pub(super) use super::memory::Rest;
use super::wake::Shard;
use super::{Guarded, has_finalizer};
use crate::api::FIELD_MANAGER;
use crate::api::target::{Target, TargetStatus};
use crate::ops::Metrics;
use crate::plan::ownership::Place;
use crate::zitadel::Version;

/// Longest wait at shutdown for creates whose answer is not committed yet.
const LAST_COMMITS: Duration = Duration::from_secs(25);
/// How long orphans that are still there may then take to be reported.
const LAST_WORDS: Duration = Duration::from_secs(3);

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
    crd: CrdReader,
    shards: OnceLock<Arc<Vec<Shard>>>,
    stop: OnceLock<CancellationToken>,
    watched: OnceLock<Vec<Api<Guarded>>>,
    filled: Semaphore,
    memory: Memory,
    creates: TaskTracker,
    /// The process ends, and waits no longer for what is under way.
    ending: CancellationToken,
    passes: AtomicU64,
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
            crd: CrdReader::new(client.clone(), duty.reach),
            client,
            links,
            metrics,
            backoff: Backoff::default(),
            resync,
            duty,
            shards: OnceLock::new(),
            stop: OnceLock::new(),
            watched: OnceLock::new(),
            filled: Semaphore::new(0),
            memory: Memory::default(),
            creates: TaskTracker::new(),
            ending: CancellationToken::new(),
            passes: AtomicU64::new(0),
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

    pub(super) fn set_watches(&self, shards: Arc<Vec<Shard>>, watched: Vec<Api<Guarded>>, stop: CancellationToken) {
        // Set once, by the one `run` of the process; a second set would be of the same.
        let _ = self.shards.set(shards);
        let _ = self.watched.set(watched);
        let _ = self.stop.set(stop);
    }

    /// Ends this long after the process was told to end.
    pub(super) async fn stopped_for(&self, time: Duration) {
        match self.stop.get() {
            Some(stop) => stop.cancelled().await,
            None => std::future::pending().await,
        }
        tokio::time::sleep(time).await;
    }

    /// Notes that a watch has delivered its first list.
    ///
    /// Not left to `Store::wait_until_ready`: it wakes one waiter only (seen with kube 5.0.0), and that one is the
    /// controller itself.
    pub(super) fn filled(&self) {
        self.filled.add_permits(1);
    }

    /// Finds out whether the CRD of Targets may be read, for the time when that is refused.
    pub async fn crd_access_learned(&self) {
        self.crd.learn_access().await;
    }

    /// Whether the CRD of Targets is being deleted, and this Target, which is, with it.
    ///
    /// # Errors
    /// No answer: nothing is known.
    pub(super) async fn look_at_crd(&self, object: &Target) -> Result<Finding, WriteError> {
        self.crd.look(self.memory.deleting_since(object)).await
    }

    /// Waits until this many watches have delivered their first list.
    pub async fn caches_filled(&self, watches: u32) {
        // The semaphore is never closed.
        let _ = self.filled.acquire_many(watches).await;
    }

    /// The watches and the ways to their queues; none before they are set.
    pub(super) fn shards(&self) -> &[Shard] {
        self.shards.get().map_or(&[], |shards| shards.as_slice())
    }

    /// Every Target of the cache.
    pub(super) fn targets(&self) -> Vec<Arc<Guarded>> {
        self.shards().iter().flat_map(|shard| shard.store.state()).collect()
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
        self.memory.newest(cached)
    }

    /// The status that this process last wrote or agreed with, where somebody else has written another one since: status
    /// is ours to write, so the id, too, is what we recorded.
    ///
    /// While a claim is open its create may be committed beside a pass; and a claim that this process has not written is
    /// another replica's, whose status counts.
    pub(super) fn overwritten(&self, seen: &Target) -> Option<TargetStatus> {
        self.memory.overwritten(seen)
    }

    /// Remembers an object as the API server returned it.
    pub(super) fn remember(&self, object: &Arc<Target>, rest: Rest, written: Option<Version>) {
        self.memory.remember(object, rest, written);
    }

    /// Notes the newest state that the write side is known to have, as soon as it is known: the pass may end anyhow.
    pub(super) fn note_written(&self, object: &Arc<Target>, written: Option<&Version>) {
        self.memory.note_written(object, written);
    }

    /// What an earlier pass wrote to the object's target and could not read back yet.
    pub(super) fn written(&self, object: &Target) -> Option<Version> {
        self.memory.written(object)
    }

    /// Notes that a pass ended without the answer to a write: what status shows next may be our own.
    pub(super) fn doubt(&self, object: &Target) {
        self.memory.doubt(object);
    }

    /// Ends the rest of an object: the cause of its trouble may be gone.
    pub(super) fn disturb(&self, object: &Target) {
        self.backoff.reset(object.metadata.uid.as_deref().unwrap_or_default());
        self.memory.disturb(object);
    }

    /// Forgets an object that is gone.
    pub(super) fn forget(&self, object: &Target) {
        self.forget_uid(object.metadata.uid.as_deref().unwrap_or_default());
    }

    fn forget_uid(&self, uid: &str) {
        self.backoff.reset(uid);
        self.memory.forget(uid);
    }

    /// Takes in that the watch shows the end of an object, and tells whether this process has let it go.
    pub(super) fn ended(&self, object: &Guarded) -> bool {
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        self.forget_uid(uid);
        self.memory.was_let_go(uid)
    }

    /// Forgets an object after its pass if it was deleted meanwhile: what the pass has noted came after its end.
    pub(super) fn forget_if_gone<K: reflector::Lookup>(&self, reference: &ObjectRef<K>) {
        let Some(uid) = &reference.extra.uid else { return };
        let mut here = ObjectRef::<Guarded>::new(&reference.name);
        here.namespace.clone_from(&reference.namespace);
        let lives =
            |shard: &Shard| shard.store.get(&here).is_some_and(|object| object.meta().uid.as_ref() == Some(uid));
        if !self.shards().iter().any(lives) {
            self.forget_uid(uid);
        }
    }

    /// Forgets what a new list does not show: no watch event tells of an object that went between two lists.
    pub(super) fn forget_unlisted(&self) {
        let living: HashSet<String> = self.targets().iter().filter_map(|object| object.meta().uid.clone()).collect();
        self.backoff.keep_only(&living);
        self.memory.keep_only(&living);
        self.metrics.targets().waits().keep_only(&living);
    }

    /// Notes that an object is about to be let go.
    pub(super) fn letting_go(&self, object: &Target) {
        self.memory.letting_go(object);
    }

    /// A number for a pass, by which its lines in the log are found.
    pub(super) fn next_pass(&self) -> u64 {
        self.passes.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) const fn creates(&self) -> &TaskTracker {
        &self.creates
    }

    /// Ends when the process waits no longer for what is under way.
    pub(super) const fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    /// Waits until every create in flight is answered and committed, and every orphan deleted.
    pub(super) async fn finish_creates(&self) {
        self.creates.close();
        if tokio::time::timeout(LAST_COMMITS, self.creates.wait()).await.is_err() {
            tracing::error!(
                "a create was not committed, or an orphaned target not deleted, in time; the next start settles creates by \
                 their claims"
            );
            self.ending.cancel();
            // What is not done by then has been logged above.
            let _ = tokio::time::timeout(LAST_WORDS, self.creates.wait()).await;
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
