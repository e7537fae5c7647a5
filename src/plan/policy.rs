//! What the namespaces of a cluster may do with a connection.
//!
//! Creating a target harms nobody until something calls it. Taking over an existing one can redirect what ZITADEL calls
//! already, logins included: that is a right of its own, which an administrator grants.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::facts::Adoption;
use crate::api::connection::{AllowedNamespaces, ClusterConnectionSpec, Grant};

/// Who may do what with a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Policy {
    /// Its own namespace everything, as nobody else finds it: a Connection.
    OwnNamespace,
    /// Whom an administrator allows: a ClusterConnection, or the default connection.
    Granted(Arc<Grants>),
}

/// The rights that an administrator grants, each to namespaces.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grants {
    /// To use the connection.
    pub using: AllowedNamespaces,
    /// To take over existing targets; worth nothing without the right to use the connection.
    pub adopting: AllowedNamespaces,
    /// To bind Executions; the same. Not asked for yet.
    pub executing: AllowedNamespaces,
}

/// What one namespace may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    NotAllowed,
    /// Use the connection, and adopt or not.
    Allowed(Adoption),
}

impl From<&ClusterConnectionSpec> for Policy {
    fn from(spec: &ClusterConnectionSpec) -> Self {
        let granted = |grant: &Option<Grant>| grant.clone().unwrap_or_default().allowed_namespaces.unwrap_or_default();
        Self::Granted(Arc::new(Grants {
            using: spec.allowed_namespaces.clone().unwrap_or_default(),
            adopting: granted(&spec.adoption),
            executing: granted(&spec.executions),
        }))
    }
}

impl Policy {
    /// Whether what a namespace may do depends on its labels.
    #[must_use]
    pub fn needs_labels(&self, namespace: &str) -> bool {
        let open = |allowed: &AllowedNamespaces| {
            allowed.selector.is_some() && !allowed.allows_all() && !allowed.names(namespace)
        };
        match self {
            Self::OwnNamespace => false,
            Self::Granted(grants) => open(&grants.using) || open(&grants.adopting),
        }
    }

    /// What a namespace may do. Without its labels no selector allows it anything, but one that selects every
    /// namespace.
    #[must_use]
    pub fn access(&self, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> Access {
        let Self::Granted(grants) = self else { return Access::Allowed(Adoption::Allowed) };
        let allows = |allowed: &AllowedNamespaces| {
            allowed.names(namespace) || allowed.allows_all() || labels.is_some_and(|labels| allowed.selects(labels))
        };
        match (allows(&grants.using), allows(&grants.adopting)) {
            (false, _) => Access::NotAllowed,
            (true, false) => Access::Allowed(Adoption::NotAllowed),
            (true, true) => Access::Allowed(Adoption::Allowed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(more: &serde_json::Value) -> Policy {
        let mut spec = json!({
            "url": "https://auth.example.com",
            "credentials": {"personalAccessToken": {"secretRef": {"name": "iam-admin-pat", "key": "pat"}}},
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Policy::from(&serde_json::from_value::<ClusterConnectionSpec>(spec).unwrap())
    }

    #[test]
    fn a_cluster_connection_allows_nobody_until_it_says_so() {
        assert_eq!(policy(&json!({})).access("a", Some(&BTreeMap::new())), Access::NotAllowed);
        let used = policy(&json!({"allowedNamespaces": {"names": ["a"]}}));
        assert_eq!(used.access("a", None), Access::Allowed(Adoption::NotAllowed));
        assert_eq!(used.access("b", None), Access::NotAllowed);
        assert_eq!(Policy::OwnNamespace.access("a", None), Access::Allowed(Adoption::Allowed));
    }

    #[test]
    fn a_namespace_that_may_not_use_a_connection_may_not_adopt_by_it() {
        let grants =
            json!({"allowedNamespaces": {"names": ["a"]}, "adoption": {"allowedNamespaces": {"names": ["a", "b"]}}});
        let policy = policy(&grants);
        assert_eq!(policy.access("a", None), Access::Allowed(Adoption::Allowed));
        assert_eq!(policy.access("b", None), Access::NotAllowed);
    }

    #[test]
    fn labels_are_read_only_where_they_decide() {
        let selector = json!({"names": ["a"], "selector": {"matchLabels": {"team": "x"}}});
        let some = policy(&json!({"allowedNamespaces": selector}));
        assert!(!some.needs_labels("a") && some.needs_labels("b"));
        let labels = BTreeMap::from([("team".to_owned(), "x".to_owned())]);
        assert_eq!(some.access("b", Some(&labels)), Access::Allowed(Adoption::NotAllowed));
        assert_eq!(some.access("b", None), Access::NotAllowed, "labels that cannot be read allow nothing");
        let all = policy(&json!({"allowedNamespaces": {"selector": {}}}));
        assert!(!all.needs_labels("b"));
        assert_eq!(all.access("b", None), Access::Allowed(Adoption::NotAllowed));
        let adopting =
            policy(&json!({"allowedNamespaces": {"selector": {}}, "adoption": {"allowedNamespaces": selector}}));
        assert!(adopting.needs_labels("b"));
        assert_eq!(adopting.access("b", Some(&labels)), Access::Allowed(Adoption::Allowed));
    }
}
