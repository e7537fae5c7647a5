//! What an object says when the API server refuses what its reconciliation needs: a write (admission, rights), or the
//! question whether its deletion is meant for ZITADEL at all.

use super::facts::Facts;
use super::{Retry, Verdict};
use crate::api::condition::Health;
use crate::api::reason::Reason;

/// A write to the object is refused, in the API server's words.
#[must_use]
pub fn write_refused(deleting: bool, facts: &Facts, why: &str) -> Verdict {
    let text = match (deleting, &facts.deleted) {
        (true, Some(Ok(()))) => {
            format!("the target is deleted in ZITADEL, but the API server does not let the finalizer go: {why}")
        }
        (true, _) => {
            format!("deletion waits: the API server does not let the finalizer go, so ZITADEL is not touched: {why}")
        }
        (false, _) => format!("the API server refuses a change that the operator has to make to this object: {why}"),
    };
    denied(text)
}

/// The CRD cannot be read, so that nobody knows whether it is being deleted.
#[must_use]
pub fn crd_unreadable() -> Verdict {
    let text = "the operator may not read the CRD targets.zitadel-actions.dev, so it cannot tell whether this object is \
                deleted for its own sake or with its CRD, and deletes nothing in ZITADEL: grant get on \
                customresourcedefinitions";
    denied(text.to_owned()).while_deleting()
}

/// What is recorded before a target is deleted where the rights may be deleted along with the object: no status says Ready
/// of what is deleted, whatever comes after.
#[must_use]
pub fn deleting() -> Verdict {
    Verdict {
        health: Health::Reconciling,
        reason: Reason::Deleting,
        message: "the target is being deleted in ZITADEL".to_owned(),
        retry: Retry::BackOff,
        remote: None,
        note: None,
    }
}

/// A person has to grant something, and nothing tells when: so it is tried again with a back-off.
fn denied(text: String) -> Verdict {
    Verdict { retry: Retry::BackOff, ..Verdict::stalled(Reason::ClusterAccessDenied, text) }
}
