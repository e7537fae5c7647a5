//! The shell: watches Targets, executes the planner's steps, writes status, emits Events.
//!
//! The only room that sees both sides. It decides nothing about a target: what to do is asked of `plan`, and every
//! branch here is about how to do it. May import every other room.

pub mod connections;
pub mod instrument;
pub mod runtime;
pub mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt, future};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Config, Controller, Error};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{PredicateConfig, WatchStreamExt, watcher};
use kube::{Api, Resource};
use tokio_util::sync::CancellationToken;

use crate::api::target::Target;
use crate::api::{FINALIZER, RECONCILE_ANNOTATION};
use crate::ops::metrics::WatchKind;
use connections::{controller, monitor};
use runtime::{kube_client, requeue};
use target::context::{self, Context};
use target::{observer, orphans, reconcile};

/// A Target, or the reason why the object could not be read as one: one such object must not stop the watch.
pub type Guarded = DeserializeGuard<Target>;

/// How many passes may run at once.
pub const CONCURRENCY: u16 = 16;
/// How long one pass may take before it is given up; its create, if one is in flight, goes on.
pub const PASS_DEADLINE: Duration = Duration::from_mins(1);

/// Runs the controller in these namespaces (all, if none is given) until `stop`, and returns when passes and creates
/// in flight are finished.
///
/// A process that stands by fills its caches and does nothing else.
pub async fn run(context: Arc<Context>, namespaces: &[String], stop: CancellationToken) {
    let apis: Vec<Api<Guarded>> = if namespaces.is_empty() {
        vec![Api::all(context.client())]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced(context.client(), namespace)).collect()
    };
    let mut wakers = Vec::new();
    let mut controllers = Vec::new();
    let watched = apis.clone();
    for api in apis {
        let (wake, woken) = futures::channel::mpsc::unbounded();
        let (reader, writer) = reflector::store();
        wakers.push(requeue::Shard { store: reader.clone(), wake });
        controllers.push(one(api, writer, reader, woken, Arc::clone(&context), stop.clone()));
    }
    let shards = Arc::new(wakers);
    context.set_watches(Arc::clone(&shards), watched, stop.clone());
    let leading = lead(Arc::clone(&context), Arc::clone(&shards), stop.clone());
    let connections = controller::run(Arc::clone(&context), namespaces, shards, stop);
    future::join3(future::join_all(controllers), Box::pin(leading), Box::pin(connections)).await;
    context.finish_creates().await;
}

/// What only a leader does, from the moment when it leads: it looks at every Target, and tends the default connection.
async fn lead(context: Arc<Context>, shards: Arc<Vec<requeue::Shard>>, stop: CancellationToken) {
    if stop.run_until_cancelled(context.scope().leadership.begins()).await.is_none() {
        return;
    }
    requeue::wake_each(&shards, &context, |_| true);
    watch_default(context, shards, stop).await;
}

/// What runs for the default connection, if there is one, until `stop`.
async fn watch_default(context: Arc<Context>, shards: Arc<Vec<requeue::Shard>>, stop: CancellationToken) {
    let Some(live) = context.registry().default_connection().cloned() else { return };
    let tended = monitor::tend(Arc::clone(&context), Arc::clone(&live), Arc::clone(&shards), stop.clone());
    let observed = observer::run(context, live, shards, stop);
    future::join(Box::pin(tended), Box::pin(observed)).await;
}

async fn one(
    api: Api<Guarded>,
    writer: reflector::store::Writer<Guarded>,
    reader: reflector::Store<Guarded>,
    woken: impl Stream<Item = ObjectRef<Guarded>> + Send + 'static,
    context: Arc<Context>,
    stop: CancellationToken,
) {
    let first = Arc::new(AtomicBool::new(true));
    let (unfilled, shared, counting) = (Arc::clone(&first), Arc::clone(&context), Arc::clone(&context));
    let told = instrument::watch(context.metrics(), WatchKind::Target, &api);
    let stream = watcher(api, kube_client::watch())
        .default_backoff()
        .reflect(writer)
        .inspect(told)
        .inspect(instrument::waits(context.metrics()))
        .inspect(move |event| match event {
            Ok(watcher::Event::InitDone) => {
                shared.forget_unlisted();
                if unfilled.swap(false, Ordering::Relaxed) {
                    shared.filled();
                }
            }
            Ok(watcher::Event::Delete(object)) => {
                let released = shared.ended(object);
                if let (DeserializeGuard(Ok(gone)), false, true) =
                    (object, released, shared.scope().should_reconcile(object))
                {
                    tokio::spawn(orphans::report(Arc::clone(&shared), gone.clone()));
                }
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
        .inspect_ok(move |object| counting.metrics().queue().asked(context::shown(object)));
    let stopping = stop.clone();
    let running = Controller::for_stream(stream, reader)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(woken)
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

fn has_finalizer(finalizers: Option<&[String]>) -> bool {
    finalizers.is_some_and(|all| all.iter().any(|name| name == FINALIZER))
}
