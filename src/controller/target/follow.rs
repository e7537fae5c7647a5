//! Follows what happens to connections: starts their observers, and reconciles the Targets that are concerned.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::Context;
use super::observer;
use crate::api::reason::Reason;
use crate::api::target::Target;
use crate::controller::connections::connection::{ConnectionKey, LiveConnection};
use crate::controller::connections::monitor::needs_a_person;
use crate::controller::connections::notice::Notice;

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let mut notices = context.registry().notices.subscribe();
    let tasks = TaskTracker::new();
    while let Some(notice) = stop.run_until_cancelled(notices.recv()).await {
        match notice {
            Ok(notice) => follow(&context, &tasks, notice),
            Err(RecvError::Lagged(_)) => catch_up(&context, &tasks),
            Err(RecvError::Closed) => break,
        }
    }
    tasks.close();
    tasks.wait().await;
}

fn follow(context: &Arc<Context>, tasks: &TaskTracker, notice: Notice) {
    match notice {
        Notice::Began(live) => observe(context, tasks, live),
        Notice::Changed(key) => {
            context.forget_ownership();
            // Who was held up by a wish on it may go on, too.
            let held_up = |target: &Target| target.ready_reason() == Some(Reason::AdoptionConflict);
            context.requeue(|target| ConnectionKey::of(target) == key || held_up(target));
        }
        Notice::Recovered(live) => {
            let context = Arc::clone(context);
            let stop = live.stop.clone();
            tasks.spawn(async move {
                // One list first, so that those who wait need no read of their own.
                if stop.run_until_cancelled(observer::refresh(&context, &live)).await.is_some() {
                    requeue_users(&context, &live.key, waits_for_connection);
                }
            });
        }
        Notice::Retry(key) => requeue_users(context, &key, waits_for_connection),
        // What only a person can mend is reported on all objects; an outage that passes, on those in work.
        Notice::NeedsPerson(key) => requeue_users(context, &key, |reason| reason == Reason::Available),
        Notice::Relabelled(namespaces) => context.requeue(|target| {
            let selected = !matches!(ConnectionKey::of(target), ConnectionKey::Connection { .. });
            selected && target.metadata.namespace.as_ref().is_some_and(|own| namespaces.contains(own))
        }),
    }
}

/// Some notices were missed: any may have been.
fn catch_up(context: &Arc<Context>, tasks: &TaskTracker) {
    for (_, live) in context.registry().all() {
        if let Ok(live) = live {
            observe(context, tasks, live);
        }
    }
    context.forget_ownership();
    context.requeue(|_| true);
}

fn observe(context: &Arc<Context>, tasks: &TaskTracker, live: Arc<LiveConnection>) {
    if context.observers().begin(&live) {
        tasks.spawn(observer::run(Arc::clone(context), live));
    }
}

fn requeue_users(context: &Context, key: &ConnectionKey, concerned: impl Fn(Reason) -> bool) {
    context.requeue(|target| ConnectionKey::of(target) == *key && target.ready_reason().is_some_and(&concerned));
}

const fn waits_for_connection(reason: Reason) -> bool {
    let passes = matches!(
        reason,
        // The last one is on objects that an earlier version wrote: it took the place of the cause.
        Reason::ZitadelUnavailable | Reason::RateLimited | Reason::ExecutionFailed | Reason::ProgressDeadlineExceeded
    );
    passes || needs_a_person(reason)
}
