//! What metrics are told of the caches, the watches and the connections.
//!
//! Only hands over; what it means is said in `ops::metrics`. May import `ops`.

use std::sync::{Arc, Weak};

use jiff::Timestamp;
use kube::runtime::watcher;
use kube::{Api, Resource};

use crate::controller::Guarded;
use crate::controller::connections::connection::{ConnectionKey, LiveConnection};
use crate::controller::target::context::Context;
use crate::ops::Metrics;
use crate::ops::metrics::{Connection, PerTarget, Sources, WatchKind};

/// Has metrics look at the caches of this process whenever somebody asks.
pub fn show(context: &Arc<Context>, per_target: PerTarget) {
    let (cache, registry) = (Arc::downgrade(context), Arc::downgrade(context));
    context.metrics().look_at(Sources {
        targets: Box::new(move |take| {
            let Some(context) = Weak::upgrade(&cache) else { return };
            for object in context.targets() {
                if context.scope().selects(&object) {
                    take(object.meta(), object.0.as_ref().ok());
                }
            }
        }),
        connections: Box::new(move || {
            Weak::upgrade(&registry).map(|context| connections(&context)).unwrap_or_default()
        }),
        per_target,
    });
}

/// Who stands by only knows of connections; the leader uses them, and tells.
fn connections(context: &Context) -> Vec<Connection> {
    if !context.scope().leadership.leads() {
        return Vec::new();
    }
    let told = |(key, live): (ConnectionKey, Result<Arc<LiveConnection>, String>)| match live {
        Ok(live) => {
            let client = live.health.client();
            let (expires, shared) = (client.credential_expires(), client.stranger().is_some());
            let observed = live.observer.observed();
            Connection { name: key.to_string(), up: live.health.up(), expires, observed, shared }
        }
        Err(_) => Connection { name: key.to_string(), up: Some(false), expires: None, observed: None, shared: false },
    };
    context.registry().all().into_iter().map(told).collect()
}

/// Counts what a watch delivers, which may be no more than a failure.
pub(crate) fn watch<K: Resource>(
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

/// Notes who waits for a verdict, as the watch of Targets shows it.
pub(crate) fn waits(metrics: &Arc<Metrics>) -> impl FnMut(&watcher::Result<watcher::Event<Guarded>>) + use<> {
    let metrics = Arc::clone(metrics);
    move |event| {
        let waits = metrics.targets().waits();
        match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                if let Ok(target) = &object.0 {
                    waits.see(target, Timestamp::now());
                }
            }
            Ok(watcher::Event::Delete(object)) => {
                if let Ok(target) = &object.0 {
                    waits.gone(target);
                }
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
        }
    }
}
