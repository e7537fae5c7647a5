//! Everything a running stand-in knows, behind one lock, shared by the server thread and the handles of the tests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::calls::{Answer, Call};
use crate::core::clock::{Clock, new_id, random_text};
use crate::core::command::{Commands, Features};
use crate::core::endpoint::EndpointRules;
use crate::core::projection::Projection;
use crate::core::query::MAX_LIMIT;
use crate::core::store::EventStore;
use crate::core::system_users::SystemUsers;
use crate::core::users::{Refused, TokenKind, Users, invalid_token};
use crate::core::window::Window;
use crate::fault::{Fault, Op};
use crate::generation::{Dialect, dialect};
use crate::request::Request;
use crate::wire::error::{ApiError, Code};
use crate::{AssertionRefusal, Function, Generation, Options, Role};

/// The feature flag `actions`: a projection too, so a change becomes effective after the lag.
pub(crate) struct ActionsFlag {
    changes: Vec<(Instant, bool)>,
    /// Whether the instance itself ever set it; only then reads name the source.
    pub(crate) set_by_instance: bool,
    pub(crate) sequence: u64,
    pub(crate) change_date: Timestamp,
}

impl ActionsFlag {
    pub(crate) fn latest(&self) -> bool {
        self.changes.last().is_some_and(|(_, on)| *on)
    }

    pub(crate) fn effective(&self, lag: Duration, now: Instant) -> bool {
        let visible = |(at, _): &&(Instant, bool)| now.saturating_duration_since(*at) >= lag;
        let first = self.changes.first();
        self.changes.iter().rev().find(visible).or(first).is_some_and(|(_, on)| *on)
    }

    pub(crate) fn set(&mut self, on: bool, date: Timestamp) {
        self.changes.push((Instant::now(), on));
        self.set_by_instance = true;
        self.sequence += 1;
        self.change_date = date;
    }

    /// For tests: effective at once, whatever the lag.
    pub(crate) fn force(&mut self, on: bool) {
        self.changes = vec![(Instant::now(), on)];
        self.set_by_instance = true;
    }
}

/// What changes while the server runs.
pub(crate) struct State {
    pub(crate) store: EventStore,
    pub(crate) clock: Clock,
    pub(crate) projection: Projection,
    pub(crate) users: Users,
    pub(crate) system_users: SystemUsers,
    pub(crate) window: Window,
    /// How long an upgrade that builds the projection anew leaves reads empty.
    pub(crate) rebuild: Duration,
    /// Of the access tokens to come.
    pub(crate) token_lifetime: Duration,
    /// Counts the key pairs that were handed out.
    pub(crate) key_pairs: usize,
    pub(crate) actions: ActionsFlag,
    pub(crate) lag: Duration,
    pub(crate) endpoints: EndpointRules,
    /// The most rows per page (`SystemDefaults.MaxQueryLimit`).
    pub(crate) max_query_limit: u64,
    /// What a proxy in front answers to paths with these beginnings.
    pub(crate) hidden_paths: Vec<(String, u16)>,
    /// Shown instead of the generation's own.
    pub(crate) version: Option<String>,
    pub(crate) error_slugs: bool,
    pub(crate) assertion_refusal: AssertionRefusal,
    pub(crate) failing_functions: Vec<Function>,
    pub(crate) calls: Vec<Call>,
}

impl State {
    /// The read side as it is visible now.
    pub(crate) fn reads(&mut self) -> &Projection {
        let visible = self.window.projected(&self.store.events);
        self.projection.catch_up(visible, self.lag, Instant::now());
        &self.projection
    }

    pub(crate) fn commands<'a>(&'a mut self, editor: &'a str, features: Features) -> Commands<'a> {
        Commands { store: &mut self.store, clock: &mut self.clock, editor, features, endpoints: &self.endpoints }
    }
}

/// What an upgrade replaces.
#[derive(Clone, Copy)]
struct Served {
    generation: Generation,
    dialect: &'static dyn Dialect,
}

impl Served {
    fn new(generation: Generation, bare_paths: bool) -> Self {
        Self { generation, dialect: dialect(generation, bare_paths) }
    }
}

/// What ZITADEL issues unless told otherwise (OIDC.DefaultAccessTokenLifetime).
const TOKEN_LIFETIME: Duration = Duration::from_hours(12);

/// The parts that never change, and the locks around those that do.
pub(crate) struct World {
    pub(crate) domain: String,
    pub(crate) strict_host: bool,
    external_secure: bool,
    forbids_expired: bool,
    pub(crate) instance_id: String,
    pub(crate) org_id: String,
    pub(crate) generated_domain: String,
    pub(crate) created: Timestamp,
    pub(crate) token: String,
    pub(crate) user_id: String,
    pub(crate) external_user_id: String,
    started: Instant,
    served: Mutex<Served>,
    state: Mutex<State>,
    faults: Mutex<Vec<Arc<Fault>>>,
    version: watch::Sender<u64>,
}

impl World {
    pub(crate) fn new(options: &Options) -> Self {
        let created = Timestamp::now();
        let created = Timestamp::from_microsecond(created.as_microsecond()).unwrap_or(created);
        let mut users = Users::default();
        let user_id = users.add(Role::IamOwner);
        let token = users.issue(&user_id, TokenKind::Personal, None);
        let actions = ActionsFlag {
            changes: vec![(Instant::now(), options.actions_feature)],
            set_by_instance: options.actions_feature,
            sequence: 1,
            change_date: created,
        };
        let state = State {
            store: EventStore::default(),
            clock: Clock::default(),
            projection: Projection::default(),
            users,
            system_users: SystemUsers::default(),
            window: Window::default(),
            rebuild: Duration::ZERO,
            token_lifetime: TOKEN_LIFETIME,
            // The first is the server's own.
            key_pairs: 1,
            actions,
            lag: Duration::ZERO,
            endpoints: EndpointRules { resolvable: options.resolvable_hosts.clone(), ..EndpointRules::default() },
            max_query_limit: MAX_LIMIT,
            hidden_paths: Vec::new(),
            version: None,
            error_slugs: false,
            assertion_refusal: AssertionRefusal::default(),
            failing_functions: Vec::new(),
            calls: Vec::new(),
        };
        Self {
            domain: options.external_domain.clone().unwrap_or_else(|| "localhost".to_owned()),
            strict_host: options.strict_host,
            external_secure: options.external_secure,
            forbids_expired: options.expired_tokens_are_forbidden,
            instance_id: new_id(),
            org_id: new_id(),
            generated_domain: format!("zitadel-{}.localhost", random_text(6).to_ascii_lowercase()),
            created,
            token,
            user_id,
            external_user_id: new_id(),
            started: Instant::now(),
            served: Mutex::new(Served::new(options.generation, options.bare_paths)),
            state: Mutex::new(state),
            faults: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }

    /// The lock; a test that panicked while holding it must not hide its failure behind a second one.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the outside reaches the instance.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.external_secure { "https" } else { "http" }
    }

    /// What the server calls itself in its configuration: the audience of system users' tokens. The port is the one
    /// that the request names, because a stand-in has no `ExternalPort`.
    pub(crate) fn configured_origins(&self, request: &Request) -> Vec<String> {
        let port = request.header("host").and_then(|host| host.rsplit_once(':')).map(|(_, port)| format!(":{port}"));
        let port = port.unwrap_or_default();
        let names = [Some(self.domain.as_str()), (!self.strict_host).then_some("127.0.0.1")];
        names.into_iter().flatten().map(|name| format!("{}://{name}{port}", self.scheme())).collect()
    }

    /// What a proxy in front answers instead of the server.
    pub(crate) fn hidden(&self, request: &Request) -> Option<u16> {
        let state = self.state();
        let hides = |(prefix, _): &&(String, u16)| request.raw_path.starts_with(prefix.as_str());
        state.hidden_paths.iter().find(hides).map(|(_, status)| *status)
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn generation(&self) -> Generation {
        self.served().generation
    }

    /// The server as it is now. A request asks once, so that an upgrade never meets it half way.
    pub(crate) fn dialect(&self) -> &'static dyn Dialect {
        self.served().dialect
    }

    /// The table behind reads got a new name with the signing keys (v2.66.0), so an upgrade across that builds it anew
    /// (docs/zitadel/api.md 2.4).
    pub(crate) fn upgrade(&self, generation: Generation, bare_paths: bool) {
        let next = Served::new(generation, bare_paths);
        let mut state = self.state();
        state.version = None;
        let last = std::mem::replace(&mut *self.served(), next);
        if last.dialect.features().signing != next.dialect.features().signing {
            state.store.project_ghosts();
            state.projection = Projection::rebuilding(Instant::now() + state.rebuild);
        }
        drop(state);
        self.changed();
    }

    /// How the API refuses a token.
    pub(crate) fn refuse(&self, reason: Refused) -> ApiError {
        match reason {
            Refused::Expired(TokenKind::Issued { .. }) if self.forbids_expired => {
                ApiError::zitadel(Code::PermissionDenied, "QUERY-SAF3rf", "Errors.OIDCSession.Token.Expired")
            }
            Refused::Expired(_) | Refused::Invalid => invalid_token(),
        }
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Vec<Arc<Fault>>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one use of the first fault that fits.
    pub(crate) fn take_fault(&self, op: Option<Op>) -> Option<Arc<Fault>> {
        self.faults().iter().find(|fault| fault.take(op)).map(Arc::clone)
    }

    /// Tells waiting tests to look again.
    pub(crate) fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Logs the arrival of a call, with a body that may be told, and returns its place in the log.
    pub(crate) fn arrived(&self, op: Option<Op>, request: &Request, user: Option<String>, body: String) -> usize {
        let mut state = self.state();
        state.calls.push(Call {
            at: self.started.elapsed(),
            op,
            method: request.method.to_string(),
            path: request.path_and_query(),
            user,
            traceparent: request.header("traceparent").map(str::to_owned),
            body,
            answer: Answer::Pending,
        });
        let index = state.calls.len() - 1;
        drop(state);
        self.changed();
        index
    }

    pub(crate) fn answered(&self, index: usize, answer: Answer) {
        if let Some(call) = self.state().calls.get_mut(index) {
            call.answer = answer;
        }
        self.changed();
    }
}
