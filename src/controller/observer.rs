//! The observer: one list per interval, whatever the number of objects.
//!
//! It compares what ZITADEL shows with what every Target's status recorded, and wakes only those that differ or have
//! vanished. An object in sync thus costs nothing: no call, no write, not even a pass. A list proves nothing by itself
//! (projections lag, pages shift); the pass that it wakes looks for itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Guarded;
use super::backoff::jittered;
use super::context::Context;
use super::link::{Key, Link};
use super::target::is_settled;
use super::wake::Shard;
use crate::api::target::{Target, TargetStatus};
use crate::zitadel::{RemoteTarget, TargetId, Version};

/// A target this much younger than the list may not be in it yet.
const YOUNG: SignedDuration = SignedDuration::from_secs(10);
/// How long a pass waits for the first list after a start, rather than read its target by itself.
const FIRST_LIST: Duration = Duration::from_secs(10);

/// The last list.
#[derive(Debug)]
pub struct Observer {
    last: watch::Sender<Seen>,
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
pub(super) struct Snapshot {
    /// When the list was begun, in the server's clock.
    begun: Timestamp,
    targets: HashMap<TargetId, RemoteTarget>,
}

impl Default for Observer {
    fn default() -> Self {
        Self { last: watch::Sender::new(Seen::Nothing) }
    }
}

impl Observer {
    /// The target as the last list shows it, if that is the state which the object's status records.
    pub(super) async fn unchanged(&self, id: &TargetId, object: &Target) -> Option<RemoteTarget> {
        let mut seen = self.last.subscribe();
        let first = tokio::time::timeout(FIRST_LIST, seen.wait_for(|seen| !matches!(seen, Seen::Nothing))).await;
        let Ok(Ok(seen)) = first else { return None };
        let Seen::List(snapshot) = &*seen else { return None };
        let listed = snapshot.targets.get(id)?;
        let status = object.status.as_ref()?;
        (listed.version == version_of(status)).then(|| with_sequence(listed, status))
    }

    /// Date of the newest thing that the last list shows.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        match &*self.last.borrow() {
            Seen::List(snapshot) => snapshot.targets.values().filter_map(|target| target.version.changed).max(),
            Seen::Nothing | Seen::Failed => None,
        }
    }
}

/// The version that status records, in the terms that this generation's reads have.
fn version_of(status: &TargetStatus) -> Version {
    let counted = status.connection.as_ref().is_some_and(|connection| connection.api == "v3alpha");
    Version {
        sequence: status.sequence.as_deref().filter(|_| counted).and_then(|text| text.parse().ok()),
        changed: status.change_date.as_deref().and_then(|text| text.parse().ok()),
    }
}

fn with_sequence(listed: &RemoteTarget, status: &TargetStatus) -> RemoteTarget {
    let mut target = listed.clone();
    target.owner = target.owner.or_else(|| status.resource_owner.clone());
    target
}

/// Lists what one connection shows, and compares, until `stop`.
pub(super) async fn run(context: Arc<Context>, link: Arc<Link>, shards: Arc<Vec<Shard>>, stop: CancellationToken) {
    let watches = u32::try_from(shards.len()).unwrap_or(u32::MAX);
    if stop.run_until_cancelled(context.caches_filled(watches)).await.is_none() {
        return;
    }
    loop {
        let refreshed = stop.run_until_cancelled(refresh(&context, &link)).await;
        if let Some(Some(snapshot)) = refreshed {
            compare(&snapshot, &shards, &context, &link);
        }
        let pause = tokio::time::sleep(jittered(context.resync()));
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// Lists anew, if there is anything that a list could tell of.
pub(super) async fn refresh(context: &Context, link: &Link) -> Option<Arc<Snapshot>> {
    let begun = link.connector.client().server_now();
    let watched = context.targets().iter().any(|object| is_watched(object, link));
    let seen = if watched { look(link).await } else { None };
    if let Some(targets) = seen {
        let snapshot = Arc::new(Snapshot { begun, targets });
        link.observer.last.send_replace(Seen::List(Arc::clone(&snapshot)));
        return Some(snapshot);
    }
    link.observer.last.send_if_modified(|last| {
        let first = matches!(last, Seen::Nothing);
        if first {
            *last = Seen::Failed;
        }
        first
    });
    None
}

fn is_watched(object: &Guarded, link: &Link) -> bool {
    let held = |target: &Target| target.status.as_ref().is_some_and(|status| status.id.is_some());
    object.0.as_ref().is_ok_and(|target| Key::of(target) == link.key && held(target) && !target.suspended())
}

async fn look(link: &Link) -> Option<HashMap<TargetId, RemoteTarget>> {
    link.connector.ensure().await.ok()?;
    match link.connector.client().list().await {
        Ok(rows) => Some(rows.into_iter().map(|row| (row.id.clone(), row)).collect()),
        Err(error) => {
            tracing::warn!(%error, "the targets in ZITADEL could not be listed");
            link.connector.doubt(&error).await;
            None
        }
    }
}

fn compare(snapshot: &Snapshot, shards: &[Shard], context: &Context, link: &Link) {
    for shard in shards {
        for object in shard.store.state() {
            if let Ok(target) = &object.0
                && Key::of(target) == link.key
                && (differs(snapshot, target) || is_contested(target, context))
            {
                tracing::debug!(namespace = target.namespace(), resource = target.name_any(), "differs from the list");
                shard.wake(&object, target, context);
            }
        }
    }
}

/// Whether a settled object turns out to hold what an older one holds.
fn is_contested(target: &Target, context: &Context) -> bool {
    let held = target.status.as_ref().and_then(|status| status.id.as_deref()).filter(|_| is_settled(target));
    held.is_some_and(|id| context.older_holder(id, target).is_some())
}

/// Whether a settled object needs a look. Those that are not settled have back-offs of their own.
fn differs(snapshot: &Snapshot, target: &Target) -> bool {
    let Some(status) = target.status.as_ref().filter(|_| is_settled(target) && !target.suspended()) else {
        return false;
    };
    let Some(id) = status.id.as_deref().and_then(|text| text.parse::<TargetId>().ok()) else { return false };
    let known = version_of(status);
    match snapshot.targets.get(&id) {
        Some(listed) => listed.version != known && !listed.version.is_before(&known),
        None => known.changed.is_none_or(|changed| snapshot.begun.duration_since(changed) > YOUNG),
    }
}
