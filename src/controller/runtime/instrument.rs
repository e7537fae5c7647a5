//! Feeds metrics from watches.

use std::sync::Arc;

use kube::runtime::watcher;
use kube::{Api, Resource};

use crate::ops::Metrics;
use crate::ops::metrics::WatchKind;

/// Counts what a watch delivers, which may be no more than a failure.
pub fn watch<K: Resource>(
    metrics: &Arc<Metrics>,
    kind: WatchKind,
    api: &Api<K>,
) -> impl FnMut(&watcher::Result<watcher::Event<K>>) + use<K> {
    let (metrics, path) = (Arc::clone(metrics), api.resource_url().to_owned());
    move |event| match event {
        // The beginning of a list is told before it is asked for.
        Ok(watcher::Event::Init) => {}
        Ok(_) => metrics.api_server().watch_works(&path),
        // Without its definition a kind has no objects, so nothing is missed. Of Targets there has to be one.
        Err(error) if kind != WatchKind::Target && is_unknown(error) => metrics.api_server().watch_vain(kind, &path),
        Err(_) => metrics.api_server().watch_failed(kind, &path),
    }
}

/// Whether the API server does not know the kind.
fn is_unknown(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}
