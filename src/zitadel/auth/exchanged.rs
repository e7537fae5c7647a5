//! Tokens that were exchanged: kept for their life, renewed before its end, one exchange at a time.
//!
//! The source of the credential is read for every call, so a change is noticed by the next one. A token that still
//! lives serves while its successor is fetched behind the calls, and for as long as that does not work; only a
//! credential that is withdrawn ends it at once. Failures back off, here and not in callers: a refusal costs ZITADEL
//! a query and tells an attacker's guess from ours by nothing else.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::assertion::{ServiceKey, SystemKey};
use super::bearer::Bearer;
use super::exchange::{Granted, Proof, TokenEndpoint};
use super::{ClientAuth, Source};
use crate::zitadel::Error;

/// First and longest pause after a refusal of one and the same credential.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);
/// Shortest time between two exchanges that refused calls ask for. A fresh token that is refused too is not mended by
/// another one.
const RENEWAL: Duration = Duration::from_secs(10);

/// The credential behind the tokens.
#[derive(Debug)]
pub(super) enum Origin {
    /// A JSON key file.
    Key(Source),
    /// Client id and secret.
    Client { id: Source, secret: Source, method: ClientAuth },
    /// The private key of a system user, which signs its tokens itself.
    System { name: String, key: Source },
}

/// What an origin holds at a time.
enum Material {
    Key(SecretString, String),
    Client { id: SecretString, secret: SecretString, method: ClientAuth },
    System { name: String, key: SecretString, source: String },
}

/// The tokens of one origin.
pub(super) struct Exchanged {
    origin: Origin,
    endpoint: TokenEndpoint,
    /// One exchange at a time.
    gate: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
    prints: RandomState,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failure: Option<Failure>,
    /// When a refused call last led to an exchange.
    renewed: Option<Instant>,
    /// Of the key that was tried last.
    expires: Option<Timestamp>,
}

struct Held {
    bearer: Bearer,
    /// Of the material that it was made of.
    print: u64,
    renew: Instant,
    end: Instant,
}

/// A credential that was refused, and until when it is left alone.
struct Failure {
    print: u64,
    error: Error,
    count: u32,
    until: Instant,
}

/// What a call is to do.
enum Choice {
    Use(Bearer),
    /// Use it, and see to its successor.
    Succeed(Bearer),
    /// There is none: wait for one.
    Obtain,
    /// There is none, and it is too early to ask again.
    Rest(Error),
}

impl Origin {
    async fn read(&self) -> Result<Material, Error> {
        Ok(match self {
            Self::Key(source) => Material::Key(source.read().await?, source.to_string()),
            Self::Client { id, secret, method } => {
                Material::Client { id: id.read().await?, secret: secret.read().await?, method: *method }
            }
            Self::System { name, key } => {
                Material::System { name: name.clone(), key: key.read().await?, source: key.to_string() }
            }
        })
    }
}

impl Material {
    fn print(&self, prints: &RandomState) -> u64 {
        match self {
            Self::Key(text, _) => prints.hash_one(text.expose_secret()),
            Self::Client { id, secret, .. } => prints.hash_one((id.expose_secret(), secret.expose_secret())),
            Self::System { name, key, .. } => prints.hash_one((name, key.expose_secret())),
        }
    }

    fn proof(self) -> Result<Proof, Error> {
        Ok(match self {
            Self::Key(text, source) => {
                let key = ServiceKey::parse(&text).map_err(|why| Error::Credential(format!("{source} {why}")))?;
                Proof::Key(key, source)
            }
            Self::Client { id, secret, method } => Proof::Client { id, secret, method },
            Self::System { name, key, source } => {
                let key = SystemKey::parse(name, &key).map_err(|why| Error::Credential(format!("{source} {why}")))?;
                Proof::System(key, source)
            }
        })
    }
}

impl Exchanged {
    pub(super) fn new(origin: Origin, endpoint: TokenEndpoint) -> Arc<Self> {
        Arc::new(Self { origin, endpoint, gate: Arc::default(), state: Mutex::default(), prints: RandomState::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the key expires that was tried last, where it says so.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        self.state().expires
    }

    /// The token to send.
    pub(super) async fn bearer(self: &Arc<Self>) -> Result<Bearer, Error> {
        let material = self.origin.read().await?;
        let print = material.print(&self.prints);
        match self.choose(print) {
            Choice::Use(bearer) => Ok(bearer),
            Choice::Succeed(bearer) => {
                self.succeed(material, print);
                Ok(bearer)
            }
            Choice::Obtain => self.obtain(material, print).await,
            Choice::Rest(error) => Err(error),
        }
    }

    fn choose(&self, print: u64) -> Choice {
        let (state, now) = (self.state(), Instant::now());
        match &state.held {
            Some(held) if now < held.end => {
                let due = held.print != print || now >= held.renew;
                let bearer = held.bearer.clone();
                if due && state.resting(print).is_none() { Choice::Succeed(bearer) } else { Choice::Use(bearer) }
            }
            _ => state.resting(print).map_or(Choice::Obtain, Choice::Rest),
        }
    }

    /// Fetches the successor behind the calls, unless somebody is at it.
    fn succeed(self: &Arc<Self>, material: Material, print: u64) {
        let Ok(turn) = Arc::clone(&self.gate).try_lock_owned() else { return };
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let _turn = turn;
            // Somebody may have been at it until a moment ago.
            if matches!(this.choose(print), Choice::Succeed(_)) {
                // What goes wrong is logged and remembered; the token at hand serves on.
                drop(this.exchange(material, print).await);
            }
        });
    }

    /// Waits for a token: for the exchange of somebody else, or for one's own.
    async fn obtain(&self, material: Material, print: u64) -> Result<Bearer, Error> {
        let _turn = self.gate.lock().await;
        match self.choose(print) {
            Choice::Use(bearer) | Choice::Succeed(bearer) => Ok(bearer),
            Choice::Obtain => self.exchange(material, print).await,
            Choice::Rest(error) => Err(error),
        }
    }

    /// Another token than the one that was refused; `None` if it is too early for one.
    pub(super) async fn renew(&self, refused: &Bearer) -> Result<Option<Bearer>, Error> {
        let _turn = self.gate.lock().await;
        let material = self.origin.read().await?;
        let print = material.print(&self.prints);
        {
            let (mut state, now) = (self.state(), Instant::now());
            match &state.held {
                // Somebody else was here first.
                Some(held) if held.bearer != *refused && now < held.end => return Ok(Some(held.bearer.clone())),
                Some(held) if held.print == print && state.renewed.is_some_and(|at| now < at + RENEWAL) => {
                    return Ok(None);
                }
                _ => {}
            }
            if let Some(error) = state.resting(print) {
                state.held = None;
                return Err(error);
            }
            state.renewed = Some(now);
            state.held = None;
        }
        self.exchange(material, print).await.map(Some)
    }

    async fn exchange(&self, material: Material, print: u64) -> Result<Bearer, Error> {
        let started = Instant::now();
        let proof = material.proof();
        self.state().expires = proof.as_ref().ok().and_then(Proof::expires);
        let result = match proof {
            Ok(proof) => self.endpoint.exchange(&proof).await,
            Err(error) => Err(error),
        };
        let mut state = self.state();
        match result {
            Ok(Granted { bearer, life }) => {
                tracing::debug!(?life, "there is a new token");
                // 75 to 85 %, so that what was granted together is not renewed together.
                let share =
                    0.75 + 0.1 * f64::from(u8::try_from(self.prints.hash_one(started) % 256).unwrap_or(0)) / 256.0;
                let renew = started + life.mul_f64(share);
                state.held = Some(Held { bearer: bearer.clone(), print, renew, end: started + life });
                state.failure = None;
                Ok(bearer)
            }
            Err(error) => {
                let count = state.failure.as_ref().filter(|failure| failure.print == print).map_or(0, |f| f.count + 1);
                let pause = FIRST.saturating_mul(1 << count.min(6)).min(LONGEST);
                let serving = state.held.as_ref().is_some_and(|held| Instant::now() < held.end);
                tracing::warn!(%error, reason = %error.reason(), retry = ?pause, former_token_serves = serving, "no token");
                state.failure = Some(Failure { print, error: error.clone(), count, until: Instant::now() + pause });
                Err(error)
            }
        }
    }
}

impl State {
    /// Why this material must not be tried now.
    fn resting(&self, print: u64) -> Option<Error> {
        let failure = self.failure.as_ref()?;
        (failure.print == print && Instant::now() < failure.until).then(|| failure.error.clone())
    }
}
