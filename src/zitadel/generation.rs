//! The generations of the Actions API that this client speaks, and where servers mount them.
//!
//! [`Api`] is what users and `status.connection.api` name; a [`Mount`] is what a server was found to serve: base path,
//! verb of an update, path of a search. Paths are built here alone, from constants and typed ids, because a POST to a
//! wrong path below `targets/` is an update on newer servers. What requests and answers look like is said in one wire
//! file per generation; which mount a server has is found out in [`super::detect`].

use std::fmt;
use std::str::FromStr;

use http::Method;
use serde_json::Value;

use super::shape::Body;
use super::wire::{change_body, config_body};
use super::{Change, Created, Error, RemoteTarget, TargetConfig, TargetId, TargetName, Version};
use super::{resources_v3alpha, v2, v2beta, v3alpha};

/// A generation, named by its path prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// `/v3alpha`: v2.52.0 to v2.58.7. The generation of the original create call.
    V3Alpha,
    /// `/resources/v3alpha/actions`: v2.60.1 to v2.71; at the root on v2.59.x and v2.60.0.
    ResourcesV3Alpha,
    /// `/v2beta/actions`: v3.x, and still there on v4.
    V2Beta,
    /// `/v2/actions`: v4.0.0 and later.
    V2,
}

impl Api {
    /// Every generation, newest first.
    pub const ALL: [Self; 4] = [Self::V2, Self::V2Beta, Self::ResourcesV3Alpha, Self::V3Alpha];

    /// The word in flags and in `status.connection.api`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V3Alpha => "v3alpha",
            Self::ResourcesV3Alpha => "resources/v3alpha",
            Self::V2Beta => "v2beta",
            Self::V2 => "v2",
        }
    }

    /// Longest timeout that a server of this generation accepts, in seconds, if it has a limit.
    #[must_use]
    pub const fn longest_timeout(self) -> Option<u64> {
        match self {
            Self::V3Alpha => None,
            Self::ResourcesV3Alpha | Self::V2Beta | Self::V2 => Some(270),
        }
    }

    /// How many creates may run at once. The projection of v2.58 to v2.71 loses about one in a thousand targets
    /// that are created in parallel, and none of those created one by one (docs/zitadel/observed.md section 0).
    #[must_use]
    pub const fn parallel_creates(self) -> usize {
        match self {
            Self::V3Alpha | Self::ResourcesV3Alpha => 1,
            Self::V2Beta | Self::V2 => 8,
        }
    }

    /// Whether a server with this version text has `payloadType` in this generation: v4.8.0 and later, in v2 alone
    /// (docs/zitadel/api.md section 1.4).
    #[must_use]
    pub fn payload_types(self, server_version: Option<&str>) -> Support {
        match (self, server_version.and_then(release)) {
            (Self::V2, None) => Support::Untold,
            (Self::V2, Some(release)) if release >= (4, 8) => Support::Yes,
            _ => Support::No,
        }
    }
}

/// Whether a server has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It has.
    Yes,
    /// It has not, and would ignore it without a word.
    No,
    /// Its version cannot be read: only a look at what it stored tells.
    Untold,
}

/// Major and minor of "v4.13.1" or "4.13.1". Servers that somebody built himself report a date or a word.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').splitn(3, '.');
    let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_some().then_some((major, minor))
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which generation a connection is to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ApiChoice {
    /// The newest that the server has, found again whenever the server turns out to have changed.
    #[default]
    Auto,
    /// This one and no other.
    Only(Api),
}

impl fmt::Display for ApiChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Only(api) => api.fmt(f),
        }
    }
}

impl FromStr for ApiChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let named = Api::ALL.into_iter().find(|api| api.as_str() == text).map(Self::Only);
        named.ok_or_else(|| "the API generation is auto, v3alpha, resources/v3alpha, v2beta or v2".to_owned())
    }
}

impl ApiChoice {
    /// Where a server may serve what was chosen, newest first.
    pub(super) fn mounts(self) -> &'static [Mount] {
        match self {
            Self::Auto => &Mount::ALL,
            Self::Only(Api::V2) => &[Mount::V2],
            Self::Only(Api::V2Beta) => &[Mount::V2BetaOnV4, Mount::V2BetaOnV3],
            Self::Only(Api::ResourcesV3Alpha) => &[Mount::ResourcesV3Alpha, Mount::Bare],
            Self::Only(Api::V3Alpha) => &[Mount::V3Alpha],
        }
    }
}

/// Where and how a server serves a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mount {
    V2,
    /// Searches at `search`, as in v2.
    V2BetaOnV4,
    /// Searches at `_search`.
    V2BetaOnV3,
    ResourcesV3Alpha,
    /// v2.59.x and v2.60.0 mount the calls of resources/v3alpha at the root, by mistake.
    Bare,
    V3Alpha,
}

impl Mount {
    /// Newest first.
    const ALL: [Self; 6] =
        [Self::V2, Self::V2BetaOnV4, Self::V2BetaOnV3, Self::ResourcesV3Alpha, Self::Bare, Self::V3Alpha];

    pub(super) const fn api(self) -> Api {
        match self {
            Self::V2 => Api::V2,
            Self::V2BetaOnV4 | Self::V2BetaOnV3 => Api::V2Beta,
            Self::ResourcesV3Alpha | Self::Bare => Api::ResourcesV3Alpha,
            Self::V3Alpha => Api::V3Alpha,
        }
    }

    const fn base(self) -> &'static str {
        match self {
            Self::V2 => "/v2/actions",
            Self::V2BetaOnV4 | Self::V2BetaOnV3 => "/v2beta/actions",
            Self::ResourcesV3Alpha => "/resources/v3alpha/actions",
            Self::Bare => "",
            Self::V3Alpha => "/v3alpha",
        }
    }

    const fn search(self) -> &'static str {
        match self {
            Self::V2 | Self::V2BetaOnV4 | Self::V3Alpha => "search",
            Self::V2BetaOnV3 | Self::ResourcesV3Alpha | Self::Bare => "_search",
        }
    }

    /// The name under which the health service knows the generation; both mounts of resources/v3alpha share one.
    pub(super) const fn service(self) -> &'static str {
        match self {
            Self::V2 => "zitadel.action.v2.ActionService",
            Self::V2BetaOnV4 | Self::V2BetaOnV3 => "zitadel.action.v2beta.ActionService",
            Self::ResourcesV3Alpha | Self::Bare => "zitadel.resources.action.v3alpha.ZITADELActions",
            Self::V3Alpha => "zitadel.action.v3alpha.ActionService",
        }
    }

    /// A call that changes nothing and whose route only a server with this mount has. The two forms of v2beta differ
    /// in the path of searches alone; of those, only that of executions cannot be taken for an update.
    pub(super) fn probe(self) -> Request {
        match self {
            Self::V2BetaOnV4 | Self::V2BetaOnV3 => {
                Request::new(Method::POST, format!("{}/executions/{}", self.base(), self.search()))
            }
            _ => Request::new(Method::GET, format!("{}/executions/functions", self.base())),
        }
    }

    pub(super) fn create(self, config: &TargetConfig) -> Request {
        Request::new(Method::POST, self.targets()).with_body(config_body(config)).with_patience(Patience::Write)
    }

    pub(super) fn update(self, id: &TargetId, change: &Change) -> Request {
        let verb = match self.api() {
            Api::V3Alpha => Method::PUT,
            Api::ResourcesV3Alpha => Method::PATCH,
            Api::V2Beta | Api::V2 => Method::POST,
        };
        Request::new(verb, self.target(id)).with_body(change_body(change)).with_patience(Patience::Write)
    }

    pub(super) fn delete(self, id: &TargetId) -> Request {
        Request::new(Method::DELETE, self.target(id))
    }

    pub(super) fn get(self, id: &TargetId) -> Request {
        Request::new(Method::GET, self.target(id))
    }

    pub(super) fn list(self, select: &Select) -> Request {
        let search = Request::new(Method::POST, format!("{}/{}", self.targets(), self.search()));
        match self.api() {
            Api::V3Alpha => search.with_body(v3alpha::search(select)),
            Api::ResourcesV3Alpha => resources_v3alpha::search(search, select),
            Api::V2Beta => search.with_body(v2beta::search(select)),
            Api::V2 => search.with_body(v2::search(select)),
        }
    }

    fn targets(self) -> String {
        format!("{}/targets", self.base())
    }

    fn target(self, id: &TargetId) -> String {
        format!("{}/targets/{id}", self.base())
    }
}

/// Reading of answers: their shape depends on the generation alone.
impl Api {
    pub(super) fn created(self, body: &Body) -> Result<Created, String> {
        match self {
            Self::V3Alpha => v3alpha::created(body),
            Self::ResourcesV3Alpha => resources_v3alpha::created(body),
            Self::V2Beta => v2beta::created(body),
            Self::V2 => v2::created(body),
        }
    }

    pub(super) fn updated(self, body: &Body) -> Result<Version, String> {
        match self {
            Self::V3Alpha => v3alpha::updated(body),
            Self::ResourcesV3Alpha => resources_v3alpha::updated(body),
            Self::V2Beta => v2beta::updated(body),
            Self::V2 => v2::updated(body),
        }
    }

    pub(super) fn got(self, body: &Body) -> Result<RemoteTarget, String> {
        match self {
            Self::V3Alpha => v3alpha::got(body),
            Self::ResourcesV3Alpha => resources_v3alpha::got(body),
            Self::V2Beta => v2beta::got(body),
            Self::V2 => v2::got(body),
        }
    }

    pub(super) fn listed(self, body: &Body) -> Result<Vec<RemoteTarget>, String> {
        match self {
            Self::V3Alpha => v3alpha::listed(body),
            Self::ResourcesV3Alpha => resources_v3alpha::listed(body),
            Self::V2Beta => v2beta::listed(body),
            Self::V2 => v2::listed(body),
        }
    }
}

/// Events of a page: the most that the search of events gives.
pub(super) const PAGE: usize = 1000;

/// Which targets a list call asks for.
#[derive(Debug, Clone)]
pub(super) enum Select {
    /// The first of all: a cheap read that exercises route, token, role and feature flag.
    First,
    /// A page of all, oldest first.
    Page {
        /// How many to skip.
        offset: usize,
        /// How many to show at most; as many as the server likes, where it refuses to be asked.
        limit: Option<usize>,
    },
    /// Those whose name equals this one without regard to case.
    Named(TargetName),
}

/// One call, as it goes to the wire.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub method: Method,
    pub path: String,
    /// Parameters of the URL; names and values are constants and numbers, which need no escaping.
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Value>,
    /// Whether the credential goes with it. Probes go without: what they ask is who answers at all.
    pub signed: bool,
    pub patience: Patience,
}

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// The time-out of the connection.
    Read,
    /// Longer: ZITADEL 4.11.1 and later resolves the endpoint's host before it answers a create or an update, and a slow
    /// resolver of its own must not become a create without a known outcome.
    Write,
    /// Shorter: what nothing depends on, and others may be waiting behind.
    Optional,
}

impl Request {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: vec![], body: None, signed: true, patience: Patience::Read }
    }

    pub(super) fn with_body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(super) fn with_query(self, query: Vec<(&'static str, String)>) -> Self {
        Self { query, ..self }
    }

    pub(super) fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    pub(super) fn unsigned(self) -> Self {
        Self { signed: false, ..self }
    }
}

/// Turns a wire file's complaint into the error of the call.
pub(super) fn readable<T>(status: u16, parsed: Result<T, String>) -> Result<T, Error> {
    parsed.map_err(|what| Error::Unreadable { status, what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Api::V2, Some("v4.13.1"), Support::Yes)]
    #[case(Api::V2, Some("4.8.0"), Support::Yes)]
    #[case(Api::V2, Some("v4.7.3"), Support::No)]
    #[case(Api::V2, Some("v5.0.0-rc.1"), Support::Yes)]
    #[case(Api::V2, Some("2026-07-10T10:00:00Z"), Support::Untold)]
    #[case(Api::V2, Some("12.5"), Support::Untold)]
    #[case(Api::V2, None, Support::Untold)]
    #[case(Api::V2Beta, Some("v4.13.1"), Support::No)]
    #[case(Api::ResourcesV3Alpha, None, Support::No)]
    fn payload_types(#[case] api: Api, #[case] version: Option<&str>, #[case] support: Support) {
        assert_eq!(api.payload_types(version), support);
    }

    #[test]
    fn every_choice_is_a_word() {
        for api in Api::ALL {
            assert_eq!(api.as_str().parse(), Ok(ApiChoice::Only(api)));
            let mounts = ApiChoice::Only(api).mounts();
            assert!(!mounts.is_empty() && mounts.iter().all(|mount| mount.api() == api));
        }
        assert_eq!("Auto".parse(), Ok(ApiChoice::Auto));
        assert!("v1".parse::<ApiChoice>().is_err());
    }
}
