//! Service accounts, their roles and their personal access tokens.

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
    /// Reads of the instance, the event store included: the viewer has `events.read` (cmd/defaults.yaml).
    Read,
    /// Writes to the instance.
    Write,
}

struct Grant {
    user: String,
    role: Role,
    expiry: Option<Timestamp>,
    revoked: bool,
}

/// All users with their tokens. Has no `Debug`: it holds secrets.
#[derive(Default)]
pub(crate) struct Users {
    grants: HashMap<String, Grant>,
}

impl Users {
    /// A new user with one token.
    pub(crate) fn issue(&mut self, role: Role, expiry: Option<Timestamp>) -> (String, String) {
        let (user, token) = (new_id(), random_text(71));
        self.grants.insert(token.clone(), Grant { user: user.clone(), role, expiry, revoked: false });
        (user, token)
    }

    pub(crate) fn revoke(&mut self, token: &str) {
        if let Some(grant) = self.grants.get_mut(token) {
            grant.revoked = true;
        }
    }

    pub(crate) fn set_role(&mut self, token: &str, role: Role) {
        if let Some(grant) = self.grants.get_mut(token) {
            grant.role = role;
        }
    }

    /// The user behind an `Authorization` header, and the role; the texts are those of docs/zitadel/observed.md section 9.
    pub(crate) fn authenticate(&self, header: Option<&str>, now: Timestamp) -> Result<(String, Role), ApiError> {
        let header = header.ok_or_else(|| ApiError::bare(Code::Unauthenticated, "auth header missing"))?;
        let malformed = || ApiError::zitadel(Code::Unauthenticated, "AUTH-toLo1", "invalid auth header");
        let token = header.strip_prefix("Bearer ").filter(|token| !token.is_empty()).ok_or_else(malformed)?;
        let valid = |grant: &&Grant| !grant.revoked && grant.expiry.is_none_or(|expiry| now < expiry);
        match self.grants.get(token).filter(valid) {
            Some(grant) => Ok((grant.user.clone(), grant.role)),
            None => Err(ApiError::zitadel(Code::Unauthenticated, "AUTH-7fs1e", "Errors.Token.Invalid")),
        }
    }
}

/// Whether a role suffices.
pub(crate) fn authorize(role: Role, permission: Permission) -> Result<(), ApiError> {
    let denied = || Err(ApiError::zitadel(Code::PermissionDenied, "AUTH-5mWD2", "No matching permissions found"));
    match (permission, role) {
        (Permission::Authenticated, _) | (_, Role::IamOwner) | (Permission::Read, Role::IamOwnerViewer) => Ok(()),
        (_, Role::None) => Err(ApiError::zitadel(Code::NotFound, "AUTHZ-cdgFk", "membership not found")),
        (_, Role::IamOwnerViewer | Role::OrgOwner) => denied(),
    }
}
