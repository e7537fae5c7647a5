//! Objects that go without having been let go: somebody took the finalizer away, or the API server dropped the object
//! with it. What they leave in ZITADEL has no owner from then on, and is reported, not repaired: a person took the
//! finalizer away for a reason that nobody here knows.

use std::sync::Arc;

use kube::ResourceExt;
use tracing::warn;

use crate::api::claim::ClaimState;
use crate::api::target::{DeletionPolicy, ManagementPolicy, Target};
use crate::controller::target::context::Context;
use crate::controller::target::events;
use crate::controller::target::executor::claim_of;
use crate::plan::Change;
use crate::zitadel::{Class, TargetId};

/// What an object leaves behind.
enum Left {
    Target(TargetId),
    /// A create under this name may have been carried out.
    Create(String),
}

/// Tells of an object that the watch reports as gone, and that this process has not let go, if something of it is left in ZITADEL.
pub(crate) async fn report(context: Arc<Context>, object: Target) {
    if keeps(&object) {
        return;
    }
    let Some(left) = left_by(&object) else { return };
    let text = match left {
        // Another replica may have let it go, after deleting its target: the write side knows.
        Left::Target(id) if is_gone(&context, &object, &id).await => return,
        Left::Target(id) => {
            format!("the object went without its finalizer; target {id} is left in ZITADEL: delete it there")
        }
        Left::Create(name) => format!(
            "the object went without its finalizer while its create was not settled; a target named {name:?} may be left \
             in ZITADEL: delete it there"
        ),
    };
    warn!(namespace = object.namespace(), name = object.name_any(), text, "vanished");
    context.metrics().vanished();
    events::publish_left_behind(&context, &object, &text);
}

/// Whether nothing is deleted in ZITADEL when the object is.
pub(crate) fn keeps(object: &Target) -> bool {
    object.spec.deletion_policy.unwrap_or_default() == DeletionPolicy::Retain
        || object.spec.management_policy.unwrap_or_default() == ManagementPolicy::Observe
}

fn left_by(object: &Target) -> Option<Left> {
    let held = object.status.as_ref().and_then(|status| status.id.as_deref());
    match (claim_of(object), held.and_then(|id| id.parse().ok())) {
        (ClaimState::Held(claim), _) if claim.is_open(held) => Some(Left::Create(claim.name)),
        (_, id) => id.map(Left::Target),
    }
}

async fn is_gone(context: &Context, object: &Target, id: &TargetId) -> bool {
    let Ok((live, _)) = context.connection_of(object).await else { return false };
    let proof = live.health.client().update(id, &Change::default()).await;
    proof.is_err_and(|error| error.class() == Class::TargetGone)
}
