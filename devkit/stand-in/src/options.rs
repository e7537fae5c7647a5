//! How a stand-in is started: which generation of the API it speaks, which hosts it answers for, which hosts it can
//! resolve. Everything here is fixed at start; what a test changes while running is a method of `StandIn`.

use std::fmt;
use std::str::FromStr;

/// A generation of ZITADEL's Actions API: paths, wire shapes, limits and texts differ between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Generation {
    /// `/v3alpha/targets` (v2.52 to v2.58); modelled on v2.58.7.
    V3Alpha,
    /// `/resources/v3alpha/actions/targets` (v2.60.1 to v2.71); modelled on v2.71.19.
    ResourcesV3Alpha,
    /// `/v2beta/actions/targets` (v3.x); modelled on v3.4.9. On v4 the same paths come with `V2`.
    V2Beta,
    /// `/v2/actions/targets` (v4.0 and later); modelled on v4.13.1.
    V2,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3Alpha => "v3alpha",
            Self::ResourcesV3Alpha => "resources/v3alpha",
            Self::V2Beta => "v2beta",
            Self::V2 => "v2",
        })
    }
}

/// The name is none of the generations that the stand-in speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownGeneration(String);

impl fmt::Display for UnknownGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown API generation {:?}: v3alpha, resources/v3alpha, v2beta or v2", self.0)
    }
}

impl std::error::Error for UnknownGeneration {}

impl FromStr for Generation {
    type Err = UnknownGeneration;

    fn from_str(name: &str) -> Result<Self, UnknownGeneration> {
        match name {
            "v3alpha" => Ok(Self::V3Alpha),
            "resources/v3alpha" => Ok(Self::ResourcesV3Alpha),
            "v2beta" => Ok(Self::V2Beta),
            "v2" => Ok(Self::V2),
            other => Err(UnknownGeneration(other.to_owned())),
        }
    }
}

/// What the user behind a token may do, as the roles of ZITADEL say (docs/zitadel/observed.md section 9, observed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Every call.
    IamOwner,
    /// Reads only: writes are refused with 403 `AUTH-5mWD2`, before validation.
    IamOwnerViewer,
    /// Nothing of the Actions API: 403 `AUTH-5mWD2`.
    OrgOwner,
    /// No membership at all: 404 `AUTHZ-cdgFk`.
    None,
}

/// What a v4 server refuses to call, checked at create, at an update that names the endpoint (also the one it has), and
/// at the call. Older servers have no list. A name that does not resolve is refused whatever the list says, because it
/// is looked up first (internal/net, `HostnameToIPList`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DenyList {
    /// None: an installation that emptied it.
    Empty,
    /// `Executions.DenyList` of v4.11.1 to v4.15.1: loopback and unspecified addresses.
    #[default]
    Loopback,
    /// `HTTPClient.DenyList` of v4.15.2 and later: also private, shared and link-local addresses, and with them every
    /// name below `svc` and `cluster.local` (observed on a build of v4 from July 2026).
    Private,
}

/// How the token endpoint refuses an assertion that it does not believe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AssertionRefusal {
    /// 500 `server_error`: v2.53.0 to v4.13.x (observed).
    #[default]
    ServerError,
    /// 400 `invalid_grant` "invalid assertion": v4.14.0 and later (observed on a build of v4 from July 2026). Client
    /// credentials are answered as ever.
    InvalidGrant,
}

/// A function of the token endpoint that may have an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// `function/preuserinfo`: part of every token request with the scope `openid`.
    PreUserinfo,
    /// `function/preaccesstoken`: part of every token request of a user whose access tokens are JSON web tokens.
    PreAccessToken,
}

/// How to start a stand-in. `Options::default()` is a v2 server on any free port that accepts `127.0.0.1` as host.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches; every combination is a server that exists")]
pub struct Options {
    /// The generation to speak.
    pub generation: Generation,
    /// TCP port on 127.0.0.1; 0 = any free one.
    pub port: u16,
    /// The instance's only domain; `None` = `localhost`. Compared case-sensitively and without port, as observed.
    pub external_domain: Option<String>,
    /// As the real server: only `external_domain` finds the instance. When false, `127.0.0.1` does too, so that the
    /// address of `StandIn::url` works unchanged.
    pub strict_host: bool,
    /// Whether the outside reaches the instance by https: the scheme of its issuer, unless a proxy header says otherwise
    /// (`ExternalSecure` in ZITADEL's configuration). The stand-in itself speaks http all the same.
    pub external_secure: bool,
    /// As v2.53.0 to v2.59.1 and their early patches: an access token that expired is refused with 403 `QUERY-SAF3rf`
    /// instead of 401 `AUTH-7fs1e`. Read in source; fixed in the releases that the dialects are modelled on.
    pub expired_tokens_are_forbidden: bool,
    /// Value of the feature flag `actions` at start; only `v3alpha` and `resources/v3alpha` look at it.
    pub actions_feature: bool,
    /// Only for `resources/v3alpha`: as v2.59.x and v2.60.0, which mounted it at `/targets` and `/executions`.
    pub bare_paths: bool,
    /// Host names that "DNS" knows, each with all names below it. v4.13.1 refuses an endpoint whose host does not
    /// resolve; the recordings were made without DNS, so there every name was refused: empty = that.
    pub resolvable_hosts: Vec<String>,
}

impl Options {
    /// The defaults, for one generation.
    #[must_use]
    pub fn new(generation: Generation) -> Self {
        Self { generation, ..Self::default() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            generation: Generation::V2,
            port: 0,
            external_domain: None,
            strict_host: false,
            external_secure: false,
            expired_tokens_are_forbidden: false,
            actions_feature: true,
            bare_paths: false,
            resolvable_hosts: ["example.com", "example.net", "example.org", "svc", "svc.cluster.local"]
                .map(str::to_owned)
                .to_vec(),
        }
    }
}
