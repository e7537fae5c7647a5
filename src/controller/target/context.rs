//! What every pass shares.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::runtime::reflector::{self, ObjectRef};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::target::{Target, TargetStatus};
use crate::controller::CONCURRENCY;
use crate::controller::connections::connection::{ConnectionKey, LiveConnection};
use crate::controller::connections::registry::{ConnectionRegistry, User};
use crate::controller::runtime::backoff::Backoff;
use crate::controller::runtime::events::Events;
use crate::controller::runtime::lanes::Lanes;
use crate::controller::runtime::scope::Scope;
use crate::controller::runtime::writer::{self, WriteError};
use crate::controller::target::Guarded;
use crate::controller::target::crd::{CrdReader, Finding};
use crate::controller::target::has_finalizer;
use crate::controller::target::memory::Memory;
pub(crate) use crate::controller::target::memory::Rest;
use crate::controller::target::observers::Observers;
use crate::controller::target::ownership::{self, OwnershipIndex};
use crate::controller::target::queue::Shard;
use crate::controller::target::writes::Writer;
use crate::ops::Metrics;
use crate::plan::Adoption;
use crate::plan::connection::Obstacle;
use crate::plan::ownership::Place;
use crate::zitadel::Version;

/// Longest wait at shutdown for creates whose answer is not committed yet.
const LAST_COMMITS: Duration = Duration::from_secs(25);
/// How long orphans that are still there may then take to be reported.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How far the first lists have come.
#[derive(Debug, Clone, Copy, Default)]
struct Fill {
    filled: usize,
    refused: usize,
}

/// Shared by all passes.
pub struct Context {
    client: Client,
    writer: Writer,
    events: Arc<Events>,
    ownership: OwnershipIndex,
    registry: Arc<ConnectionRegistry>,
    observers: Observers,
    lanes: Arc<Lanes<ConnectionKey>>,
    metrics: Arc<Metrics>,
    backoff: Backoff,
    resync: Duration,
    scope: Scope,
    crd: CrdReader,
    shards: OnceLock<Vec<Shard>>,
    stop: OnceLock<CancellationToken>,
    watched: OnceLock<Vec<Api<Guarded>>>,
    fill: watch::Sender<Fill>,
    memory: Memory,
    creates: TaskTracker,
    /// The process ends, and waits no longer for what is under way.
    ending: CancellationToken,
    passes: AtomicU64,
}

impl Context {
    /// A context for one process.
    #[must_use]
    pub fn new(
        client: Client,
        registry: ConnectionRegistry,
        metrics: Arc<Metrics>,
        resync: Duration,
        scope: Scope,
    ) -> Self {
        Self {
            events: Arc::new(Events::start(&client, Arc::clone(&metrics))),
            ownership: OwnershipIndex::default(),
            writer: Writer::new(client.clone()),
            crd: CrdReader::new(client.clone(), scope.reach),
            client,
            registry: Arc::new(registry),
            observers: Observers::default(),
            lanes: Arc::new(Lanes::new(usize::from(CONCURRENCY))),
            metrics,
            backoff: Backoff::default(),
            resync,
            scope,
            shards: OnceLock::new(),
            stop: OnceLock::new(),
            watched: OnceLock::new(),
            fill: watch::Sender::default(),
            memory: Memory::default(),
            creates: TaskTracker::new(),
            ending: CancellationToken::new(),
            passes: AtomicU64::new(0),
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) const fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Where Events go.
    pub(crate) const fn events(&self) -> &Arc<Events> {
        &self.events
    }

    pub(crate) const fn observers(&self) -> &Observers {
        &self.observers
    }

    /// Who may reconcile now.
    pub(crate) const fn lanes(&self) -> &Arc<Lanes<ConnectionKey>> {
        &self.lanes
    }

    pub(crate) const fn registry(&self) -> &Arc<ConnectionRegistry> {
        &self.registry
    }

    pub(crate) const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) const fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    pub(crate) const fn resync(&self) -> Duration {
        self.resync
    }

    pub(crate) const fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn set_watches(&self, shards: Vec<Shard>, watched: Vec<Api<Guarded>>, stop: CancellationToken) {
        // Set once, by the one `run` of the process; a second set would be of the same.
        let _ = self.shards.set(shards);
        let _ = self.watched.set(watched);
        let _ = self.stop.set(stop);
    }

    /// Ends this long after the process was told to end.
    pub(crate) async fn stopped_for(&self, time: Duration) {
        match self.stop.get() {
            Some(stop) => stop.cancelled().await,
            None => std::future::pending().await,
        }
        tokio::time::sleep(time).await;
    }

    /// Notes that a watch has delivered its first list; `was_refused`: after it had been refused.
    ///
    /// Not left to `Store::wait_until_ready`: it wakes one waiter only (seen with kube 5.0.0), and that one is the
    /// controller itself.
    pub(crate) fn filled(&self, was_refused: bool) {
        self.fill.send_modify(|fill| {
            fill.filled += 1;
            fill.refused -= usize::from(was_refused);
        });
    }

    /// Notes that a watch may not list: one namespace without rights, or without its kind, holds nobody else up.
    pub(crate) fn refused(&self) {
        self.fill.send_modify(|fill| fill.refused += 1);
    }

    /// Finds out whether the CRD of Targets may be read, for the time when that is refused.
    pub async fn crd_access_learned(&self) {
        self.crd.learn_access().await;
    }

    /// Whether the CRD of Targets is being deleted, and this Target, which is, with it.
    ///
    /// # Errors
    /// No answer: nothing is known.
    pub(crate) async fn look_at_crd(&self, object: &Target) -> Result<Finding, WriteError> {
        self.crd.look(self.memory.deleting_since(object)).await
    }

    /// Waits until so many watches have delivered their first list, or may not list at all; one of them at least has.
    pub async fn caches_filled(&self, watches: usize) {
        let done = |fill: &Fill| fill.filled > 0 && fill.filled + fill.refused >= watches;
        // The sender is never dropped before.
        let _ = self.fill.subscribe().wait_for(done).await;
    }

    /// Reconciles the Targets of which this is true, whatever they were waiting for.
    pub(crate) fn requeue(&self, concerned: impl Fn(&Target) -> bool) {
        for shard in self.shards() {
            for object in shard.store.state() {
                let Ok(target) = &object.0 else { continue };
                if self.scope.should_reconcile(&*object) && concerned(target) {
                    self.wake(target);
                    self.metrics.queue().asked(shown(&*object));
                    shard.requeue.add(ObjectRef::from_obj(&*object));
                }
            }
        }
    }

    /// The watches and the ways to their queues; none before they are set.
    pub(crate) fn shards(&self) -> &[Shard] {
        self.shards.get().map_or(&[], Vec::as_slice)
    }

    /// Every Target of the cache.
    pub(crate) fn targets(&self) -> Vec<Arc<Guarded>> {
        self.shards().iter().flat_map(|shard| shard.store.state()).collect()
    }

    /// The Targets (namespace/name) of the cache that need this connection.
    pub(crate) fn users(&self, key: &ConnectionKey) -> Vec<String> {
        let targets = self.targets();
        let readable = targets.iter().filter_map(|object| object.0.as_ref().ok());
        readable.filter(|target| needs(target, key)).map(shown).collect()
    }

    /// The same by the API server.
    pub(crate) async fn current_users(&self, key: &ConnectionKey) -> Result<Vec<String>, WriteError> {
        let current = self.current_targets().await?;
        Ok(current.iter().filter(|target| needs(target, key)).map(shown).collect())
    }

    /// The object as the cache has it now, if it is still there.
    pub(crate) fn cached(&self, object: &Guarded) -> Option<Arc<Guarded>> {
        let reference = ObjectRef::from_obj(object);
        let now = self.shards().iter().find_map(|shard| shard.store.get(&reference))?;
        (now.meta().uid == object.meta().uid).then_some(now)
    }

    /// The connection that a Target asks for, if it exists and may be used, and whether the Target may adopt by it.
    pub(crate) async fn connection_of(&self, target: &Target) -> Result<(Arc<LiveConnection>, Adoption), Obstacle> {
        let user = User {
            namespace: target.metadata.namespace.as_deref().unwrap_or_default(),
            reference: target.spec.connection_ref.as_ref(),
            finalized: has_finalizer(target.metadata.finalizers.as_deref()),
        };
        self.registry.of(&user).await
    }

    /// Where a Target's id counts.
    pub(crate) fn place(&self, target: &Target) -> Option<Place> {
        ownership::place_of(target, &self.registry)
    }

    /// Every Target that this operator cares for, as the API server has it now: the cache may lag behind what another
    /// replica, or another pass, has just written.
    ///
    /// # Errors
    /// Of the first list that fails.
    pub(crate) async fn current_targets(&self) -> Result<Vec<Target>, WriteError> {
        let mut all = Vec::new();
        let watched = self.watched.get().into_iter().flatten().zip(self.shards());
        for (api, shard) in watched {
            match writer::list(api).await {
                Ok(objects) => all.extend(objects.into_iter().filter_map(|object| object.0.ok())),
                // One namespace of several, which may be going with its rights: what the cache knows has to do.
                Err(WriteError::ListRefused(_)) if self.shards().len() > 1 => {
                    all.extend(shard.store.state().iter().filter_map(|object| object.0.as_ref().ok().cloned()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// The Target (namespace and name) that holds this remote id with more right, or is about to take it over, if there
    /// is one.
    pub(crate) fn older_holder(&self, id: &str, target: &Target) -> Option<(String, String)> {
        self.ownership.rival(id, target, || self.targets(), &self.registry)
    }

    /// The other Targets (namespace and name) that record this remote id at the same place, whoever is older.
    pub(crate) fn co_holders(&self, id: &str, target: &Target) -> Vec<(String, String)> {
        ownership::co_holders(id, target, &self.targets(), &self.registry)
    }

    /// Reserves a remote id for an adoption that is about to be recorded, unless another Target has it.
    pub(crate) fn reserve(&self, id: &str, target: &Target) -> bool {
        self.ownership.reserve(id, target, &self.registry) && self.co_holders(id, target).is_empty()
    }

    /// Gives back what the Target has reserved: it was not recorded.
    pub(crate) fn unreserve(&self, target: &Target) {
        self.ownership.unreserve(target);
    }

    /// Has it looked up again who holds what: who may adopt has changed.
    pub(crate) fn forget_ownership(&self) {
        self.ownership.forget();
    }

    /// The newer of the cached object and what our own last write returned, and how long it may rest.
    pub(crate) fn newest(&self, cached: &Target) -> (Arc<Target>, Rest) {
        self.memory.newest(cached)
    }

    /// The status that this process last wrote or agreed with, where somebody else has written another one since: status
    /// is ours to write, so the id, too, is what we recorded.
    ///
    /// While a claim is open its create may be committed beside a pass; and a claim that this process has not written is
    /// another replica's, whose status counts.
    pub(crate) fn overwritten(&self, seen: &Target) -> Option<TargetStatus> {
        self.memory.overwritten(seen)
    }

    /// Remembers an object as the API server returned it.
    pub(crate) fn remember(&self, object: &Arc<Target>, rest: Rest, written: Option<Version>) {
        self.memory.remember(object, rest, written);
    }

    /// Notes the newest state that the write side is known to have, as soon as it is known: the pass may end anyhow.
    pub(crate) fn note_written(&self, object: &Arc<Target>, written: Option<&Version>) {
        self.memory.note_written(object, written);
    }

    /// What an earlier pass wrote to the object's target and could not read back yet.
    pub(crate) fn written(&self, object: &Target) -> Option<Version> {
        self.memory.written(object)
    }

    /// Notes that a pass ended without the answer to a write: what status shows next may be our own.
    pub(crate) fn doubt(&self, object: &Target) {
        self.memory.doubt(object);
    }

    /// Ends the rest of an object: the cause of its trouble may be gone.
    pub(crate) fn wake(&self, object: &Target) {
        self.backoff.reset(object.metadata.uid.as_deref().unwrap_or_default());
        self.memory.wake(object);
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, object: &Target) {
        self.forget_uid(object.metadata.uid.as_deref().unwrap_or_default());
    }

    fn forget_uid(&self, uid: &str) {
        self.backoff.reset(uid);
        self.memory.forget(uid);
    }

    /// Takes in that the watch shows the end of an object, and tells whether this process has let it go.
    pub(crate) fn ended(&self, object: &Guarded) -> bool {
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        self.forget_uid(uid);
        self.memory.was_released(uid)
    }

    /// Forgets an object after its pass if it was deleted meanwhile: what the pass has noted came after its end.
    pub(crate) fn forget_if_gone<K: reflector::Lookup>(&self, reference: &ObjectRef<K>) {
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
    pub(crate) fn forget_unlisted(&self) {
        let living: HashSet<String> = self.targets().iter().filter_map(|object| object.meta().uid.clone()).collect();
        self.backoff.keep_only(&living);
        self.memory.keep_only(&living);
        self.metrics.targets().waits().keep_only(&living);
    }

    /// Notes that an object is about to be let go.
    pub(crate) fn releasing(&self, object: &Target) {
        self.memory.releasing(object);
    }

    /// A number for a pass, by which its lines in the log are found.
    pub(crate) fn next_pass(&self) -> u64 {
        self.passes.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) const fn creates(&self) -> &TaskTracker {
        &self.creates
    }

    /// Ends when the process waits no longer for what is under way.
    pub(crate) const fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    /// Waits until every create in flight is answered and committed, every orphan deleted, and every Event published.
    pub(crate) async fn finish(&self) {
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
        self.events.finish(LAST_WORDS).await;
    }
}

/// Whether something may have been made for the Target by this connection: then it needs it once more.
pub(crate) fn needs(target: &Target, key: &ConnectionKey) -> bool {
    ConnectionKey::of(target) == *key && has_finalizer(target.metadata.finalizers.as_deref())
}

/// namespace/name.
pub(crate) fn shown(object: &impl Resource) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}
