//! Watches Connections and ClusterConnections: builds what passes use, writes their status, and holds back those that
//! Targets still need.
//!
//! One loop for all of them: there are few, and nothing here waits for ZITADEL (that is done beside, by `monitor::tend`,
//! one task per connection). The operator works without their definitions, and without the right to read them. A process
//! that stands by knows what is there, and neither uses it nor writes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::ready;
use futures::stream::{BoxStream, StreamExt, select_all};
use jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::events::EventType;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::condition::{Health, own};
use crate::api::connection::{ClusterConnection, Connection, ConnectionKind, ConnectionReport};
use crate::api::reason::Reason;
use crate::api::target::Target;
use crate::api::{CONNECTION_FINALIZER, FIELD_MANAGER, GROUP, VERSION};
use crate::controller::connections::connection::{ConnectionKey, LiveConnection};
use crate::controller::connections::monitor;
use crate::controller::connections::registry::{Change, Entry};
use crate::controller::connections::resource::ConnectionResource;
use crate::controller::instrument;
use crate::controller::runtime::backoff::Backoff;
use crate::controller::runtime::events;
use crate::controller::runtime::foreign_fields;
use crate::controller::runtime::kube_client;
use crate::controller::runtime::requeue::{Shard, wake_each};
use crate::controller::runtime::writer::{WriteError, as_manager, in_time};
use crate::controller::target::context::{Context, needs, shown};
use crate::controller::target::observer;
use crate::ops::Metrics;
use crate::plan::connection::{Look, Report, Step, View, plan, render};

/// How often connections that are being deleted, and writes that failed, are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often the labels of namespaces are read.
const LABELS: Duration = Duration::from_mins(1);

/// What a watch delivers, whichever kind it is of.
struct Seen {
    watch: usize,
    news: News,
}

enum News {
    There(Box<ConnectionResource>),
    Gone(ConnectionKey),
    /// A list of everything begins.
    Listing,
    /// It ends.
    Listed,
    Failed(String),
}

/// Runs until `stop`.
pub(crate) async fn run(
    context: Arc<Context>,
    namespaces: &[String],
    shards: Arc<Vec<Shard>>,
    stop: CancellationToken,
) {
    let Some(mut told) = context.registry().told() else { return };
    let (kinds, watches): (Vec<_>, Vec<_>) = watches(&context, namespaces).into_iter().unzip();
    let mut watches = select_all(watches);
    let mut keeper = ConnectionController::new(context, shards, kinds, stop.clone());
    let mut tick = tokio::time::interval(TICK);
    let mut labels = tokio::time::interval(LABELS);
    let leadership = keeper.context.scope().leadership.clone();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = leadership.begins(), if !keeper.leads => keeper.lead().await,
            Some(seen) = watches.next() => keeper.see(seen).await,
            Some(key) = told.next(), if keeper.leads => keeper.pass(&key).await,
            _ = tick.tick(), if keeper.leads => keeper.look_again().await,
            _ = labels.tick(), if keeper.leads => keeper.look_at_namespaces().await,
        }
    }
    keeper.tasks.close();
    keeper.tasks.wait().await;
}

/// The watches, each with its kind; the position is its number.
fn watches(context: &Context, namespaces: &[String]) -> Vec<(ConnectionKind, BoxStream<'static, Seen>)> {
    let client = context.client();
    let apis: Vec<Api<DeserializeGuard<Connection>>> = if namespaces.is_empty() {
        vec![Api::all(client.clone())]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
    };
    let metrics = context.metrics();
    let of_namespaces = apis
        .into_iter()
        .enumerate()
        .map(|(number, api)| watched::<Connection>(metrics, number, ConnectionKind::Connection, api));
    let mut all: Vec<_> = of_namespaces.map(|watch| (ConnectionKind::Connection, watch)).collect();
    if context.registry().serves_cluster() {
        let kind = ConnectionKind::ClusterConnection;
        all.push((kind, watched::<ClusterConnection>(metrics, all.len(), kind, Api::all(client))));
    }
    all
}

fn watched<K>(
    metrics: &Arc<Metrics>,
    watch: usize,
    kind: ConnectionKind,
    api: Api<DeserializeGuard<K>>,
) -> BoxStream<'static, Seen>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    for<'a> ConnectionResource: From<&'a K>,
{
    let told = instrument::watch(metrics, kind.into(), &api);
    let events = watcher(api, kube_client::watch()).default_backoff().inspect(told);
    let stream = events.filter_map(move |event| {
        let news = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => match &object.0 {
                Ok(object) => Some(News::There(Box::new(ConnectionResource::from(object)))),
                Err(invalid) => {
                    tracing::warn!(name = invalid.metadata.name, error = invalid.error, "unreadable connection");
                    None
                }
            },
            Ok(watcher::Event::Delete(object)) => {
                object.0.as_ref().ok().map(|object| News::Gone(ConnectionResource::from(object).key))
            }
            Ok(watcher::Event::Init) => Some(News::Listing),
            Ok(watcher::Event::InitDone) => Some(News::Listed),
            Err(error) => Some(News::Failed(error.to_string())),
        };
        ready(news.map(|news| Seen { watch, news }))
    });
    stream.boxed()
}

/// What one watch has delivered.
#[derive(Debug)]
struct WatchState {
    kind: ConnectionKind,
    /// What is there.
    there: HashSet<ConnectionKey>,
    /// What the list that is being read has shown so far.
    listing: Option<HashSet<ConnectionKey>>,
    /// Whether one list has been read to its end.
    listed: bool,
    /// Whether the newest try failed.
    failing: bool,
}

/// Keeps every connection.
struct ConnectionController {
    context: Arc<Context>,
    shards: Arc<Vec<Shard>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Whether what is there is used: not before this process leads, and then to its end.
    leads: bool,
    delivered: Vec<WatchState>,
    /// Writes that failed, and when to try again.
    again: HashMap<ConnectionKey, Instant>,
    /// Of these writes, by uid.
    backoff: Backoff,
}

impl ConnectionController {
    fn new(
        context: Arc<Context>,
        shards: Arc<Vec<Shard>>,
        kinds: Vec<ConnectionKind>,
        stop: CancellationToken,
    ) -> Self {
        let nothing = |kind| WatchState { kind, there: HashSet::new(), listing: None, listed: false, failing: false };
        let delivered = kinds.into_iter().map(nothing).collect();
        Self {
            context,
            shards,
            stop,
            tasks: TaskTracker::new(),
            leads: false,
            delivered,
            again: HashMap::new(),
            backoff: Backoff::default(),
        }
    }

    /// Begins to use what is known. Whoever begins to lead wakes every Target, so nothing is woken here.
    async fn lead(&mut self) {
        self.leads = true;
        for (key, live) in self.context.registry().resources() {
            self.begin(&key, live);
            self.pass(&key).await;
        }
    }

    async fn see(&mut self, seen: Seen) {
        let watch = &mut self.delivered[seen.watch];
        let kind = watch.kind;
        match seen.news {
            News::There(resource) => {
                let key = resource.key.clone();
                watch.there.insert(key.clone());
                if let Some(listing) = &mut watch.listing {
                    listing.insert(key.clone());
                }
                let change = self.context.registry().update(*resource);
                if self.leads {
                    self.take(&key, change);
                    self.pass(&key).await;
                }
            }
            News::Gone(key) => {
                watch.there.remove(&key);
                self.lose(&key);
            }
            News::Listing => watch.listing = Some(HashSet::new()),
            News::Listed => {
                let listing = watch.listing.take().unwrap_or_default();
                let lost: Vec<ConnectionKey> = watch.there.difference(&listing).cloned().collect();
                (watch.there, watch.listed, watch.failing) = (listing, true, false);
                for key in lost {
                    self.lose(&key);
                }
                self.note_read(kind);
            }
            News::Failed(error) => {
                // Where the definition is not installed, or not for this operator to read, that is how it stays.
                if std::mem::replace(&mut watch.failing, true) {
                    tracing::debug!(kind = kind.as_str(), error, "connections cannot be watched");
                } else {
                    tracing::info!(kind = kind.as_str(), error, "connections cannot be watched; trying on");
                }
            }
        }
    }

    /// A kind has been read when each of its watches has been.
    fn note_read(&self, kind: ConnectionKind) {
        if self.delivered.iter().filter(|watch| watch.kind == kind).all(|watch| watch.listed) {
            self.context.registry().note_read(kind);
        }
    }

    /// Wakes exactly the Targets of a connection, and starts what runs beside it.
    fn take(&self, key: &ConnectionKey, change: Change) {
        match change {
            Change::None => return,
            Change::Allowance => {}
            Change::LiveConnection(live) => self.begin(key, live),
        }
        self.context.forget_ownership();
        // Who was held up by a wish on it may go on, too.
        let held_up = |target: &Target| target.ready_reason() == Some(Reason::AdoptionConflict);
        wake_each(&self.shards, &self.context, |target| ConnectionKey::of(target) == *key || held_up(target));
    }

    fn begin(&self, key: &ConnectionKey, live: Result<Arc<LiveConnection>, String>) {
        match live {
            Ok(live) => self.start(&live),
            Err(why) => tracing::warn!(connection = ?key, why, "the connection is refused"),
        }
    }

    fn start(&self, live: &Arc<LiveConnection>) {
        let (all, own) = (self.stop.clone(), live.stop.clone());
        let ended = CancellationToken::new();
        let end = ended.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = all.cancelled() => {}
                () = own.cancelled() => {}
            }
            end.cancel();
        });
        let shared = || (Arc::clone(&self.context), Arc::clone(live), Arc::clone(&self.shards), ended.clone());
        let (context, tended, shards, stop) = shared();
        self.tasks.spawn(monitor::tend(context, tended, shards, stop));
        let (context, observed, shards, stop) = shared();
        self.tasks.spawn(observer::run(context, observed, shards, stop));
    }

    fn lose(&mut self, key: &ConnectionKey) {
        self.again.remove(key);
        if let Some(entry) = self.context.registry().entry(key) {
            self.backoff.reset(&entry.resource.uid);
        }
        if self.context.registry().remove(key) && self.leads {
            wake_each(&self.shards, &self.context, |target| ConnectionKey::of(target) == *key);
        }
    }

    /// One pass over a connection: at most one write.
    async fn pass(&mut self, key: &ConnectionKey) {
        let Some(entry) = self.context.registry().entry(key) else { return };
        match self.carry_out(&entry).await {
            // Whoever wrote first, or took it away, the watch tells.
            Ok(()) | Err(WriteError::Conflict | WriteError::Gone) => drop(self.again.remove(key)),
            Err(error) => {
                let pause = self.backoff.next(&entry.resource.uid);
                tracing::warn!(connection = ?key, %error, retry = ?pause, "a write to a connection failed");
                self.again.insert(key.clone(), Instant::now() + pause);
            }
        }
    }

    async fn carry_out(&self, entry: &Entry) -> Result<(), WriteError> {
        let resource = &entry.resource;
        let look = match &entry.live {
            Ok(live) => live.health.look(live.observer.unobserved()).await,
            Err(why) => Look::Refused(why.clone()),
        };
        let users = if resource.deleting { self.users(&resource.key).await? } else { Vec::new() };
        let view = View { deleting: resource.deleting, finalized: resource.finalized(), users: &users, look: &look };
        match plan(&view) {
            Step::Hold => self.set_finalizer(resource, true).await,
            Step::Release => self.set_finalizer(resource, false).await,
            Step::Report(report) => self.report(resource, &report).await,
            Step::Ask | Step::Ignore => Ok(()),
        }
    }

    /// Who needs the connection. The cache may not show yet what has just begun, so its silence alone releases nothing.
    async fn users(&self, key: &ConnectionKey) -> Result<Vec<String>, WriteError> {
        let cached = self.context.users(key);
        if !cached.is_empty() {
            return Ok(cached);
        }
        let current = self.context.current_targets().await?;
        Ok(current.iter().filter(|target| needs(target, key)).map(shown).collect())
    }

    async fn set_finalizer(&self, resource: &ConnectionResource, on: bool) -> Result<(), WriteError> {
        let mut finalizers: Vec<&str> = resource.finalizers.iter().map(String::as_str).collect();
        finalizers.retain(|name| *name != CONNECTION_FINALIZER);
        if on {
            finalizers.push(CONNECTION_FINALIZER);
        }
        let metadata = json!({"finalizers": finalizers, "resourceVersion": resource.version, "uid": resource.uid});
        let api = self.api(resource);
        in_time(api.patch(resource.name(), &as_manager(), &Patch::Merge(json!({"metadata": metadata})))).await.map(drop)
    }

    async fn report(&self, resource: &ConnectionResource, report: &Report) -> Result<(), WriteError> {
        let status = render(&resource.report, report, resource.generation, Timestamp::now());
        if status == (ConnectionReport { conditions: own(&resource.report.conditions), ..resource.report.clone() }) {
            return Ok(());
        }
        self.write_status(resource, &status).await?;
        self.backoff.reset(&resource.uid);
        if events::differs(&resource.report.conditions, &status.conditions) {
            let well = report.health == Health::Ready;
            let kind = if well { EventType::Normal } else { EventType::Warning };
            let reason = report.reason.as_str();
            events::publish_on(&self.context, &resource.object_ref(), kind, reason, "Reconcile", &report.note).await;
        }
        Ok(())
    }

    async fn write_status(&self, resource: &ConnectionResource, status: &ConnectionReport) -> Result<(), WriteError> {
        let wanted = json!(status);
        let patch: Patch<Value> = Patch::Apply(json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": resource.kind().kind,
            "metadata": {"name": resource.name(), "uid": resource.uid, "resourceVersion": resource.version},
            "status": wanted,
        }));
        let api = self.api(resource);
        let apply = PatchParams::apply(FIELD_MANAGER).force();
        let applied: DynamicObject = in_time(api.patch_status(resource.name(), &apply, &patch)).await?;
        if let Some(removal) = foreign_fields::removal(&applied, &applied.data["status"], &wanted) {
            in_time(api.patch_status(resource.name(), &as_manager(), &Patch::Merge(removal))).await?;
        }
        Ok(())
    }

    fn api(&self, resource: &ConnectionResource) -> Api<DynamicObject> {
        match resource.namespace() {
            Some(namespace) => Api::namespaced_with(self.context.client(), namespace, &resource.kind()),
            None => Api::all_with(self.context.client(), &resource.kind()),
        }
    }

    /// What is being deleted waits for its Targets; what failed is tried again.
    async fn look_again(&mut self) {
        for key in self.context.registry().keys() {
            let due = self.again.get(&key).map(|due| *due <= Instant::now());
            let going = || self.context.registry().entry(&key).is_some_and(|entry| entry.resource.deleting);
            if due.unwrap_or_else(going) {
                self.pass(&key).await;
            }
        }
    }

    async fn look_at_namespaces(&self) {
        let changed = self.context.registry().namespaces.refresh().await;
        if !changed.is_empty() {
            wake_each(&self.shards, &self.context, |target| {
                let selected = !matches!(ConnectionKey::of(target), ConnectionKey::Connection { .. });
                selected && target.namespace().is_some_and(|namespace| changed.contains(&namespace))
            });
        }
    }
}
