//! The calls, typed: what the controller may ask of ZITADEL.
//!
//! Each method is one request; a second one is sent only where the token of the first was refused. Results are domain
//! values; answers that only differ in wording between generations ("already deleted") are made equal here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

use super::auth::{Bearer, Tokens};
use super::detect::detect;
use super::error::NOT_PROJECTED;
use super::events;
use super::events::{EventQuery, TargetEvent};
use super::generation::{ApiChoice, Mount, PAGE, Request, Select, readable};
use super::span;
use super::transport::{Answer, Cap, Settings, Transport};
use super::{Change, Class, Created, Error, Identity, RemoteTarget, TargetConfig, TargetId, TargetName, Version};
use crate::api::reason::Reason;

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
    transport: Arc<Transport>,
    tokens: Tokens,
    serving: Mutex<Option<Serving>>,
    observer: SharedObserver,
    latest: Mutex<Option<Timestamp>>,
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
        Self { choice, transport, tokens, serving: Mutex::default(), observer, latest: Mutex::default() }
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

    /// Longest time for one call.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.transport.settings().timeout
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

    fn note(&self, dates: impl IntoIterator<Item = Option<Timestamp>>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = dates.into_iter().flatten().chain(*latest).max();
    }

    async fn call(&self, op: Op, request: &Request, cap: Cap) -> Result<Answer, Error> {
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

    fn mount(&self) -> Result<Mount, Error> {
        Ok(self.serving()?.mount)
    }

    /// Looks anew which generation the server has. Calls under way end where they began.
    async fn look(&self) -> Result<Mount, Error> {
        let ask = |request: Request| async move { self.call(Op::Probe, &request, Cap::One).await };
        let mount = detect(self.choice, ask).await?;
        self.believe(mount);
        Ok(mount)
    }

    pub(super) fn believe(&self, mount: Mount) {
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        if serving.as_ref().is_none_or(|known| known.mount != mount) {
            let creates = Arc::new(Semaphore::new(mount.api().parallel_creates()));
            *serving = Some(Serving { mount, creates });
        }
    }

    /// Proves that URL, TLS, host, route, token, role and feature flag work, finds out which generation answers, and
    /// learns who we are.
    ///
    /// # Errors
    /// The first thing that does not work. What only the recovery needs (own user, instance) may be missing.
    pub async fn connect(&self) -> Result<Identity, Error> {
        self.transport.reset().await?;
        // Without a token there is nothing to ask for.
        self.tokens.bearer().await?;
        let api = self.look().await?.api();
        self.rows(&Select::First).await?;
        let user = self.read_optional("/auth/v1/users/me", "/user/id").await?.0;
        let (instance, version) = self.read_optional("/admin/v1/instances/me", "/instance/id").await?;
        match self.events(&EventQuery::Last).await {
            // No event at all: whatever comes is newer than the beginning of time.
            Ok(_) => self.note([Some(Timestamp::UNIX_EPOCH)]),
            Err(error) if !matches!(error.reason(), Reason::PermissionDenied | Reason::ApiUnsupported) => {
                return Err(error);
            }
            _ => {}
        }
        Ok(Identity { api, instance, user, server_version: version })
    }

    /// The issuer that the server names for itself, where it tells: nothing depends on it.
    pub async fn issuer(&self) -> Option<String> {
        let request = Request::new(http::Method::GET, "/.well-known/openid-configuration").unsigned();
        let answer = self.call(Op::Identity, &request, Cap::One).await.ok()?;
        answer.body.get("issuer")?.as_str().map(str::to_owned)
    }

    /// Reads a string of an answer that the credential need not be allowed to see.
    async fn read_optional(&self, path: &str, pointer: &str) -> Result<(Option<String>, Option<String>), Error> {
        let request = Request::new(http::Method::GET, path);
        let text = |answer: &Answer, pointer: &str| answer.body.pointer(pointer)?.as_str().map(str::to_owned);
        match self.call(Op::Identity, &request, Cap::One).await {
            Ok(answer) => Ok((text(&answer, pointer), text(&answer, "/instance/version"))),
            Err(error) if matches!(error.reason(), Reason::PermissionDenied | Reason::ApiUnsupported) => {
                Ok((None, None))
            }
            Err(error) => Err(error),
        }
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
        let limit = turn.claimed + self.timeout();
        let mount = turn.mount;
        let answer = self.call_before(Op::Create, &mount.create(config), Cap::One, Some(limit)).await?;
        let created = readable(answer.status, mount.api().created(answer.body))?;
        self.note([created.created, created.version.changed]);
        Ok(created)
    }

    /// Updates a target, on the write side. An empty change is the proof of existence.
    ///
    /// # Errors
    /// [`Class::TargetGone`] if the target does not exist.
    pub async fn update(&self, id: &TargetId, change: &Change) -> Result<Version, Error> {
        let mount = self.mount()?;
        let answer = self.call(Op::Update, &mount.update(id, change), Cap::One).await?;
        let version = readable(answer.status, mount.api().updated(answer.body))?;
        self.note([version.changed]);
        Ok(version)
    }

    /// Deletes a target; one that is already gone counts as deleted.
    ///
    /// # Errors
    /// Everything else, a missing route included.
    pub async fn delete(&self, id: &TargetId) -> Result<(), Error> {
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
            Ok(answer) => readable(answer.status, mount.api().got(answer.body)).map(Some),
            Err(Error::Api(error)) if error.id.as_deref() == Some(NOT_PROJECTED) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all targets from the read side, a thousand a call. A row that moves between pages while they are read may
    /// be missing or doubled: the list raises suspicion, it proves nothing.
    ///
    /// # Errors
    /// Of the first page that fails.
    pub async fn list(&self) -> Result<Vec<RemoteTarget>, Error> {
        let mut all = Vec::new();
        loop {
            let page = Select::Page { offset: all.len() };
            let rows = self.rows(&page).await?;
            self.note(rows.iter().map(|row| row.version.changed));
            let last = rows.len() < PAGE;
            all.extend(rows);
            if last {
                return Ok(all);
            }
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
    async fn rows(&self, select: &Select) -> Result<Vec<RemoteTarget>, Error> {
        let mount = self.mount()?;
        let answer = self.call(Op::List, &mount.list(select), Cap::Page).await;
        let answer = answer.map_err(|error| match error.class() {
            Class::TargetGone => Error::Unserved("the route of searches is another call by now".into()),
            _ => error,
        })?;
        readable(answer.status, mount.api().listed(answer.body))
    }

    /// Reads the event store, questions with many answers until the end.
    ///
    /// # Errors
    /// [`Reason::PermissionDenied`] where the credential may not read events.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<TargetEvent>, Error> {
        let mut all: Vec<TargetEvent> = Vec::new();
        let mut query = query.clone();
        loop {
            let answer = self.call(Op::Events, &events::search(&query), Cap::Page).await?;
            let page = readable(answer.status, events::found(answer.body))?;
            self.note(page.iter().map(|event| Some(event.date)));
            let full = page.len() >= PAGE;
            let last = page.last().map(|event| event.date);
            all.extend(page);
            match last.filter(|_| full).and_then(|last| query.after(last)) {
                Some(next) => query = next,
                None => return Ok(all),
            }
        }
    }
}

fn refuses_token(result: &Result<Answer, Error>) -> bool {
    result.as_ref().is_err_and(Error::refuses_token)
}
