//! What a connection can do without: who we are, which server this is, and the event store.
//!
//! Targets need none of them. A proxy that hides `/admin/` and `/auth/`, a credential without the permissions, or an
//! event store that is slow or broken costs sequences and comfort in recovery, never the connection.

use std::fmt;
use std::time::{Duration, Instant};

use super::Error;
use crate::api::reason::Reason;

/// Whether something that a connection can do without is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// It answered when it was asked last.
    Available,
    /// It did not.
    Missing(Missing),
}

/// Why something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The credential may not read it.
    NotPermitted,
    /// The server does not have it, or a proxy hides it.
    NotServed,
    /// No answer in time, or a failure of the server.
    NotAnswering,
}

/// What a connection can do without, each of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The event search (`/admin/v1/events/_search`).
    pub events: Capability,
    /// The id of our own user (`/auth/v1/users/me`), which tells our events from those of others.
    pub identity: Capability,
    /// Id of the instance and version of the server (`/admin/v1/instances/me`).
    pub version: Capability,
}

impl Capabilities {
    /// All of it is there.
    pub const ALL: Self =
        Self { events: Capability::Available, identity: Capability::Available, version: Capability::Available };

    /// Whether anything is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self == Self::ALL
    }
}

impl Capability {
    /// What a read that nothing depends on says by how it ended.
    pub(super) fn of<T>(result: &Result<T, Error>) -> Self {
        result.as_ref().err().map_or(Self::Available, |error| Self::Missing(Missing::of(error)))
    }

    /// Why it is missing, if it is.
    #[must_use]
    pub const fn missing(self) -> Option<Missing> {
        match self {
            Self::Available => None,
            Self::Missing(why) => Some(why),
        }
    }
}

impl Missing {
    /// What an error of such a read says about it. An answer that is not ZITADEL's and no server error comes from
    /// something in between: a page of a proxy (403, 404), a login page (200), a redirect.
    pub(super) fn of(error: &Error) -> Self {
        match (error, error.reason()) {
            (Error::NotAvailable(why), _) => *why,
            (_, Reason::PermissionDenied | Reason::AuthenticationFailed) => Self::NotPermitted,
            (_, Reason::ApiUnsupported) | (Error::Unreadable { status: ..=428, .. }, _) => Self::NotServed,
            // A system user is in no projection: 404 with an id.
            (Error::Api(error), _) if error.status == 404 && !error.is_unknown_instance() => Self::NotServed,
            _ => Self::NotAnswering,
        }
    }

    /// After which time it is asked for again: trouble passes by itself, rights and proxies are changed by people.
    #[must_use]
    pub const fn pace(self) -> Duration {
        match self {
            Self::NotAnswering => Duration::from_mins(1),
            Self::NotPermitted | Self::NotServed => Duration::from_mins(10),
        }
    }

    /// The label of the reason.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::NotPermitted => Reason::PermissionDenied,
            Self::NotServed => Reason::ApiUnsupported,
            Self::NotAnswering => Reason::ZitadelUnavailable,
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPermitted => "the credential may not",
            Self::NotServed => "the server does not serve it, or a proxy hides it",
            Self::NotAnswering => "it does not answer in time, or fails",
        })
    }
}

/// What is known of the event search at a time, so that what does not work is not tried by every object.
#[derive(Debug, Default)]
pub(super) struct EventSearch(Option<(Missing, Instant)>);

impl EventSearch {
    /// How it ended when it was asked last.
    pub(super) const fn capability(&self) -> Capability {
        match &self.0 {
            None => Capability::Available,
            Some((why, _)) => Capability::Missing(*why),
        }
    }

    /// Whether a read that nothing depends on may be sent now. Of those that come when it is time to try again, the
    /// first one may.
    pub(super) fn admits(&mut self) -> Result<(), Missing> {
        match &mut self.0 {
            Some((why, since)) if since.elapsed() < why.pace() => Err(*why),
            Some((_, since)) => {
                *since = Instant::now();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Notes how a search ended.
    pub(super) fn learn(&mut self, capability: Capability) {
        self.0 = capability.missing().map(|why| (why, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zitadel::error::ApiError;
    use rstest::rstest;

    fn api(status: u16, code: i64, id: Option<&str>, message: &str) -> Error {
        Error::Api(ApiError { status, code, message: message.into(), id: id.map(Into::into) })
    }

    fn page(status: u16) -> Error {
        Error::Unreadable { status, what: "the body is not JSON".into() }
    }

    #[rstest]
    #[case(api(403, 7, Some("AUTH-5mWD2"), "x"), Missing::NotPermitted)]
    #[case(api(404, 5, Some("AUTHZ-cdgFk"), "x"), Missing::NotPermitted)]
    #[case(api(404, 5, None, "Not Found"), Missing::NotServed)]
    #[case(api(404, 5, Some("QUERY-Dfbg2"), "x"), Missing::NotServed)]
    #[case(page(403), Missing::NotServed)]
    #[case(page(404), Missing::NotServed)]
    #[case(page(302), Missing::NotServed)]
    #[case(page(200), Missing::NotServed)]
    #[case(page(502), Missing::NotAnswering)]
    #[case(page(429), Missing::NotAnswering)]
    #[case(api(404, 5, None, "unable to set instance using origin x"), Missing::NotAnswering)]
    #[case(api(500, 13, None, "x"), Missing::NotAnswering)]
    #[case(Error::NoAnswer("timed out".into()), Missing::NotAnswering)]
    fn what_an_error_says_of_an_optional_read(#[case] error: Error, #[case] why: Missing) {
        assert_eq!(Missing::of(&error), why);
    }

    #[test]
    fn of_those_that_come_when_it_is_time_to_try_again_one_does() {
        let mut search = EventSearch::default();
        assert_eq!(search.admits(), Ok(()));
        search.learn(Capability::Missing(Missing::NotAnswering));
        assert_eq!(search.admits(), Err(Missing::NotAnswering));
        let long_ago = Instant::now().checked_sub(Missing::NotAnswering.pace()).unwrap();
        search.0 = Some((Missing::NotAnswering, long_ago));
        assert_eq!(search.admits(), Ok(()));
        assert_eq!(search.admits(), Err(Missing::NotAnswering));
        search.learn(Capability::Available);
        assert_eq!(search.admits(), Ok(()));
    }
}
