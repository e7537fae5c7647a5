//! The state of one connection, shared by all objects that use it.
//!
//! While it is down, exactly one probe at a time runs, with a back-off of its own; objects get the probe's error
//! without a call. Whatever goes wrong with the connection as a whole is thus found once, not once per object.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::reason::Reason;
use crate::controller::connections::secrets::ConnectionSecrets;
use crate::controller::runtime::backoff::{delay, jittered};
use crate::plan::connection::Look;
use crate::plan::known::{Known, Unobserved};
use crate::plan::{Account, Adoption, Connection};
use crate::zitadel::{Capabilities, Client, Error, Identity, Missing};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);
/// How long a proof counts while nothing fails: a server may be upgraded without a gap, and its version is read here alone.
const PROOF_LASTS: Duration = Duration::from_hours(1);

/// One connection.
#[derive(Debug)]
pub struct ConnectionHealth {
    client: Arc<Client>,
    grace: Duration,
    /// The Secrets that the client's credential comes from; none where it comes from files.
    keys: Option<Arc<ConnectionSecrets>>,
    state: watch::Sender<State>,
    /// Held by whoever probes; nobody else waits for it.
    probing: tokio::sync::Mutex<()>,
    /// How often the cause of a failure may have changed: what a probe found before that is old.
    causes: AtomicU64,
    /// Whether the newest probe succeeded.
    up: Mutex<Option<bool>>,
    /// Who we were when it answered last.
    identity: Mutex<Option<Identity>>,
    /// The issuer that it named; asked for the status of a resource alone.
    issuer: Mutex<Option<String>>,
    /// When what the connection does without was last asked for beside a probe.
    asked: Mutex<Option<Instant>>,
}

/// See [`ConnectionHealth::changes`].
pub(crate) struct Changes(watch::Receiver<State>);

impl Changes {
    /// Waits until a probe has ended, or is called for.
    pub(crate) async fn next(&mut self) {
        // An error: the connection is dropped, and with it whoever waits.
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Debug)]
enum State {
    /// Nothing is known yet.
    Unknown,
    /// Worked, and a call failed in a way that may be the connection's fault; or the cause of a failure has changed.
    Suspect,
    /// Works, as far as is known since then.
    Healthy(Identity, Instant),
    /// Does not work; not tried again before `until`.
    Unhealthy { error: Error, failures: u32, until: Instant },
}

/// How a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It works.
    Up,
    /// It does not, for this reason.
    Down(Reason),
    /// It has to be proved, for the first time or again.
    Unknown,
}

/// Why a probe is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The connection is down, or was proved long ago: then.
    At(Instant),
    /// It has to be proved again, now.
    Suspect,
}

impl ConnectionHealth {
    /// A connection that nothing is known of. `grace` is how long its read side may miss a target.
    #[must_use]
    pub fn new(client: Arc<Client>, grace: Duration) -> Self {
        Self {
            client,
            grace,
            keys: None,
            state: watch::Sender::new(State::Unknown),
            probing: tokio::sync::Mutex::default(),
            causes: AtomicU64::new(0),
            up: Mutex::default(),
            identity: Mutex::default(),
            issuer: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// The same with a credential from Secrets, which are read anew before each probe.
    #[must_use]
    pub(crate) fn with_keys(mut self, keys: Arc<ConnectionSecrets>) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Id of the instance that answered last.
    pub(crate) fn instance(&self) -> Option<String> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.instance.clone()
    }

    /// Whether the newest probe succeeded; none before the first one.
    pub(crate) fn up(&self) -> Option<bool> {
        *self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client.
    #[must_use]
    pub const fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The connection, proved to work. Concurrent callers share one probe.
    ///
    /// # Errors
    /// What the newest probe met.
    pub async fn ensure(&self) -> Result<(Connection, Identity), Error> {
        if let Some(known) = self.known() {
            return known;
        }
        let _probing = self.probing.lock().await;
        // Somebody else may have probed meanwhile.
        if let Some(known) = self.known() {
            return known;
        }
        let failures = match &*self.state.borrow() {
            State::Unhealthy { failures, .. } => *failures,
            _ => 0,
        };
        let causes = self.causes.load(Ordering::Acquire);
        let result = self.probe().await.map(|identity| self.with_known(identity));
        *self.up.lock().unwrap_or_else(PoisonError::into_inner) = Some(result.is_ok());
        let found = match &result {
            Ok(identity) => {
                self.log_success(identity);
                State::Healthy(identity.clone(), Instant::now())
            }
            Err(error) => {
                let pause = jittered(delay(failures, FIRST, LONGEST));
                tracing::warn!(url = self.client.url(), %error, reason = %error.reason(), retry = ?pause, "ZITADEL is not usable");
                State::Unhealthy { error: error.clone(), failures: failures + 1, until: Instant::now() + pause }
            }
        };
        let old = self.causes.load(Ordering::Acquire) != causes;
        self.state.send_replace(if old { State::Suspect } else { found });
        result.map(|identity| (self.facts(&identity), identity))
    }

    /// What could not be read this time is as it was; there is nothing else to believe.
    fn with_known(&self, found: Identity) -> Identity {
        let mut last = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.take();
        let or_known = |now: Option<String>, then: fn(&Identity) -> &Option<String>| {
            now.or_else(|| known.as_ref().and_then(|known| then(known).clone()))
        };
        let identity = Identity {
            instance: or_known(found.instance, |known| &known.instance),
            user: or_known(found.user, |known| &known.user),
            server_version: or_known(found.server_version, |known| &known.server_version),
            ..found
        };
        *last = Some(identity.clone());
        identity
    }

    /// What is known without a probe, if that is enough.
    fn known(&self) -> Option<Result<(Connection, Identity), Error>> {
        match &*self.state.borrow() {
            State::Healthy(identity, since) if since.elapsed() < PROOF_LASTS => {
                Some(Ok((self.facts(identity), identity.clone())))
            }
            State::Unhealthy { error, until, .. } if Instant::now() < *until => Some(Err(error.clone())),
            _ => None,
        }
    }

    fn log_success(&self, identity: &Identity) {
        tracing::info!(
            url = self.client.url(),
            api = %identity.api,
            instance = identity.instance,
            version = identity.server_version,
            events = ?identity.capabilities.events,
            "ZITADEL answers"
        );
        if !identity.capabilities.is_complete() {
            tracing::warn!(
                url = self.client.url(), capabilities = ?identity.capabilities, "the connection works without these"
            );
        }
    }

    async fn probe(&self) -> Result<Identity, Error> {
        let Some(keys) = &self.keys else { return self.client.connect().await };
        keys.refresh().await?;
        let identity = self.client.connect().await?;
        let issuer = self.client.issuer().await;
        *self.issuer.lock().unwrap_or_else(PoisonError::into_inner) = issuer;
        Ok(identity)
    }

    /// Takes in that a call failed: if that may be the connection's fault, it has to be proved again.
    pub fn doubt(&self, error: &Error) {
        if error.concerns_connection() {
            self.suspect(|state| matches!(state, State::Healthy(..)));
        }
    }

    /// Has the connection proved again, unless it was a moment ago: what it knows of the server (its version, say) may
    /// be old.
    pub fn prove_again(&self) {
        self.suspect(|state| matches!(state, State::Healthy(_, since) if since.elapsed() > LONGEST));
    }

    /// Forgets what is known: its cause (a credential, say) has changed.
    pub fn retry_now(&self) {
        self.causes.fetch_add(1, Ordering::AcqRel);
        self.suspect(|state| matches!(state, State::Healthy(..) | State::Unhealthy { .. }));
    }

    /// Has a connection that works proved again.
    pub(crate) fn renew(&self) {
        self.suspect(|state| matches!(state, State::Healthy(..)));
    }

    fn suspect(&self, if_: impl Fn(&State) -> bool) {
        self.state.send_if_modified(|state| {
            let changes = if_(state);
            if changes {
                *state = State::Suspect;
            }
            changes
        });
    }

    /// What is known of it. Asks nobody.
    pub(crate) fn look(&self, unobserved: Option<Unobserved>) -> Look {
        match &*self.state.borrow() {
            State::Healthy(identity, _) => {
                let issuer = self.issuer.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let mut identity = identity.clone();
                identity.capabilities.events = self.client.event_search();
                Look::Up(Box::new(Known { identity, issuer, unobserved, stranger: self.client.stranger() }))
            }
            State::Unhealthy { error, .. } => Look::Down(error.clone()),
            State::Unknown | State::Suspect => Look::Due,
        }
    }

    /// Asks again for what the connection does without, at its pace: nobody waits for it.
    pub(crate) async fn look_for_the_rest(&self) {
        if !self.missing_is_due() {
            return;
        }
        let Ok(found) = self.client.identify_again().await.map(|found| self.with_known(found)) else { return };
        self.state.send_if_modified(|state| {
            let State::Healthy(identity, _) = state else { return false };
            *identity = found;
            true
        });
    }

    /// Whether it is time to ask, which is then noted as done.
    fn missing_is_due(&self) -> bool {
        let Some(pace) = self.missing_pace() else { return false };
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = asked.is_none_or(|asked| asked.elapsed() > pace);
        if due {
            *asked = Some(Instant::now());
        }
        due
    }

    /// How often to ask for what is missing, if anything is and the proof is older than that.
    fn missing_pace(&self) -> Option<Duration> {
        let State::Healthy(Identity { capabilities: Capabilities { identity, version, .. }, .. }, since) =
            &*self.state.borrow()
        else {
            return None;
        };
        let all = [*identity, *version, self.client.event_search()];
        let pace = all.into_iter().filter_map(|one| one.missing().map(Missing::pace)).min();
        pace.filter(|pace| since.elapsed() > *pace)
    }

    /// When the next probe is due, if one is.
    #[must_use]
    pub fn due(&self) -> Option<Due> {
        match &*self.state.borrow() {
            State::Unhealthy { until, .. } => Some(Due::At(*until)),
            State::Healthy(_, since) => Some(Due::At(*since + PROOF_LASTS)),
            State::Suspect => Some(Due::Suspect),
            State::Unknown => None,
        }
    }

    /// How the connection stands, as of the newest probe.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match &*self.state.borrow() {
            State::Healthy(..) => Standing::Up,
            State::Unhealthy { error, .. } => Standing::Down(error.reason()),
            State::Unknown | State::Suspect => Standing::Unknown,
        }
    }

    /// Changes of the state, for one who waits for them.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.state.subscribe())
    }

    fn facts(&self, identity: &Identity) -> Connection {
        Connection {
            // Whoever asks by name adds these two.
            reference: None,
            adoption: Adoption::NotAllowed,
            api: identity.api,
            payload_types: identity.api.payload_types(identity.server_version.as_deref()),
            url: self.client.url(),
            instance: identity.instance.clone(),
            sent_within: self.client.send_limit(),
            timeout: self.client.write_timeout(),
            server_version: identity.server_version.clone(),
            grace: self.grace,
            account: if self.client.stranger().is_some() { Account::Shared } else { Account::Ours },
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use zitadel_stand_in::{Generation, Op, Options, StandIn};

    use super::*;
    use crate::zitadel::ApiChoice;
    use crate::zitadel::auth::{Credential, Slot, Source};
    use crate::zitadel::transport::{Proxy, RATE, Settings};

    #[tokio::test]
    async fn a_server_that_is_upgraded_without_a_gap_is_noticed_within_the_hour() {
        // The process has one TLS provider; whoever comes second finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = StandIn::start(Options::new(Generation::V2)).await.unwrap();
        let slot = Slot::new("the token of the test");
        slot.set(Some(SecretString::from(server.token())));
        let settings = Settings {
            url: server.url().parse().unwrap(),
            host: None,
            ca: None,
            proxy: Proxy::None,
            credential: Credential::PersonalAccessToken(Source::Slot(slot)),
            rate: RATE,
            timeout: Duration::from_secs(10),
        };
        let client = Client::new(ApiChoice::Auto, settings, Box::new(|_, _, _| {}));
        let health = ConnectionHealth::new(Arc::new(client), Duration::from_mins(2));
        health.ensure().await.unwrap();
        server.set_version("v4.99.0");
        let known = |connection: Connection| connection.server_version;
        assert_ne!(known(health.ensure().await.unwrap().0).as_deref(), Some("v4.99.0"), "nothing asks again");
        let asked = server.calls().iter().filter(|call| call.op == Some(Op::Instance)).count();
        tokio::time::pause();
        tokio::time::advance(PROOF_LASTS).await;
        tokio::time::resume();
        assert!(matches!(health.due(), Some(Due::At(due)) if due <= Instant::now()));
        assert_eq!(known(health.ensure().await.unwrap().0).as_deref(), Some("v4.99.0"));
        assert_eq!(server.calls().iter().filter(|call| call.op == Some(Op::Instance)).count(), asked + 1);
    }
}
