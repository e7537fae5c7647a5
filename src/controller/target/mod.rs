//! Targets: one reconcile executes the planner's steps; the observer finds what changed in ZITADEL meanwhile.
//!
//! May import `runtime` and `connections`.

pub mod context;
pub mod crd;
pub mod create;
pub mod event_feed;
pub mod events;
pub mod executor;
pub mod finish;
pub mod follow;
pub mod memory;
pub mod name_waiters;
pub mod observer;
pub mod observers;
pub mod orphan_removal;
pub mod orphans;
pub mod ownership;
pub mod queries;
pub mod queue;
pub mod reconcile;
pub mod watch;
pub mod writes;

use kube::core::DeserializeGuard;

use crate::api::FINALIZER;
use crate::api::target::Target;

/// A Target, or the reason why the object could not be read as one: one such object must not stop the watch.
pub type Guarded = DeserializeGuard<Target>;

fn has_finalizer(finalizers: Option<&[String]>) -> bool {
    finalizers.is_some_and(|all| all.iter().any(|name| name == FINALIZER))
}
