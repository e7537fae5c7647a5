//! The shell: watches objects, executes the planner's steps, writes status, publishes Events.
//!
//! The only room that sees both sides. It decides nothing about a target: what to do is asked of `plan`, and every
//! branch here is about how to do it. May import every other room. Inside, imports go downwards: [`runtime`] serves any
//! kind of object, [`connections`] stands on it, and [`target`] on both. Here they are only wired.

pub mod connections;
pub mod instrument;
pub mod runtime;
pub mod target;

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, future};
use tokio_util::sync::CancellationToken;

use connections::controller::{Parts, Users};
use target::context::Context;

/// How many reconciles may run at once, in all.
pub const CONCURRENCY: u16 = 32;
/// How long one reconcile may take before it is given up; its create, if one is in flight, goes on.
pub const PASS_DEADLINE: Duration = Duration::from_mins(1);

/// Runs the controllers in these namespaces (all, if none is given) until `stop`, and returns when reconciles and creates
/// in flight are finished.
///
/// A process on standby fills its caches and does nothing else.
pub async fn run(context: Arc<Context>, namespaces: &[String], stop: CancellationToken) {
    let targets = target::watch::run(Arc::clone(&context), namespaces, stop.clone());
    let connections = connections::controller::run(parts(&context), namespaces, stop);
    future::join(Box::pin(targets), Box::pin(connections)).await;
    context.finish().await;
}

fn parts(context: &Arc<Context>) -> Parts {
    let (cached, current) = (Arc::clone(context), Arc::clone(context));
    let users = Users {
        cached: Box::new(move |key| cached.users(key)),
        current: Box::new(move |key| {
            let context = Arc::clone(&current);
            async move { context.current_users(&key).await }.boxed()
        }),
    };
    Parts {
        client: context.client(),
        registry: Arc::clone(context.registry()),
        events: Arc::clone(context.events()),
        metrics: Arc::clone(context.metrics()),
        leadership: context.scope().leadership.clone(),
        users,
    }
}
