//! The token endpoint: an assertion or a client secret goes in, an access token comes out.
//!
//! Both go to the configured origin, by the same way as every other call, whatever address the server publishes. The
//! audience of an assertion is the issuer of the server's own configuration, read by that way right before: it follows
//! the host and the proxy headers (docs/zitadel/observed.md section 10), and its `Date` sets our clock. Asks once;
//! when to ask again is said in [`super::exchanged`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tracing::Instrument as _;
use url::form_urlencoded::byte_serialize;

use super::ClientAuth;
use super::assertion::{ServiceKey, SystemKey, TOKEN_VALID};
use super::bearer::Bearer;
use super::refusal::{NoToken, Verdict};
use crate::zitadel::Error;
use crate::zitadel::client::{Op, SharedObserver};
use crate::zitadel::error::plain;
use crate::zitadel::span;
use crate::zitadel::transport::{Reply, Transport};

const CONFIGURATION: &str = "/.well-known/openid-configuration";
const TOKEN: &str = "/oauth/v2/token";
/// What is asked for. Without the second scope the token is refused by the API.
const SCOPES: &str = "openid urn:zitadel:iam:org:project:id:zitadel:aud";
/// What suffices. The other scope has ZITADEL run the executions of `function/preuserinfo`, and one that fails makes the
/// answer a 500 (docs/zitadel/observed.md section 14).
const AUDIENCE: &str = "urn:zitadel:iam:org:project:id:zitadel:aud";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Life of a token whose answer names none; ZITADEL's always do.
const SHORT_LIFE: Duration = Duration::from_mins(5);
/// Longest life that is believed; more than a clock can count would be a way to end a pass.
const LONG_LIFE: Duration = Duration::from_hours(24 * 365);

/// What is exchanged.
pub(super) enum Proof {
    /// A key, and what holds it.
    Key(ServiceKey, String),
    /// Client id and secret.
    Client { id: SecretString, secret: SecretString, method: ClientAuth },
    /// The key of a system user, and what holds it: nothing is exchanged.
    System(SystemKey, String),
}

impl Proof {
    /// When it expires, if it says so.
    pub(super) const fn expires(&self) -> Option<Timestamp> {
        match self {
            Self::Key(key, _) => key.expires,
            Self::Client { .. } | Self::System(..) => None,
        }
    }
}

/// A fresh token.
pub(super) struct Granted {
    pub(super) bearer: Bearer,
    pub(super) life: Duration,
}

/// The token endpoint of one connection.
pub(super) struct TokenEndpoint {
    pub(super) transport: Arc<Transport>,
    pub(super) observer: SharedObserver,
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: SecretString,
    expires_in: Option<u64>,
}

/// An error of RFC 6749 section 5.2.
#[derive(Deserialize)]
struct OauthError {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl TokenEndpoint {
    /// Exchanges the proof for a token. Sent once.
    ///
    /// # Errors
    /// [`Error::NoToken`].
    pub(super) async fn exchange(&self, proof: &Proof) -> Result<Granted, Error> {
        let granted = match proof {
            Proof::Key(key, source) => Box::pin(self.by_key(key, source)).await,
            Proof::Client { id, secret, method } => Box::pin(self.by_secret(id, secret, *method)).await,
            Proof::System(key, source) => self.by_system_user(key, source).await,
        };
        granted.map_err(|why| Error::NoToken(Box::new(why)))
    }

    async fn by_key(&self, key: &ServiceKey, source: &str) -> Result<Granted, NoToken> {
        let issuer = self.issuer().await?;
        let now = self.transport.server_now();
        let assertion = key
            .assertion(&issuer, now)
            .map_err(|_| NoToken::Failed(Error::Credential(format!("{source} holds a key that does not sign"))))?;
        let form = [("grant_type", JWT_BEARER), ("assertion", assertion.expose_secret())];
        let reply = self.post_scoped(&form, None).await?;
        let Some(verdict) = judged(&reply) else { return granted(&reply) };
        Err(match key.expires {
            Some(date) if date <= now => NoToken::KeyExpired { source: source.to_owned(), date: date.to_string() },
            _ => NoToken::Assertion { verdict, issuer: plain(&issuer), skewed: self.transport.is_skewed() },
        })
    }

    /// Signs a token that the API takes as it is.
    async fn by_system_user(&self, key: &SystemKey, source: &str) -> Result<Granted, NoToken> {
        let issuer = self.issuer().await?;
        let signed = key.token(&issuer, self.transport.server_now()).ok().and_then(|token| Bearer::new(&token));
        let bearer = signed
            .ok_or_else(|| NoToken::Failed(Error::Credential(format!("{source} holds a key that does not sign"))))?;
        Ok(Granted { bearer, life: Duration::from_secs(TOKEN_VALID.into()) })
    }

    async fn by_secret(
        &self,
        id: &SecretString,
        secret: &SecretString,
        method: ClientAuth,
    ) -> Result<Granted, NoToken> {
        let (id, plain_secret) = (id.expose_secret(), secret.expose_secret());
        let grant = ("grant_type", "client_credentials");
        let reply = match method {
            ClientAuth::Basic => self.post_scoped(&[grant], Some((encoded(id), encoded(plain_secret)))).await?,
            ClientAuth::Post => {
                let form = [grant, ("client_id", id), ("client_secret", plain_secret)];
                self.post_scoped(&form, None).await?
            }
        };
        granted(&reply)
    }

    /// Asks for a token with both scopes; where the server fails at that, once more with the one that suffices.
    async fn post_scoped(&self, form: &[(&str, &str)], basic: Option<(String, String)>) -> Result<Reply, NoToken> {
        let with = |scope| form.iter().copied().chain([("scope", scope)]).collect::<Vec<_>>();
        let reply = self.post(&with(SCOPES), basic.clone()).await?;
        if judged(&reply) == Some(Verdict::RefusedOrFailed) {
            self.post(&with(AUDIENCE), basic).await
        } else {
            Ok(reply)
        }
    }

    /// The issuer, word for word.
    async fn issuer(&self) -> Result<String, NoToken> {
        let reply = self.observed(self.transport.get(CONFIGURATION)).await?;
        let answer = reply.answer().map_err(|error| beside(error, CONFIGURATION))?;
        let read: Result<Configuration, _> = answer.body.parse();
        match read {
            Ok(read) if !read.issuer.is_empty() => Ok(read.issuer),
            _ => Err(NoToken::Failed(unreadable(answer.status, "the configuration names no issuer"))),
        }
    }

    async fn post(&self, form: &[(&str, &str)], basic: Option<(String, String)>) -> Result<Reply, NoToken> {
        self.observed(self.transport.post_form(TOKEN, form, basic)).await
    }

    async fn observed(&self, call: impl Future<Output = Result<Reply, Error>>) -> Result<Reply, NoToken> {
        let (started, span) = (Instant::now(), span::begin(Op::Token));
        let reply = call.instrument(span.clone()).await;
        let status = reply.as_ref().map_or_else(|_| "none".to_owned(), |reply| reply.status.as_str().to_owned());
        span::end(&span, &status);
        (self.observer)(Op::Token, started.elapsed(), &status);
        reply.map_err(NoToken::Failed)
    }
}

/// A part of HTTP basic, encoded as forms are (RFC 6749 section 2.3.1): a user name may hold a colon.
fn encoded(part: &str) -> String {
    byte_serialize(part.as_bytes()).collect()
}

/// Whether the endpoint refuses what was sent without a word of its own: 500 up to v4.13, 400 `invalid_grant` since v4.14
/// (docs/zitadel/observed.md section 14).
fn judged(reply: &Reply) -> Option<Verdict> {
    let error = oauth(reply)?.error;
    match reply.status {
        StatusCode::INTERNAL_SERVER_ERROR => Some(Verdict::RefusedOrFailed),
        StatusCode::BAD_REQUEST if error == "invalid_grant" => Some(Verdict::Refused),
        _ => None,
    }
}

fn oauth(reply: &Reply) -> Option<OauthError> {
    serde_json::from_slice(&reply.bytes).ok()
}

/// The token of an answer, or why there is none.
fn granted(reply: &Reply) -> Result<Granted, NoToken> {
    let status = reply.status.as_u16();
    if reply.status.is_success() {
        let answer: Option<TokenAnswer> = serde_json::from_slice(&reply.bytes).ok();
        let token = answer.and_then(|answer| Some((Bearer::new(&answer.access_token)?, answer.expires_in)));
        let (bearer, life) = token.ok_or_else(|| NoToken::Failed(unreadable(status, "the answer holds no token")))?;
        // No token lives for no time at all: that would be an exchange for every call.
        let life = life.map_or(SHORT_LIFE, |seconds| Duration::from_secs(seconds.max(1)).min(LONG_LIFE));
        return Ok(Granted { bearer, life });
    }
    // Without the shape of an OAuth error it is the answer of something else, or of ZITADEL's routing.
    let Some(told) = oauth(reply).filter(|_| status != 429) else {
        let error = reply.clone().answer().err().unwrap_or_else(|| unreadable(status, "no OAuth error"));
        return Err(beside(error, TOKEN));
    };
    Err(refused(status, &told))
}

/// The words choose among sentences only; what is done does not depend on them. They are keys, not translated text
/// (docs/zitadel/observed.md section 9).
fn refused(status: u16, told: &OauthError) -> NoToken {
    let says = |word: &str| told.error_description.contains(word);
    if status >= 500 {
        return NoToken::Failed(unreadable(status, "the token endpoint has an internal error"));
    }
    if says("Machine.Secret.NotExisting") {
        return NoToken::NoSecret;
    }
    if says("Machine.Secret.Invalid") {
        return NoToken::WrongSecret;
    }
    if says("User.NotActive") {
        return NoToken::Inactive;
    }
    if says("User.NotFound") {
        return NoToken::UnknownUser;
    }
    if told.error == "invalid_client" {
        return NoToken::UnknownClient;
    }
    NoToken::Refused { status, error: plain(&told.error), description: plain(&told.error_description) }
}

/// An answer that is not of the endpoint. A missing path says nothing about the Actions API, as it would elsewhere.
fn beside(error: Error, path: &str) -> NoToken {
    NoToken::Failed(match error {
        Error::Api(error) if error.is_unknown_route() => {
            unreadable(error.status, &format!("nothing serves {path} there: this is not ZITADEL, or a proxy hides it"))
        }
        other => other,
    })
}

fn unreadable(status: u16, what: &str) -> Error {
    Error::Unreadable { status, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status: StatusCode::from_u16(status).unwrap(), bytes: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_client_id_may_hold_what_http_basic_separates_by() {
        assert_eq!(encoded("a:b+c d%@"), "a%3Ab%2Bc+d%25%40");
    }

    #[test]
    fn a_life_is_neither_none_nor_endless() {
        let life = |text: &str| granted(&reply(200, text)).ok().map(|granted| granted.life.as_secs());
        assert_eq!(life(r#"{"access_token":"x","expires_in":43199}"#), Some(43199));
        assert_eq!(life(r#"{"access_token":"x","expires_in":0}"#), Some(1));
        assert_eq!(life(r#"{"access_token":"x"}"#), Some(300));
        assert_eq!(life(r#"{"access_token":"x","expires_in":18446744073709551615}"#), Some(LONG_LIFE.as_secs()));
        for useless in [r#"{"access_token":"two words","expires_in":1}"#, r#"{"expires_in":1}"#, "{}", "x"] {
            assert_eq!(life(useless), None, "{useless}");
        }
    }

    #[test]
    fn a_missing_endpoint_is_not_a_missing_api() {
        let why = granted(&reply(404, r#"{"code":5,"message":"Not Found","details":[]}"#)).err().unwrap();
        assert_eq!(why.reason(), crate::api::reason::Reason::ZitadelUnavailable);
        assert!(why.to_string().contains("nothing serves /oauth/v2/token"), "{why}");
    }
}
