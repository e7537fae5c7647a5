//! What a configuration explores, and how the protocol may be broken on purpose.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use zitadel_actions_operator::zitadel::Api;

use super::state::{Budget, Settings, Tick};

/// What may go wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request is lost before it has any effect; no answer.
    LostRequest,
    /// It is carried out; no answer.
    LostReply,
    /// No answer in time, and it is carried out later, or never.
    GivenUp,
    /// ZITADEL refuses it for a reason of its own.
    Refused,
    /// It is carried out, and somebody's response execution fails the answer.
    Forwarded,
    /// No connection.
    Unconnected,
    /// A read gets no answer.
    UnansweredRead,
    /// A write to the API server lands and its answer is lost.
    LostClusterReply,
    /// The pass's deadline strikes while its create is being committed.
    PassDeadline,
}

/// What the user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum User {
    /// Change the timeout.
    Edit,
    /// Change the name from the first one to the second one, or back.
    Rename,
    /// Change the name to one that nobody else asks for.
    Leave,
    /// Set the deletion policy to Retain.
    Retain,
    /// Delete the object.
    Delete,
    /// Create it anew once it is gone.
    Recreate,
}

/// What somebody else may do in ZITADEL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum External {
    /// Create a target with our name (in capitals) and this timeout, as another user.
    Create(u8),
    /// The same with our own account: by hand, or from another cluster.
    CreateAsUs(u8),
    /// Give an old target our name.
    Take,
    /// A transaction stays open: what is written from now on is hidden from searches until it ends.
    Hide,
    /// Retention hides everything that has happened so far, for ever.
    Expire,
    /// Write the id of the old target into the status of an object that has none.
    WriteId,
    /// Copy the status of the first object to the second one.
    CopyStatus,
    /// Delete a target of ours.
    Delete,
    /// Change the timeout of a target of ours.
    Edit,
    /// Rename a target of ours.
    Rename,
    /// Put ZITADEL's database back to a state before its newest event.
    Restore,
}

/// A deliberate error: each is a rule of the protocol, left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutation {
    NoClaim,
    BlindClaim,
    ClaimWithoutSettling,
    TrustReadSideNotFound,
    AdoptWithoutDateRule,
    RepostBeforeDead,
    ForgetOnConflict,
    BlindStatus,
    LetGoWithOpenClaim,
    AdoptHeldByAnother,
    AdoptClaimedByAnother,
    AskTheCache,
    ForgetWritten,
    ReadyWithoutProof,
    AdoptOfAnotherEditor,
    ReadyOnOldView,
    RepeatCreate,
    NoAnswerIsRefusal,
    ReleaseBeforeDelete,
    OldBound,
    AnyRefusalCounts,
    DropOnConflict,
    EmptyAnswerVouches,
    AnyPayload,
    DeleteCoHeld,
    NameHoldsBack,
    CircleStays,
}

/// One configuration.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each switches one thing on, and all are named where they are set")]
pub struct Config {
    pub name: &'static str,
    pub api: Api,
    /// Whether our credential may read the event store.
    pub events: bool,
    pub replicas: u8,
    /// The objects at the start.
    pub objects: Vec<Settings>,
    /// A target of somebody else's, long there.
    pub foreign: Option<Settings>,
    /// The last tick of free exploration.
    pub ticks: Tick,
    /// After how many ticks the read side shows an event at the latest; 0 is at once.
    pub lag: Tick,
    pub budget: Budget,
    pub faults: &'static [Fault],
    pub user: &'static [User],
    pub external: &'static [External],
    /// Whether others may act between the moment when a create is carried out and the moment when its answer is read.
    pub slow_answers: bool,
    /// Whether nobody writes but one replica that loses nothing: then Ready=True must be true to the letter.
    pub strict_ready: bool,
    /// Whether creates are counted: not where a foreign target may have the name.
    pub count_creates: bool,
    /// How many objects are at rest before the others are created.
    pub established: u8,
    /// Whether I5 is left out: for a break whose configuration is one of the known limits.
    pub safety_only: bool,
    /// Whether each replica cares for the object in its own slot only: two passes of one process, over two objects.
    pub apart: bool,
    /// How many events ZITADEL may have: only replicas that work against each other reach it.
    pub events_at_most: usize,
    pub mutation: Option<Mutation>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "",
            api: Api::V3Alpha,
            events: true,
            replicas: 1,
            objects: vec![Settings { name: 0, timeout: 0 }],
            foreign: None,
            ticks: 3,
            lag: 3,
            budget: Budget::default(),
            faults: &[],
            user: &[],
            external: &[],
            slow_answers: false,
            strict_ready: false,
            count_creates: false,
            established: 0,
            safety_only: false,
            apart: false,
            events_at_most: 12,
            mutation: None,
        }
    }
}

/// A configuration being checked.
#[derive(Clone, Default)]
pub struct Operator {
    pub config: Config,
    /// States whose calm continuation is known, and whether it reaches rest.
    pub calm: Arc<Mutex<HashMap<u64, bool>>>,
}

impl Operator {
    pub fn new(config: Config) -> Self {
        Self { config, calm: Arc::default() }
    }

    /// Whether somebody else creates targets with our account.
    pub fn account_is_shared(&self) -> bool {
        self.config.external.iter().any(|act| matches!(act, External::CreateAsUs(_)))
    }

    pub fn breaks(&self, mutation: Mutation) -> bool {
        self.config.mutation == Some(mutation)
    }
}
