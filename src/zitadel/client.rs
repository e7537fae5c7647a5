//! The calls, typed: what the controller may ask of ZITADEL.
//!
//! Each method is one request; a second one is sent only where the token of the first was refused. Results are domain
//! values; answers that only differ in wording between generations ("already deleted") are made equal here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

use super::account::Ledger;
use super::auth::{Bearer, Tokens};
use super::capability::EventSearch;
use super::detect::detect;
use super::error::NOT_PROJECTED;
use super::generation::{ApiChoice, Mount, Patience, Request, Select, readable};
use super::pages::{FirstPage, PageSize};
use super::span;
use super::transport::{Answer, Cap, Settings, Transport};
use super::{Change, Class, Created, Error, Identity, RemoteTarget, TargetConfig, TargetId, TargetName, Version};

/// A call, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Create a target.
    Create,
    /// Update a target; the empty update that proves existence included.
    Update,
    /// Delete a target.
    Delete,
    /// Read one target.
    Get,
    /// Read a list of targets.
    List,
    /// Read the event store.
    Events,
    /// Ask who we are and which instance this is.
    Identity,
    /// Ask which generation of the API is served.
    Probe,
    /// Exchange a credential for a token, and read the issuer for it.
    Token,
}

impl Op {
    /// Every call.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Get,
        Self::List,
        Self::Events,
        Self::Identity,
        Self::Probe,
        Self::Token,
    ];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Get => "get",
            Self::List => "list",
            Self::Events => "events",
            Self::Identity => "identity",
            Self::Probe => "probe",
            Self::Token => "token",
        }
    }
}

/// Told of every call that ended: what, how long, and the status ("none" without an answer). The seam through which
/// metrics see this room without this room knowing metrics.
pub type Observer = Box<dyn Fn(Op, Duration, &str) + Send + Sync>;
/// The same, for those who share it.
pub(super) type SharedObserver = Arc<dyn Fn(Op, Duration, &str) + Send + Sync>;

/// The right to send one create, to the mount that it was given out for: how many may run at once depends on it.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
    claimed: Instant,
    mount: Mount,
}

impl Turn {
    /// Notes that the claim is about to be written.
    pub fn claiming(&mut self) {
        self.claimed = Instant::now();
    }
}

/// A client of one ZITADEL instance.
pub struct Client {
    choice: ApiChoice,
    pub(super) transport: Arc<Transport>,
    pub(super) tokens: Tokens,
    serving: Mutex<Option<Serving>>,
    observer: SharedObserver,
    latest: Mutex<Option<Timestamp>>,
    pub(super) page: Mutex<PageSize>,
    pub(super) first: Mutex<FirstPage>,
    pub(super) search: Mutex<EventSearch>,
    ledger: Mutex<Ledger>,
}

/// What the server was last found to serve.
#[derive(Debug, Clone)]
struct Serving {
    mount: Mount,
    creates: Arc<Semaphore>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("choice", &self.choice).field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client for these settings; nothing is read or sent yet.
    #[must_use]
    pub fn new(choice: ApiChoice, settings: Settings, observer: Observer) -> Self {
        let (credential, observer) = (settings.credential.clone(), SharedObserver::from(observer));
        let transport = Arc::new(Transport::new(settings));
        let tokens = Tokens::new(credential, Arc::clone(&transport), Arc::clone(&observer));
        Self {
            choice,
            transport,
            tokens,
            serving: Mutex::default(),
            observer,
            latest: Mutex::default(),
            page: Mutex::default(),
            first: Mutex::default(),
            search: Mutex::default(),
            ledger: Mutex::default(),
        }
    }

    /// Where requests go.
    #[must_use]
    pub fn url(&self) -> String {
        self.transport.settings().url.as_str().trim_end_matches('/').to_owned()
    }

    /// When the credential expires that a person has to replace, where that is known: of key files, once one was used.
    #[must_use]
    pub fn credential_expires(&self) -> Option<Timestamp> {
        self.tokens.expires()
    }

    /// How long after its claim a create is sent at the latest.
    #[must_use]
    pub fn send_limit(&self) -> Duration {
        self.transport.settings().longest(Patience::Read)
    }

    /// Longest time for one create or update: after it the request is dead. Reads get less.
    #[must_use]
    pub fn write_timeout(&self) -> Duration {
        self.transport.settings().longest(Patience::Write)
    }

    /// Now, in the server's clock as of its last answer; never later than the truth.
    #[must_use]
    pub fn server_now(&self) -> Timestamp {
        self.transport.server_now()
    }

    /// Date of the newest event that any answer has told of, in the clock of ZITADEL's database.
    #[must_use]
    pub fn latest(&self) -> Option<Timestamp> {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, dates: impl IntoIterator<Item = Option<Timestamp>>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = dates.into_iter().flatten().chain(*latest).max();
    }

    pub(super) fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn call(&self, op: Op, request: &Request, cap: Cap) -> Result<Answer, Error> {
        self.call_before(op, request, cap, None).await
    }

    /// Sends a request, and once more if its token was refused: then nothing was done, also by a create.
    async fn call_before(&self, op: Op, request: &Request, cap: Cap, limit: Option<Instant>) -> Result<Answer, Error> {
        if !request.signed {
            return self.send(op, request, None, cap, limit).await;
        }
        let mut bearer = self.tokens.bearer().await?;
        let mut result = self.send(op, request, Some(&bearer), cap, limit).await;
        if refuses_token(&result) {
            let Some(other) = self.tokens.renew(&bearer).await? else { return result };
            bearer = other;
            result = self.send(op, request, Some(&bearer), cap, limit).await;
        }
        if matches!(&result, Ok(_) | Err(Error::Api(_))) && !refuses_token(&result) {
            self.tokens.worked(&bearer);
        }
        result
    }

    async fn send(
        &self,
        op: Op,
        request: &Request,
        bearer: Option<&Bearer>,
        cap: Cap,
        limit: Option<Instant>,
    ) -> Result<Answer, Error> {
        let (started, span) = (Instant::now(), span::begin(op));
        let result = self.transport.send(request, bearer, cap, limit).instrument(span.clone()).await;
        let status = match &result {
            Ok(answer) => answer.status.to_string(),
            Err(Error::Api(error)) => error.status.to_string(),
            Err(Error::Unreadable { status, .. }) => status.to_string(),
            Err(_) => "none".to_owned(),
        };
        span::end(&span, &status);
        (self.observer)(op, started.elapsed(), &status);
        tracing::debug!(op = op.as_str(), status, error = result.as_ref().err().map(tracing::field::display), "call");
        result
    }

    fn serving(&self) -> Result<Serving, Error> {
        let known = self.serving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.ok_or_else(|| Error::Unserved("which generation the server has is not known yet".into()))
    }

    pub(super) fn mount(&self) -> Result<Mount, Error> {
        Ok(self.serving()?.mount)
    }

    /// Looks anew which generation the server has. Calls under way end where they began.
    pub(super) async fn look(&self) -> Result<Mount, Error> {
        let ask = |request: Request| async move { self.call(Op::Probe, &request, Cap::One).await };
        let mount = detect(self.choice, ask).await?;
        self.believe(mount);
        Ok(mount)
    }

    /// The newest mount, where there is a choice.
    pub(super) fn newest_of_many(&self) -> Option<Mount> {
        self.choice.mounts().first().copied().filter(|_| self.choice == ApiChoice::Auto)
    }

    pub(super) fn believe(&self, mount: Mount) {
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        if serving.as_ref().is_none_or(|known| known.mount != mount) {
            let creates = Arc::new(Semaphore::new(mount.api().parallel_creates()));
            *serving = Some(Serving { mount, creates });
        }
    }

    /// Proves that URL, TLS, host, route, token, role and feature flag work, finds out which generation answers, and
    /// learns who we are as far as that is told.
    ///
    /// # Errors
    /// The first thing that does not work of what targets need. Of the rest [`Identity::capabilities`] tells.
    pub async fn connect(&self) -> Result<Identity, Error> {
        self.transport.reset().await?;
        // Without a token there is nothing to ask for.
        self.tokens.bearer().await?;
        let api = self.prove_list().await?.api();
        Ok(self.identify(api).await)
    }

    /// Waits for the turn to create. To be held from before the claim until the create is answered: so the time
    /// between the two is short, whatever the queue.
    ///
    /// # Errors
    /// Before the first [`Self::connect`].
    pub async fn turn(&self) -> Result<Turn, Error> {
        let Serving { mount, creates } = self.serving()?;
        let permit = creates.acquire_owned().await;
        let permit = permit.map_err(|_| Error::Setup("the client is closed".into()))?;
        Ok(Turn { _permit: permit, claimed: Instant::now(), mount })
    }

    /// Creates a target. Sent once, and only within one time-out of the claim: a later one could meet the settlement
    /// of its own claim by another replica.
    ///
    /// # Errors
    /// See [`Error::may_have_committed`] before anything is concluded from an error.
    pub async fn create(&self, turn: Turn, config: &TargetConfig) -> Result<Created, Error> {
        let limit = turn.claimed + self.send_limit();
        let mount = turn.mount;
        self.ledger().post(&config.name);
        let answer = self.call_before(Op::Create, &mount.create(config), Cap::One, Some(limit)).await?;
        let created = readable(answer.status, mount.api().created(&answer.body))?;
        self.ledger().touch(&created.id);
        self.note([created.created, created.version.changed]);
        Ok(created)
    }

    /// Updates a target, on the write side. An empty change is the proof of existence.
    ///
    /// # Errors
    /// [`Class::TargetGone`] if the target does not exist.
    pub async fn update(&self, id: &TargetId, change: &Change) -> Result<Version, Error> {
        let mount = self.mount()?;
        self.ledger().touch(id);
        let answer = self.call(Op::Update, &mount.update(id, change), Cap::One).await?;
        let version = readable(answer.status, mount.api().updated(&answer.body))?;
        self.note([version.changed]);
        Ok(version)
    }

    /// Deletes a target; one that is already gone counts as deleted.
    ///
    /// # Errors
    /// Everything else, a missing route included.
    pub async fn delete(&self, id: &TargetId) -> Result<(), Error> {
        self.ledger().touch(id);
        match self.call(Op::Delete, &self.mount()?.delete(id), Cap::One).await {
            Ok(_) => Ok(()),
            Err(error) if error.class() == Class::TargetGone => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads a target from the read side; `None` says only that the projection does not show it.
    ///
    /// # Errors
    /// Everything but the projection's "not found".
    pub async fn get(&self, id: &TargetId) -> Result<Option<RemoteTarget>, Error> {
        let mount = self.mount()?;
        match self.call(Op::Get, &mount.get(id), Cap::One).await {
            Ok(answer) => readable(answer.status, mount.api().got(&answer.body)).map(Some),
            Err(Error::Api(error)) if error.id.as_deref() == Some(NOT_PROJECTED) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks a name up on the read side, without regard to case.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn find(&self, name: &TargetName) -> Result<Option<RemoteTarget>, Error> {
        let rows = self.rows(&Select::Named(name.clone())).await?;
        Ok(rows.into_iter().find(|row| name.same_as(&row.name)))
    }

    /// One search. Where a server was upgraded, the path of a search of v2beta is an update of the "target" with that
    /// name, which does not exist (docs/zitadel/observed.md 0.7): a missing route by another name.
    pub(super) async fn rows(&self, select: &Select) -> Result<Vec<RemoteTarget>, Error> {
        let mount = self.mount()?;
        let answer = self.call(Op::List, &mount.list(select), Cap::Page).await;
        let answer = answer.map_err(|error| match error.class() {
            Class::TargetGone => Error::Unserved("the route of searches is another call by now".into()),
            _ => error,
        })?;
        readable(answer.status, mount.api().listed(&answer.body))
    }
}

fn refuses_token(result: &Result<Answer, Error>) -> bool {
    result.as_ref().is_err_and(Error::refuses_token)
}
