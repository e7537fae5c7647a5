//! The generations of the Actions API that this client speaks.
//!
//! One value per generation, and the dispatch to its wire file. Detection of the generation is a later step: today
//! the connection's settings name it.

use std::fmt;
use std::str::FromStr;

use http::Method;
use serde_json::Value;

use super::{Change, Created, Error, RemoteTarget, TargetConfig, TargetId, TargetName, Version, v2, v3alpha};

/// A generation, named by its path prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// `/v3alpha`: v2.52.0 to v2.58.7. The generation of the original create call.
    V3Alpha,
    /// `/v2/actions`: v4.0.0 and later.
    V2,
}

impl Api {
    /// The word in flags and in `status.connection.api`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V3Alpha => "v3alpha",
            Self::V2 => "v2",
        }
    }

    /// Longest timeout that a server of this generation accepts, in seconds, if it has a limit.
    #[must_use]
    pub const fn longest_timeout(self) -> Option<u64> {
        match self {
            Self::V3Alpha => None,
            Self::V2 => Some(270),
        }
    }

    /// How many creates may run at once. The projection of v2.58 to v2.71 loses about one in a thousand targets
    /// that are created in parallel, and none of those created one by one (docs/zitadel/observed.md section 0).
    #[must_use]
    pub const fn parallel_creates(self) -> usize {
        match self {
            Self::V3Alpha => 1,
            Self::V2 => 8,
        }
    }

    pub(super) fn create(self, config: &TargetConfig) -> Request {
        match self {
            Self::V3Alpha => v3alpha::create(config),
            Self::V2 => v2::create(config),
        }
    }

    pub(super) fn created(self, body: Value) -> Result<Created, String> {
        match self {
            Self::V3Alpha => v3alpha::created(body),
            Self::V2 => v2::created(body),
        }
    }

    pub(super) fn update(self, id: &TargetId, change: &Change) -> Request {
        match self {
            Self::V3Alpha => v3alpha::update(id, change),
            Self::V2 => v2::update(id, change),
        }
    }

    pub(super) fn updated(self, body: Value) -> Result<Version, String> {
        match self {
            Self::V3Alpha => v3alpha::updated(body),
            Self::V2 => v2::updated(body),
        }
    }

    pub(super) fn delete(self, id: &TargetId) -> Request {
        match self {
            Self::V3Alpha => v3alpha::delete(id),
            Self::V2 => v2::delete(id),
        }
    }

    pub(super) fn get(self, id: &TargetId) -> Request {
        match self {
            Self::V3Alpha => v3alpha::get(id),
            Self::V2 => v2::get(id),
        }
    }

    pub(super) fn got(self, body: Value) -> Result<RemoteTarget, String> {
        match self {
            Self::V3Alpha => v3alpha::got(body),
            Self::V2 => v2::got(body),
        }
    }

    pub(super) fn list(self, select: &Select) -> Request {
        match self {
            Self::V3Alpha => v3alpha::list(select),
            Self::V2 => v2::list(select),
        }
    }

    pub(super) fn listed(self, body: Value) -> Result<Vec<RemoteTarget>, String> {
        match self {
            Self::V3Alpha => v3alpha::listed(body),
            Self::V2 => v2::listed(body),
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Api {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "v3alpha" => Ok(Self::V3Alpha),
            "v2" => Ok(Self::V2),
            _ => Err("the API generation is v3alpha or v2".to_owned()),
        }
    }
}

/// Rows of a page: the most that v2 allows, and what v3alpha, which has no limit, is asked for.
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
    },
    /// Those whose name equals this one without regard to case.
    Named(TargetName),
}

/// One call, as it goes to the wire.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
}

/// Turns a wire file's complaint into the error of the call.
pub(super) fn readable<T>(status: u16, parsed: Result<T, String>) -> Result<T, Error> {
    parsed.map_err(|what| Error::Unreadable { status, what })
}
