//! Pure decisions: (object, facts, now) -> one step.
//!
//! No I/O, no clock, no async. The shell in `controller` asks [`target::plan`] what to do, does it, tells [`facts`]
//! what came of it, and asks again until the step is [`Step::Finish`]. Everything that makes the lifecycle safe is
//! decided here, so it can be checked without a server. May import `api` and the domain types of `zitadel`.

mod adopt;
pub mod connection;
mod create;
pub mod custody;
mod deed;
pub mod difference;
pub mod facts;
pub mod known;
mod leave;
mod name_holder;
pub mod names;
pub mod ownership;
pub mod policy;
pub mod refusal;
pub mod settle;
pub mod spec;
pub mod status;
pub mod target;
#[cfg(test)]
mod target_tests;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use self::ownership::Rival;
use crate::api::claim::{Claim, ClaimState};
use crate::api::condition::{ConditionType, Health, find};
use crate::api::reason::Reason;
use crate::api::target::{ConnectionStatus, DeletionPolicy, ManagementPolicy, TargetSpec, TargetStatus};
use crate::zitadel::{Endpoint, TargetConfig, TargetId, TargetName, Version};

pub use crate::zitadel::Change;

pub use deed::Deed;
pub use facts::{Account, Adoption, Answer, Candidate, Connection, Facts, Other};

/// The state of the remote target that a status records.
#[must_use]
pub fn recorded(status: &TargetStatus) -> Version {
    Version {
        sequence: status.sequence.as_deref().and_then(|text| text.parse().ok()),
        changed: status.change_date.as_deref().and_then(|text| text.parse().ok()),
    }
}

/// The object, as the pass sees it: from the cache, or as the API server returned it after our own write.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// `metadata.name`, the default for the remote name.
    pub name: &'a str,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether deletion was requested.
    pub deleting: bool,
    /// Whether our finalizer is on it.
    pub finalized: bool,
    /// The create claim.
    pub claim: &'a ClaimState,
    /// What the user wants.
    pub spec: &'a TargetSpec,
    /// What was last recorded.
    pub status: &'a TargetStatus,
    /// Another Target that holds the same remote target with more right, or is about to take it over.
    pub rival: Option<&'a Rival>,
    /// Another live Target that records the same remote target, whoever has more right to it.
    pub co_holder: Option<&'a Rival>,
    /// `metadata.uid`.
    pub uid: &'a str,
    /// `metadata.creationTimestamp`, in the clock of the API server. What was created in ZITADEL before is not this
    /// object's own work, whatever its annotations say.
    pub born: Timestamp,
    /// What is known of the CRD of Targets; matters while the object is being deleted.
    pub crd: Crd,
}

/// Whether the CRD of Targets is being deleted, and every Target with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crd {
    /// It stays: the deletion of a Target is meant for its target in ZITADEL.
    Stays,
    /// It is being deleted: every Target is released as with Retain.
    Deleting,
    /// Nobody may read it: no deletion is known to be meant for ZITADEL.
    Unreadable,
}

impl Object<'_> {
    fn id(&self) -> Option<TargetId> {
        // Whoever may edit status may write anything there; what is no id is no id.
        self.status.id.as_deref().and_then(|text| text.parse().ok())
    }

    /// The claim whose create is not yet answered in status.
    fn open_claim(&self) -> Option<&Claim> {
        match self.claim {
            ClaimState::Held(claim) if claim.is_open(self.id().as_ref().map(TargetId::as_str)) => Some(claim),
            _ => None,
        }
    }

    fn suspended(&self) -> bool {
        self.spec.suspend.unwrap_or(false)
    }

    /// Whether its deletion leaves the target alone. A rival that is being deleted as well does not count: each of the two
    /// would leave the target to the other one.
    fn retained(&self) -> bool {
        let wanted = self.spec.deletion_policy.unwrap_or_default() == DeletionPolicy::Retain;
        wanted || self.crd == Crd::Deleting || self.observed_only() || self.co_holder.is_some()
    }

    /// Whether the claim on the object was made by another one: the object is a copy, from a backup or by hand.
    fn is_copy(&self) -> bool {
        self.claim.is_of_another(self.uid)
    }

    fn observed_only(&self) -> bool {
        self.spec.management_policy.unwrap_or_default() == ManagementPolicy::Observe
    }

    fn external_id(&self) -> Option<TargetId> {
        self.spec.external_id.as_deref().and_then(|text| text.parse().ok())
    }

    /// Whether the last recorded outcome is success for this very generation.
    fn ready_now(&self) -> bool {
        self.said().is_some_and(|ready| ready.status == "True")
    }

    /// Whether the last recorded outcome for this very generation has this reason.
    fn was(&self, reason: Reason) -> bool {
        self.said().is_some_and(|ready| ready.reason == reason.as_str())
    }

    fn said(&self) -> Option<&Condition> {
        find(&self.status.conditions, ConditionType::Ready)
            .filter(|ready| ready.observed_generation == Some(self.generation))
    }
}

/// What to do next. One pass is a sequence of these; each is one call or one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make sure that the connection works and learn who we are.
    Connect,
    /// Ask the event store for the date of the newest event of any target: what a create makes is newer.
    Bound,
    /// Write finalizer and claim in one patch, conditional on resourceVersion.
    Claim(Claim),
    /// Write a claim again whose dates cannot be right, conditional on resourceVersion. No create follows.
    Redate(Claim),
    /// Put the finalizer back, conditional on resourceVersion.
    Hold,
    /// Remove the claim, conditional on resourceVersion: its create is known not to have happened.
    DropClaim,
    /// Send the create call and commit its answer to status; neither is abandoned half-way.
    Create(TargetConfig),
    /// Ask the event store for creates under a claim.
    Search {
        /// The claimed name.
        name: TargetName,
        /// Only events after this moment.
        since: Timestamp,
    },
    /// Ask the read side for a name.
    LookUp(TargetName),
    /// Ask the API server, not the cache, for every other Target: what was found may be theirs.
    AskOthers,
    /// Find out which of our own Targets has a name that ZITADEL says is taken. Answered from the cache.
    AskNames(TargetName),
    /// Record a recovered id in status.
    Commit(Candidate),
    /// Read the target.
    Read(TargetId),
    /// Prove on the write side whether the target exists.
    Probe(TargetId),
    /// Change the target.
    Update {
        /// Which.
        id: TargetId,
        /// What.
        change: Change,
        /// Whether this only prepares the real change (see [`difference`]).
        raise: bool,
    },
    /// Send an update that changes nothing and repeats the endpoint, so that a server of another version judges it.
    Judge(TargetId, Endpoint),
    /// Ask how new the newest thing is that the read side shows. Answered from the last list if that is fresh.
    Survey,
    /// Read the newest event of the target.
    History(TargetId),
    /// Ask who created the target.
    Trace(TargetId),
    /// Ask the API server, without a write, whether the finalizer could be removed: ZITADEL is not touched before.
    TryRelease,
    /// Delete the target.
    Delete(TargetId),
    /// Give the read side a moment to catch up with a write.
    Wait(Duration),
    /// Remove the finalizer: the object may go.
    Release(Release),
    /// The pass is over.
    Finish(Verdict),
    /// The object is none of our business (any more): nothing is written.
    Ignore,
}

/// Why an object is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The remote target was deleted, or was gone already.
    Deleted,
    /// The remote target stays, as the user asked.
    Retained,
    /// There never was one.
    NothingRemote,
}

/// How a pass ended: what status says, when to look again, and what to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which conditions.
    pub health: Health,
    /// Their reason.
    pub reason: Reason,
    /// Their message: the same for the same cause, whatever the time or the attempt.
    pub message: String,
    /// When to look again.
    pub retry: Retry,
    /// What is known of the remote target, if this pass learned it.
    pub remote: Option<RemoteFacts>,
    /// The Event, if something is worth telling.
    pub note: Option<Note>,
}

/// When to look at the object again, if nothing changes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// At the next resync.
    Resync,
    /// After this time.
    After(Duration),
    /// With the object's own exponential back-off.
    BackOff,
    /// Not before the object changes.
    OnChange,
}

/// What status records of the remote target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFacts {
    /// Id.
    pub id: TargetId,
    /// Name in force.
    pub name: String,
    /// Sequence of the newest event, where known.
    pub sequence: Option<u64>,
    /// Date of the newest event.
    pub changed: Option<Timestamp>,
    /// Date of the creation, where known.
    pub created: Option<Timestamp>,
    /// Id of the instance, where known.
    pub owner: Option<String>,
    /// Where it lives.
    pub connection: ConnectionStatus,
}

/// Something to tell in an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What kind of news.
    pub kind: NoteKind,
    /// The text.
    pub text: String,
}

/// Kinds of Events; the label is the Event's reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    /// A target was created.
    Created,
    /// The id of a create whose answer was lost was found again.
    Recovered,
    /// An existing target was taken over.
    Adopted,
    /// The target was changed because the spec changed.
    Updated,
    /// The target was changed back after somebody else changed it.
    DriftCorrected,
    /// Something failed, for this reason.
    Failed(Reason),
}

impl NoteKind {
    /// The label, for Event and log.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Recovered => "Recovered",
            Self::Adopted => "Adopted",
            Self::Updated => "Updated",
            Self::DriftCorrected => "DriftCorrected",
            Self::Failed(reason) => reason.as_str(),
        }
    }
}
