//! Users of the server's configuration (`SystemAPIUsers`): a name and a public key, no account in the instance. Who may
//! call as one of them is decided in `oidc`.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use crate::Role;

/// The public key of a system user.
pub(crate) struct SystemKey {
    /// PKCS#1, DER.
    pub(crate) public_key: Vec<u8>,
    /// From when until when; of a certificate only.
    pub(crate) validity: Option<(Timestamp, Timestamp)>,
}

pub(crate) struct SystemUser {
    pub(crate) key: SystemKey,
    /// Its membership in this instance (`Memberships` with `MemberType: IAM`).
    pub(crate) role: Role,
}

/// All of them. Has no `Debug`: it holds the tokens that were seen.
#[derive(Default)]
pub(crate) struct SystemUsers {
    pub(crate) users: HashMap<String, SystemUser>,
    /// Every token that was good, for who searches a log for them.
    pub(crate) tokens: HashSet<String>,
}

impl SystemUser {
    /// Whether its key may be used now (v4.14.0 and later look at the dates of a certificate).
    pub(crate) fn is_valid(&self, now: Timestamp) -> bool {
        self.key.validity.is_none_or(|(start, end)| start <= now && now <= end)
    }
}
