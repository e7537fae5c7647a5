//! The one path to the network: deadline, rate, body cap, redaction.
//!
//! Sends a request once. Repeating is never this layer's business: a repeated create could make a second target,
//! and everything else is repeated by the next pass. No redirects, no proxy from the environment unless asked for,
//! HTTP/1.1 only (so that the Host header can be set), and the token goes to the configured origin alone.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::sync::RwLock;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize, parse};

use super::Error;
use super::auth::{Bearer, Credential, Source};
use super::error::{ApiError, UNKNOWN_INSTANCE, plain};
use super::fault::{Fault, Peer, Silence, causes};
use super::generation::{Patience, Request};
use super::shape::{Body, Rows, Word};
use super::span;

/// Largest answer that is read, in bytes. Lists and event pages need a larger one (1000 rows are about 350 KB).
pub(super) const BODY_CAP: usize = 1 << 20;
const PAGE_CAP: usize = 8 << 20;
/// Requests a second unless a connection says otherwise, and twice as many in a burst; ZITADEL Cloud bans an address for a
/// minute above 50 a second.
pub const RATE: NonZeroU32 = NonZeroU32::new(20).expect("20 is not zero");

const TWICE: NonZeroU32 = NonZeroU32::new(2).expect("2 is not zero");

/// Longest message of an error that is kept, in characters.
const LONGEST_MESSAGE: usize = 2000;
const NOT_JSON: &str = "the body is not JSON";
const HTML: &str = "an HTML page, as of a proxy, and not an answer of ZITADEL";

/// What stands where a server quoted a secret.
const STRUCK: &str = "[struck out]";

/// Where and how requests go.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Origin that requests are sent to.
    pub url: Url,
    /// The instance's external domain, when `url` is an in-cluster address.
    pub host: Option<HeaderValue>,
    /// PEM bundle that replaces the system's certificate authorities.
    pub ca: Option<Source>,
    /// The way there.
    pub proxy: Proxy,
    /// The credential.
    pub credential: Credential,
    /// Requests a second; twice as many may come in a burst.
    pub rate: NonZeroU32,
    /// Longest time for one call, connection included; creates and updates get more.
    pub timeout: Duration,
}

/// Creates and updates get this many times the time-out of reads, but no more than [`LONGEST_WRITE`] and never less.
const WRITE_FACTOR: u32 = 3;
/// Shorter than a pass may take, so that a create without an answer ends as one.
const LONGEST_WRITE: Duration = Duration::from_secs(45);
/// Longest time for what nothing depends on.
const LONGEST_OPTIONAL: Duration = Duration::from_secs(3);

impl Settings {
    /// Longest time for one call of this kind, connection included.
    pub(super) fn longest(&self, patience: Patience) -> Duration {
        match patience {
            Patience::Read => self.timeout,
            Patience::Write => (self.timeout * WRITE_FACTOR).min(LONGEST_WRITE).max(self.timeout),
            Patience::Optional => self.timeout.min(LONGEST_OPTIONAL),
        }
    }

    /// Longest time for a connection alone.
    fn connect_timeout(&self) -> Duration {
        Duration::from_secs(5).min(self.timeout)
    }

    /// Whom a connection is made to, as conditions name it.
    fn peer(&self) -> Peer {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        let by = match self.proxy {
            Proxy::None => "",
            Proxy::Environment => " (or the proxy that the environment names)",
        };
        Peer { host: format!("{host}{by}"), address: format!("{host}{port}{by}") }
    }

    /// Why a call that was given so much time has failed.
    fn failed(&self, error: &reqwest::Error, within: Duration) -> Error {
        if error.is_connect() {
            Error::Connect(Fault::of(error, self.peer(), self.connect_timeout()))
        } else if error.is_timeout() {
            Error::NoAnswer(Silence::Within(within))
        } else {
            Error::NoAnswer(causes(error).into())
        }
    }
}

/// Whether requests go straight to the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// Straight, whatever the environment says.
    None,
    /// By `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    Environment,
}

/// Sends requests to one origin.
#[derive(Debug)]
pub(super) struct Transport {
    settings: Settings,
    client: RwLock<Option<reqwest::Client>>,
    limiter: DefaultDirectRateLimiter,
    skew: std::sync::Mutex<SignedDuration>,
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: Body,
}

/// Whatever came back.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub bytes: Vec<u8>,
}

/// How large an answer may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cap {
    One,
    Page,
}

impl Transport {
    pub(super) fn new(settings: Settings) -> Self {
        let limiter =
            RateLimiter::direct(Quota::per_second(settings.rate).allow_burst(settings.rate.saturating_mul(TWICE)));
        Self { settings, client: RwLock::new(None), limiter, skew: std::sync::Mutex::new(SignedDuration::ZERO) }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Builds the HTTP client anew, so that a replaced CA file takes effect.
    pub(super) async fn reset(&self) -> Result<(), Error> {
        let fresh = self.build().await?;
        *self.client.write().await = Some(fresh);
        Ok(())
    }

    async fn build(&self) -> Result<reqwest::Client, Error> {
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(self.settings.connect_timeout())
            .timeout(self.settings.timeout)
            .user_agent(concat!("zitadel-actions-operator/", env!("CARGO_PKG_VERSION")));
        if self.settings.proxy == Proxy::None {
            builder = builder.no_proxy();
        }
        if let Some(source) = &self.settings.ca {
            builder = builder.tls_certs_only(authorities(source).await?);
        }
        builder.build().map_err(|error| Error::Setup(format!("the HTTP client cannot be set up: {}", causes(&error))))
    }

    async fn client(&self) -> Result<reqwest::Client, Error> {
        if let Some(client) = self.client.read().await.as_ref() {
            return Ok(client.clone());
        }
        self.reset().await?;
        let client = self.client.read().await.clone();
        client.ok_or_else(|| Error::Setup("the HTTP client is being replaced".into()))
    }

    /// Sends a request once and reads its answer. After `not_after` it is not sent any more.
    pub(super) async fn send(
        &self,
        request: &Request,
        bearer: Option<&Bearer>,
        cap: Cap,
        not_after: Option<Instant>,
    ) -> Result<Answer, Error> {
        let client = self.client().await?;
        self.limiter.until_ready().await;
        if not_after.is_some_and(|limit| Instant::now() > limit) {
            return Err(Error::Connect("not sent: it had to wait too long for its turn".into()));
        }
        let call = self.prepare(&client, request.method.clone(), self.target(request));
        let mut call = call.timeout(self.settings.longest(request.patience));
        if let Some(bearer) = bearer {
            call = call.header(AUTHORIZATION, bearer.header());
        }
        if let Some(body) = &request.body {
            call = call.json(body);
        }
        self.finish(call, cap, "").await?.answer()
    }

    /// Reads something that anybody may read. Without a turn: see [`Self::post_form`].
    pub(super) async fn get(&self, path: &str) -> Result<Reply, Error> {
        let call = self.prepare(&self.client().await?, Method::GET, self.at(path));
        self.finish(call, Cap::One, "").await
    }

    /// Posts a form, with user and password for HTTP basic. Without waiting for a turn: every call waits for the token,
    /// and those who fetch it do so rarely, one at a time.
    pub(super) async fn post_form(
        &self,
        path: &str,
        form: &[(&str, &str)],
        basic: Option<(String, String)>,
    ) -> Result<Reply, Error> {
        let mut call = self.prepare(&self.client().await?, Method::POST, self.at(path));
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        call = call.header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some((user, password)) = basic {
            call = call.basic_auth(user, Some(password));
        }
        self.finish(call.body(body.clone()), Cap::One, &body).await
    }

    /// A request to the one origin.
    fn prepare(&self, client: &reqwest::Client, method: Method, url: Url) -> reqwest::RequestBuilder {
        let call = client.request(method, url).header(ACCEPT, HeaderValue::from_static("application/json"));
        match &self.settings.host {
            Some(host) => call.header(HOST, host).header("x-zitadel-instance-host", host),
            None => call,
        }
    }

    /// Sends, and reads what comes back. `form` is what was sent as one.
    async fn finish(&self, call: reqwest::RequestBuilder, cap: Cap, form: &str) -> Result<Reply, Error> {
        let (client, request) = call.build_split();
        let mut request = request.map_err(|error| Error::Connect(causes(&error).into()))?;
        span::propagate(request.headers_mut());
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        let within = request.timeout().copied().unwrap_or(self.settings.timeout);
        let answer = client.execute(request).await.map_err(|error| self.settings.failed(&error, within))?;
        self.note_date(&answer);
        let reply = read(answer, cap, within).await?;
        Ok(if reply.status.is_success() { reply } else { reply.struck(authorization.as_ref(), form) })
    }

    /// Paths are built from constants and typed ids, and the base has been checked to be a plain origin.
    fn at(&self, path: &str) -> Url {
        let mut url = self.settings.url.clone();
        url.set_path(path);
        url
    }

    fn target(&self, request: &Request) -> Url {
        let mut url = self.at(&request.path);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        url
    }

    fn note_date(&self, answer: &reqwest::Response) {
        let date = answer.headers().get(http::header::DATE).and_then(|value| value.to_str().ok());
        let Some(server) = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()) else { return };
        let skew = server.timestamp().duration_since(Timestamp::now());
        *self.skew.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = skew;
    }

    /// Whether our clock and the server's are more than a minute apart.
    pub(super) fn is_skewed(&self) -> bool {
        self.skew.lock().unwrap_or_else(std::sync::PoisonError::into_inner).abs() > SignedDuration::from_mins(1)
    }

    /// Now, in the server's clock as of its last answer; at most a second and one round trip early, never late.
    pub(super) fn server_now(&self) -> Timestamp {
        let skew = *self.skew.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Timestamp::now().checked_add(skew).unwrap_or_else(|_| Timestamp::now())
    }
}

/// The certificate authorities to trust. Their text is no secret, but may come from where secrets do.
async fn authorities(source: &Source) -> Result<Vec<reqwest::Certificate>, Error> {
    let pem = source.read().await.map_err(|error| Error::Setup(format!("certificate authorities: {error}")))?;
    match reqwest::Certificate::from_pem_bundle(pem.expose_secret().as_bytes()) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::Setup(format!("certificate authorities: {source} holds no PEM certificates"))),
    }
}

async fn read(mut answer: reqwest::Response, cap: Cap, within: Duration) -> Result<Reply, Error> {
    let status = answer.status();
    let code = status.as_u16();
    let limit = match cap {
        Cap::One => BODY_CAP,
        Cap::Page => PAGE_CAP,
    };
    let mut bytes = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > limit => {
                return Err(Error::Unreadable { status: code, what: format!("longer than {limit} bytes") });
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(Reply { status, bytes }),
            Err(error) if error.is_timeout() => return Err(Error::NoAnswer(Silence::Within(within))),
            Err(error) => {
                return Err(Error::NoAnswer(format!("HTTP {code}, body cut off: {}", causes(&error)).into()));
            }
        }
    }
}

impl Reply {
    /// The same without what was sent as a secret: proxies, debugging ones above all, quote what they refuse.
    fn struck(self, authorization: Option<&HeaderValue>, form: &str) -> Self {
        let header = authorization.and_then(|value| value.to_str().ok()).and_then(|text| text.split_once(' '));
        let fields = parse(form.as_bytes()).filter(|(name, _)| matches!(&**name, "assertion" | "client_secret"));
        let plain = fields.map(|(_, value)| value.into_owned()).chain(header.map(|(_, token)| token.to_owned()));
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        for secret in plain.filter(|secret| !secret.is_empty()) {
            let encoded: String = byte_serialize(secret.as_bytes()).collect();
            text = text.replace(&secret, STRUCK).replace(&encoded, STRUCK);
        }
        Self { status: self.status, bytes: text.into_bytes() }
    }

    /// Its meaning as an answer of the API.
    pub(super) fn answer(mut self) -> Result<Answer, Error> {
        match Body::json(std::mem::take(&mut self.bytes)) {
            Ok(body) if self.status.is_success() => Ok(Answer { status: self.status.as_u16(), body }),
            Ok(body) => Err(refused(self.status, &body)),
            Err(bytes) => Err(Self { bytes, ..self }.refusal()),
        }
    }

    /// What an answer says that is no JSON.
    fn refusal(&self) -> Error {
        self.routing().unwrap_or_else(|| Error::Unreadable {
            status: self.status.as_u16(),
            what: if self.is_html() { HTML } else { NOT_JSON }.into(),
        })
    }

    /// Whether a page for people came back: what proxies and gateways answer with.
    fn is_html(&self) -> bool {
        let start = self.bytes.trim_ascii_start();
        let begins = |tag: &[u8]| start.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag));
        begins(b"<!doctype html") || begins(b"<html")
    }

    /// The answer of the OAuth and OpenID paths to an unknown host: the text that the API wraps in JSON, as it is.
    fn routing(&self) -> Option<Error> {
        let text = std::str::from_utf8(&self.bytes).ok()?.trim();
        let known = self.status == StatusCode::NOT_FOUND && text.starts_with(UNKNOWN_INSTANCE);
        known.then(|| Error::Api(ApiError { status: 404, code: 5, message: plain(text), id: None }))
    }
}

/// A gRPC status as JSON.
#[derive(Debug, Deserialize)]
struct Refusal {
    code: i64,
    message: String,
    #[serde(default)]
    details: Rows<Detail>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    #[serde(default)]
    id: Word,
    #[serde(default)]
    slug: Word,
}

/// A non-2xx answer in JSON: ZITADEL's own if it has the shape of a gRPC status.
fn refused(status: StatusCode, body: &Body) -> Error {
    let status = status.as_u16();
    let Ok(Refusal { code, message, details: Rows(details) }) = body.parse() else {
        return Error::Unreadable { status, what: "not an error of ZITADEL".into() };
    };
    let first = |word: fn(&Detail) -> &Word| {
        details.iter().find_map(|detail| word(detail).0.clone().filter(|text| !text.is_empty()))
    };
    // Newer servers name the identifier `slug` where they leave `id` out.
    let id = first(|detail| &detail.id).or_else(|| first(|detail| &detail.slug));
    Error::Api(ApiError { status, code, message: message.chars().take(LONGEST_MESSAGE).collect(), id })
}
