//! Why there is no token: what the token endpoint refused, and what mends it.
//!
//! All of it keeps calls from being sent. Each refusal has a sentence of its own; the reason is the same,
//! `AuthenticationFailed`, because the same person is asked to act. Up to v4.13 ZITADEL answers 500 to every bad assertion and to
//! every unknown, removed or expired key (docs/zitadel/observed.md section 9), so that one sentence names them all.

use std::fmt;

use crate::api::reason::Reason;
use crate::zitadel::Error;

/// Why no token could be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoToken {
    /// An assertion was refused: a wrong, unknown, removed or expired key, a wrong audience or time.
    Assertion {
        /// How sure that is.
        verdict: Verdict,
        /// The audience: the issuer that the server named.
        issuer: String,
        /// Whether our clock is far from the server's.
        skewed: bool,
    },
    /// The key file says that its time is over; nothing was sent.
    KeyExpired {
        /// The file, or whatever holds it.
        source: String,
        /// The date in it.
        date: String,
    },
    /// The client secret is wrong, or has been replaced by another.
    WrongSecret,
    /// The service account has no client secret.
    NoSecret,
    /// No service account has this client id.
    UnknownClient,
    /// The service account is deactivated.
    Inactive,
    /// The service account of the key does not exist.
    UnknownUser,
    /// Another refusal in the words of OAuth.
    Refused {
        /// HTTP status.
        status: u16,
        /// The code of RFC 6749.
        error: String,
        /// The server's text.
        description: String,
    },
    /// The credential was not looked at: the way to the token endpoint does not work.
    Failed(Error),
}

/// What the token endpoint says of an assertion that it does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// 400 `invalid_grant`, of v4.14 and later: it is refused.
    Refused,
    /// 500, of older servers: it is refused, or the server is in trouble.
    RefusedOrFailed,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "credential refused",
            Self::RefusedOrFailed => "credential refused, or server error: ZITADEL answers 500 to both",
        }
    }
}

impl NoToken {
    /// The label.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Failed(error) => error.reason(),
            _ => Reason::AuthenticationFailed,
        }
    }

    /// What the user should know and do. Stable for the same cause.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Failed(error) => format!("no access token: {}", error.advice()),
            Self::Refused { .. } => {
                format!("{self}; correct or replace the credential, it is picked up without a restart")
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assertion { verdict, issuer, skewed } => {
                write!(
                    f,
                    "{}. Check that the key exists in \
                     this instance, has not been removed or expired, that its user exists, and that {issuer} is the \
                     external domain of the instance (the key signs for it); or replace the key file",
                    verdict.as_str()
                )?;
                if *skewed {
                    f.write_str(". The clocks of ZITADEL and of this machine differ by more than a minute: set them")?;
                }
                Ok(())
            }
            Self::KeyExpired { source, date } => {
                write!(f, "the key in {source} expired at {date}: create another key for the service account, and replace it")
            }
            Self::WrongSecret => f.write_str(
                "ZITADEL refuses the client secret: it is wrong, or a newer one was generated; replace it, it is picked \
                 up without a restart",
            ),
            Self::NoSecret => f.write_str(
                "the service account has no client secret: generate one for it, and replace the one in use here",
            ),
            Self::UnknownClient => f.write_str(
                "ZITADEL knows no service account with this client id: it is the account's user name in this instance",
            ),
            Self::Inactive => f.write_str("the service account is deactivated: activate it, or use another one"),
            Self::UnknownUser => f.write_str(
                "the service account of the key does not exist in this instance: create a key for another one",
            ),
            Self::Refused { status, error, description } => {
                write!(f, "the token endpoint refuses the credential (HTTP {status}, {error}: {description})")
            }
            Self::Failed(error) => error.fmt(f),
        }
    }
}
