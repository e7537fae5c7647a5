//! The protocol, step by step: each test is a life of an object, told as the answers that the world gives.
//!
//! The shell's part (what a step does to the object) is played by [`Life`].

mod adopting;
mod answers;
mod creating;
mod custody;
mod keeping;
mod leaving;
mod naming;
mod news;
mod payload;

use std::time::Duration;

use super::target::plan;
use super::{
    Account, Adoption, Answer, Candidate, Connection, Crd, Facts, Object, Other, Release, RemoteFacts, Step, Verdict,
    status,
};
use crate::api::claim::{Claim, ClaimState};
use crate::api::condition::Health;
use crate::api::reason::Reason;
use crate::api::target::{
    AsyncKind, ConnectionStatus, DeletionPolicy, ManagementPolicy, TargetSpec, TargetStatus, WaitingKind,
};
use crate::plan::facts::{Bound, Newest};
use crate::plan::ownership::Rival;
use crate::zitadel::error::ApiError;
use crate::zitadel::{Api, Created, Error, Kind, OnError, PayloadType, RemoteTarget, TargetId, Version};
use jiff::{SignedDuration, Timestamp};

fn noon() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn before_noon(seconds: i64) -> Timestamp {
    noon().checked_sub(SignedDuration::from_secs(seconds)).unwrap()
}

/// Date of the newest event before the claims of these tests.
fn latest() -> Timestamp {
    before_noon(30)
}

fn bound(newest: Timestamp, recent: &[&str]) -> Bound {
    Bound { newest, recent: Some(recent.iter().map(|id| target_id(id)).collect()) }
}

fn target_id(text: &str) -> TargetId {
    text.parse().unwrap()
}

fn connection(api: Api) -> Connection {
    Connection {
        api,
        payload_types: api.payload_types(None),
        reference: None,
        url: "https://z".into(),
        instance: Some("i1".into()),
        sent_within: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
        server_version: None,
        grace: Duration::from_mins(2),
        adoption: Adoption::Allowed,
        account: Account::Ours,
    }
}

fn refused(status: u16, code: i64, id: &str) -> Error {
    Error::Api(ApiError { status, code, message: "m".into(), id: Some(id.into()) })
}

fn gone() -> Error {
    refused(404, 5, "COMMAND-xj14f2cccn")
}

fn taken() -> Error {
    refused(409, 6, "V3-DKcYh")
}

/// An object and what its pass knows; the cluster's side of each step is played here.
struct Life {
    spec: TargetSpec,
    status: TargetStatus,
    claim: ClaimState,
    deleting: bool,
    finalized: bool,
    facts: Facts,
    now: Timestamp,
    api: Api,
    rival: Option<Rival>,
    co_holder: Option<Rival>,
    born: Timestamp,
    connection: Connection,
    crd: Crd,
}

impl Life {
    fn new() -> Self {
        let spec = TargetSpec {
            name: None,
            rest_webhook: Some(WaitingKind { interrupt_on_error: Some(true) }),
            rest_call: None,
            rest_async: None,
            timeout: "10s".into(),
            endpoint: "https://h/x".into(),
            payload_type: None,
            connection_ref: None,
            deletion_policy: None,
            external_id: None,
            management_policy: None,
            suspend: None,
        };
        Self {
            spec,
            status: TargetStatus { observed_generation: Some(-1), ..TargetStatus::default() },
            claim: ClaimState::Absent,
            deleting: false,
            finalized: false,
            facts: Facts::default(),
            now: noon(),
            api: Api::V3Alpha,
            rival: None,
            co_holder: None,
            born: before_noon(60),
            connection: connection(Api::V3Alpha),
            crd: Crd::Stays,
        }
    }

    /// One that has been created as id 7, and its status says so.
    fn created() -> Self {
        let mut life = Self::new();
        life.step_connect();
        life.answer(Answer::Claimed);
        let Step::Create(config) = life.step() else { panic!("{:?}", life.step()) };
        life.created_as("7", &config);
        life.rest();
        life
    }

    fn object(&self) -> Object<'_> {
        Object {
            name: "hook",
            generation: 1,
            deleting: self.deleting,
            finalized: self.finalized,
            claim: &self.claim,
            spec: &self.spec,
            status: &self.status,
            rival: self.rival.as_ref(),
            co_holder: self.co_holder.as_ref(),
            uid: "uid-1",
            born: self.born,
            crd: self.crd,
        }
    }

    fn step(&self) -> Step {
        plan(&self.object(), &self.facts, self.now)
    }

    /// Takes in an answer, and does to the object what the shell does.
    fn answer(&mut self, answer: Answer) {
        match self.step() {
            Step::Claim(claim) => {
                self.claim = ClaimState::Held(claim);
                self.finalized = true;
            }
            Step::Hold => self.finalized = true,
            Step::DropClaim => self.claim = ClaimState::Absent,
            Step::Commit(candidate) => {
                let remote = Some(RemoteFacts::recovered(&candidate, &connection(self.api)));
                let verdict = Verdict { remote, ..Verdict::verifying() };
                self.status = status::render(&self.status, &verdict, 1, self.now);
            }
            _ => {}
        }
        self.facts.learn(answer);
    }

    /// The connection works; a create that follows has its bound.
    fn step_connect(&mut self) {
        assert_eq!(self.step(), Step::Connect);
        let connection = Connection { api: self.api, ..self.connection.clone() };
        self.answer(Answer::Connected(Ok(connection)));
        self.learn_bound();
    }

    /// The bound of a create, if that is next.
    fn learn_bound(&mut self) {
        if self.step() == Step::Bound {
            self.answer(Answer::Bound(Ok(bound(latest(), &["5"]))));
        }
    }

    /// Before a deletion in ZITADEL the API server is asked whether the finalizer can go.
    fn try_release(&mut self) {
        assert_eq!(self.step(), Step::TryRelease);
        self.answer(Answer::Releasable);
    }

    fn created_as(&mut self, id: &str, config: &crate::zitadel::TargetConfig) {
        let version = Version { sequence: (self.api == Api::V3Alpha).then_some(1), changed: Some(self.now) };
        let created = Created { id: target_id(id), version, created: Some(self.now), owner: None };
        let remote = super::facts::as_posted(config, created.clone());
        let verdict = super::target::committed(&remote, &connection(self.api));
        self.status = status::render(&self.status, &verdict, 1, self.now);
        self.facts.learn(Answer::Created(config.clone(), created));
    }

    fn verdict(&self) -> Verdict {
        match self.step() {
            Step::Finish(verdict) => verdict,
            step => panic!("the pass is not over: {step:?}"),
        }
    }

    /// Ends the pass and begins the next one.
    fn rest(&mut self) -> Verdict {
        let verdict = self.verdict();
        self.status = status::render(&self.status, &verdict, 1, self.now);
        self.facts = Facts::default();
        verdict
    }

    fn later(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    }

    fn remote() -> RemoteTarget {
        RemoteTarget {
            id: target_id("7"),
            name: "hook".into(),
            kind: Some(Kind::Webhook(OnError::Interrupt)),
            timeout: Duration::from_secs(10),
            endpoint: "https://h/x".into(),
            payload_type: Some(PayloadType::Json),
            version: Version { sequence: Some(1), changed: Some(noon()) },
            created: None,
            owner: None,
        }
    }

    fn candidate(&self, id: &str, age: i64) -> Candidate {
        let date = self.now.checked_sub(SignedDuration::from_secs(age)).unwrap();
        Candidate {
            id: target_id(id),
            name: "hook".into(),
            version: Version { sequence: Some(1), changed: Some(date) },
            created: Some(date),
            owner: None,
            posted: None,
        }
    }
}

/// Another Target, without a claim.
fn holder(id: &str) -> Other {
    Other { holds: Some(target_id(id)), claim: None, older: false }
}

fn assert_reason(verdict: &Verdict, health: Health, reason: Reason) {
    assert_eq!((verdict.health, verdict.reason), (health, reason), "{verdict:?}");
}

/// A pass that finds the claim of an earlier one.
fn reopened(age: i64) -> Life {
    let mut life = Life::new();
    life.step_connect();
    life.answer(Answer::Claimed);
    life.facts = Facts::default();
    life.later(age);
    life.step_connect();
    life
}
