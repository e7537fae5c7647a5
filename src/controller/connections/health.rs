//! The state of one connection, shared by all objects that use it.
//!
//! While it is down, exactly one probe at a time runs, with a back-off of its own; objects get the probe's error
//! without a call. Whatever goes wrong with the connection as a whole is thus found once, not once per object.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
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
    state: Mutex<State>,
    changed: Notify,
    /// Whether the newest probe succeeded.
    up: std::sync::Mutex<Option<bool>>,
    /// The instance that answered last.
    instance: std::sync::Mutex<Option<String>>,
    /// The issuer that it named; asked for the status of a resource alone.
    issuer: std::sync::Mutex<Option<String>>,
    /// When what the connection does without was last asked for beside a probe.
    asked: Mutex<Option<Instant>>,
}

#[derive(Debug)]
enum State {
    /// Nothing is known yet.
    Unproved,
    /// Worked, and a call failed in a way that may be the connection's fault; or the cause of a failure has changed.
    Doubted,
    /// Works, as far as is known since then.
    Up(Identity, Instant),
    /// Does not work; not tried again before `until`.
    Down { error: Error, failures: u32, until: Instant },
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
    Doubted,
}

impl ConnectionHealth {
    /// A connection that nothing is known of. `grace` is how long its read side may miss a target.
    #[must_use]
    pub fn new(client: Arc<Client>, grace: Duration) -> Self {
        Self {
            client,
            grace,
            keys: None,
            state: Mutex::new(State::Unproved),
            changed: Notify::new(),
            up: std::sync::Mutex::default(),
            instance: std::sync::Mutex::default(),
            issuer: std::sync::Mutex::default(),
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
        self.instance.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        let mut state = self.state.lock().await;
        let failures = match &*state {
            State::Up(identity, since) if since.elapsed() < PROOF_LASTS => {
                return Ok((self.facts(identity), identity.clone()));
            }
            State::Down { error, until, .. } if Instant::now() < *until => return Err(error.clone()),
            State::Down { failures, .. } => *failures,
            State::Up(..) | State::Unproved | State::Doubted => 0,
        };
        let result = self.probe().await;
        *self.up.lock().unwrap_or_else(PoisonError::into_inner) = Some(result.is_ok());
        *state = match &result {
            Ok(identity) => {
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
                self.instance.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&identity.instance);
                State::Up(identity.clone(), Instant::now())
            }
            Err(error) => {
                let pause = jittered(delay(failures, FIRST, LONGEST));
                tracing::warn!(url = self.client.url(), %error, reason = %error.reason(), retry = ?pause, "ZITADEL is not usable");
                State::Down { error: error.clone(), failures: failures + 1, until: Instant::now() + pause }
            }
        };
        drop(state);
        self.changed.notify_one();
        result.map(|identity| (self.facts(&identity), identity))
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
    pub async fn doubt(&self, error: &Error) {
        if error.concerns_connection() {
            let mut state = self.state.lock().await;
            if let State::Up(..) = *state {
                *state = State::Doubted;
                self.changed.notify_one();
            }
        }
    }

    /// Has the connection proved again, unless it was a moment ago: what it knows of the server (its version, say) may
    /// be old.
    pub async fn prove_again(&self) {
        let mut state = self.state.lock().await;
        if matches!(&*state, State::Up(_, since) if since.elapsed() > LONGEST) {
            *state = State::Doubted;
        }
    }

    /// Forgets a failure: its cause (a credential, say) has changed.
    pub async fn retry_now(&self) {
        let mut state = self.state.lock().await;
        if let State::Down { .. } = *state {
            *state = State::Doubted;
        }
    }

    /// Has a connection that works proved again.
    pub(crate) async fn renew(&self) {
        let mut state = self.state.lock().await;
        if let State::Up(..) = *state {
            *state = State::Doubted;
        }
    }

    /// What is known of it.
    pub(crate) async fn look(&self, unobserved: Option<Unobserved>) -> Look {
        match &*self.state.lock().await {
            State::Up(identity, _) => {
                let issuer = self.issuer.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let mut identity = identity.clone();
                identity.capabilities.events = self.client.event_search();
                Look::Up(Box::new(Known { identity, issuer, unobserved, stranger: self.client.stranger() }))
            }
            State::Down { error, .. } => Look::Down(error.clone()),
            State::Unproved | State::Doubted => Look::Due,
        }
    }

    /// Asks again for what the connection does without, at its pace: nobody waits for it.
    pub(crate) async fn look_for_the_rest(&self) {
        let mut asked = self.asked.lock().await;
        let pace = match &*self.state.lock().await {
            State::Up(Identity { capabilities: Capabilities { identity, version, .. }, .. }, since) => {
                let pace = [*identity, *version, self.client.event_search()]
                    .into_iter()
                    .filter_map(|one| one.missing().map(Missing::pace))
                    .min();
                pace.filter(|pace| asked.map_or(*since, |asked| asked.max(*since)).elapsed() > *pace)
            }
            _ => None,
        };
        if pace.is_none() {
            return;
        }
        *asked = Some(Instant::now());
        let Ok(found) = self.client.identify_again().await else { return };
        if let State::Up(identity, _) = &mut *self.state.lock().await {
            self.instance.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&found.instance);
            *identity = found;
            self.changed.notify_one();
        }
    }

    /// When the next probe is due, if one is.
    pub async fn due(&self) -> Option<Due> {
        match &*self.state.lock().await {
            State::Down { until, .. } => Some(Due::At(*until)),
            State::Up(_, since) => Some(Due::At(*since + PROOF_LASTS)),
            State::Doubted => Some(Due::Doubted),
            State::Unproved => None,
        }
    }

    /// How the connection stands, as of the newest probe.
    pub async fn standing(&self) -> Standing {
        match &*self.state.lock().await {
            State::Up(..) => Standing::Up,
            State::Down { error, .. } => Standing::Down(error.reason()),
            State::Unproved | State::Doubted => Standing::Unknown,
        }
    }

    /// Waits until a probe has ended, or is called for.
    pub async fn changed(&self) {
        self.changed.notified().await;
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
        assert!(matches!(health.due().await, Some(Due::At(due)) if due <= Instant::now()));
        assert_eq!(known(health.ensure().await.unwrap().0).as_deref(), Some("v4.99.0"));
        assert_eq!(server.calls().iter().filter(|call| call.op == Some(Op::Instance)).count(), asked + 1);
    }
}
