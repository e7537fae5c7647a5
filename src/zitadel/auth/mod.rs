//! Credentials: what a connection proves itself with, and the token that each call carries.
//!
//! May use the transport; must not know calls of the Actions API or Kubernetes.

mod assertion;
mod bearer;
mod exchange;
mod exchanged;
mod fixed;
pub mod refusal;
pub mod source;
#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
pub use refusal::NoToken;
pub use source::{Slot, Source};

use super::Error;
use super::client::SharedObserver;
use super::transport::Transport;
pub(super) use bearer::Bearer;
use exchange::TokenEndpoint;
use exchanged::{Exchanged, Origin};
use fixed::Fixed;

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
    /// A system user, which ZITADEL's own configuration names (`SystemAPIUsers`): signs its tokens itself.
    SystemUser {
        /// Its name in that configuration.
        name: String,
        /// The private key that belongs to the public key or certificate there, as PEM.
        key: Source,
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

impl FromStr for ClientAuth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "basic" => Ok(Self::Basic),
            "post" => Ok(Self::Post),
            _ => Err("client id and secret are sent as basic or post".to_owned()),
        }
    }
}

/// The tokens of one connection, whatever they come from.
pub(super) struct Tokens {
    kind: Kind,
    /// The name of a system user. It is the editor of its events: ZITADEL takes the subject of the token for the id of the
    /// user (internal/api/authz/system_token.go, `VerifySystemToken`).
    system_user: Option<String>,
}

enum Kind {
    /// Sent as they are.
    Fixed(Fixed),
    /// Exchanged at the token endpoint, or signed for as long as those are valid.
    Exchanged(Arc<Exchanged>),
}

impl Tokens {
    pub(super) fn new(credential: Credential, transport: Arc<Transport>, observer: SharedObserver) -> Self {
        let exchanged = |origin| Kind::Exchanged(Exchanged::new(origin, TokenEndpoint { transport, observer }));
        let system_user = match &credential {
            Credential::SystemUser { name, .. } => Some(name.clone()),
            _ => None,
        };
        let kind = match credential {
            Credential::PersonalAccessToken(source) => Kind::Fixed(Fixed::new(source)),
            Credential::PrivateKeyJwt(source) => exchanged(Origin::Key(source)),
            Credential::ClientCredentials { id, secret, method } => exchanged(Origin::Client { id, secret, method }),
            Credential::SystemUser { name, key } => exchanged(Origin::System { name, key }),
        };
        Self { kind, system_user }
    }

    /// Id of our own user, as far as the credential itself tells.
    pub(super) fn own_user(&self) -> Option<&str> {
        self.system_user.as_deref()
    }

    /// The token for a call.
    ///
    /// # Errors
    /// [`Error::Credential`] if the credential is missing or useless; [`Error::NoToken`] if it was refused or the
    /// token endpoint could not be asked.
    pub(super) async fn bearer(&self) -> Result<Bearer, Error> {
        match &self.kind {
            Kind::Fixed(fixed) => fixed.bearer().await,
            Kind::Exchanged(exchanged) => exchanged.bearer().await,
        }
    }

    /// When the credential expires that a person would have to replace, where that is known: of the key that the newest
    /// token was asked for with. A personal access token does not tell, and client secrets have no end.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        match &self.kind {
            Kind::Fixed(_) => None,
            Kind::Exchanged(exchanged) => exchanged.expires(),
        }
    }

    /// Notes that ZITADEL took a token.
    pub(super) fn worked(&self, bearer: &Bearer) {
        match &self.kind {
            Kind::Fixed(fixed) => fixed.worked(bearer),
            // An exchange that succeeded is proof enough.
            Kind::Exchanged(_) => {}
        }
    }

    /// Another token in place of one that ZITADEL refused, if there is one to be had.
    ///
    /// # Errors
    /// As [`Self::bearer`].
    pub(super) async fn renew(&self, refused: &Bearer) -> Result<Option<Bearer>, Error> {
        match &self.kind {
            Kind::Fixed(fixed) => Ok(fixed.renew(refused).await),
            Kind::Exchanged(exchanged) => exchanged.renew(refused).await,
        }
    }
}
