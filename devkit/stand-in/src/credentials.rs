//! Users, roles and everything that authenticates a caller, for tests: what an administrator does in ZITADEL's console
//! or a pipeline does with its API. Every change holds at once; real servers need up to some 300 ms.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::core::clock::random_text;
use crate::core::system_users::SystemUser;
use crate::core::users::{Account, AccountState, MachineKey, TokenKind, TokenShape};
use crate::oidc::{KeyPair, system_key};
use crate::{Op, Role, StandIn};

/// A key pair for a system user, in PEM.
#[derive(Clone)]
pub struct SystemUserKey {
    /// PKCS#1 (`BEGIN RSA PRIVATE KEY`), 2048 bits; what signs the tokens.
    pub private_key: String,
    /// `BEGIN PUBLIC KEY`.
    pub public_key: String,
    /// A self-signed X.509 certificate of it, valid from 2020 to 2119; with the private key, the content of the TLS
    /// Secret that ZITADEL's chart makes since version 11.
    pub certificate: String,
}

impl fmt::Debug for SystemUserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemUserKey").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

impl StandIn {
    /// Id of the user behind `token`, `machine_key` and `client_credentials`; role `IamOwner`.
    #[must_use]
    pub fn user_id(&self) -> String {
        self.world().user_id.clone()
    }

    /// Id of the user who makes the external edits.
    #[must_use]
    pub fn external_user_id(&self) -> String {
        self.world().external_user_id.clone()
    }

    /// A new service account with this role and no credential yet; its id.
    #[must_use]
    pub fn add_user(&self, role: Role) -> String {
        self.world().state().users.add(role)
    }

    /// A valid personal access token of the user `user_id`, always the same.
    #[must_use]
    pub fn token(&self) -> String {
        self.world().token.clone()
    }

    /// A personal access token of a new user with this role, that does not expire.
    #[must_use]
    pub fn issue_token(&self, role: Role) -> String {
        self.personal_token(role, None)
    }

    /// As `issue_token`, valid until the given time of the server's clock.
    #[must_use]
    pub fn issue_token_until(&self, role: Role, expiry: Timestamp) -> String {
        self.personal_token(role, Some(expiry))
    }

    fn personal_token(&self, role: Role, expiry: Option<Timestamp>) -> String {
        let users = &mut self.world().state().users;
        let user = users.add(role);
        users.issue(&user, TokenKind::Personal, expiry)
    }

    /// The user behind a token, valid or not.
    #[must_use]
    pub fn user_of(&self, token: &str) -> Option<String> {
        self.world().state().users.user_of(token)
    }

    /// The token, personal or issued, is refused from now on, with 401 `AUTH-7fs1e`.
    pub fn revoke_token(&self, token: &str) {
        self.world().state().users.revoke(token);
    }

    /// Every access token that the token endpoint issued is refused from now on. Personal access tokens are kept, and
    /// new tokens are issued.
    pub fn revoke_tokens(&self) {
        self.world().state().users.revoke_issued();
    }

    /// A new key of the user `user_id`: the JSON file exactly as ZITADEL issues it, with the date that stands for "never
    /// expires". Older keys stay valid.
    #[must_use]
    pub fn machine_key(&self) -> String {
        self.machine_key_of(&self.user_id(), None)
    }

    /// As `machine_key`, for a user of one's own choice, valid until the given time of the server's clock.
    ///
    /// # Panics
    /// When there is no such user: the test is wrong then.
    #[must_use]
    pub fn machine_key_of(&self, user: &str, expiry: Option<Timestamp>) -> String {
        /// What ZITADEL writes when nobody says how long; later than some time libraries can hold.
        const NEVER: &str = "9999-12-31T23:59:59Z";
        let state = &mut *self.world().state();
        assert!(state.users.account(user).is_some(), "a key must be of a user who exists");
        let pair = KeyPair::number(state.key_pairs);
        state.key_pairs += 1;
        let id = state.users.add_key(MachineKey { user: user.to_owned(), public_key: pair.public_key(), expiry });
        let expiry = expiry.map_or_else(|| NEVER.to_owned(), |expiry| expiry.to_string());
        let file = json!({
            "type": "serviceaccount", "keyId": id, "key": pair.pem, "expirationDate": expiry, "userId": user,
        });
        file.to_string()
    }

    /// The key with this id (`keyId` in the file) is gone. Tokens that it earned stay valid, as with ZITADEL.
    ///
    /// # Panics
    /// When there is no such key: the test is wrong then.
    pub fn remove_key(&self, key_id: &str) {
        assert!(self.world().state().users.remove_key(key_id), "a key that is removed must exist");
    }

    /// Client id (the user's name) and a new client secret of the user `user_id`. There is one secret per user: the one
    /// before is refused from now on.
    #[must_use]
    pub fn client_credentials(&self) -> (String, String) {
        self.client_credentials_of(&self.user_id())
    }

    /// As `client_credentials`, for a user of one's own choice.
    ///
    /// # Panics
    /// When there is no such user: the test is wrong then.
    #[must_use]
    pub fn client_credentials_of(&self, user: &str) -> (String, String) {
        let secret = random_text(64);
        let name = self.with_account(user, |account| {
            account.client_secret = Some(secret.clone());
            account.name.clone()
        });
        (name, secret)
    }

    /// The user has no client secret any more. Tokens that it earned stay valid, as with ZITADEL.
    ///
    /// # Panics
    /// When there is no such user: the test is wrong then.
    pub fn remove_client_secret(&self, user: &str) {
        self.with_account(user, |account| account.client_secret = None);
    }

    /// How long access tokens are valid that are issued from now on. Twelve hours at start.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.world().state().token_lifetime = lifetime;
    }

    /// Whether access tokens of this user are JSON web tokens (ZITADEL's `accessTokenType`) instead of opaque ones.
    ///
    /// # Panics
    /// When there is no such user: the test is wrong then.
    pub fn set_jwt_access_tokens(&self, user: &str, jwt: bool) {
        self.with_account(user, |account| {
            account.token_shape = if jwt { TokenShape::Jwt } else { TokenShape::Opaque };
        });
    }

    /// A new key pair for `add_system_user`; nobody has it yet.
    #[must_use]
    pub fn system_user_key(&self) -> SystemUserKey {
        let state = &mut *self.world().state();
        let pair = KeyPair::number(state.key_pairs);
        state.key_pairs += 1;
        SystemUserKey {
            private_key: pair.pem.to_owned(),
            public_key: pair.public_pem.to_owned(),
            certificate: pair.certificate.to_owned(),
        }
    }

    /// Configures a system user with this name and public key or X.509 certificate, in PEM (`SystemAPIUsers`); again,
    /// to change key or role. Whoever signs a JWT with `iss` = `sub` = the name, `aud` = the configured origin (scheme
    /// and external domain, whatever a proxy says; the port of the request), `iat` at most one hour ago and `exp` in
    /// the future is that user, on every API, without a token request. Its events carry the name as editor;
    /// `/auth/v1/users/me` answers 404 `QUERY-Dfbg2`, because it is in no projection. `Role::None`: a user of the
    /// system, not of this instance, who is refused with 403 (observed on v4.13.1). Read in
    /// internal/api/authz/system_token.go; certificates from v4.14.0 on.
    ///
    /// # Panics
    /// When the text is no RSA public key and no certificate of one: the test is wrong then.
    pub fn add_system_user(&self, name: &str, public_key_or_certificate: &str, role: Role) {
        let key = system_key(public_key_or_certificate).expect("a system user needs an RSA public key in PEM");
        self.world().state().system_users.users.insert(name.to_owned(), SystemUser { key, role });
    }

    /// Takes the system user out of the configuration; its tokens are refused from now on with 401 `AUTH-7fs1e`.
    ///
    /// # Panics
    /// When there is no such user: the test is wrong then.
    pub fn remove_system_user(&self, name: &str) {
        let removed = self.world().state().system_users.users.remove(name);
        assert!(removed.is_some(), "a system user that is removed must exist");
    }

    /// Every token that there is or was, personal, issued or signed by a system user (once it was seen): what no log of
    /// a client may show.
    #[must_use]
    pub fn every_token(&self) -> Vec<String> {
        let state = self.world().state();
        let mut tokens = state.users.every_token();
        tokens.extend(state.system_users.tokens.iter().cloned());
        tokens
    }

    /// How many requests reached the token endpoint, faults included.
    #[must_use]
    pub fn token_requests(&self) -> usize {
        self.world().state().calls.iter().filter(|call| call.op == Some(Op::Token)).count()
    }

    /// Gives the user behind the token another role.
    pub fn set_role(&self, token: &str, role: Role) {
        if let Some(user) = self.user_of(token) {
            self.set_user_role(&user, role);
        }
    }

    /// Gives the user another role; all of its tokens follow.
    ///
    /// # Panics
    /// When there is no such user: the test is wrong then.
    pub fn set_user_role(&self, user: &str, role: Role) {
        self.with_account(user, |account| account.role = role);
    }

    /// Whether the user may read the event store; `IamOwner` and `IamOwnerViewer` may, at start. An installation can
    /// define its roles without `events.read`: the search is then refused with 403 `AUTH-5mWD2`.
    ///
    /// # Panics
    /// When there is no such user: the test is wrong then.
    pub fn set_events_readable(&self, user: &str, readable: bool) {
        self.with_account(user, |account| account.reads_events = readable);
    }

    /// Deactivates a user: its tokens are refused with 401 `AUTH-7fs1e`, new ones with 400 `Errors.User.NotActive`.
    ///
    /// # Panics
    /// When there is no such user: the test is wrong then.
    pub fn deactivate_user(&self, user: &str) {
        self.with_account(user, |account| account.state = AccountState::Inactive);
    }

    /// The way back from `deactivate_user`.
    ///
    /// # Panics
    /// When there is no such user: the test is wrong then.
    pub fn reactivate_user(&self, user: &str) {
        self.with_account(user, |account| account.state = AccountState::Active);
    }

    /// Removes a user for good, with all of its credentials.
    ///
    /// # Panics
    /// When there is no such user: the test is wrong then.
    pub fn remove_user(&self, user: &str) {
        self.with_account(user, |account| account.state = AccountState::Removed);
    }

    fn with_account<T>(&self, user: &str, edit: impl FnOnce(&mut Account) -> T) -> T {
        let state = &mut *self.world().state();
        edit(state.users.account_mut(user).expect("the user that a test names must exist"))
    }
}
