//! Who holds which remote target, by the cache: an index for the question of each pass, and what an adoption reserves.
//!
//! The index is rebuilt at most once a second: a look-up per pass would otherwise cost as much as there are objects.
//! What makes one Target go before another is decided in `plan::ownership`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use tokio::time::Instant;

use crate::api::connection::ConnectionKind;
use crate::api::target::Target;
use crate::controller::PASS_DEADLINE;
use crate::controller::connections::connection::{ConnectionKey, LiveConnection};
use crate::controller::connections::registry::ConnectionRegistry;
use crate::controller::target::Guarded;
use crate::controller::target::executor::claim_of;
use crate::plan::ownership::{Claimant, Hold, Place, Rank, Trust, holds, records};
use crate::plan::policy::Access;

const FRESH: Duration = Duration::from_secs(1);

/// The index.
#[derive(Debug, Default)]
pub(crate) struct OwnershipIndex {
    index: Mutex<Index>,
    /// Adoptions that are about to be recorded, by remote id.
    reserved: Mutex<HashMap<String, Vec<Reservation>>>,
}

#[derive(Debug, Default)]
struct Index {
    built: Option<Instant>,
    by_id: HashMap<String, Vec<Holder>>,
}

#[derive(Debug)]
struct Holder {
    rank: Rank,
    namespace: String,
    name: String,
    place: Option<Place>,
}

#[derive(Debug)]
struct Reservation {
    uid: String,
    place: Option<Place>,
    until: Instant,
}

/// Where the id in a Target's status was recorded; without one, where its connection leads.
pub(crate) fn place_of(target: &Target, connections: &ConnectionRegistry) -> Option<Place> {
    let held = target.status.as_ref().filter(|status| status.id.is_some());
    if let Some(recorded) = held.and_then(|status| status.connection.as_ref()) {
        let private = recorded.reference.as_ref().is_some_and(|by| by.kind == ConnectionKind::Connection);
        let trust = if private { Trust::Namespace } else { Trust::Administrator };
        return Some(Place { url: recorded.url.clone(), instance: recorded.instance.clone(), trust });
    }
    connections.live(&ConnectionKey::of(target)).map(|live| place_behind(&live))
}

/// Where a connection leads.
pub(crate) fn place_behind(live: &LiveConnection) -> Place {
    let trust =
        if matches!(live.key, ConnectionKey::Connection { .. }) { Trust::Namespace } else { Trust::Administrator };
    Place { url: live.health.client().url(), instance: live.health.instance(), trust }
}

/// What the Target's namespace may do with its connection, if that exists.
fn access(target: &Target, connections: &ConnectionRegistry) -> Option<Access> {
    connections.access(target.metadata.namespace.as_deref().unwrap_or_default(), &ConnectionKey::of(target))
}

fn rank_of(target: &Target, hold: Hold, place: Option<&Place>) -> Rank {
    Rank {
        hold,
        trust: place.map_or(Trust::Namespace, |place| place.trust),
        claimant: claimant_of(target),
        created: target.creation_timestamp().map(|time| time.0),
        uid: target.uid().unwrap_or_default(),
    }
}

fn claimant_of(target: &Target) -> Claimant {
    let uid = target.metadata.uid.as_deref().unwrap_or_default();
    if claim_of(target).is_of_another(uid) { Claimant::Another } else { Claimant::Itself }
}

impl OwnershipIndex {
    /// The Target (its namespace and name) that goes before `target` for this remote id, if there is one.
    pub(crate) fn rival(
        &self,
        id: &str,
        target: &Target,
        cache: impl FnOnce() -> Vec<Arc<Guarded>>,
        connections: &ConnectionRegistry,
    ) -> Option<(String, String)> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.built.is_none_or(|built| built.elapsed() > FRESH) {
            *index = build(&cache(), connections);
        }
        let place = place_of(target, connections);
        let recorded = target.status.as_ref().is_some_and(|status| status.id.is_some());
        let own = rank_of(target, if recorded { Hold::Recorded } else { Hold::Wished }, place.as_ref());
        let others = index.by_id.get(id).into_iter().flatten();
        let rivals = others.filter(|holder| holder.rank < own && Place::is_one(place.as_ref(), holder.place.as_ref()));
        rivals.min_by_key(|holder| &holder.rank).map(|holder| (holder.namespace.clone(), holder.name.clone()))
    }

    /// Has the index built again for the next question: who may adopt has changed.
    pub(crate) fn forget(&self) {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).built = None;
    }

    /// Reserves a remote id for an adoption that is about to be recorded, unless another one has it already: two that
    /// begin within the age of the index, or of the cache, both see nobody. It lasts as long as a pass may.
    pub(crate) fn reserve(&self, id: &str, target: &Target, connections: &ConnectionRegistry) -> bool {
        let uid = target.uid().unwrap_or_default();
        let place = place_of(target, connections);
        let now = Instant::now();
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        keep(&mut reserved, |one| one.until > now && one.uid != uid);
        let others = reserved.get(id).into_iter().flatten();
        if others.into_iter().any(|one| Place::is_one(place.as_ref(), one.place.as_ref())) {
            return false;
        }
        reserved.entry(id.to_owned()).or_default().push(Reservation { uid, place, until: now + PASS_DEADLINE });
        true
    }

    /// Ends what a Target has reserved: it was not recorded.
    pub(crate) fn unreserve(&self, target: &Target) {
        let uid = target.uid().unwrap_or_default();
        keep(&mut self.reserved.lock().unwrap_or_else(PoisonError::into_inner), |one| one.uid != uid);
    }
}

fn keep(reserved: &mut HashMap<String, Vec<Reservation>>, kept: impl Fn(&Reservation) -> bool) {
    reserved.retain(|_, all| {
        all.retain(&kept);
        !all.is_empty()
    });
}

/// The other Targets (namespace and name) that record this id at the same place and are not being deleted, whoever is
/// older. Straight from the cache, without the index: what is deleted on its word is gone.
pub(crate) fn co_holders(
    id: &str,
    target: &Target,
    cache: &[Arc<Guarded>],
    connections: &ConnectionRegistry,
) -> Vec<(String, String)> {
    let place = place_of(target, connections);
    let targets = cache.iter().filter_map(|object| object.0.as_ref().ok());
    let others = targets.filter(|other| other.metadata.uid != target.metadata.uid && records(other, id));
    let here = others.filter(|other| Place::concerns(place.as_ref(), place_of(other, connections).as_ref()));
    here.map(|other| (other.namespace().unwrap_or_default(), other.name_any())).collect()
}

fn build(cache: &[Arc<Guarded>], connections: &ConnectionRegistry) -> Index {
    let mut by_id: HashMap<String, Vec<Holder>> = HashMap::new();
    for target in cache.iter().filter_map(|object| object.0.as_ref().ok()) {
        let Some((id, hold)) = holds(target, || access(target, connections)) else { continue };
        let place = place_of(target, connections);
        by_id.entry(id.to_owned()).or_default().push(Holder {
            rank: rank_of(target, hold, place.as_ref()),
            namespace: target.namespace().unwrap_or_default(),
            name: target.name_any(),
            place,
        });
    }
    Index { built: Some(Instant::now()), by_id }
}
