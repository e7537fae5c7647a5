//! The state of the modelled world, as small as possible: every id, name, moment and version is a little number.
//!
//! `convert` turns these into the types of production when the planner is asked, and its answers back into these.

/// Id of a target in ZITADEL, from 1.
pub type Id = u8;
/// Identity of an object in the cluster, from 1; never used twice.
pub type Uid = u8;
/// The clock: one tick is [`super::convert::TICK`] seconds.
pub type Tick = i8;

/// The owner of what our own account did for none of our objects.
pub const NOBODY: Uid = 0;

/// When an event happened: the tick, and its position in the event store, which makes dates unique and ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date {
    pub tick: Tick,
    pub no: u8,
}

impl Date {
    /// Before any event.
    pub const BEGINNING: Self = Self { tick: i8::MIN, no: 0 };
}

/// Settings of a target: name and timeout are positions in the tables of `convert`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Settings {
    pub name: u8,
    pub timeout: u8,
}

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spec {
    pub settings: Settings,
    pub retain: bool,
}

/// The claim annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    pub name: u8,
    pub since: Tick,
    /// The newest event that was known before.
    pub after: Option<Date>,
    /// Targets with events shortly before that: bit per id.
    pub known: Option<u16>,
    pub time: Tick,
    pub replaces: Option<Id>,
    pub repairs: u8,
    /// The object that made it.
    pub object: Uid,
    /// What its creates post beside the name: bit per timeout.
    pub posted: u8,
}

/// The conditions, which are one of four sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Said {
    Ready,
    Idle,
    Reconciling,
    Stalled,
}

/// The status; texts and transition times are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Status {
    pub id: Option<Id>,
    pub sequence: Option<u8>,
    pub changed: Option<Date>,
    pub created: Option<Date>,
    pub name: Option<u8>,
    pub connected: bool,
    pub said: Option<(Said, zitadel_actions_operator::api::reason::Reason, u8)>,
}

/// A Target in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Object {
    pub slot: u8,
    pub uid: Uid,
    /// resourceVersion.
    pub version: u8,
    pub generation: u8,
    /// `metadata.creationTimestamp`.
    pub born: Tick,
    pub spec: Spec,
    pub deleting: bool,
    pub finalized: bool,
    pub claim: Option<Claim>,
    /// How many events the event store told of when the first create under the claim was decided on: what others make
    /// with our account later cannot be told from our own. Only kept where somebody does that.
    pub bounded: u8,
    pub status: Status,
}

/// How new a state of a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    pub sequence: Option<u8>,
    pub changed: Date,
}

/// A target as the read side shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Remote {
    pub id: Id,
    pub settings: Settings,
    pub version: Version,
    pub created: Option<Date>,
}

/// What may be the result of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate {
    pub id: Id,
    pub name: u8,
    pub version: Version,
    pub created: Option<Date>,
    /// The timeout that it was created with, where that shows.
    pub posted: Option<u8>,
}

/// Another object, as the API server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Other {
    pub holds: Option<Id>,
    pub claim: Option<Claim>,
    pub older: bool,
}

/// How far the event store has come: the newest event, and bit per id the targets with events shortly before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bound {
    pub newest: Date,
    pub recent: Option<u16>,
}

/// Who created a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    pub settings: Settings,
    pub date: Date,
    /// Whether our own account did.
    pub ours: bool,
}

/// What the one of ours that has a name is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    Keeps,
    Leaves,
    WaitsForUs,
}

/// A partial update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Change {
    pub name: Option<u8>,
    pub timeout: Option<u8>,
}

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No connection: certainly not sent.
    Unconnected,
    /// Sent, and no answer.
    NoAnswer,
    /// Carried out, and then somebody's execution failed the answer.
    Forwarded,
    /// Refused by ZITADEL, for a reason that has nothing to do with other targets.
    Refused,
    /// The name is taken.
    Taken,
    /// The write side knows no such target.
    Gone,
    /// The credential may not do that.
    Denied,
}

/// What a pass has learned, in order; `convert` replays it into production's `Facts`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Learned {
    Connected,
    Bound(Result<Bound, Failure>),
    Claimed,
    Created(Settings, Id, Date),
    CreateFailed(Failure),
    Searched(Result<Vec<Candidate>, Failure>),
    LookedUp(Result<Option<Candidate>, Failure>),
    Others(Vec<Other>),
    NameHolder(Option<Holder>),
    Committed(Id),
    Read(Result<Option<Remote>, Failure>),
    Probed(Result<Version, Failure>),
    Updated(Change, bool, Result<Version, Failure>),
    Surveyed(Option<Date>),
    History(Result<Option<(u8, Date)>, Failure>),
    Traced(Result<Option<Origin>, Failure>),
    Deleted(Result<(), Failure>),
    Done,
    Waited,
}

/// Why an object is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LetGo {
    Deleted,
    Retained,
    NothingRemote,
}

/// The planner's step, with what production works out from it before the first await.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Todo {
    Connect,
    Bound,
    Claim(Claim),
    Redate(Claim),
    Hold,
    DropClaim,
    Create(Settings),
    /// The pass waits for its create task.
    Await,
    Search {
        name: u8,
        since: Date,
    },
    LookUp(u8),
    AskOthers,
    AskNames(u8),
    Commit(Id, Status),
    Read(Id),
    Probe(Id),
    Update(Id, Change, bool),
    Survey,
    History(Id),
    Trace(Id),
    Delete(Id),
    Wait,
    Release(LetGo),
    Finish(Status),
    Ignore,
}

/// A pass in progress.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pass {
    pub object: Object,
    /// Whether an older Target is seen to hold the same remote target.
    pub rival: bool,
    /// Whether another live Target is seen to record it.
    pub co_holder: bool,
    /// What an earlier pass wrote and could not read back.
    pub resumed: Option<Version>,
    /// How many events were told when the bound was read.
    pub bounded: u8,
    pub learned: Vec<Learned>,
    pub todo: Todo,
}

/// How far a create task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Work {
    /// The request is on its way; with an id, it is carried out and the answer is on its way back.
    Posting(Option<(Id, Date)>),
    /// The answer is being committed; the object is the one that the next attempt writes on.
    Committing(Id, Date, Object),
    /// There is nothing to commit it on: the target is being deleted again.
    Orphaned(Id),
}

/// A create and its commit, independent of the pass that began it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Task {
    pub base: Object,
    pub settings: Settings,
    pub work: Work,
    /// Whether the pass that began it still waits for it.
    pub awaited: bool,
}

/// One process of the operator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Replica {
    /// What the watch has delivered last, per slot.
    pub cache: Vec<Option<Object>>,
    /// What our own last write returned, while that is newer.
    pub memory: Vec<Option<Object>>,
    /// What was written to an object's target and not read back yet, per slot.
    pub written: Vec<Option<(Uid, Version)>>,
    pub pass: Option<Pass>,
    pub tasks: Vec<Task>,
}

/// A call that changes something in ZITADEL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    Create(Settings),
    Update(Id, Change),
    Delete(Id),
}

/// A request whose sender no longer waits, and which may still be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Late {
    pub call: Call,
    pub uid: Uid,
    /// The last tick at which that may happen.
    pub until: Tick,
}

/// What an event of ZITADEL says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    Added(Settings),
    Changed(Settings),
    Removed,
}

/// One event of ZITADEL's event store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Event {
    pub id: Id,
    pub what: What,
    /// For which object our own account did it ([`NOBODY`] if for none); `None` is another account.
    pub by: Option<Uid>,
    pub tick: Tick,
}

/// How much trouble is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    pub crashes: u8,
    pub faults: u8,
    pub user: u8,
    pub external: u8,
}

/// Something that must never happen and is seen in a step rather than in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// I3: a target that was not created for the object was changed or deleted for it.
    ForeignTouched,
    /// I3: a status was written with the id of a target that was not created for the object, and that another one has
    /// recorded or may yet learn of.
    ForeignAdopted,
    /// I3: a target was deleted that another live object is seen to record.
    CoHeldDeleted,
    /// I4: Ready=True was written on something else than the spec, or on an older state than one already known.
    ReadyUntrue,
    /// I4, where nobody else writes: Ready=True was written while the write side held something else.
    ReadyOutdated,
    /// I6: a pass that does not end.
    EndlessPass,
    /// I6: more creates than one, plus one for each that was lost.
    NeedlessCreate,
    /// A create's answer was read by a living process and its id was recorded nowhere.
    AnswerForgotten,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub now: Tick,
    pub objects: Vec<Option<Object>>,
    pub next_uid: Uid,
    pub next_version: u8,
    pub log: Vec<Event>,
    /// How many targets were ever created: ids are never used twice, not even after a restore.
    pub born: u8,
    /// Whether ZITADEL's database was put back.
    pub restored: bool,
    /// How many events the read side shows.
    pub shown: u8,
    /// From where on an open transaction hides events from those who search them.
    pub veil: Option<u8>,
    /// Up to where retention hides them for ever.
    pub expired: u8,
    pub late: Vec<Late>,
    pub replicas: Vec<Replica>,
    pub left: Budget,
    /// Objects that were let go with Retain: bit per uid.
    pub retained: u16,
    /// Targets whose object was let go with Retain and had recorded them: bit per id.
    pub kept: u16,
    pub posts: u8,
    pub flaw: Option<Flaw>,
}
