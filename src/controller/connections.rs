//! Watches Connections and ClusterConnections: builds what passes use, writes their status, and holds back those that
//! Targets still need.
//!
//! One loop for all of them: there are few, and nothing here waits for ZITADEL (that is done beside, by `wake::tend`,
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

use super::backoff::Backoff;
use super::cluster::{WriteError, as_manager, in_time};
use super::context::{Context, needs, shown};
use super::link::{Key, Link};
use super::links::{Change, Entry};
use super::offer::Offer;
use super::wake::{self, Shard, wake_each};
use super::{api_server, figures, foreign, news, observer};
use crate::api::condition::{Health, own};
use crate::api::connection::{ClusterConnection, Connection, ConnectionKind, ConnectionReport};
use crate::api::reason::Reason;
use crate::api::target::Target;
use crate::api::{CONNECTION_FINALIZER, FIELD_MANAGER, GROUP, VERSION};
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
    There(Box<Offer>),
    Gone(Key),
    /// A list of everything begins.
    Listing,
    /// It ends.
    Listed,
    Failed(String),
}

/// Runs until `stop`.
pub(super) async fn run(
    context: Arc<Context>,
    namespaces: &[String],
    shards: Arc<Vec<Shard>>,
    stop: CancellationToken,
) {
    let Some(mut told) = context.links().told() else { return };
    let (kinds, watches): (Vec<_>, Vec<_>) = watches(&context, namespaces).into_iter().unzip();
    let mut watches = select_all(watches);
    let mut keeper = Keeper::new(context, shards, kinds, stop.clone());
    let mut tick = tokio::time::interval(TICK);
    let mut labels = tokio::time::interval(LABELS);
    let leadership = keeper.context.duty().leadership.clone();
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
    if context.links().serves_cluster() {
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
    for<'a> Offer: From<&'a K>,
{
    let told = figures::watch(metrics, kind.into(), &api);
    let events = watcher(api, api_server::watch()).default_backoff().inspect(told);
    let stream = events.filter_map(move |event| {
        let news = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => match &object.0 {
                Ok(object) => Some(News::There(Box::new(Offer::from(object)))),
                Err(invalid) => {
                    tracing::warn!(name = invalid.metadata.name, error = invalid.error, "unreadable connection");
                    None
                }
            },
            Ok(watcher::Event::Delete(object)) => {
                object.0.as_ref().ok().map(|object| News::Gone(Offer::from(object).key))
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
struct Delivered {
    kind: ConnectionKind,
    /// What is there.
    there: HashSet<Key>,
    /// What the list that is being read has shown so far.
    listing: Option<HashSet<Key>>,
    /// Whether one list has been read to its end.
    listed: bool,
    /// Whether the newest try failed.
    failing: bool,
}

/// Keeps every connection.
struct Keeper {
    context: Arc<Context>,
    shards: Arc<Vec<Shard>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Whether what is there is used: not before this process leads, and then to its end.
    leads: bool,
    delivered: Vec<Delivered>,
    /// Writes that failed, and when to try again.
    again: HashMap<Key, Instant>,
    /// Of these writes, by uid.
    backoff: Backoff,
}

impl Keeper {
    fn new(
        context: Arc<Context>,
        shards: Arc<Vec<Shard>>,
        kinds: Vec<ConnectionKind>,
        stop: CancellationToken,
    ) -> Self {
        let nothing = |kind| Delivered { kind, there: HashSet::new(), listing: None, listed: false, failing: false };
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
        for (key, link) in self.context.links().resources() {
            self.begin(&key, link);
            self.pass(&key).await;
        }
    }

    async fn see(&mut self, seen: Seen) {
        let watch = &mut self.delivered[seen.watch];
        let kind = watch.kind;
        match seen.news {
            News::There(offer) => {
                let key = offer.key.clone();
                watch.there.insert(key.clone());
                if let Some(listing) = &mut watch.listing {
                    listing.insert(key.clone());
                }
                let change = self.context.links().update(*offer);
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
                let lost: Vec<Key> = watch.there.difference(&listing).cloned().collect();
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
            self.context.links().note_read(kind);
        }
    }

    /// Wakes exactly the Targets of a connection, and starts what runs beside it.
    fn take(&self, key: &Key, change: Change) {
        match change {
            Change::None => return,
            Change::Allowance => {}
            Change::Link(link) => self.begin(key, link),
        }
        self.context.forget_holders();
        // Who was held up by a wish on it may go on, too.
        let held_up = |target: &Target| target.ready_reason() == Some(Reason::AdoptionConflict);
        wake_each(&self.shards, &self.context, |target| Key::of(target) == *key || held_up(target));
    }

    fn begin(&self, key: &Key, link: Result<Arc<Link>, String>) {
        match link {
            Ok(link) => self.start(&link),
            Err(why) => tracing::warn!(connection = ?key, why, "the connection is refused"),
        }
    }

    fn start(&self, link: &Arc<Link>) {
        let (all, own) = (self.stop.clone(), link.stop.clone());
        let ended = CancellationToken::new();
        let end = ended.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = all.cancelled() => {}
                () = own.cancelled() => {}
            }
            end.cancel();
        });
        let shared = || (Arc::clone(&self.context), Arc::clone(link), Arc::clone(&self.shards), ended.clone());
        let (context, tended, shards, stop) = shared();
        self.tasks.spawn(wake::tend(context, tended, shards, stop));
        let (context, observed, shards, stop) = shared();
        self.tasks.spawn(observer::run(context, observed, shards, stop));
    }

    fn lose(&mut self, key: &Key) {
        self.again.remove(key);
        if let Some(entry) = self.context.links().entry(key) {
            self.backoff.reset(&entry.offer.uid);
        }
        if self.context.links().remove(key) && self.leads {
            wake_each(&self.shards, &self.context, |target| Key::of(target) == *key);
        }
    }

    /// One pass over a connection: at most one write.
    async fn pass(&mut self, key: &Key) {
        let Some(entry) = self.context.links().entry(key) else { return };
        match self.carry_out(&entry).await {
            // Whoever wrote first, or took it away, the watch tells.
            Ok(()) | Err(WriteError::Conflict | WriteError::Gone) => drop(self.again.remove(key)),
            Err(error) => {
                let pause = self.backoff.next(&entry.offer.uid);
                tracing::warn!(connection = ?key, %error, retry = ?pause, "a write to a connection failed");
                self.again.insert(key.clone(), Instant::now() + pause);
            }
        }
    }

    async fn carry_out(&self, entry: &Entry) -> Result<(), WriteError> {
        let offer = &entry.offer;
        let look = match &entry.link {
            Ok(link) => link.connector.look(link.observer.unobserved()).await,
            Err(why) => Look::Refused(why.clone()),
        };
        let users = if offer.deleting { self.users(&offer.key).await? } else { Vec::new() };
        let view = View { deleting: offer.deleting, finalized: offer.finalized(), users: &users, look: &look };
        match plan(&view) {
            Step::Hold => self.set_finalizer(offer, true).await,
            Step::Release => self.set_finalizer(offer, false).await,
            Step::Report(report) => self.report(offer, &report).await,
            Step::Ask | Step::Ignore => Ok(()),
        }
    }

    /// Who needs the connection. The cache may not show yet what has just begun, so its silence alone releases nothing.
    async fn users(&self, key: &Key) -> Result<Vec<String>, WriteError> {
        let cached = self.context.users(key);
        if !cached.is_empty() {
            return Ok(cached);
        }
        let current = self.context.current_targets().await?;
        Ok(current.iter().filter(|target| needs(target, key)).map(shown).collect())
    }

    async fn set_finalizer(&self, offer: &Offer, on: bool) -> Result<(), WriteError> {
        let mut finalizers: Vec<&str> = offer.finalizers.iter().map(String::as_str).collect();
        finalizers.retain(|name| *name != CONNECTION_FINALIZER);
        if on {
            finalizers.push(CONNECTION_FINALIZER);
        }
        let metadata = json!({"finalizers": finalizers, "resourceVersion": offer.version, "uid": offer.uid});
        let api = self.api(offer);
        in_time(api.patch(offer.name(), &as_manager(), &Patch::Merge(json!({"metadata": metadata})))).await.map(drop)
    }

    async fn report(&self, offer: &Offer, report: &Report) -> Result<(), WriteError> {
        let status = render(&offer.report, report, offer.generation, Timestamp::now());
        if status == (ConnectionReport { conditions: own(&offer.report.conditions), ..offer.report.clone() }) {
            return Ok(());
        }
        self.write_status(offer, &status).await?;
        self.backoff.reset(&offer.uid);
        if news::differs(&offer.report.conditions, &status.conditions) {
            let well = report.health == Health::Ready;
            let kind = if well { EventType::Normal } else { EventType::Warning };
            let reason = report.reason.as_str();
            news::publish_on(&self.context, &offer.object_ref(), kind, reason, "Reconcile", &report.note).await;
        }
        Ok(())
    }

    async fn write_status(&self, offer: &Offer, status: &ConnectionReport) -> Result<(), WriteError> {
        let wanted = json!(status);
        let patch: Patch<Value> = Patch::Apply(json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": offer.kind().kind,
            "metadata": {"name": offer.name(), "uid": offer.uid, "resourceVersion": offer.version},
            "status": wanted,
        }));
        let api = self.api(offer);
        let apply = PatchParams::apply(FIELD_MANAGER).force();
        let applied: DynamicObject = in_time(api.patch_status(offer.name(), &apply, &patch)).await?;
        if let Some(removal) = foreign::removal(&applied, &applied.data["status"], &wanted) {
            in_time(api.patch_status(offer.name(), &as_manager(), &Patch::Merge(removal))).await?;
        }
        Ok(())
    }

    fn api(&self, offer: &Offer) -> Api<DynamicObject> {
        match offer.namespace() {
            Some(namespace) => Api::namespaced_with(self.context.client(), namespace, &offer.kind()),
            None => Api::all_with(self.context.client(), &offer.kind()),
        }
    }

    /// What is being deleted waits for its Targets; what failed is tried again.
    async fn look_again(&mut self) {
        for key in self.context.links().keys() {
            let due = self.again.get(&key).map(|due| *due <= Instant::now());
            let going = || self.context.links().entry(&key).is_some_and(|entry| entry.offer.deleting);
            if due.unwrap_or_else(going) {
                self.pass(&key).await;
            }
        }
    }

    async fn look_at_namespaces(&self) {
        let changed = self.context.links().namespaces.refresh().await;
        if !changed.is_empty() {
            wake_each(&self.shards, &self.context, |target| {
                let selected = !matches!(Key::of(target), Key::Connection { .. });
                selected && target.namespace().is_some_and(|namespace| changed.contains(&namespace))
            });
        }
    }
}
