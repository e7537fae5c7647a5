//! The observer: one list per interval, whatever the number of objects.
//!
//! It compares what ZITADEL shows with what every Target's status recorded, and wakes only those that differ or have
//! vanished. An object in sync thus costs nothing: no call, no write, not even a pass. A list proves nothing by itself
//! (projections lag, pages shift); the pass that it wakes looks for itself. Where rows carry no sequence, those that are
//! missing in status are read from the event store for all objects at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::reason::Reason;
use crate::api::target::{Target, TargetStatus};
use crate::controller::connections::connection::{ConnectionKey, LiveConnection};
use crate::controller::runtime::backoff::jittered;
use crate::controller::target::Guarded;
use crate::controller::target::context::Context;
use crate::controller::target::event_feed::EventFeed;
use crate::plan::{Connection, recorded};
use crate::zitadel::{Api, RemoteTarget, TargetId, Version};

/// What happened this shortly before a list may not be in it yet.
const YOUNG: SignedDuration = SignedDuration::from_secs(10);
/// How long a pass waits for the first list after a start, rather than read its target by itself.
const FIRST_LIST: Duration = Duration::from_secs(10);

/// How old a list may be to be evidence against a target that is not in it.
const FRESH: Duration = Duration::from_secs(5);

/// The last list, and what the event store has told.
#[derive(Debug)]
pub struct Observer {
    last: watch::Sender<Seen>,
    pub(crate) feed: EventFeed,
}

#[derive(Debug, Clone, Default)]
enum Seen {
    /// No list has been tried yet.
    #[default]
    Nothing,
    /// The newest try failed, and there is none from before.
    Failed,
    /// What the newest list showed.
    List(Arc<Snapshot>),
}

/// What one list showed.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// When the list was begun, in the server's clock.
    begun: Timestamp,
    /// The same moment, in ours.
    asked: Instant,
    /// Who answered.
    api: Api,
    /// Its version, where it could be read.
    server_version: Option<String>,
    targets: HashMap<TargetId, RemoteTarget>,
    /// Targets whose sequence status has not, and the event store has.
    counted: HashSet<TargetId>,
}

impl Default for Observer {
    fn default() -> Self {
        Self { last: watch::Sender::new(Seen::Nothing), feed: EventFeed::default() }
    }
}

impl Observer {
    /// The target as the last list shows it, if that is the state which the object's status records, and still the same
    /// generation answers: a list from before an upgrade is old.
    pub(crate) async fn unchanged(&self, id: &TargetId, object: &Target, api: Api) -> Option<RemoteTarget> {
        let mut seen = self.last.subscribe();
        let first = tokio::time::timeout(FIRST_LIST, seen.wait_for(|seen| !matches!(seen, Seen::Nothing))).await;
        let Ok(Ok(seen)) = first else { return None };
        let Seen::List(snapshot) = &*seen else { return None };
        if snapshot.api != api {
            return None;
        }
        let listed = snapshot.targets.get(id)?;
        let status = object.status.as_ref()?;
        (listed.version == version_of(status, listed)).then(|| with_sequence(listed, status))
    }

    fn list(&self) -> Option<Arc<Snapshot>> {
        match &*self.last.borrow() {
            Seen::List(snapshot) => Some(Arc::clone(snapshot)),
            Seen::Nothing | Seen::Failed => None,
        }
    }
}

/// Date of the newest thing that the read side shows while it does not show this target; `None` if it shows it after
/// all, or nothing else, or cannot be asked.
///
/// A list from before an upgrade is no evidence: newer servers may build their read side anew, and show nothing for a
/// while. And since such a building goes on while a list is read, the target itself is looked for once more at the end.
pub(crate) async fn survey(
    context: &Context,
    live: &Arc<LiveConnection>,
    api: Api,
    id: &TargetId,
) -> Option<Timestamp> {
    let fresh = context.observers().of(live).list().filter(|list| list.api == api && list.asked.elapsed() < FRESH);
    let list = match fresh {
        Some(list) => list,
        None => refresh(context, live).await?,
    };
    let newest = list.targets.values().filter_map(|target| target.version.changed).max();
    let shown = list.targets.contains_key(id) || !matches!(live.health.client().get(id).await, Ok(None));
    newest.filter(|_| !shown)
}

/// The version that status records, in the terms that this row has: only v3alpha counts.
fn version_of(status: &TargetStatus, listed: &RemoteTarget) -> Version {
    let known = recorded(status);
    Version { sequence: known.sequence.filter(|_| listed.version.sequence.is_some()), ..known }
}

fn with_sequence(listed: &RemoteTarget, status: &TargetStatus) -> RemoteTarget {
    let mut target = listed.clone();
    target.owner = target.owner.or_else(|| status.resource_owner.clone());
    target
}

/// Lists what one connection shows, and compares, until the connection ends.
pub(crate) async fn run(context: Arc<Context>, live: Arc<LiveConnection>) {
    // None: it was told to end.
    let _: Option<()> = live.stop.run_until_cancelled(observe(&context, &live)).await;
    drop(live);
    context.observers().forget_gone();
}

async fn observe(context: &Context, live: &Arc<LiveConnection>) {
    context.caches_filled(context.shards().len()).await;
    let mut api = None;
    loop {
        if let Some(snapshot) = refresh(context, live).await {
            // Before the first list nothing is known of what reconciles were told.
            let moved = api.replace(snapshot.api) != Some(snapshot.api);
            compare(&snapshot, moved, context, live);
        }
        // Whether it can list, what it does without and who else uses the account may have changed.
        live.tell();
        tokio::time::sleep(jittered(context.resync())).await;
    }
}

/// Lists anew, if there is anything that a list could tell of.
pub(crate) async fn refresh(context: &Context, live: &Arc<LiveConnection>) -> Option<Arc<Snapshot>> {
    let observer = context.observers().of(live);
    let watched = context.targets().iter().any(|object| is_watched(object, live));
    if let Some(snapshot) = if watched { look(context, live).await } else { None } {
        let snapshot = Arc::new(snapshot);
        observer.last.send_replace(Seen::List(Arc::clone(&snapshot)));
        return Some(snapshot);
    }
    if !watched {
        live.observation.succeeded();
    }
    observer.last.send_if_modified(|last| {
        let first = matches!(last, Seen::Nothing);
        if first {
            *last = Seen::Failed;
        }
        first
    });
    None
}

fn is_watched(object: &Guarded, live: &LiveConnection) -> bool {
    let held = |target: &Target| target.status.as_ref().is_some_and(|status| status.id.is_some());
    object.0.as_ref().is_ok_and(|target| {
        ConnectionKey::of(target) == live.key && (is_unsupported(target) || (held(target) && !target.suspended()))
    })
}

async fn look(context: &Context, live: &Arc<LiveConnection>) -> Option<Snapshot> {
    let (connection, _) = live.health.ensure().await.ok()?;
    let client = live.health.client();
    let now = (client.server_now(), Instant::now());
    match client.list_from_proof().await {
        Ok((asked, rows)) => {
            let earlier = SignedDuration::try_from(now.1.saturating_duration_since(asked)).unwrap_or_default();
            let begun = now.0.checked_sub(earlier).unwrap_or(now.0);
            live.observation.succeeded();
            let targets = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
            let counted = count(context, live, &connection, &targets).await;
            let Connection { api, server_version, .. } = connection;
            Some(Snapshot { begun, asked, api, server_version, targets, counted })
        }
        Err(error) => {
            tracing::warn!(connection = %live.key, %error, "the targets in ZITADEL could not be listed");
            live.health.doubt(&error);
            live.observation.failed(error);
            None
        }
    }
}

/// Reads what the event store has on those whose recorded sequence is missing or belongs to an older state, in one go.
/// A credential that may not read events makes this one call an interval, and nothing else.
async fn count(
    context: &Context,
    live: &Arc<LiveConnection>,
    connection: &Connection,
    targets: &HashMap<TargetId, RemoteTarget>,
) -> HashSet<TargetId> {
    let mut missing = HashMap::new();
    for object in context.targets() {
        let Ok(target) = &object.0 else { continue };
        let ours = ConnectionKey::of(target) == live.key && !target.suspended();
        let Some(status) = target.status.as_ref().filter(|_| ours) else { continue };
        let Some(row) =
            status.id.as_deref().and_then(|text| text.parse().ok()).and_then(|id: TargetId| targets.get(&id))
        else {
            continue;
        };
        let known = status.sequence.is_some() && row.version == version_of(status, row);
        if let (None, Some(changed), false) = (row.version.sequence, row.version.changed, known) {
            missing.insert(row.id.clone(), changed);
        }
    }
    let Some(oldest) = missing.values().min().copied() else { return HashSet::new() };
    let client = live.health.client();
    let observer = context.observers().of(live);
    observer.feed.cover(client, connection.instance.as_deref(), oldest, &missing).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "sequences could not be read from the event store");
        HashSet::new()
    })
}

fn compare(snapshot: &Snapshot, moved: bool, context: &Context, live: &LiveConnection) {
    context.requeue(|target| {
        let concerned = ConnectionKey::of(target) == live.key
            && (differs(snapshot, target) || is_contested(target, context) || (moved && is_unsupported(target)));
        if concerned {
            tracing::debug!(namespace = target.namespace(), resource = target.name_any(), "differs from the list");
        }
        concerned
    });
}

/// Whether a settled object turns out to hold what an older one holds.
fn is_contested(target: &Target, context: &Context) -> bool {
    let held = target.status.as_ref().and_then(|status| status.id.as_deref()).filter(|_| target.is_settled());
    held.is_some_and(|id| context.older_holder(id, target).is_some())
}

/// Whether the spec asks for what a generation had not: another one may have it.
fn is_unsupported(target: &Target) -> bool {
    target.ready_reason() == Some(Reason::Unsupported) && !target.suspended()
}

/// Whether only the list can tell of news: all is well, or what may only be looked at differs.
fn rests(target: &Target) -> bool {
    let drifted = target.ready_reason() == Some(Reason::Drifted);
    let told = target.status.as_ref().and_then(|status| status.observed_generation);
    target.is_settled() || (drifted && told == target.metadata.generation)
}

/// Whether a settled object needs a look. Those that are not settled have back-offs of their own.
fn differs(snapshot: &Snapshot, target: &Target) -> bool {
    let Some(status) = target.status.as_ref().filter(|_| rests(target) && !target.suspended()) else {
        return false;
    };
    let Some(id) = status.id.as_deref().and_then(|text| text.parse::<TargetId>().ok()) else { return false };
    let in_time = recorded(status).changed.is_none_or(|changed| snapshot.begun.duration_since(changed) > YOUNG);
    let Some(listed) = snapshot.targets.get(&id) else { return in_time };
    let known = version_of(status, listed);
    let moved = status.connection.as_ref().is_some_and(|connection| {
        let other = |accepted: &String| snapshot.server_version.as_ref().is_some_and(|now| now != accepted);
        connection.api != snapshot.api.as_str() || connection.server_version.as_ref().is_some_and(other)
    });
    // An older state may be a list from before our last change. If not, only the write side can tell why.
    let other = listed.version != known && (in_time || !listed.version.is_before(&known));
    other || moved || (status.sequence.is_none() && snapshot.counted.contains(&id))
}
