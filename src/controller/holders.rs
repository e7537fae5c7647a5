//! Who holds which remote target: no two Targets may, and the one with more right, mostly the older one, wins.
//!
//! An index over the cache, rebuilt at most once a second: a look-up per pass would otherwise cost as much as there
//! are objects. A second's delay does no harm: a holder is only ever contested by a younger one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use super::Guarded;
use super::context::shown;
use super::link::{Key, Link};
use crate::api::connection::ConnectionKind;
use crate::api::reason::Reason;
use crate::api::target::Target;

const FRESH: Duration = Duration::from_secs(1);

/// The index.
#[derive(Debug, Default)]
pub(super) struct Holders {
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    built: Option<Instant>,
    by_id: HashMap<String, Vec<Holder>>,
}

#[derive(Debug)]
struct Holder {
    rank: Rank,
    name: String,
    place: Option<Place>,
    /// Whether it records the id and is not about to go.
    live: bool,
}

/// Who holds with more right, the smaller the more. What an administrator's connection holds is not contested by a
/// namespace's own; what is recorded, not by a wish to take it over; and else the older Target holds it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    private: bool,
    wanted_only: bool,
    created: Option<Timestamp>,
    uid: String,
}

impl Rank {
    fn of(target: &Target, place: Option<&Place>) -> Self {
        Self {
            private: place.is_none_or(|place| place.trust == Trust::Namespace),
            wanted_only: target.status.as_ref().is_none_or(|status| status.id.is_none()),
            created: target.creation_timestamp().map(|time| time.0),
            uid: target.uid().unwrap_or_default(),
        }
    }
}

/// The ZITADEL instance in which an id counts: two Targets hold the same target only if they are at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    url: String,
    instance: Option<String>,
    trust: Trust,
}

/// Whose word it is that a server is the instance which it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// An administrator's: flags or a ClusterConnection.
    Administrator,
    /// That of whoever may write Connections in a namespace: the server may be a fake.
    Namespace,
}

impl Place {
    /// Where the id in a Target's status was recorded; without one, where its connection leads.
    pub(super) fn of(target: &Target, link: impl FnOnce(&Key) -> Option<Arc<Link>>) -> Option<Self> {
        let held = target.status.as_ref().filter(|status| status.id.is_some());
        if let Some(recorded) = held.and_then(|status| status.connection.as_ref()) {
            let private = recorded.reference.as_ref().is_some_and(|by| by.kind == ConnectionKind::Connection);
            let trust = if private { Trust::Namespace } else { Trust::Administrator };
            return Some(Self { url: recorded.url.clone(), instance: recorded.instance.clone(), trust });
        }
        let key = Key::of(target);
        let link = link(&key)?;
        let trust = if matches!(key, Key::Connection { .. }) { Trust::Namespace } else { Trust::Administrator };
        Some(Self { url: link.connector.client().url(), instance: link.connector.instance(), trust })
    }

    /// Whether what another Target holds or claims at its place matters at ours. What a namespace's own connection says of
    /// a server does not matter to an administrator's.
    pub(super) fn concerns(own: Option<&Self>, other: Option<&Self>) -> bool {
        let trust = |place: Option<&Self>| place.map(|place| place.trust);
        let beneath = trust(own) == Some(Trust::Administrator) && trust(other) == Some(Trust::Namespace);
        !beneath && Self::is_one(own, other)
    }

    /// Whether both are one instance: the same URL, or the same instance on an administrator's word. An unknown place may
    /// be any.
    pub(super) fn is_one(one: Option<&Self>, other: Option<&Self>) -> bool {
        let (Some(one), Some(other)) = (one, other) else { return true };
        let trusted = one.trust == Trust::Administrator && other.trust == Trust::Administrator;
        let same_instance = one.instance.is_none() || other.instance.is_none() || one.instance == other.instance;
        one.url == other.url || (trusted && same_instance)
    }
}

impl Holders {
    /// The Target that holds this remote id with more right than `target`, or is about to take it over, if there is one.
    pub(super) fn older(
        &self,
        id: &str,
        target: &Target,
        cache: impl FnOnce() -> Vec<Arc<Guarded>>,
        place_of: impl Fn(&Target) -> Option<Place>,
    ) -> Option<String> {
        let index = self.fresh(cache, &place_of);
        let place = place_of(target);
        let own = Rank::of(target, place.as_ref());
        let others = index.by_id.get(id).into_iter().flatten();
        let rivals = others.filter(|holder| holder.rank < own && Place::is_one(place.as_ref(), holder.place.as_ref()));
        rivals.min_by_key(|holder| &holder.rank).map(|holder| holder.name.clone())
    }
}

impl Holders {
    fn fresh(
        &self,
        cache: impl FnOnce() -> Vec<Arc<Guarded>>,
        place_of: &impl Fn(&Target) -> Option<Place>,
    ) -> MutexGuard<'_, Index> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.built.is_none_or(|built| built.elapsed() > FRESH) {
            *index = build(&cache(), place_of);
        }
        index
    }

    /// Another live Target that records this remote id at the same place, whoever has more right to it.
    pub(super) fn co_holder(
        &self,
        id: &str,
        target: &Target,
        cache: impl FnOnce() -> Vec<Arc<Guarded>>,
        place_of: impl Fn(&Target) -> Option<Place>,
    ) -> Option<String> {
        let index = self.fresh(cache, &place_of);
        let place = place_of(target);
        let own = target.uid().unwrap_or_default();
        let others = index.by_id.get(id).into_iter().flatten().filter(|holder| holder.live && holder.rank.uid != own);
        let here = others.filter(|holder| Place::concerns(place.as_ref(), holder.place.as_ref()));
        here.min_by_key(|holder| &holder.rank).map(|holder| holder.name.clone())
    }
}

/// The id that a Target asks to take over, unless it has no connection that it may use.
fn wanted(target: &Target) -> Option<&String> {
    let refused = matches!(target.ready_reason(), Some(Reason::ConnectionNotFound | Reason::ConnectionNotAllowed));
    target.spec.external_id.as_ref().filter(|_| !refused)
}

fn build(cache: &[Arc<Guarded>], place_of: &impl Fn(&Target) -> Option<Place>) -> Index {
    let mut by_id: HashMap<String, Vec<Holder>> = HashMap::new();
    for target in cache.iter().filter_map(|object| object.0.as_ref().ok()) {
        let held = target.status.as_ref().and_then(|status| status.id.as_ref());
        let Some(id) = held.or(wanted(target)) else { continue };
        let place = place_of(target);
        by_id.entry(id.clone()).or_default().push(Holder {
            rank: Rank::of(target, place.as_ref()),
            name: shown(target),
            place,
            live: held.is_some() && target.metadata.deletion_timestamp.is_none(),
        });
    }
    Index { built: Some(Instant::now()), by_id }
}
