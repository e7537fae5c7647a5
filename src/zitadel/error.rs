//! What can go wrong between us and ZITADEL, what it means, and what to call it.
//!
//! One enum; [`Error::class`] says what to do, [`Error::reason`] is the label, [`Error::advice`] is the stable
//! sentence for the condition, and `Display` the detailed text for Events and logs. Decisions are made on status
//! codes and on `details[].id`, never on translated text. Nothing here can hold a credential.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::auth::NoToken;
use super::capability::Missing;
use super::fault::{Fault, Silence};
use crate::api::reason::Reason;

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The credential could not be read; nothing was sent.
    #[error("{0}")]
    Credential(String),
    /// No token could be had for the credential; the call itself was not sent.
    #[error("{0}")]
    NoToken(Box<NoToken>),
    /// The client could not be set up (CA bundle unreadable or no certificate); nothing was sent.
    #[error("{0}")]
    Setup(String),
    /// No connection. Nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(Fault),
    /// The request may have been sent and no answer came.
    #[error("{0}")]
    NoAnswer(Silence),
    /// An answer that is not ZITADEL's: HTML, truncated, too large, or a field missing.
    #[error("unreadable answer (HTTP {status}): {what}")]
    Unreadable {
        /// HTTP status.
        status: u16,
        /// What was wrong with it.
        what: String,
    },
    /// No generation of the Actions API is where it was looked for.
    #[error("{0}")]
    Unserved(String),
    /// The event store cannot be read on this connection, and nothing needs it: mostly nothing was sent.
    #[error("the event store cannot be read: {0}")]
    NotAvailable(Missing),
    /// ZITADEL's own error.
    #[error("{0}")]
    Api(ApiError),
}

/// An error body of ZITADEL (gRPC status as JSON).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// gRPC code.
    pub code: i64,
    /// Text, in whatever language the server chose.
    pub message: String,
    /// The stable identifier, `details[].id`; absent for validation, routing and instance errors.
    pub id: Option<String>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZITADEL answered HTTP {}, code {}: {}", self.status, self.code, self.message)?;
        match &self.id {
            Some(id) if !self.message.contains(id.as_str()) => write!(f, " ({id})"),
            _ => Ok(()),
        }
    }
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try again with back-off; nobody needs to act.
    Transient,
    /// Only a change of the object helps; look again this often all the same.
    Person(Duration),
    /// The write side says that the target does not exist.
    TargetGone,
}

/// Ids with which ZITADEL's write side says "no such target" (update; delete on v3alpha).
const TARGET_GONE: [&str; 2] = ["COMMAND-xj14f2cccn", "COMMAND-k4s7ucu0ax"];
/// Id with which the read side says so, which proves nothing: projections lag.
pub(super) const NOT_PROJECTED: &str = "QUERY-hj5oaniyrz";
/// Endpoint refused by the deny list, or unresolvable (v4.11.1 and later): at create and at update.
const DENIED_URL: [&str; 2] = ["COMMAND-NcJUKo", "COMMAND-jKbbu2"];
const FEATURE_OFF: &str = "ACTION-8o6pvqfjhs";
/// The answer of v2.53 to v2.59 to an expired token: 403 where others say 401.
const EXPIRED_403: &str = "QUERY-SAF3rf";
/// The 404 of a caller without any role, in place of 403.
const NO_MEMBERSHIP: &str = "AUTHZ-cdgFk";
/// What the text of a 404 begins with when no instance has the host of the request.
pub(super) const UNKNOWN_INSTANCE: &str = "unable to set instance";
/// The generic unique-constraint violation.
const UNIQUE: &str = "V3-DKcYh";
/// What ids of errors begin with that come from an execution: from somebody's webhook, or from the way to it.
const EXECUTION: &str = "EXEC-";

/// More rows asked for than `SystemDefaults.MaxQueryLimit`.
const PAGE_TOO_LARGE: &str = "QUERY-4M0fs";

const HOUR: Duration = Duration::from_hours(1);
const NAME_RETRY: Duration = Duration::from_mins(5);

impl Error {
    /// What to do.
    #[must_use]
    pub fn class(&self) -> Class {
        match self.reason() {
            Reason::InvalidSpec => Class::Person(HOUR),
            Reason::NameTaken => Class::Person(NAME_RETRY),
            Reason::ExternallyDeleted => Class::TargetGone,
            _ => Class::Transient,
        }
    }

    /// The label.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Credential(_) => Reason::CredentialsUnavailable,
            Self::NoToken(why) => why.reason(),
            Self::Setup(_) | Self::Connect(_) | Self::NoAnswer(_) => Reason::ZitadelUnavailable,
            Self::Unserved(_) => Reason::ApiUnsupported,
            Self::NotAvailable(why) => why.reason(),
            Self::Unreadable { status, .. } => match status {
                429 => Reason::RateLimited,
                _ => Reason::ZitadelUnavailable,
            },
            Self::Api(error) => error.reason(),
        }
    }

    /// Whether a write that ended so may still have been carried out: then it must be settled, not repeated.
    #[must_use]
    pub fn may_have_committed(&self) -> bool {
        match self {
            Self::Credential(_)
            | Self::NoToken(_)
            | Self::Setup(_)
            | Self::Connect(_)
            | Self::Unserved(_)
            | Self::NotAvailable(_) => false,
            Self::NoAnswer(_) => true,
            // A limit of a proxy is answered before anything is passed on.
            Self::Unreadable { status, .. } => *status != 429,
            Self::Api(error) => !error.is_refusal(),
        }
    }

    /// Whether the same question gets the same answer until somebody changes a right, a version or a proxy.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        let hidden = matches!(self, Self::Unreadable { status: 400..=428, .. });
        hidden || matches!(self.reason(), Reason::PermissionDenied | Reason::ApiUnsupported)
    }

    /// Whether it speaks of the connection as a whole rather than of one target: such an error makes the next pass
    /// verify the connection before it does anything else.
    #[must_use]
    pub fn concerns_connection(&self) -> bool {
        !matches!(self, Self::NotAvailable(_))
            && !matches!(
                self.reason(),
                Reason::InvalidSpec
                    | Reason::NameTaken
                    | Reason::EndpointDenied
                    | Reason::ExternallyDeleted
                    | Reason::ExecutionFailed
            )
    }

    /// Whether ZITADEL refused the token of the call: nothing was done, and another token may be taken. A 401 that an
    /// execution forwards is none: it may come after the call was carried out.
    #[must_use]
    pub fn refuses_token(&self) -> bool {
        matches!(self, Self::Api(error) if error.is_refusal() && error.reason() == Reason::AuthenticationFailed)
    }

    /// Whether a list was refused because it asked for more rows than the server is configured to show.
    pub(super) fn is_page_too_large(&self) -> bool {
        matches!(self, Self::Api(error) if error.is(&[PAGE_TOO_LARGE]))
    }

    /// What the user should know and do. Stable for the same cause: no attempts, dates or request ids.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Credential(what) | Self::Setup(what) => what.clone(),
            Self::NoToken(why) => why.advice(),
            Self::NotAvailable(_) => self.to_string(),
            Self::Connect(Fault::Other(what)) => format!("cannot connect to ZITADEL: {what}; trying again"),
            Self::Connect(fault) => format!("{fault}: {}; trying again", fault.remedy()),
            Self::NoAnswer(silence) => {
                format!("{silence}: ZITADEL, or a proxy before it, is overloaded or broken; trying again")
            }
            Self::Unreadable { status, what } if *status >= 500 => {
                format!("HTTP {status}: ZITADEL, or a proxy before it, does not work properly ({what}); trying again")
            }
            Self::Unreadable { status, what } if *status != 429 => {
                format!("HTTP {status}: {what}; check what answers at the connection's URL; trying again")
            }
            Self::Api(error) => error.advice(),
            Self::Unserved(_) | Self::Unreadable { .. } => general(self.reason()).to_owned(),
        }
    }
}

/// What to do about an error of which the reason says all that matters.
const fn general(reason: Reason) -> &'static str {
    match reason {
        Reason::EndpointDenied => {
            "ZITADEL refuses the endpoint's address: it is on the server's deny list (Executions.DenyList, \
             HTTPClient.DenyList) or its host name does not resolve from where ZITADEL runs"
        }
        Reason::ActionsDisabled => {
            "the feature 'actions' is off in this ZITADEL instance: enable it with PUT /v2beta/features/instance \
             {\"actions\":true}"
        }
        Reason::AuthenticationFailed => {
            "ZITADEL refuses the credential: it is wrong, expired or revoked; replace the token, key or client \
             secret, it is picked up without a restart"
        }
        Reason::PermissionDenied => {
            "the service account may not manage targets: give it the role IAM_OWNER in the instance"
        }
        Reason::RateLimited => "ZITADEL, or a proxy before it, limits the rate of calls; trying again",
        Reason::ApiUnsupported => {
            "the server does not serve the configured generation of the Actions API, or none that this operator \
             speaks: check the connection's api and url (ZITADEL has the API since v2.52)"
        }
        Reason::NameTaken => {
            "another target in this ZITADEL instance has this name (upper and lower case do not count): choose \
             another spec.name, or delete the other target"
        }
        _ => "ZITADEL does not answer properly; trying again",
    }
}

impl ApiError {
    fn is(&self, ids: &[&str]) -> bool {
        self.id.as_deref().is_some_and(|id| ids.contains(&id))
    }

    /// The gateway's own answer to a path that the server does not have (405, or 501 up to v2.54, where the path has
    /// other methods). The text is fixed and never translated.
    pub(super) fn is_unknown_route(&self) -> bool {
        let absent = self.status == 404 && self.code == 5 && self.message == "Not Found";
        self.id.is_none() && (absent || (matches!(self.status, 405 | 501) && self.code == 12))
    }

    pub(super) fn is_unknown_instance(&self) -> bool {
        // Raised before any localisation, so the text is stable; there is no id (docs/zitadel/api.md section 4).
        self.status == 404 && self.id.is_none() && self.message.starts_with(UNKNOWN_INSTANCE)
    }

    /// Whether the call was certainly not carried out. ZITADEL runs response executions after the commit and answers
    /// with their error, whatever its status (`executeTargetsForResponse` in
    /// internal/api/grpc/server/middleware/execution_interceptor.go, 2.x to 4.x; run on v2.58.7 to v4.13.1). So only
    /// what is known to come from a layer before the commit counts, and everything else leaves the outcome open.
    fn is_refusal(&self) -> bool {
        if self.is_of_execution() {
            return false;
        }
        match self.id.as_deref() {
            // Limits and quotas are checked before the handler runs.
            _ if self.status == 429 => true,
            Some(id) => {
                self.status < 500
                    && (["COMMAND-", "AUTH-", "AUTHZ-"].iter().any(|layer| id.starts_with(layer))
                        || [UNIQUE, FEATURE_OFF, EXPIRED_403].contains(&id))
            }
            // Validation; a missing token; routes and instances that do not exist.
            None => {
                matches!((self.status, self.code), (400, 3) | (401, 16))
                    || self.is_unknown_route()
                    || self.is_unknown_instance()
            }
        }
    }

    /// Whether it comes from an execution of the instance rather than from what was called: from an interrupting target
    /// that failed, or that forwards a status of its own, whichever it chooses. v2.52 to v2.58 answer 500 and tell the id
    /// in the text alone.
    fn is_of_execution(&self) -> bool {
        let named = self.id.as_deref().is_some_and(|id| id.starts_with(EXECUTION));
        named || (self.id.is_none() && self.status >= 500 && self.message.contains(EXECUTION))
    }

    /// The id of the error, also where the text alone has it.
    fn shown_id(&self) -> Option<String> {
        let letters = |text: &str| text.chars().take_while(char::is_ascii_alphanumeric).collect::<String>();
        let told = || self.message.split_once(EXECUTION).map(|(_, rest)| format!("{EXECUTION}{}", letters(rest)));
        self.id.clone().or_else(told)
    }

    /// See [`Error::advice`].
    fn advice(&self) -> String {
        let reason = self.reason();
        let id = self.shown_id().map(|id| format!(" ({})", plain(&id))).unwrap_or_default();
        match reason {
            Reason::InvalidSpec => format!("ZITADEL refuses the values of spec: {}", plain(&self.message)),
            Reason::ExecutionFailed => format!(
                "an execution of this ZITADEL instance intercepts the call and refuses or fails it{id}: fix or remove \
                 that execution; trying again"
            ),
            _ if self.is(&[NO_MEMBERSHIP]) => {
                "the service account has no role at all in this instance: give it the role IAM_OWNER".to_owned()
            }
            _ if self.is_unknown_instance() => {
                "ZITADEL does not know the host that requests are addressed to: set the connection's host to the \
                 instance's external domain (or its database is down)"
                    .to_owned()
            }
            Reason::ZitadelUnavailable => {
                format!("HTTP {}{id}: ZITADEL, or a proxy before it, does not work properly; trying again", self.status)
            }
            _ => general(reason).to_owned(),
        }
    }

    fn reason(&self) -> Reason {
        if self.is_of_execution() {
            return Reason::ExecutionFailed;
        }
        if self.is(&TARGET_GONE) {
            return Reason::ExternallyDeleted;
        }
        match self.status {
            400 if self.is(&DENIED_URL) => Reason::EndpointDenied,
            400 if self.is(&[FEATURE_OFF]) => Reason::ActionsDisabled,
            // Code 9 is a precondition of the server's state, 3 our own values.
            400 if self.code == 9 => Reason::ZitadelUnavailable,
            400 => Reason::InvalidSpec,
            401 => Reason::AuthenticationFailed,
            403 if self.is(&[EXPIRED_403]) => Reason::AuthenticationFailed,
            403 => Reason::PermissionDenied,
            404 if self.is(&[NO_MEMBERSHIP]) => Reason::PermissionDenied,
            404 if self.is(&[NOT_PROJECTED]) => Reason::NotProjected,
            404 if self.is_unknown_instance() => Reason::ZitadelUnavailable,
            404 | 405 | 501 if self.id.is_none() => Reason::ApiUnsupported,
            409 if self.is(&[UNIQUE]) => Reason::NameTaken,
            429 => Reason::RateLimited,
            _ => Reason::ZitadelUnavailable,
        }
    }
}

/// Remote text, cut at 300 characters and freed of control characters: it ends up in conditions and logs.
pub(super) fn plain(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match clean.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &clean[..end]),
        None => clean,
    }
}
