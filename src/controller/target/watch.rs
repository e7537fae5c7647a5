//! Watches Targets and runs their reconciles: one watch for each namespace, or one for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt, TryStreamExt, future};
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Config, Controller, Error};
use kube::runtime::reflector;
use kube::runtime::{PredicateConfig, WatchStreamExt, watcher};
use kube::{Api, Resource};
use tokio_util::sync::CancellationToken;

use super::context::{Context, shown};
use super::queue::Shard;
use super::{Guarded, follow, has_finalizer, orphans, reconcile};
use crate::api::RECONCILE_ANNOTATION;
use crate::controller::runtime::{instrument, kube_client};
use crate::ops::Metrics;
use crate::ops::metrics::WatchKind;

/// Runs until `stop`, and returns when reconciles in flight have ended.
pub async fn run(context: Arc<Context>, namespaces: &[String], stop: CancellationToken) {
    let apis: Vec<Api<Guarded>> = if namespaces.is_empty() {
        vec![Api::all(context.client())]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced(context.client(), namespace)).collect()
    };
    let (mut shards, mut watches) = (Vec::new(), Vec::new());
    for api in &apis {
        let (store, writer) = reflector::store();
        let shard = Shard { store, requeue: Arc::default() };
        shards.push(shard.clone());
        watches.push(watch(api.clone(), writer, shard, Arc::clone(&context), stop.clone()));
    }
    context.set_watches(shards, apis, stop.clone());
    let following = follow::run(Arc::clone(&context), stop.clone());
    let leading = lead(&context, &stop);
    future::join3(future::join_all(watches), Box::pin(following), leading).await;
}

/// What only a leader does, from the moment when it leads: it looks at every Target.
async fn lead(context: &Context, stop: &CancellationToken) {
    if stop.run_until_cancelled(context.scope().leadership.begins()).await.is_some() {
        context.requeue(|_| true);
    }
}

async fn watch(
    api: Api<Guarded>,
    writer: reflector::store::Writer<Guarded>,
    shard: Shard,
    context: Arc<Context>,
    stop: CancellationToken,
) {
    let first = Arc::new(AtomicBool::new(true));
    let refused = AtomicBool::new(false);
    let (unfilled, notified, counting) = (Arc::clone(&first), Arc::clone(&context), Arc::clone(&context));
    let delivered = instrument::watch(context.metrics(), WatchKind::Target, &api);
    let stream = watcher(api, kube_client::watch())
        .default_backoff()
        .reflect(writer)
        .inspect(delivered)
        .inspect(waits(context.metrics()))
        .inspect(move |event| match event {
            Ok(watcher::Event::InitDone) => {
                notified.forget_unlisted();
                if unfilled.swap(false, Ordering::Relaxed) {
                    notified.filled(refused.load(Ordering::Relaxed));
                }
            }
            Ok(watcher::Event::Delete(object)) => {
                let released = notified.ended(object);
                if let (DeserializeGuard(Ok(gone)), false, true) =
                    (object, released, notified.scope().should_reconcile(object))
                {
                    tokio::spawn(orphans::report(Arc::clone(&notified), gone.clone()));
                }
            }
            Err(error)
                if unfilled.load(Ordering::Relaxed) && is_refused(error) && !refused.swap(true, Ordering::Relaxed) =>
            {
                notified.refused();
            }
            _ => {}
        })
        .applied_objects()
        .inspect(|event| {
            if let Err(error) = event {
                tracing::warn!(%error, "the watch of Targets failed; trying again");
            }
        })
        .predicate_filter(trigger(&context), PredicateConfig::default())
        .inspect_ok(move |object| counting.metrics().queue().asked(shown(object)));
    let stopping = stop.clone();
    let running = Controller::for_stream(stream, shard.store)
        // How many may work at once is for the lanes to say.
        .with_config(Config::default().concurrency(0))
        .reconcile_on(shard.requeue.stream())
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(reconcile::reconcile, reconcile::on_error, Arc::clone(&context))
        .for_each(move |ended| {
            match ended {
                Ok((object, _)) => context.forget_if_gone(&object),
                Err(Error::ReconcilerFailed(_, object)) => context.forget_if_gone(&*object),
                Err(Error::ObjectNotFound(gone)) => {
                    context.metrics().queue().forget(&reconcile::shown_gone(&gone));
                    context.forget_if_gone(&*gone);
                }
                Err(Error::QueueError(_) | Error::RunnerError(_)) => {}
            }
            future::ready(())
        });
    // Before its first list kube's controller waits for it and nothing else, a shutdown included (seen with 5.0.0).
    let idle = async {
        stopping.cancelled().await;
        if !first.load(Ordering::Relaxed) {
            future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = running => {}
        () = idle => {}
    }
}

/// Whether the API server will not list: no right, or no such kind.
fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if matches!(status.code, 403 | 404))
}

/// Fields whose change triggers a reconcile: spec (deletion moves the generation too), the request annotation, our
/// finalizer, labels that bring the object into scope, and a status that somebody else wrote. Our own writes of claim and
/// status do not.
fn trigger(context: &Arc<Context>) -> impl Fn(&Guarded) -> Option<u64> + Send + Sync + use<> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let context = Arc::clone(context);
    move |object| {
        let mut hasher = DefaultHasher::new();
        let meta = object.meta();
        meta.generation.hash(&mut hasher);
        meta.deletion_timestamp.is_some().hash(&mut hasher);
        meta.annotations.as_ref().and_then(|all| all.get(RECONCILE_ANNOTATION)).hash(&mut hasher);
        has_finalizer(meta.finalizers.as_deref()).hash(&mut hasher);
        context.scope().selects(object).hash(&mut hasher);
        let foreign = object.0.as_ref().ok().is_some_and(|target| context.overwritten(target).is_some());
        meta.resource_version.as_ref().filter(|_| foreign).hash(&mut hasher);
        Some(hasher.finish())
    }
}

/// Notes who waits for a verdict, as the watch of Targets shows it.
fn waits(metrics: &Arc<Metrics>) -> impl FnMut(&watcher::Result<watcher::Event<Guarded>>) + use<> {
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
