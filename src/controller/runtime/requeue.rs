//! Puts objects into the queue before their time.

use futures::channel::mpsc::UnboundedSender;
use kube::runtime::reflector::{ObjectRef, Store};

use crate::api::target::Target;
use crate::controller::Guarded;
use crate::controller::target::context::{Context, shown};

/// The objects of one watch, and the way to their queue.
#[derive(Debug)]
pub(crate) struct Shard {
    pub store: Store<Guarded>,
    pub wake: UnboundedSender<ObjectRef<Guarded>>,
}

impl Shard {
    /// Asks for a pass now, whatever the object was waiting for.
    pub(crate) fn wake(&self, object: &Guarded, target: &Target, context: &Context) {
        if !context.scope().should_reconcile(object) {
            return;
        }
        context.wake(target);
        context.metrics().queue().asked(shown(object));
        // The receiver lives as long as the controller; without it there is nobody to wake.
        let _ = self.wake.unbounded_send(ObjectRef::from_obj(object));
    }
}

/// Wakes the Targets of which this is true.
pub(crate) fn wake_each(shards: &[Shard], context: &Context, concerned: impl Fn(&Target) -> bool) {
    for shard in shards {
        for object in shard.store.state() {
            let Ok(target) = &object.0 else { continue };
            if concerned(target) {
                shard.wake(&object, target, context);
            }
        }
    }
}
