//! Who holds which remote target: no two Targets may, and the older one wins.
//!
//! An index over the cache, rebuilt at most once a second: a look-up per pass would otherwise cost as much as there
//! are objects. A second's delay does no harm: a holder is only ever contested by a younger one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use super::Guarded;
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
    created: Option<Timestamp>,
    uid: String,
    name: String,
}

impl Holders {
    /// The oldest other Target that holds this remote id, or is about to take it over, if it is older than `target`.
    pub(super) fn older(&self, id: &str, target: &Target, cache: impl FnOnce() -> Vec<Arc<Guarded>>) -> Option<String> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.built.is_none_or(|built| built.elapsed() > FRESH) {
            *index = build(&cache());
        }
        let own = (target.creation_timestamp().map(|time| time.0), target.uid().unwrap_or_default());
        let older = |holder: &&Holder| (holder.created, &holder.uid) < (own.0, &own.1);
        let others = index.by_id.get(id).into_iter().flatten();
        others.filter(older).min_by_key(|holder| (holder.created, &holder.uid)).map(|holder| holder.name.clone())
    }
}

fn build(cache: &[Arc<Guarded>]) -> Index {
    let mut by_id: HashMap<String, Vec<Holder>> = HashMap::new();
    for target in cache.iter().filter_map(|object| object.0.as_ref().ok()) {
        let held = target.status.as_ref().and_then(|status| status.id.as_ref());
        let Some(id) = held.or(target.spec.external_id.as_ref()) else { continue };
        by_id.entry(id.clone()).or_default().push(Holder {
            created: target.creation_timestamp().map(|time| time.0),
            uid: target.uid().unwrap_or_default(),
            name: format!("{}/{}", target.namespace().unwrap_or_default(), target.name_any()),
        });
    }
    Index { built: Some(Instant::now()), by_id }
}
