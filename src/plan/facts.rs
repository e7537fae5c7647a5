//! What one pass has learned so far. Everything starts unknown; [`Facts::learn`] is the only way in, so that a model
//! that replays answers reaches exactly the states of production.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::connection::Obstacle;
use super::custody::Origin;
use super::names::{NameHolder, Whose};
use super::settle::{CLOCK_STEP, earlier};
use crate::api::claim::{Claim, Posted};
use crate::api::connection::ConnectionRef;
use crate::api::reason::Reason;
use crate::zitadel::events::TargetEvent;
use crate::zitadel::{
    Api, Change, Created, Error, PayloadType, RemoteTarget, Support, TargetConfig, TargetId, Version,
};

/// The connection, once it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Generation of the API.
    pub api: Api,
    /// Whether the server has payload types.
    pub payload_types: Support,
    /// The connection as spec names it; none for the default one.
    pub reference: Option<ConnectionRef>,
    /// Where requests go.
    pub url: String,
    /// Id of the instance, where it could be read.
    pub instance: Option<String>,
    /// How long after its claim a create is sent at the latest.
    pub sent_within: std::time::Duration,
    /// Longest time that a create may take: after it, and a margin, one without an answer cannot happen any more.
    pub timeout: std::time::Duration,
    /// Version of the server, where it could be read.
    pub server_version: Option<String>,
    /// How long a target may be missing on the read side before that is reported: projection lag is milliseconds, a
    /// rebuild after an upgrade can take a minute.
    pub grace: std::time::Duration,
    /// Whether the object's namespace may take over targets that no object of it created.
    pub adoption: Adoption,
    /// Whether others are known to use the connection's account.
    pub account: Account,
}

/// Whether a namespace may take over existing targets through a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adoption {
    /// It may: its own Connection, or an administrator's that says so.
    Allowed,
    /// It may only use what it creates.
    NotAllowed,
}

/// Who writes to ZITADEL as the connection's service account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Nobody but this operator, as far as is known.
    Ours,
    /// The event store shows writes of the account that this operator did not send.
    Shared,
}

/// How far the event store has come: what a create makes is newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Date of the newest event of any target; the beginning of time if there is none.
    pub newest: Timestamp,
    /// Targets with events so recent that a database clock which steps back may date a later create before them. None if
    /// they are too many to list: then the date alone counts.
    pub recent: Option<Vec<TargetId>>,
}

impl Bound {
    /// How many events are asked for, and one more than a claim can list.
    pub const ASKED: usize = 21;

    /// From the newest events, newest first.
    #[must_use]
    pub fn of(events: &[TargetEvent]) -> Self {
        let newest = events.first().map_or(Timestamp::UNIX_EPOCH, |event| event.date);
        let floor = earlier(newest, CLOCK_STEP);
        let recent: BTreeSet<_> =
            events.iter().filter(|event| event.date > floor).map(|event| event.id.clone()).collect();
        let whole = events.len() < Self::ASKED || events.iter().any(|event| event.date <= floor);
        Self { newest, recent: whole.then(|| recent.into_iter().collect()) }
    }
}

/// A remote target that may be the result of our own claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Id.
    pub id: TargetId,
    /// Name that it was created or found under.
    pub name: String,
    /// State, as far as known.
    pub version: Version,
    /// When it was created, where known.
    pub created: Option<Timestamp>,
    /// Id of the instance, where known.
    pub owner: Option<String>,
    /// What it was created with beside the name: as the event store tells, or else as it is shown, if nothing was
    /// changed since.
    pub posted: Option<Posted>,
}

/// Another Target, as the API server has it: what it holds, and what it may be making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// The remote id in its status.
    pub holds: Option<TargetId>,
    /// Its claim, if that is open.
    pub claim: Option<Claim>,
    /// Whether it is older than the object of the pass.
    pub older: bool,
}

/// The newest event of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its sequence.
    pub sequence: u64,
    /// Its date.
    pub date: Timestamp,
    /// Id of the instance.
    pub owner: Option<String>,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Of Connect.
    Connected(Result<Connection, Error>),
    /// Of Connect, when there is no connection to ask.
    Unconnected(Obstacle),
    /// Of Bound.
    Bound(Result<Bound, Error>),
    /// Of Claim: the patch landed.
    Claimed,
    /// Of Create, when it succeeded and status has the id.
    Created(TargetConfig, Created),
    /// Of Create, when it did not.
    CreateFailed(Error),
    /// Of Search.
    Searched(Result<Vec<Candidate>, Error>),
    /// Of LookUp.
    LookedUp(Result<Option<Candidate>, Error>),
    /// Of AskOthers.
    Others(Vec<Other>),
    /// Of AskNames: who of ours has the name.
    NameHolder(Option<NameHolder>),
    /// Of Commit.
    Committed(TargetId),
    /// Of Read.
    Read(Result<Option<RemoteTarget>, Error>),
    /// Of Probe.
    Probed(Result<Version, Error>),
    /// Of Update.
    Updated(Change, bool, Result<Version, Error>),
    /// Of Judge.
    Judged(Result<Version, Error>),
    /// Of Survey: the newest date that the read side shows of any target.
    Surveyed(Option<Timestamp>),
    /// Of History.
    History(Result<Option<Newest>, Error>),
    /// Of Trace: who created the target; `None` if nobody ever did.
    Traced(Result<Option<Origin>, Error>),
    /// Of TryRelease, when the API server would remove the finalizer.
    Releasable,
    /// Of Delete.
    Deleted(Result<(), Error>),
    /// Of Wait, Hold, Redate and DropClaim: nothing is learned but that it was done.
    Done,
}

impl Answer {
    /// The error that a call ended in, if it did; of calls that targets need. What the event store fails at says nothing
    /// of the connection, which works without it.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Connected(result) => result.as_ref().err(),
            Self::CreateFailed(error) => Some(error),
            Self::LookedUp(result) => result.as_ref().err(),
            Self::Read(result) => result.as_ref().err(),
            Self::Probed(result) | Self::Judged(result) | Self::Updated(_, _, result) => result.as_ref().err(),
            Self::Deleted(result) => result.as_ref().err(),
            Self::Claimed
            | Self::Bound(_)
            | Self::Searched(_)
            | Self::History(_)
            | Self::Traced(_)
            | Self::Unconnected(_)
            | Self::Others(_)
            | Self::NameHolder(_)
            | Self::Surveyed(_)
            | Self::Created(..)
            | Self::Committed(_)
            | Self::Releasable
            | Self::Done => None,
        }
    }
}

/// What the write side refused of an update, field by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// The name is taken.
    pub name: Option<Error>,
    /// The endpoint is denied.
    pub endpoint: Option<Error>,
}

/// What is known of the end of our finalizer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Finalizer {
    /// The API server was not asked.
    #[default]
    Unproven,
    /// It would remove it.
    Removable,
}

/// What the pass knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub(super) connection: Option<Result<Connection, Error>>,
    pub(super) obstacle: Option<Obstacle>,
    pub(super) bound: Option<Result<Bound, Error>>,
    /// The claim on the object was written by this pass: its create has not been sent before.
    pub(super) claimed: bool,
    pub(super) created: bool,
    pub(super) create_failed: Option<Error>,
    pub(super) searched: Option<Result<Vec<Candidate>, Error>>,
    pub(super) looked_up: Option<Result<Option<Candidate>, Error>>,
    /// The other Targets, asked for after what was found: what they hold by then is known, what they make later is newer.
    pub(super) others: Option<Vec<Other>>,
    pub(super) name_holder: Option<Whose>,
    /// Fields that the write side refused although the others may be right: they never hold those back.
    pub(super) refused: Refused,
    pub(super) judged: Option<Result<Version, Error>>,
    pub(super) recovered: Option<TargetId>,
    pub(super) view: Option<Result<Option<RemoteTarget>, Error>>,
    pub(super) probed: Option<Result<Version, Error>>,
    /// Date of the newest thing that the read side shows; the earliest of all dates if it shows nothing.
    pub(super) surveyed: Option<Timestamp>,
    /// What this pass has written.
    pub(super) changes: Vec<Change>,
    /// The state that it found before.
    pub(super) found: Option<Version>,
    /// The newest state of the write side that an earlier pass has learned of.
    pub(super) resumed: Option<Version>,
    /// The newest one that this pass has: after a write, or as a probe has shown it.
    pub(super) written: Option<Version>,
    pub(super) raised: bool,
    pub(super) update_failed: Option<Error>,
    pub(super) history: Option<Result<Option<Newest>, Error>>,
    pub(super) origin: Option<Result<Option<Origin>, Error>>,
    pub(super) finalizer: Finalizer,
    pub(super) deleted: Option<Result<(), Error>>,
    /// How often this pass has waited for the read side.
    pub(super) waits: u32,
}

impl Facts {
    /// Takes in what came of a step.
    pub fn learn(&mut self, answer: Answer) {
        match answer {
            Answer::Connected(connection) => self.connection = Some(connection),
            Answer::Unconnected(obstacle) => self.obstacle = Some(obstacle),
            Answer::Bound(newest) => self.bound = Some(newest),
            Answer::Claimed => {
                self.claimed = true;
                self.create_failed = None;
                // The next claim of the pass has a bound of its own.
                self.bound = None;
                self.unsettle();
            }
            Answer::Created(config, created) => {
                // What was learned of a former target says nothing of this one.
                *self = Self { connection: self.connection.take(), created: true, ..Self::default() };
                self.view = is_proof(&config).then(|| Ok(Some(as_posted(&config, created))));
            }
            Answer::CreateFailed(error) => {
                self.create_failed = Some(error);
                self.unsettle();
            }
            Answer::Searched(found) => self.searched = Some(found),
            Answer::LookedUp(found) => self.looked_up = Some(found),
            Answer::Others(others) => self.others = Some(others),
            Answer::NameHolder(holder) => self.name_holder = Some(holder.map_or(Whose::Stranger, Whose::Ours)),
            Answer::Judged(result) => self.judged = Some(result),
            Answer::Committed(id) => {
                self.recovered = Some(id);
                // They were states of a former target.
                (self.resumed, self.written) = (None, None);
            }
            Answer::Read(view) => self.view = Some(view),
            Answer::Probed(result) => {
                if let Ok(version) = &result {
                    self.known_to_exist(version);
                }
                self.probed = Some(result);
            }
            Answer::Surveyed(newest) => self.surveyed = Some(newest.unwrap_or(Timestamp::MIN)),
            Answer::Updated(change, raise, result) => self.learn_update(change, raise, result),
            Answer::History(newest) => self.history = Some(newest),
            Answer::Traced(origin) => self.origin = Some(origin),
            Answer::Releasable => self.finalizer = Finalizer::Removable,
            Answer::Deleted(result) => self.deleted = Some(result),
            Answer::Done => {}
        }
    }

    /// Whether this pass has neither written nor waited: then a recent list is as good as a read.
    #[must_use]
    pub fn untouched(&self) -> bool {
        !self.claimed && !self.created && self.recovered.is_none() && self.changes.is_empty() && self.waits == 0
    }

    /// Goes on from what an earlier pass wrote and could not read back yet.
    #[must_use]
    pub fn resume(written: Option<Version>) -> Self {
        Self { resumed: written, ..Self::default() }
    }

    /// Date of the state that the newest read showed.
    #[must_use]
    pub fn shown(&self) -> Option<Timestamp> {
        self.viewed()?.version.changed
    }

    fn viewed(&self) -> Option<&RemoteTarget> {
        self.view.as_ref()?.as_ref().ok()?.as_ref()
    }

    /// The newest state that the write side is known to have, if this pass or the one before learned of one.
    #[must_use]
    pub fn written(&self) -> Option<&Version> {
        self.written.as_ref().or(self.resumed.as_ref())
    }

    /// Whether the write side has told this pass what it holds.
    pub(super) const fn proven(&self) -> bool {
        self.created || self.written.is_some()
    }

    /// Notes that the read side was given time: what was read before no longer counts.
    pub fn waited(&mut self) {
        self.waits += 1;
        self.view = None;
        self.probed = None;
    }

    fn unsettle(&mut self) {
        self.searched = None;
        self.looked_up = None;
        self.others = None;
        self.origin = None;
        self.name_holder = None;
    }

    /// The write side is asked after everything that is known of it: if it tells of less, it has been put back. Of two
    /// accounts of one state the first one stays, which may say more.
    fn known_to_exist(&mut self, version: &Version) {
        let same = |known: &&Version| !known.is_before(version) && !version.is_before(known);
        self.written = Some(self.written().filter(same).unwrap_or(version).clone());
    }

    fn learn_update(&mut self, change: Change, raise: bool, result: Result<Version, Error>) {
        match result {
            Ok(version) => {
                if self.changes.is_empty() {
                    self.found = self.viewed().map(|remote| remote.version.clone());
                }
                self.written = Some(version);
                self.changes.push(change);
                self.raised = raise;
                if !raise {
                    self.view = None;
                    self.probed = None;
                }
            }
            Err(error) if error.reason() == Reason::NameTaken && change.name.is_some() => {
                self.refused.name = Some(error);
                self.name_holder = None;
            }
            Err(error) if error.reason() == Reason::EndpointDenied && change.endpoint.is_some() => {
                self.refused.endpoint = Some(error);
            }
            Err(error) => self.update_failed = Some(error),
        }
    }
}

/// Whether the answer to a create of this proves that all of it is held: servers ignore fields that they do not know.
#[must_use]
pub fn is_proof(config: &TargetConfig) -> bool {
    config.payload_type == PayloadType::Json
}

/// A create's answer is proof of what the write side holds: exactly what was posted (but see [`is_proof`]).
#[must_use]
pub fn as_posted(config: &TargetConfig, created: Created) -> RemoteTarget {
    RemoteTarget {
        id: created.id,
        name: config.name.to_string(),
        kind: Some(config.kind),
        timeout: config.timeout.duration(),
        endpoint: config.endpoint.as_str().to_owned(),
        payload_type: Some(config.payload_type),
        version: created.version,
        created: created.created,
        owner: created.owner,
    }
}
