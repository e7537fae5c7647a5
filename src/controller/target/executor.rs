//! One pass over a Target: ask the planner, do the step, tell it what came of it, until it says that the pass is over.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use tokio::time::Instant;
use tracing::Instrument;

use crate::api::claim::{Claim, ClaimState};
use crate::api::condition::{ConditionType, find};
use crate::api::target::Target;
use crate::api::{CLAIM_ANNOTATION, RECONCILE_ANNOTATION};
use crate::controller::PASS_DEADLINE;
use crate::controller::connections::connection::LiveConnection;
use crate::controller::runtime::writer::WriteError;
use crate::controller::target::context::{Context, Rest};
use crate::controller::target::crd::Finding;
use crate::controller::target::create::{Create, End};
use crate::controller::target::events;
use crate::controller::target::has_finalizer;
use crate::controller::target::name_waiters;
use crate::controller::target::orphan_removal::Orphan;
use crate::controller::target::orphans;
use crate::controller::target::reconcile::again;
use crate::controller::target::writes::Writer;
use crate::plan::ownership::Rival;
use crate::plan::{self, Answer, Candidate, Connection, Crd, Deed, Facts, Object, Release, RemoteFacts, Step, Verdict};
use crate::zitadel::client::Turn;
use crate::zitadel::{Client, Error, Identity, TargetConfig, TargetName};

/// More steps than the longest path through the planner has: a guard against a loop in it.
const MOST_STEPS: usize = 64;

/// Why a pass did not reach a verdict. The object's own trouble is never an error: it is a verdict, in its status.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// A write to the cluster failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The object cannot be read as a Target.
    #[error("the object is no valid Target: {0}")]
    Unreadable(String),
    /// The pass took too long.
    #[error("the pass took longer than {} s", PASS_DEADLINE.as_secs())]
    Deadline,
    /// The process ends.
    #[error("the operator is stopping")]
    Stopping,
    /// A bug: the pass panicked, or the planner did not come to an end.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl PassError {
    /// The same in one word.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Write(WriteError::Conflict) => "conflict",
            Self::Write(WriteError::Gone) => "gone",
            Self::Write(WriteError::Timeout) => "timeout",
            Self::Write(WriteError::Refused(_)) => "refused",
            Self::Write(WriteError::ListRefused(_)) => "list",
            Self::Write(WriteError::Unlisted | WriteError::Other(_)) => "write",
            Self::Unreadable(_) => "unreadable",
            Self::Deadline => "deadline",
            Self::Stopping => "stopping",
            Self::Internal(_) => "internal",
        }
    }
}

/// A pass in progress.
pub(crate) struct Pass<'a> {
    pub(crate) context: &'a Arc<Context>,
    pub(crate) object: Arc<Target>,
    claim: ClaimState,
    pub(crate) facts: Facts,
    pub(crate) live: Option<Arc<LiveConnection>>,
    pub(crate) connected: Option<(Connection, Identity)>,
    turn: Option<Turn>,
    rival: Option<Rival>,
    co_holder: Option<Rival>,
    crd: Finding,
    pub(crate) deed: Deed,
    pub(crate) began: Instant,
    /// When this generation was applied, if it has not been Ready since then, as far as that is known.
    applied: Option<Timestamp>,
}

enum Next {
    Learned(Answer),
    Waited,
    Over(Action),
}

impl<'a> Pass<'a> {
    pub(crate) fn new(context: &'a Arc<Context>, object: Arc<Target>) -> Self {
        let claim = claim_of(&object);
        // Now, as the watch may show the outcome before the pass ends.
        let applied = context.metrics().targets().waits().applied(&object);
        let facts = Facts::resume(context.written(&object));
        Self {
            context,
            object,
            claim,
            facts,
            live: None,
            connected: None,
            turn: None,
            rival: None,
            co_holder: None,
            crd: Finding::Read(Crd::Stays),
            deed: Deed::default(),
            began: Instant::now(),
            applied,
        }
    }

    pub(crate) async fn run(mut self) -> Result<Action, PassError> {
        match self.take_steps().await {
            Err(PassError::Write(WriteError::Refused(why))) => self.refused(why).await,
            ended => ended,
        }
    }

    async fn take_steps(&mut self) -> Result<Action, PassError> {
        self.restore_status().await?;
        self.rival = self.find_rival();
        self.co_holder = self.find_co_holder();
        if self.is_deleting() && !orphans::keeps(&self.object) {
            self.crd = self.context.look_at_crd(&self.object).await?;
            if let Finding::TooEarly(pause) = self.crd {
                return Ok(again(self.context, &*self.object, pause));
            }
        }
        for _ in 0..MOST_STEPS {
            let step = self.ask();
            tracing::debug!(?step, "step");
            self.deed = self.deed.with(&step);
            match self.execute(step).await? {
                Next::Learned(answer) => self.learn(answer),
                Next::Waited => self.facts.waited(),
                Next::Over(action) => return Ok(action),
            }
        }
        Err(PassError::Internal("the planner did not come to an end"))
    }

    /// Puts back the status that this process wrote, if somebody else has changed it: what follows rests on it.
    async fn restore_status(&mut self) -> Result<(), PassError> {
        if let Some(status) = self.context.overwritten(&self.object) {
            tracing::info!("status was changed by somebody else; restoring it");
            let restored = self.writer().write_status(&self.object, &status).await?;
            self.take(restored);
        }
        Ok(())
    }

    fn is_deleting(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// The API server refuses a write: said on the object, as status may be writable all the same, or else by an Event and
    /// the log alone.
    async fn refused(&mut self, why: String) -> Result<Action, PassError> {
        let verdict = plan::refusal::write_refused(self.is_deleting(), &self.facts, &why);
        match self.finish(&verdict).await {
            Err(PassError::Write(WriteError::Refused(_))) => {
                self.context.metrics().failed(verdict.reason, true);
                self.report(&verdict, true);
                Err(WriteError::Refused(why).into())
            }
            ended => ended,
        }
    }

    fn ask(&self) -> Step {
        let object = &self.object;
        let status = object.status.clone().unwrap_or_default();
        let view = Object {
            name: object.metadata.name.as_deref().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            deleting: self.is_deleting(),
            finalized: has_finalizer(object.metadata.finalizers.as_deref()),
            claim: &self.claim,
            spec: &object.spec,
            status: &status,
            rival: self.rival.as_ref(),
            co_holder: self.co_holder.as_ref(),
            uid: object.metadata.uid.as_deref().unwrap_or_default(),
            born: object.creation_timestamp().map_or(Timestamp::MIN, |time| time.0),
            crd: match self.crd {
                Finding::Read(crd) | Finding::Discovered(crd) => crd,
                Finding::TooEarly(_) => Crd::Unreadable,
            },
        };
        // Before there is a connection, no decision rests on the time.
        let now = self.live.as_ref().map_or_else(Timestamp::now, |live| live.health.client().server_now());
        plan::target::plan(&view, &self.facts, now)
    }

    fn learn(&mut self, answer: Answer) {
        if let (Some(error), Some(live)) = (answer.error(), &self.live) {
            live.health.doubt(error);
        }
        self.facts.learn(answer);
        self.context.note_written(&self.object, self.facts.written());
    }

    /// The client of the object's own connection, and never another one.
    pub(crate) fn zitadel(&self) -> Result<&Arc<Client>, Error> {
        let live = self.live.as_ref().ok_or_else(|| Error::Setup("the connection is not known yet".into()))?;
        Ok(live.health.client())
    }

    pub(crate) fn writer(&self) -> &Writer {
        self.context.writer()
    }

    async fn execute(&mut self, step: Step) -> Result<Next, PassError> {
        let answer = match step {
            Step::Connect => self.connect().await,
            Step::Bound => Answer::Bound(self.bound().await),
            Step::Claim(claim) => self.write_claim(&claim).await?,
            Step::Redate(claim) => {
                let claimed = self.writer().claim(&self.object, &claim).await?;
                self.take(claimed);
                Answer::Done
            }
            Step::Create(config) => self.create(config).await?,
            Step::Hold => {
                let held = self.writer().hold(&self.object).await?;
                self.take(held);
                Answer::Done
            }
            Step::DropClaim => {
                let dropped = self.writer().drop_claim(&self.object).await?;
                self.take(dropped);
                Answer::Done
            }
            Step::Search { name, since } => Answer::Searched(self.search(&name, since).await),
            Step::LookUp(name) => Answer::LookedUp(self.look_up(&name).await),
            Step::AskOthers => Answer::Others(self.others().await?),
            Step::AskNames(name) => Answer::NameHolder(self.name_holder(&name)),
            Step::Commit(candidate) => self.commit(candidate).await?,
            Step::Read(id) => Answer::Read(self.read(&id).await),
            Step::Survey => self.survey().await,
            Step::Probe(id) => Answer::Probed(self.update(&id, &plan::Change::default()).await),
            Step::Update { id, change, raise } => {
                let result = self.update(&id, &change).await;
                if let (Some(name), true) = (&change.name, result.is_ok()) {
                    self.warn_of_name(name);
                    self.free_name(Some(name));
                }
                Answer::Updated(change, raise, result)
            }
            Step::Judge(id, endpoint) => {
                let same = plan::Change { endpoint: Some(endpoint), ..plan::Change::default() };
                Answer::Judged(self.update(&id, &same).await)
            }
            Step::History(id) => Answer::History(self.history(&id).await),
            Step::Trace(id) => Answer::Traced(self.origin(&id).await),
            Step::TryRelease => {
                self.try_release().await?;
                Answer::Releasable
            }
            Step::Delete(id) => {
                let result = self.delete(&id).await;
                // What is replaced keeps its name.
                if result.is_ok() && self.is_deleting() {
                    self.free_name(None);
                }
                Answer::Deleted(result)
            }
            Step::Wait(pause) => {
                tokio::time::sleep(pause).await;
                return Ok(Next::Waited);
            }
            Step::Release(release) => return Ok(Next::Over(self.release(release).await?)),
            Step::Finish(verdict) => return Ok(Next::Over(self.finish(&verdict).await?)),
            Step::Ignore => {
                self.context.forget(&self.object);
                return Ok(Next::Over(Action::await_change()));
            }
        };
        Ok(Next::Learned(answer))
    }

    /// Asks whether the finalizer could go. Where the rights come from the object's namespace they may be deleted with it at
    /// any moment, so status says first what is about to be done.
    async fn try_release(&mut self) -> Result<(), PassError> {
        let ready = self.object.status.as_ref().and_then(|status| find(&status.conditions, ConditionType::Ready));
        if matches!(self.crd, Finding::Discovered(_)) && ready.is_some_and(|ready| ready.status == "True") {
            let status = self.rendered(&plan::refusal::deleting());
            if self.object.status.as_ref() != Some(&status) {
                let written = self.writer().write_status(&self.object, &status).await?;
                self.take(written);
            }
        }
        Ok(self.writer().try_release(&self.object).await?)
    }

    /// Wakes who waits for the name that this object's target had until now.
    fn free_name(&self, now: Option<&TargetName>) {
        let recorded = self.object.status.as_ref().and_then(|status| status.name.clone());
        let had = recorded.unwrap_or_else(|| name_waiters::wanted_name(&self.object));
        if now.is_none_or(|now| !now.same_as(&had)) {
            name_waiters::wake_waiting_for_name(self.context, &self.object, &had);
        }
    }

    pub(crate) fn requested(&self) -> Option<&str> {
        self.object.annotations().get(RECONCILE_ANNOTATION).map(String::as_str)
    }

    pub(crate) fn handled(&self) -> Option<&str> {
        self.object.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref())
    }

    /// Goes on with the object as the API server returned it.
    pub(crate) fn take(&mut self, object: Target) {
        self.object = Arc::new(object);
        self.claim = claim_of(&self.object);
        self.context.remember(&self.object, Rest::Never, self.facts.written().cloned());
        if let Some(applied) = self.applied.take_if(|_| self.object.is_settled()) {
            self.context.metrics().targets().ready(applied);
        }
    }

    async fn write_claim(&mut self, claim: &Claim) -> Result<Answer, PassError> {
        let turn = match self.zitadel() {
            Ok(client) => client.turn().await,
            Err(error) => Err(error),
        };
        let mut turn = match turn {
            Ok(turn) => turn,
            Err(error) => return Ok(Answer::CreateFailed(error)),
        };
        turn.claiming();
        let lost = claim
            .replaces
            .clone()
            .filter(|_| !matches!(&self.claim, ClaimState::Held(old) if old.is_open(claim.replaces.as_deref())));
        let claimed = self.writer().claim(&self.object, claim).await?;
        self.take(claimed);
        self.turn = Some(turn);
        if let Some(id) = lost {
            events::publish_loss(self.context, &self.object, &id);
        }
        if let Ok(name) = claim.name.parse() {
            self.warn_of_name(&name);
        }
        Ok(Answer::Claimed)
    }

    fn warn_of_name(&self, name: &TargetName) {
        if name.may_stay_taken() {
            events::publish_name_warning(self.context, &self.object, name.as_str());
        }
    }

    /// Sends the create in a task of its own: neither the deadline of the pass nor a shutdown comes between the
    /// answer and its commit.
    async fn create(&mut self, config: TargetConfig) -> Result<Answer, PassError> {
        let (Some(turn), Some((connection, _)), Some(live)) = (self.turn.take(), self.connected.clone(), &self.live)
        else {
            return Err(PassError::Internal("a create without a claim of this pass"));
        };
        let task = Create {
            writer: self.writer().clone(),
            health: Arc::clone(&live.health),
            object: Arc::clone(&self.object),
            connection,
        };
        let (posted, context) = (config.clone(), Arc::clone(self.context));
        let (object, health) = (Arc::clone(&self.object), Arc::clone(&live.health));
        let creating = async move {
            let result = task.run(turn, &posted).await;
            match &result {
                Err(End::Refused(error)) if error.may_have_committed() => context.metrics().targets().outcome_unknown(),
                Err(End::Orphaned(id)) => {
                    context.metrics().targets().orphan_found();
                    let orphan = Orphan { id: id.clone(), object, health };
                    context.creates().spawn(orphan.remove(Arc::clone(&context)));
                }
                Ok(_) | Err(End::Refused(_)) => {}
            }
            result
        };
        let running = self.context.creates().spawn(creating.in_current_span());
        match running.await {
            Ok(Ok((created, committed))) => {
                self.take(committed);
                Ok(Answer::Created(config, created))
            }
            Ok(Err(End::Refused(error))) => Ok(Answer::CreateFailed(error)),
            Ok(Err(End::Orphaned(_))) => Err(WriteError::Gone.into()),
            Err(_) => Err(PassError::Internal("a create panicked")),
        }
    }

    async fn commit(&mut self, candidate: Candidate) -> Result<Answer, PassError> {
        let Some((connection, _)) = &self.connected else {
            return Err(PassError::Internal("a recovery without a connection"));
        };
        if self.object.spec.external_id.is_some() && !self.context.reserve(candidate.id.as_str(), &self.object) {
            // Another adoption was first. The next pass finds it by the index, as soon as the cache shows it.
            return Err(WriteError::Conflict.into());
        }
        let verdict = Verdict { remote: Some(RemoteFacts::recovered(&candidate, connection)), ..Verdict::verifying() };
        let status = self.rendered(&verdict);
        let written = self.writer().write_status(&self.object, &status).await;
        if written.is_err() {
            self.context.unreserve(&self.object);
        }
        self.take(written?);
        if self.object.spec.external_id.is_none() {
            self.context.metrics().targets().orphan_found();
        }
        Ok(Answer::Committed(candidate.id))
    }

    async fn release(&self, release: Release) -> Result<Action, PassError> {
        self.context.releasing(&self.object);
        self.writer().release(&self.object).await?;
        // Told once, and only of what has gone: a refused or lost release is tried again.
        events::publish_release(self.context, &self.object, release, self.began.elapsed());
        self.context.forget(&self.object);
        if release == Release::NothingRemote {
            self.free_name(None);
        }
        Ok(Action::await_change())
    }
}

pub(crate) fn claim_of(object: &Target) -> ClaimState {
    ClaimState::parse(object.annotations().get(CLAIM_ANNOTATION).map(String::as_str))
}
