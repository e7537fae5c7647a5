//! Credentials: what a connection proves itself with, and the token that each call carries.
//!
//! May use the transport; must not know calls of the Actions API or Kubernetes.

pub mod source;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

pub use source::{Slot, Source};

use super::Error;

/// What a connection proves itself with.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A personal access token of a service account: sent as it is.
    PersonalAccessToken(Source),
    /// The JSON key file of a service account, as ZITADEL issues it: signs an assertion that is exchanged for a token.
    PrivateKeyJwt(Source),
    /// Client id and secret of a service account, exchanged for a token.
    ClientCredentials {
        /// The client id: the account's user name.
        id: Source,
        /// The client secret.
        secret: Source,
        /// How both are sent.
        method: ClientAuth,
    },
}

/// How client id and secret reach the token endpoint; ZITADEL takes both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// In the Authorization header (`client_secret_basic`).
    #[default]
    Basic,
    /// In the form (`client_secret_post`), for proxies that take the header for themselves.
    Post,
}

impl Credential {
    /// The token to send.
    ///
    /// # Errors
    /// [`Error::Credential`] when the material is missing or cannot be what it should be.
    pub(super) async fn token(&self) -> Result<SecretString, Error> {
        match self {
            Self::PersonalAccessToken(source) => {
                let token = source.read().await?;
                if token.expose_secret().bytes().all(|b| b.is_ascii_graphic()) {
                    Ok(token)
                } else {
                    Err(Error::Credential(format!("{source} does not hold a token")))
                }
            }
            Self::PrivateKeyJwt(source) | Self::ClientCredentials { secret: source, .. } => {
                Err(Error::Credential(format!("{source} holds a kind of credential that is not supported yet")))
            }
        }
    }
}

/// The Authorization header, marked so that no log prints it.
pub(super) fn bearer(token: &SecretString) -> HeaderValue {
    let text = format!("Bearer {}", token.expose_secret());
    let mut value = HeaderValue::from_str(&text).expect("a token was checked to be visible ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_a_token_is_not_sent_and_not_shown() {
        let slot = Slot::new("the slot");
        let credential = Credential::PersonalAccessToken(Source::Slot(slot.clone()));
        for content in ["two canaries", "canary\u{e9}"] {
            slot.set(Some(SecretString::from(content)));
            assert_eq!(credential.token().await.unwrap_err().to_string(), "the slot does not hold a token");
        }
    }

    #[test]
    fn the_header_does_not_show_the_token() {
        assert!(!format!("{:?}", bearer(&SecretString::from("canary"))).contains("canary"));
    }
}
