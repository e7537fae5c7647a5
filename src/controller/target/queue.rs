//! The cached Targets, and the way to their queues.

use std::sync::Arc;

use kube::runtime::reflector::{ObjectRef, Store};

use super::Guarded;
use crate::controller::runtime::requeue::Requeue;

/// The Targets of one watch.
#[derive(Debug, Clone)]
pub struct Shard {
    /// The cache.
    pub store: Store<Guarded>,
    /// What is to be reconciled at once.
    pub requeue: Arc<Requeue<ObjectRef<Guarded>>>,
}
