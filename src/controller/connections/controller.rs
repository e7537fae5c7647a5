//! Watches Connections and ClusterConnections: builds what passes use, writes their status, and holds back those that
//! Targets still need.
//!
//! One loop for all of them: there are few, and nothing here waits for ZITADEL (that is done beside, by `monitor::run`,
//! one task per connection). The operator works without their definitions, and without the right to read them. A process
//! that stands by knows what is there, and neither uses it nor writes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, ready};
use futures::stream::{BoxStream, StreamExt, select_all};
use jiff::Timestamp;
use kube::api::DynamicObject;
use kube::core::DeserializeGuard;
use kube::runtime::events::EventType;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{ConnectionKey, LiveConnection};
use super::monitor;
use super::notice::Notice;
use super::registry::{Change, ConnectionRegistry, Entry};
use super::resource::ConnectionResource;
use crate::api::CONNECTION_FINALIZER;
use crate::api::condition::{Health, own};
use crate::api::connection::{ClusterConnection, Connection, ConnectionKind, ConnectionReport};
use crate::controller::runtime::backoff::Backoff;
use crate::controller::runtime::events::{Events, differs};
use crate::controller::runtime::writer::{Mode, WriteError, apply_status, patch_metadata};
use crate::controller::runtime::{instrument, kube_client};
use crate::ops::{Leadership, Metrics};
use crate::plan::connection::{Look, Report, Step, View, plan, render};

/// How often connections that are being deleted, and writes that failed, are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often the labels of namespaces are read.
const LABELS: Duration = Duration::from_mins(1);

/// What a watch delivers, whichever kind it is of.
struct Seen {
    watch: usize,
    event: WatchEvent,
}

enum WatchEvent {
    There(Box<ConnectionResource>),
    Gone(ConnectionKey),
    /// A list of everything begins.
    Listing,
    /// It ends.
    Listed,
    Failed(String),
}

/// What the controller needs from outside.
pub struct Parts {
    /// The client of the API server.
    pub client: Client,
    /// Every connection.
    pub registry: Arc<ConnectionRegistry>,
    /// Where Events go.
    pub events: Arc<Events>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// When this process works.
    pub leadership: Leadership,
    /// Who uses connections.
    pub users: Users,
}

/// By the cache, which may lag.
type Cached = dyn Fn(&ConnectionKey) -> Vec<String> + Send + Sync;
/// By the API server.
type Current = dyn Fn(ConnectionKey) -> BoxFuture<'static, Result<Vec<String>, WriteError>> + Send + Sync;

/// Who still needs a connection, as namespace/name.
pub struct Users {
    /// By the cache, which may lag.
    pub cached: Box<Cached>,
    /// By the API server.
    pub current: Box<Current>,
}

/// Runs until `stop`.
pub async fn run(parts: Parts, namespaces: &[String], stop: CancellationToken) {
    let (kinds, watches): (Vec<_>, Vec<_>) = watches(&parts, namespaces).into_iter().unzip();
    let mut watches = select_all(watches);
    let mut reports = Box::pin(Arc::clone(&parts.registry.reports).stream());
    let leadership = parts.leadership.clone();
    let mut controller = ConnectionController::new(parts, kinds, stop.clone());
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = leadership.begins(), if !controller.leads => controller.lead().await,
            Some(seen) = watches.next() => controller.see(seen).await,
            Some(key) = reports.next(), if controller.leads => controller.reconcile(&key).await,
            _ = tick.tick(), if controller.leads => controller.look_again().await,
        }
    }
    controller.tasks.close();
    controller.tasks.wait().await;
}

/// The watches, each with its kind; the position is its number.
fn watches(parts: &Parts, namespaces: &[String]) -> Vec<(ConnectionKind, BoxStream<'static, Seen>)> {
    let client = parts.client.clone();
    let apis: Vec<Api<DeserializeGuard<Connection>>> = if namespaces.is_empty() {
        vec![Api::all(client.clone())]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
    };
    let metrics = &parts.metrics;
    let of_namespaces = apis
        .into_iter()
        .enumerate()
        .map(|(number, api)| watched::<Connection>(metrics, number, ConnectionKind::Connection, api));
    let mut all: Vec<_> = of_namespaces.map(|watch| (ConnectionKind::Connection, watch)).collect();
    if parts.registry.serves_cluster() {
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
        let event = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => match &object.0 {
                Ok(object) => Some(WatchEvent::There(Box::new(ConnectionResource::from(object)))),
                Err(invalid) => {
                    tracing::warn!(name = invalid.metadata.name, error = invalid.error, "unreadable connection");
                    None
                }
            },
            Ok(watcher::Event::Delete(object)) => {
                object.0.as_ref().ok().map(|object| WatchEvent::Gone(ConnectionResource::from(object).key))
            }
            Ok(watcher::Event::Init) => Some(WatchEvent::Listing),
            Ok(watcher::Event::InitDone) => Some(WatchEvent::Listed),
            Err(error) => Some(WatchEvent::Failed(error.to_string())),
        };
        ready(event.map(|event| Seen { watch, event }))
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

/// Reconciles every connection resource.
struct ConnectionController {
    parts: Parts,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Whether what is there is used: not before this process leads, and then to its end.
    leads: bool,
    watches: Vec<WatchState>,
    /// Writes that failed, and when to try again.
    again: HashMap<ConnectionKey, Instant>,
    /// Of these writes, by uid.
    backoff: Backoff,
}

impl ConnectionController {
    fn new(parts: Parts, kinds: Vec<ConnectionKind>, stop: CancellationToken) -> Self {
        let nothing = |kind| WatchState { kind, there: HashSet::new(), listing: None, listed: false, failing: false };
        Self {
            parts,
            stop,
            tasks: TaskTracker::new(),
            leads: false,
            watches: kinds.into_iter().map(nothing).collect(),
            again: HashMap::new(),
            backoff: Backoff::default(),
        }
    }

    fn registry(&self) -> &Arc<ConnectionRegistry> {
        &self.parts.registry
    }

    fn publish(&self, notice: Notice) {
        self.registry().notices.publish(notice);
    }

    /// Begins to use what is known. Whoever begins to lead reconciles every object, so nothing is woken here.
    async fn lead(&mut self) {
        self.leads = true;
        if let Some(live) = self.registry().default_connection().cloned() {
            self.start(&live);
        }
        for (key, live) in self.registry().resources() {
            self.begin(&key, live);
            self.reconcile(&key).await;
        }
        self.tasks.spawn(follow_labels(Arc::clone(self.registry()), self.stop.clone()));
    }

    async fn see(&mut self, seen: Seen) {
        let watch = &mut self.watches[seen.watch];
        let kind = watch.kind;
        match seen.event {
            WatchEvent::There(resource) => {
                let key = resource.key.clone();
                watch.there.insert(key.clone());
                if let Some(listing) = &mut watch.listing {
                    listing.insert(key.clone());
                }
                let change = self.parts.registry.update(*resource);
                if self.leads {
                    self.take(&key, change);
                    self.reconcile(&key).await;
                }
            }
            WatchEvent::Gone(key) => {
                watch.there.remove(&key);
                self.lose(&key);
            }
            WatchEvent::Listing => watch.listing = Some(HashSet::new()),
            WatchEvent::Listed => {
                let listing = watch.listing.take().unwrap_or_default();
                let lost: Vec<ConnectionKey> = watch.there.difference(&listing).cloned().collect();
                (watch.there, watch.listed, watch.failing) = (listing, true, false);
                for key in lost {
                    self.lose(&key);
                }
                self.note_read(kind);
            }
            WatchEvent::Failed(error) => {
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
        if self.watches.iter().filter(|watch| watch.kind == kind).all(|watch| watch.listed) {
            self.registry().note_read(kind);
        }
    }

    /// Starts what runs beside a connection, and tells its users.
    fn take(&self, key: &ConnectionKey, change: Change) {
        match change {
            Change::None => return,
            Change::Allowance => {}
            Change::Live(live) => self.begin(key, live),
        }
        self.publish(Notice::Changed(key.clone()));
    }

    fn begin(&self, key: &ConnectionKey, live: Result<Arc<LiveConnection>, String>) {
        match live {
            Ok(live) => self.start(&live),
            Err(why) => tracing::warn!(connection = ?key, why, "the connection is refused"),
        }
    }

    fn start(&self, live: &Arc<LiveConnection>) {
        // Ends with the process, or with the connection.
        let (all, own) = (self.stop.clone(), live.stop.clone());
        self.tasks.spawn(async move {
            if own.run_until_cancelled(all.cancelled()).await.is_some() {
                own.cancel();
            }
        });
        self.tasks.spawn(monitor::run(Arc::clone(live), Arc::clone(self.registry()), live.stop.clone()));
        self.publish(Notice::Began(Arc::clone(live)));
    }

    fn lose(&mut self, key: &ConnectionKey) {
        self.again.remove(key);
        if let Some(entry) = self.registry().entry(key) {
            self.backoff.reset(&entry.resource.uid);
        }
        if self.registry().remove(key) && self.leads {
            self.publish(Notice::Changed(key.clone()));
        }
    }

    /// Reconciles one connection: at most one write.
    async fn reconcile(&mut self, key: &ConnectionKey) {
        let Some(entry) = self.registry().entry(key) else { return };
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
            Ok(live) => live.health.look(live.observation.missing()),
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
        let cached = (self.parts.users.cached)(key);
        if !cached.is_empty() {
            return Ok(cached);
        }
        (self.parts.users.current)(key.clone()).await
    }

    async fn set_finalizer(&self, resource: &ConnectionResource, on: bool) -> Result<(), WriteError> {
        let mut finalizers: Vec<&str> = resource.finalizers.iter().map(String::as_str).collect();
        finalizers.retain(|name| *name != CONNECTION_FINALIZER);
        if on {
            finalizers.push(CONNECTION_FINALIZER);
        }
        let metadata = json!({"finalizers": finalizers});
        patch_metadata(&self.api(resource), &resource.seen(), metadata, Mode::Write).await.map(drop)
    }

    async fn report(&self, resource: &ConnectionResource, report: &Report) -> Result<(), WriteError> {
        let status = render(&resource.report, report, resource.generation, Timestamp::now());
        if status == (ConnectionReport { conditions: own(&resource.report.conditions), ..resource.report.clone() }) {
            return Ok(());
        }
        let shown = |applied: &DynamicObject| applied.data["status"].clone();
        apply_status(&self.api(resource), &resource.kind().kind, &resource.seen(), &json!(status), shown).await?;
        self.backoff.reset(&resource.uid);
        if differs(&resource.report.conditions, &status.conditions) {
            let well = report.health == Health::Ready;
            let kind = if well { EventType::Normal } else { EventType::Warning };
            let reason = report.reason.as_str();
            self.parts.events.publish(resource.object_ref(), kind, reason, "Reconcile", &report.note);
        }
        Ok(())
    }

    fn api(&self, resource: &ConnectionResource) -> Api<DynamicObject> {
        match resource.namespace() {
            Some(namespace) => Api::namespaced_with(self.parts.client.clone(), namespace, &resource.kind()),
            None => Api::all_with(self.parts.client.clone(), &resource.kind()),
        }
    }

    /// What is being deleted waits for its Targets; what failed is tried again.
    async fn look_again(&mut self) {
        for key in self.registry().keys() {
            let due = self.again.get(&key).map(|due| *due <= Instant::now());
            let going = || self.registry().entry(&key).is_some_and(|entry| entry.resource.deleting);
            if due.unwrap_or_else(going) {
                self.reconcile(&key).await;
            }
        }
    }
}

/// Reads the labels of namespaces again and again, and tells which have changed.
async fn follow_labels(registry: Arc<ConnectionRegistry>, stop: CancellationToken) {
    let mut labels = tokio::time::interval(LABELS);
    let follow = async {
        loop {
            labels.tick().await;
            let changed = registry.namespaces.refresh().await;
            if !changed.is_empty() {
                registry.notices.publish(Notice::Relabelled(changed));
            }
        }
    };
    // None: it was told to end.
    let _: Option<()> = stop.run_until_cancelled(follow).await;
}
