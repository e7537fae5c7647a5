//! Seeks, keeps and gives back the Lease: the election as it is carried out.
//!
//! One task a process. It tells the rest by a [`Leadership`], which is also the answer to a process that was stopped for
//! longer than its lease lasts: leading ends by itself, before anybody has to notice. May import `lease` and `metrics`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Metrics;
use super::lease::{Candidate, Record, Step, leads_until};

/// How long a watch of the Lease lasts, in seconds, for the reason of `controller::runtime::kube_client`.
const WATCH: u32 = 25;
/// The longest wait for one answer about the Lease; a leader's are shorter if its deadline is near.
const ANSWER: Duration = Duration::from_secs(5);
/// How soon a leader whose renewal lost a race renews again.
const AFTER_RACE: Duration = Duration::from_millis(200);

/// Whether this process leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// There is no election.
    Alone,
    Standby,
    Leading {
        until: Instant,
    },
}

/// Tells whether this process leads, at any moment.
#[derive(Debug, Clone)]
pub struct Leadership(watch::Receiver<Standing>);

impl Leadership {
    /// Without an election: it always leads.
    #[must_use]
    pub fn alone() -> Self {
        // The value outlives its sender.
        Self(watch::channel(Standing::Alone).1)
    }

    /// Whether it leads now.
    #[must_use]
    pub fn leads(&self) -> bool {
        leads(*self.0.borrow())
    }

    /// Waits until it leads; for ever, if the election has ended without that.
    pub async fn begins(&self) {
        if self.0.clone().wait_for(|standing| leads(*standing)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn leads(standing: Standing) -> bool {
    match standing {
        Standing::Alone => true,
        Standing::Standby => false,
        Standing::Leading { until } => Instant::now() < until,
    }
}

/// How an election ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to stop; a lease that it held is given back.
    Stopped,
    /// It led, and does not any more.
    Lost,
}

/// What came of a look at the lease.
enum Outcome {
    Ours(Box<Held>),
    /// Held by this one, from whom it may be taken at this moment.
    Theirs(Option<String>, Instant),
    /// Somebody else wrote first.
    Raced,
    Unknown,
}

/// Why the Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("somebody else wrote first")]
    Raced,
    #[error("the Lease, or its namespace, is gone")]
    Gone,
    #[error("the API server did not answer in time")]
    Silent,
    #[error("the API server refused: {0}")]
    Failed(#[source] Box<kube::Error>),
}

/// A process's part in an election.
pub struct Election {
    api: Api<Lease>,
    name: String,
    candidate: Candidate,
    told: watch::Sender<Standing>,
    metrics: Arc<Metrics>,
}

/// A lease that this process holds.
struct Held {
    lease: Lease,
    sent: Instant,
}

impl Election {
    /// One for the Lease `name` in `namespace`, and what tells of it.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        candidate: Candidate,
        metrics: Arc<Metrics>,
    ) -> (Self, Leadership) {
        metrics.leads(name, false);
        let (told, leadership) = watch::channel(Standing::Standby);
        let api = Api::namespaced(client, namespace);
        (Self { api, name: name.to_owned(), candidate, told, metrics }, Leadership(leadership))
    }

    /// Seeks the lease, keeps it, and gives it back at `stop`. Ends when it is lost, since a process that has lost it
    /// cannot know what has been done since.
    pub async fn run(mut self, stop: CancellationToken) -> End {
        let Some(held) = stop.run_until_cancelled(self.seek()).await else { return End::Stopped };
        tracing::info!(lease = self.name, identity = self.candidate.identity(), "leading");
        self.keep(held, &stop).await
    }

    /// Stands by until the lease is ours.
    async fn seek(&mut self) -> Box<Held> {
        let mut changes = Box::pin(changes(self.api.clone(), &self.name));
        let mut told = None;
        loop {
            let until = match self.try_once().await {
                Outcome::Ours(held) => return held,
                Outcome::Raced => continue,
                Outcome::Unknown => None,
                Outcome::Theirs(holder, until) => {
                    if told != holder {
                        tracing::info!(lease = self.name, holder, "standing by");
                        told = holder;
                    }
                    Some(until)
                }
            };
            // A watch may be blind without a sign of it, so it is looked at in any case.
            let retry = Instant::now() + self.candidate.timing().retry;
            tokio::select! {
                () = tokio::time::sleep_until(until.map_or(retry, |until| until.min(retry)).into()) => {}
                Some(()) = changes.next() => {}
            }
        }
    }

    /// One look, and one try if the lease is free.
    async fn try_once(&mut self) -> Outcome {
        let lease = match self.read().await {
            Ok(lease) => lease,
            Err(error) => {
                tracing::warn!(lease = self.name, %error, "the lease cannot be read; trying again");
                return Outcome::Unknown;
            }
        };
        let record = lease.as_ref().map(|lease| Record::of(lease, self.candidate.timing().duration));
        let holder = record.as_ref().and_then(|record| record.holder.clone());
        if let Step::Wait(until) = self.candidate.look(record, Instant::now()) {
            return Outcome::Theirs(holder, until);
        }
        match self.take(&lease.unwrap_or_else(|| self.blank()), ANSWER).await {
            Ok(held) => Outcome::Ours(held),
            Err(LeaseError::Raced) => Outcome::Raced,
            Err(error) => {
                tracing::warn!(lease = self.name, %error, "the lease cannot be taken; trying again");
                Outcome::Unknown
            }
        }
    }

    /// Renews until `stop`, or until it is too late.
    async fn keep(&self, mut held: Box<Held>, stop: &CancellationToken) -> End {
        let timing = self.candidate.timing();
        let mut pause = timing.retry;
        loop {
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                self.release(&held.lease).await;
                return End::Stopped;
            }
            pause = timing.retry;
            let left = leads_until(held.sent, timing).saturating_duration_since(Instant::now());
            match self.take(&held.lease, ANSWER.min(left)).await {
                Ok(renewed) => held = renewed,
                // Somebody wrote a label, or an answer of ours was lost, or it was deleted; or it is another's.
                Err(LeaseError::Raced | LeaseError::Gone) => match self.read().await {
                    Ok(lease) => {
                        held.lease = lease.unwrap_or_else(|| self.blank());
                        pause = AFTER_RACE;
                        if holder(&held.lease).is_some_and(|holder| holder != self.candidate.identity()) {
                            return self.lose("somebody else has it");
                        }
                    }
                    Err(error) => tracing::warn!(lease = self.name, %error, "the lease cannot be read"),
                },
                Err(error) => tracing::warn!(lease = self.name, %error, "the lease was not renewed"),
            }
            if Instant::now() >= leads_until(held.sent, timing) {
                return self.lose("it could not be renewed in time");
            }
        }
    }

    async fn read(&self) -> Result<Option<Lease>, LeaseError> {
        in_time(ANSWER, self.api.get_opt(&self.name)).await
    }

    /// A Lease that does not exist yet.
    fn blank(&self) -> Lease {
        Lease { metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }, spec: None }
    }

    /// Takes or renews the lease, if it is still as it was seen, and leads from then on.
    async fn take(&self, seen: &Lease, patience: Duration) -> Result<Box<Held>, LeaseError> {
        let sent = Instant::now();
        let lease = self.write(&claimed(seen, &self.candidate), patience).await?;
        self.tell(Standing::Leading { until: leads_until(sent, self.candidate.timing()) });
        Ok(Box::new(Held { lease, sent }))
    }

    /// Writes a Lease, if it is still the version that it was.
    async fn write(&self, lease: &Lease, patience: Duration) -> Result<Lease, LeaseError> {
        let params = PostParams::default();
        if lease.metadata.resource_version.is_some() {
            in_time(patience, self.api.replace(&self.name, &params, lease)).await
        } else {
            in_time(patience, self.api.create(&params, lease)).await
        }
    }

    fn tell(&self, standing: Standing) {
        self.metrics.leads(&self.name, leads(standing));
        self.told.send_replace(standing);
    }

    fn lose(&self, why: &str) -> End {
        self.tell(Standing::Standby);
        tracing::error!(lease = self.name, why, "the lease is lost: ending");
        End::Lost
    }

    /// Gives the lease back, so that nobody has to wait for its end (client-go's ReleaseOnCancel: no holder, one second).
    async fn release(&self, lease: &Lease) {
        self.tell(Standing::Standby);
        let mut lease = lease.clone();
        if let Some(spec) = &mut lease.spec {
            (spec.holder_identity, spec.lease_duration_seconds) = (Some(String::new()), Some(1));
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        match self.write(&lease, ANSWER).await {
            Ok(_) => tracing::info!(lease = self.name, "the lease is released"),
            Err(error) => tracing::warn!(lease = self.name, %error, "the lease was not released; it ends by itself"),
        }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// The Lease as this candidate holds it from now on.
fn claimed(seen: &Lease, candidate: &Candidate) -> Lease {
    let spec = seen.spec.clone().unwrap_or_default();
    let now = MicroTime(Timestamp::now());
    let renewal = holder(seen) == Some(candidate.identity());
    let moves = i32::from(!renewal && seen.spec.is_some());
    let spec = LeaseSpec {
        holder_identity: Some(candidate.identity().to_owned()),
        lease_duration_seconds: i32::try_from(candidate.timing().duration.as_secs()).ok(),
        acquire_time: if renewal { spec.acquire_time } else { Some(now.clone()) },
        renew_time: Some(now),
        lease_transitions: Some(spec.lease_transitions.unwrap_or(0) + moves),
        ..spec
    };
    Lease { metadata: seen.metadata.clone(), spec: Some(spec) }
}

/// One item for every state of the Lease that is seen.
fn changes(api: Api<Lease>, name: &str) -> impl Stream<Item = ()> + Send + use<> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(WATCH);
    let told = |event| match event {
        Ok(watcher::Event::Apply(_) | watcher::Event::InitApply(_) | watcher::Event::Delete(_)) => Some(()),
        Ok(watcher::Event::Init | watcher::Event::InitDone) => None,
        Err(error) => {
            tracing::debug!(%error, "the lease cannot be watched");
            None
        }
    };
    watcher(api, config).default_backoff().filter_map(move |event| std::future::ready(told(event)))
}

async fn in_time<T>(patience: Duration, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, LeaseError> {
    match tokio::time::timeout(patience, call).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(LeaseError::Raced),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(LeaseError::Gone),
        Ok(Err(error)) => Err(LeaseError::Failed(Box::new(error))),
        Err(_) => Err(LeaseError::Silent),
    }
}
