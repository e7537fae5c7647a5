//! From a verdict to the status of the object.
//!
//! Pure: the same verdict on the same status changes nothing, so an object in sync is never written. Holds the
//! verdicts that the planner chooses from, and the rule that turns ten minutes without success into Stalled.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::facts::{Candidate, Connection};
use super::names::{HolderPlan, NameHolder};
use super::ownership::Rival;
use super::settle::{Awaited, Recovery};
use super::{Note, NoteKind, Object, RemoteFacts, Retry, Verdict};
use crate::api::CLAIM_ANNOTATION;
use crate::api::condition::{ConditionType, Health, conditions, find};
use crate::api::reason::Reason;
use crate::api::target::{ConnectionStatus, TargetStatus};
use crate::zitadel::{Class, Error, RemoteTarget, TargetId};

/// How long Reconciling may last before it is called Stalled (as Deployments do; retries go on).
pub const PROGRESS_DEADLINE: SignedDuration = SignedDuration::from_mins(10);
/// How often an open claim is asked about while it may still be answered.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How soon a create without an answer is asked about for the first time: mostly only the answer was lost.
pub(super) const ASK_FIRST: Duration = Duration::from_secs(1);
/// How often a ghost is looked for, and an old claim asked about.
const GHOST_RETRY: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const NAME_RETRY: Duration = Duration::from_mins(5);

impl Verdict {
    fn new(health: Health, reason: Reason, message: impl Into<String>, retry: Retry) -> Self {
        Self { health, reason, message: message.into(), retry, remote: None, note: None }
    }

    /// ZITADEL holds what the spec says.
    #[must_use]
    pub fn available(remote: RemoteFacts) -> Self {
        let text = "the target in ZITADEL equals spec";
        Self { remote: Some(remote), ..Self::new(Health::Ready, Reason::Available, text, Retry::Resync) }
    }

    /// Written, not yet read back.
    #[must_use]
    pub fn verifying() -> Self {
        let text = "the target was written in ZITADEL and is being read back";
        Self::new(Health::Reconciling, Reason::Verifying, text, Retry::BackOff)
    }

    /// A resync that met an older view: what was recorded still stands.
    #[must_use]
    pub fn unchanged(object: &Object<'_>) -> Self {
        let ready = find(&object.status.conditions, ConditionType::Ready);
        let text = ready.map_or_else(String::new, |ready| ready.message.clone());
        Self::new(Health::Ready, Reason::Available, text, Retry::BackOff)
    }

    /// Nothing is done, on request.
    #[must_use]
    pub fn suspended(text: &str) -> Self {
        Self::new(Health::Idle, Reason::Suspended, text, Retry::OnChange)
    }

    /// The spec is wrong, and no call was needed to know.
    #[must_use]
    pub fn invalid(text: &str) -> Self {
        let note = Note { kind: NoteKind::Failed(Reason::InvalidSpec), text: text.to_owned() };
        Self { note: Some(note), ..Self::new(Health::Stalled, Reason::InvalidSpec, text, Retry::After(HOUR)) }
    }

    /// The server has not what the spec asks for.
    #[must_use]
    pub fn unsupported(field: &str, needs: &str, connection: &Connection) -> Self {
        let text = format!(
            "{field} needs {needs}; this server, with the API {}, would ignore it: remove it from spec, or upgrade ZITADEL",
            connection.api
        );
        Self { retry: Retry::After(HOUR), ..Self::stalled(Reason::Unsupported, text) }
    }

    /// Something that is not ours has the name.
    #[must_use]
    pub fn name_taken() -> Self {
        let error = Error::Api(crate::zitadel::error::ApiError {
            status: 409,
            code: 6,
            message: "Errors.Target.AlreadyExists".into(),
            id: Some("V3-DKcYh".into()),
        });
        Self::stalled(Reason::NameTaken, error.advice())
    }

    /// Another Target has the name: its end, or its next rename, brings this one on.
    #[must_use]
    pub fn name_held(holder: &NameHolder) -> Self {
        let text = match holder.plan {
            HolderPlan::Keeps => format!(
                "{} has this name in ZITADEL (upper and lower case do not count): choose another spec.name, or delete or \
                 rename that one",
                holder.shown
            ),
            HolderPlan::Leaves | HolderPlan::WaitsForUs => {
                format!("{} has this name in ZITADEL and is about to give it up; waiting for it", holder.shown)
            }
        };
        let note = Note { kind: NoteKind::Failed(Reason::NameTaken), text: text.clone() };
        Self { note: Some(note), ..Self::new(Health::Reconciling, Reason::NameTaken, text, Retry::BackOff) }
    }

    /// A claim whose create has no known answer: what is awaited, and until when.
    pub(super) fn outcome_unknown(awaited: &Awaited, recovery: &Recovery<'_>) -> Self {
        let whole = |time: &Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(*time);
        let begun = "a create call was sent and its answer was not read";
        let (text, until) = match awaited {
            Awaited::Request(until) => (
                format!(
                    "{begun}; ZITADEL may still carry it out until {}, and no second one is sent before",
                    whole(until)
                ),
                Some(until),
            ),
            Awaited::Rival(until) => (
                format!(
                    "{begun}; a target of this name was created, and another Target that asks for the same name may record \
                     it until {}",
                    whole(until)
                ),
                Some(until),
            ),
            Awaited::Holder(Some(id)) => (
                format!(
                    "{begun}; target {id} has the name, and ZITADEL's event store does not show yet who created it. If it \
                     is this Target's, set spec.externalId to {id}; if it is not, remove the annotation {CLAIM_ANNOTATION}"
                ),
                None,
            ),
            Awaited::Holder(None) => (
                format!(
                    "{begun}; ZITADEL says that the name is taken and does not show by which target: waiting until it does"
                ),
                None,
            ),
        };
        let rest = until.map_or(GHOST_RETRY, |until| {
            Duration::try_from(until.duration_since(recovery.now)).unwrap_or(Duration::ZERO).max(ASK_FIRST)
        });
        let often = if recovery.is_old() { GHOST_RETRY } else { ASK_AGAIN };
        Self::new(Health::Reconciling, Reason::CreateOutcomeUnknown, text, Retry::After(rest.min(often)))
    }

    /// The object is a restored copy of one whose target was created before, and may not take it over.
    #[must_use]
    pub fn needs_adoption(id: &TargetId) -> Self {
        let text = format!(
            "target {id} was created for an earlier object of this name, and this namespace may not take over existing \
             targets through this connection: an administrator can allow that (the connection's adoption.allowedNamespaces, \
             or --adoption-namespaces for the default connection)"
        );
        let note = Note { kind: NoteKind::Failed(Reason::ConnectionNotAllowed), text: text.clone() };
        Self { note: Some(note), ..Self::new(Health::Reconciling, Reason::ConnectionNotAllowed, text, Retry::BackOff) }
    }

    /// The connection leads elsewhere now.
    #[must_use]
    pub fn instance_changed() -> Self {
        let text = "the connection leads to another ZITADEL instance than the one recorded in status.connection; nothing \
                    is touched: point it back, or delete this object with deletionPolicy Retain and create it anew";
        Self::stalled(Reason::InstanceChanged, text.to_owned())
    }

    /// The write side has the target, the read side has not, for longer than lag explains.
    #[must_use]
    pub fn ghost(connection: &Connection) -> Self {
        let text = "ZITADEL acknowledged the target but does not show it, so it may not be called; it is replaced once \
                    ZITADEL shows something newer";
        let note = Note { kind: NoteKind::Failed(Reason::NotProjected), text: text.to_owned() };
        let retry = Retry::After(GHOST_RETRY.min(connection.grace));
        Self { note: Some(note), ..Self::new(Health::Reconciling, Reason::NotProjected, text, retry) }
    }

    /// The replacement of a ghost is a ghost again: something is wrong with the server.
    #[must_use]
    pub fn ghost_again() -> Self {
        let text = "ZITADEL does not show the target although it was already replaced once, so it may not be called: \
                    look at the server's projections (projections.targets), then delete and re-create this object";
        Self::stalled(Reason::NotProjected, text.to_owned())
    }

    /// The read side does not show a target that may only be looked at.
    #[must_use]
    pub fn unseen(id: &TargetId) -> Self {
        let text = format!("ZITADEL shows no target {id}; with managementPolicy Observe nothing is done about it");
        Self::stalled(Reason::ExternallyDeleted, text)
    }

    /// The target named by `spec.externalId` does not exist.
    #[must_use]
    pub fn no_such_target(id: &TargetId) -> Self {
        let text = format!(
            "ZITADEL has no target {id}; with spec.externalId none is created: create another Target with the right id, \
             or without externalId"
        );
        Self::stalled(Reason::ExternallyDeleted, text)
    }

    /// `spec.externalId` asks for another target than the one that this object already has.
    #[must_use]
    pub fn other_target(held: &TargetId, wanted: &TargetId) -> Self {
        let text = format!(
            "this object already has target {held} and spec.externalId asks for {wanted}: nothing is touched; create \
             another Target for {wanted}"
        );
        Self::stalled(Reason::AdoptionConflict, text)
    }

    /// The id in status is of a target that somebody else created.
    #[must_use]
    pub fn untitled(id: &TargetId) -> Self {
        let text = format!(
            "status names target {id}, which another user created in ZITADEL and no claim of this object announced: \
             nothing is touched; set spec.externalId to {id} to take it over"
        );
        Self::stalled(Reason::AdoptionConflict, text)
    }

    /// The id in status is of a target whose creation the event store does not show any more.
    #[must_use]
    pub fn untraceable(id: &TargetId) -> Self {
        let text = format!(
            "status names target {id}, whose creation ZITADEL's event store does not show (audit-log retention hides old \
             events), and no claim of this object announced it: nothing is touched; set spec.externalId to {id} to take it \
             over"
        );
        Self::stalled(Reason::AdoptionConflict, text)
    }

    /// Another Target records the same remote target, and neither is known to have created it.
    #[must_use]
    pub fn co_held(other: &Rival) -> Self {
        let text = format!(
            "{other} records the same target in ZITADEL, and this object is a copy: nothing is touched; delete one of the two \
             (the target stays), or give this one another spec.name and remove its status"
        );
        Self::stalled(Reason::AdoptionConflict, text)
    }

    /// Another Target has the remote target.
    #[must_use]
    pub fn contested(rival: &Rival) -> Self {
        let text = format!("{rival} already manages this target in ZITADEL; this object changes nothing");
        Self::stalled(Reason::AdoptionConflict, text)
    }

    /// What may only be looked at differs.
    #[must_use]
    pub fn drifted(remote: RemoteFacts, fields: &[&str]) -> Self {
        let text = format!(
            "the target in ZITADEL differs from spec ({}) and managementPolicy is Observe: nothing is changed",
            fields.join(", ")
        );
        Self { remote: Some(remote), retry: Retry::Resync, ..Self::stalled(Reason::Drifted, text) }
    }

    pub(super) fn stalled(reason: Reason, text: String) -> Self {
        let note = Note { kind: NoteKind::Failed(reason), text: text.clone() };
        Self { note: Some(note), ..Self::new(Health::Stalled, reason, text, Retry::After(NAME_RETRY)) }
    }

    /// A call failed.
    #[must_use]
    pub fn failed(error: &Error) -> Self {
        let (health, retry) = match error.class() {
            Class::Transient | Class::TargetGone => (Health::Reconciling, Retry::BackOff),
            Class::Person(pace) => (Health::Stalled, Retry::After(pace)),
        };
        Self::new(health, error.reason(), error.advice(), retry).because(error)
    }

    /// Adds the Event that tells ZITADEL's own words.
    #[must_use]
    pub fn because(mut self, error: &Error) -> Self {
        self.note = Some(Note { kind: NoteKind::Failed(self.reason), text: error.to_string() });
        self
    }

    /// Says that it is deletion that waits.
    #[must_use]
    pub fn while_deleting(mut self) -> Self {
        if matches!(self.health, Health::Stalled | Health::Reconciling | Health::Overdue) {
            self.message =
                format!("deletion waits: {}. Set spec.deletionPolicy to Retain to let the object go now", self.message);
        }
        self
    }
}

impl RemoteFacts {
    /// What is recorded of a target that was read, or created.
    #[must_use]
    pub fn of(remote: &RemoteTarget, connection: &Connection) -> Self {
        Self {
            id: remote.id.clone(),
            name: remote.name.clone(),
            sequence: remote.version.sequence,
            changed: remote.version.changed,
            created: remote.created,
            owner: remote.owner.clone(),
            connection: recorded(connection),
        }
    }

    /// The same without the server's version: it has not accepted the endpoint yet.
    #[must_use]
    pub fn unjudged(remote: &RemoteTarget, connection: &Connection) -> Self {
        let known = Self::of(remote, connection);
        Self { connection: ConnectionStatus { server_version: None, ..known.connection }, ..known }
    }

    /// What is recorded of a target that was found again.
    #[must_use]
    pub fn recovered(candidate: &Candidate, connection: &Connection) -> Self {
        Self {
            id: candidate.id.clone(),
            name: candidate.name.clone(),
            sequence: candidate.version.sequence,
            changed: candidate.version.changed,
            created: candidate.created,
            owner: candidate.owner.clone(),
            connection: recorded(connection),
        }
    }
}

fn recorded(connection: &Connection) -> ConnectionStatus {
    ConnectionStatus {
        instance: connection.instance.clone(),
        url: connection.url.clone(),
        api: connection.api.to_string(),
        reference: connection.reference.clone(),
        server_version: connection.server_version.clone(),
    }
}

/// The status after `verdict`. `now` is in our own clock, which alone writes transition times.
#[must_use]
pub fn render(previous: &TargetStatus, verdict: &Verdict, generation: i64, now: Timestamp) -> TargetStatus {
    let mut status = previous.clone();
    if let Some(remote) = &verdict.remote {
        record(&mut status, remote);
    }
    let health = in_time(&previous.conditions, verdict.health, generation, now);
    status.observed_generation = Some(generation);
    status.conditions = conditions(&previous.conditions, health, verdict.reason, &verdict.message, generation, now);
    status
}

fn record(status: &mut TargetStatus, remote: &RemoteFacts) {
    let same = status.id.as_deref() == Some(remote.id.as_str());
    let kept = |old: &Option<String>| old.clone().filter(|_| same);
    status.creation_date = remote.created.map(|date| date.to_string()).or_else(|| kept(&status.creation_date));
    status.resource_owner = remote.owner.clone().or_else(|| kept(&status.resource_owner));
    let changed = remote.changed.map(|date| date.to_string());
    let current = same && status.change_date == changed;
    // A sequence belongs to its change date: better none than one of an older state.
    let sequence = remote.sequence.map(|sequence| sequence.to_string());
    status.sequence = sequence.or_else(|| status.sequence.clone().filter(|_| current));
    status.change_date = changed;
    status.id = Some(remote.id.to_string());
    status.name = Some(remote.name.clone());
    // What could not be read this time is not forgotten.
    let known = status.connection.take().filter(|_| same);
    let connection = remote.connection.clone();
    status.connection = Some(ConnectionStatus {
        instance: connection.instance.or_else(|| known.as_ref()?.instance.clone()),
        server_version: connection.server_version.or_else(|| known.as_ref()?.server_version.clone()),
        ..connection
    });
}

/// Ten minutes of Reconciling are too many, whatever the object; a new generation starts them again.
pub(super) fn in_time(previous: &[Condition], health: Health, generation: i64, now: Timestamp) -> Health {
    if health != Health::Reconciling {
        return health;
    }
    let since = find(previous, ConditionType::Reconciling).map(|condition| condition.last_transition_time.0);
    let late = since.is_some_and(|since| now.duration_since(since) >= PROGRESS_DEADLINE);
    let already = find(previous, ConditionType::Stalled).is_some_and(|stalled| {
        stalled.reason == Reason::ProgressDeadlineExceeded.as_str() && stalled.observed_generation == Some(generation)
    });
    if late || already { Health::Overdue } else { health }
}

#[cfg(test)]
mod tests;
