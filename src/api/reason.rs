//! Reasons: the one label for a condition, an Event and a metric.
//!
//! An enum without Kubernetes types, so that the REST client can name the reason of its own errors. The names are
//! API: they appear in `kubectl get`, in alerts and in the README's table, and are never renamed.

use std::fmt;

/// Why a Target, or a connection, is or is not Ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// No operator has looked at the object yet: the default of the CRD says so.
    Pending,
    /// ZITADEL is known to hold what this generation of the spec says.
    Available,
    /// The remote target was written and is being read back, or its id is being recorded.
    Verifying,
    /// `spec.suspend` is true.
    Suspended,
    /// ZITADEL, or this operator, refuses the values of the spec.
    InvalidSpec,
    /// The server has not what the spec asks for, and would ignore it without a word.
    Unsupported,
    /// ZITADEL refuses the endpoint's address (deny list, or a host name it cannot resolve).
    EndpointDenied,
    /// The instance has the feature flag `actions` switched off (v3alpha, resources/v3alpha).
    ActionsDisabled,
    /// The credential is refused.
    AuthenticationFailed,
    /// The credential is accepted but lacks a right.
    PermissionDenied,
    /// The credential cannot be read: file or Secret missing, empty or malformed.
    CredentialsUnavailable,
    /// `spec.connectionRef` names a connection that does not exist, or that the operator may not read.
    ConnectionNotFound,
    /// `spec.connectionRef` names a connection that does not allow the Target's namespace.
    ConnectionNotAllowed,
    /// The connection is being deleted and Targets still need it.
    InUse,
    /// ZITADEL does not answer, or answers that it is broken.
    ZitadelUnavailable,
    /// The server has no such API, or the connection's settings name the wrong one.
    ApiUnsupported,
    /// ZITADEL, or a proxy before it, limits the rate of calls.
    RateLimited,
    /// An execution of the instance intercepts the call and refuses or fails it.
    ExecutionFailed,
    /// Another target of the instance has the name.
    NameTaken,
    /// A create call was sent and its answer never came; it is being settled before anything else happens.
    CreateOutcomeUnknown,
    /// ZITADEL acknowledged the target but does not show it on its read side.
    NotProjected,
    /// The remote target was deleted by somebody else; it is created anew, unless `spec.externalId` forbids that.
    ExternallyDeleted,
    /// Another Target holds the same remote target with more right.
    AdoptionConflict,
    /// `spec.managementPolicy` is Observe and ZITADEL holds something else than the spec says.
    Drifted,
    /// The connection now leads to another instance than the one that holds the target.
    InstanceChanged,
    /// The Target is being deleted, and its target in ZITADEL right now.
    Deleting,
    /// The API server refuses a change that the operator has to make to the object, or a read that its deletion needs.
    ClusterAccessDenied,
    /// Retries have not succeeded for ten minutes.
    ProgressDeadlineExceeded,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 28] = [
        Self::Pending,
        Self::Available,
        Self::Verifying,
        Self::Suspended,
        Self::InvalidSpec,
        Self::Unsupported,
        Self::EndpointDenied,
        Self::ActionsDisabled,
        Self::AuthenticationFailed,
        Self::PermissionDenied,
        Self::CredentialsUnavailable,
        Self::ConnectionNotFound,
        Self::ConnectionNotAllowed,
        Self::InUse,
        Self::ZitadelUnavailable,
        Self::ApiUnsupported,
        Self::RateLimited,
        Self::ExecutionFailed,
        Self::NameTaken,
        Self::CreateOutcomeUnknown,
        Self::NotProjected,
        Self::ExternallyDeleted,
        Self::AdoptionConflict,
        Self::Drifted,
        Self::InstanceChanged,
        Self::Deleting,
        Self::ClusterAccessDenied,
        Self::ProgressDeadlineExceeded,
    ];

    /// The CamelCase word that appears in conditions, Events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Available => "Available",
            Self::Verifying => "Verifying",
            Self::Suspended => "Suspended",
            Self::InvalidSpec => "InvalidSpec",
            Self::Unsupported => "Unsupported",
            Self::EndpointDenied => "EndpointDenied",
            Self::ActionsDisabled => "ActionsDisabled",
            Self::AuthenticationFailed => "AuthenticationFailed",
            Self::PermissionDenied => "PermissionDenied",
            Self::CredentialsUnavailable => "CredentialsUnavailable",
            Self::ConnectionNotFound => "ConnectionNotFound",
            Self::ConnectionNotAllowed => "ConnectionNotAllowed",
            Self::InUse => "InUse",
            Self::ZitadelUnavailable => "ZitadelUnavailable",
            Self::ApiUnsupported => "ApiUnsupported",
            Self::RateLimited => "RateLimited",
            Self::ExecutionFailed => "ExecutionFailed",
            Self::NameTaken => "NameTaken",
            Self::CreateOutcomeUnknown => "CreateOutcomeUnknown",
            Self::NotProjected => "NotProjected",
            Self::ExternallyDeleted => "ExternallyDeleted",
            Self::AdoptionConflict => "AdoptionConflict",
            Self::Drifted => "Drifted",
            Self::InstanceChanged => "InstanceChanged",
            Self::Deleting => "Deleting",
            Self::ClusterAccessDenied => "ClusterAccessDenied",
            Self::ProgressDeadlineExceeded => "ProgressDeadlineExceeded",
        }
    }

    /// The reason with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_and_named_uniquely() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
    }
}
