//! Service accounts with what authenticates them: personal access tokens, issued access tokens, machine keys and client
//! secrets. Who may do what is decided here too; how a credential becomes a token is the business of `oidc`.

use std::collections::HashMap;

use jiff::Timestamp;

use super::clock::{new_id, random_text};
use crate::Role;
use crate::wire::error::{ApiError, Code};

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Any valid token.
    Authenticated,
    /// Reads of the instance.
    Read,
    /// Reads of the event store: the viewer has `events.read` too (cmd/defaults.yaml), roles of an installation's own
    /// making need not.
    ReadEvents,
    /// Writes to the instance.
    Write,
}

/// What became of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AccountState {
    #[default]
    Active,
    /// Deactivated: its tokens are refused, no new one is issued, everything comes back with it.
    Inactive,
    Removed,
}

/// What an access token looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TokenShape {
    #[default]
    Opaque,
    Jwt,
}

/// A service account. Has no `Debug`: it holds a secret.
pub(crate) struct Account {
    pub(crate) role: Role,
    pub(crate) reads_events: bool,
    pub(crate) state: AccountState,
    pub(crate) token_shape: TokenShape,
    /// User name; also the client id.
    pub(crate) name: String,
    pub(crate) client_secret: Option<String>,
}

/// Where a token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Personal,
    /// By the token endpoint. `for_api`: with ZITADEL's own project in the audience, without which the API refuses it.
    Issued {
        for_api: bool,
    },
}

struct Token {
    user: String,
    kind: TokenKind,
    expiry: Option<Timestamp>,
    revoked: bool,
}

/// The public half of a machine key; ZITADEL keeps no more either.
pub(crate) struct MachineKey {
    pub(crate) user: String,
    /// PKCS#1, DER.
    pub(crate) public_key: Vec<u8>,
    pub(crate) expiry: Option<Timestamp>,
}

/// Where a caller is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// An account of the instance.
    Instance,
    /// The server's configuration (`SystemAPIUsers`).
    Configuration,
}

/// The user behind a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) user: String,
    role: Role,
    reads_events: bool,
    origin: Origin,
}

impl Caller {
    pub(crate) fn system_user(name: &str, role: Role) -> Self {
        Self { user: name.to_owned(), role, reads_events: true, origin: Origin::Configuration }
    }

    pub(crate) fn is_system_user(&self) -> bool {
        self.origin == Origin::Configuration
    }
}

/// Why the API refuses a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Invalid,
    Expired(TokenKind),
}

/// All accounts with their credentials. Has no `Debug`: it holds secrets.
#[derive(Default)]
pub(crate) struct Users {
    accounts: HashMap<String, Account>,
    tokens: HashMap<String, Token>,
    keys: HashMap<String, MachineKey>,
}

impl Users {
    /// A new account.
    pub(crate) fn add(&mut self, role: Role) -> String {
        let id = new_id();
        let account = Account {
            role,
            reads_events: true,
            state: AccountState::default(),
            token_shape: TokenShape::default(),
            name: format!("machine-{id}"),
            client_secret: None,
        };
        self.accounts.insert(id.clone(), account);
        id
    }

    pub(crate) fn account(&self, user: &str) -> Option<&Account> {
        self.accounts.get(user).filter(|account| account.state != AccountState::Removed)
    }

    pub(crate) fn account_mut(&mut self, user: &str) -> Option<&mut Account> {
        self.accounts.get_mut(user).filter(|account| account.state != AccountState::Removed)
    }

    /// The account that has this client id, i.e. this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<(&str, &Account)> {
        let existing = self.accounts.iter().filter(|(_, account)| account.state != AccountState::Removed);
        existing.map(|(id, account)| (id.as_str(), account)).find(|(_, account)| account.name == name)
    }

    /// A new token.
    pub(crate) fn issue(&mut self, user: &str, kind: TokenKind, expiry: Option<Timestamp>) -> String {
        let token = random_text(if kind == TokenKind::Personal { 71 } else { 86 });
        self.accept(&token, user, kind, expiry);
        token
    }

    /// Takes a token that was made elsewhere.
    pub(crate) fn accept(&mut self, token: &str, user: &str, kind: TokenKind, expiry: Option<Timestamp>) {
        self.tokens.insert(token.to_owned(), Token { user: user.to_owned(), kind, expiry, revoked: false });
    }

    pub(crate) fn revoke(&mut self, token: &str) {
        if let Some(token) = self.tokens.get_mut(token) {
            token.revoked = true;
        }
    }

    /// Every token that the token endpoint issued.
    pub(crate) fn revoke_issued(&mut self) {
        let issued = self.tokens.values_mut().filter(|token| token.kind != TokenKind::Personal);
        issued.for_each(|token| token.revoked = true);
    }

    pub(crate) fn every_token(&self) -> Vec<String> {
        self.tokens.keys().cloned().collect()
    }

    pub(crate) fn user_of(&self, token: &str) -> Option<String> {
        self.tokens.get(token).map(|token| token.user.clone())
    }

    pub(crate) fn add_key(&mut self, key: MachineKey) -> String {
        let id = new_id();
        self.keys.insert(id.clone(), key);
        id
    }

    pub(crate) fn remove_key(&mut self, id: &str) -> bool {
        self.keys.remove(id).is_some()
    }

    /// The key, if it is this user's and valid: anything else is "not found" to ZITADEL too.
    pub(crate) fn key(&self, id: &str, user: &str, now: Timestamp) -> Option<&MachineKey> {
        self.keys.get(id).filter(|key| key.user == user && key.expiry.is_none_or(|expiry| now < expiry))
    }

    /// The caller behind an `Authorization` header; the texts are those of docs/zitadel/observed.md section 9. What an
    /// expired token is answered with depends on the server.
    pub(crate) fn authenticate(
        &self,
        header: Option<&str>,
        now: Timestamp,
        refused: impl Fn(Refused) -> ApiError,
    ) -> Result<Caller, ApiError> {
        let header = header.ok_or_else(|| ApiError::bare(Code::Unauthenticated, "auth header missing"))?;
        let malformed = || ApiError::zitadel(Code::Unauthenticated, "AUTH-toLo1", "invalid auth header");
        let token = header.strip_prefix("Bearer ").filter(|token| !token.is_empty()).ok_or_else(malformed)?;
        self.caller(token, now).map_err(refused)
    }

    fn caller(&self, token: &str, now: Timestamp) -> Result<Caller, Refused> {
        let token = self.tokens.get(token).filter(|token| !token.revoked).ok_or(Refused::Invalid)?;
        if token.kind == (TokenKind::Issued { for_api: false }) {
            return Err(Refused::Invalid);
        }
        if token.expiry.is_some_and(|expiry| now >= expiry) {
            return Err(Refused::Expired(token.kind));
        }
        let account = self.account(&token.user).filter(|account| account.state == AccountState::Active);
        let account = account.ok_or(Refused::Invalid)?;
        Ok(Caller {
            user: token.user.clone(),
            role: account.role,
            reads_events: account.reads_events,
            origin: Origin::Instance,
        })
    }
}

/// What nearly every server answers to a token that is no good, whatever the reason.
pub(crate) fn invalid_token() -> ApiError {
    ApiError::zitadel(Code::Unauthenticated, "AUTH-7fs1e", "Errors.Token.Invalid")
}

/// Whether the caller may.
pub(crate) fn authorize(caller: &Caller, permission: Permission) -> Result<(), ApiError> {
    let denied = || Err(ApiError::zitadel(Code::PermissionDenied, "AUTH-5mWD2", "No matching permissions found"));
    match (permission, caller.role) {
        (Permission::Authenticated, _) => Ok(()),
        // A system user without a role here is one of the system (SYSTEM_OWNER): observed on v4.13.1.
        (_, Role::None) if caller.is_system_user() => denied(),
        (_, Role::None) => Err(ApiError::zitadel(Code::NotFound, "AUTHZ-cdgFk", "membership not found")),
        (Permission::ReadEvents, _) if !caller.reads_events => denied(),
        (_, Role::IamOwner) | (Permission::Read | Permission::ReadEvents, Role::IamOwnerViewer) => Ok(()),
        (_, Role::IamOwnerViewer | Role::OrgOwner) => denied(),
    }
}
