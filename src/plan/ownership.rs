//! Who holds a remote target. No two Targets may: one of them has more right, and the others touch nothing.
//!
//! A Target that records an id in its status holds it; one that names it in `spec.externalId` wishes for it. The index
//! over all Targets is kept in `controller`; here is what makes one of them go before another.

use std::fmt;

use jiff::Timestamp;

use super::facts::Adoption;
use super::policy::Access;
use crate::api::target::Target;

/// What makes a Target a candidate for a remote target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// Its status records the id.
    Recorded,
    /// Its spec asks for it.
    Wished,
}

/// Whose word it is that a server is the instance which it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// An administrator's: flags or a ClusterConnection.
    Administrator,
    /// That of whoever may write Connections in a namespace: the server may be a fake.
    Namespace,
}

/// For which object the claim on a Target was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claimant {
    /// For this one, as far as is known: older claims do not say, and what was adopted has none.
    Itself,
    /// For another one: this is a copy of it, or what was restored from its backup.
    Another,
}

/// Who has more right to a remote target, the smaller the more.
///
/// The order of the fields is the rule. What is recorded is never taken away by a wish. What an administrator's
/// connection recorded is not contested by a namespace's own. A copy does not go before its original, though creation
/// times have whole seconds only. And else the older Target holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// What it rests on.
    pub hold: Hold,
    /// By what kind of connection.
    pub trust: Trust,
    /// Whose claim it is.
    pub claimant: Claimant,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `metadata.uid`, as the last resort.
    pub uid: String,
}

/// The ZITADEL instance in which an id counts: two Targets hold the same target only if they are at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where requests go.
    pub url: String,
    /// Id of the instance, where it could be read.
    pub instance: Option<String>,
    /// Who says so.
    pub trust: Trust,
}

impl Place {
    /// Whether what another Target holds at its place matters at ours. What a namespace's own connection says of a
    /// server does not matter to an administrator's.
    #[must_use]
    pub fn concerns(own: Option<&Self>, other: Option<&Self>) -> bool {
        let trust = |place: Option<&Self>| place.map(|place| place.trust);
        let beneath = trust(own) == Some(Trust::Administrator) && trust(other) == Some(Trust::Namespace);
        !beneath && Self::is_one(own, other)
    }

    /// Whether both are one instance: the same URL, or the same instance on an administrator's word. An unknown place
    /// may be any.
    #[must_use]
    pub fn is_one(one: Option<&Self>, other: Option<&Self>) -> bool {
        let (Some(one), Some(other)) = (one, other) else { return true };
        let trusted = one.trust == Trust::Administrator && other.trust == Trust::Administrator;
        let same_instance = one.instance.is_none() || other.instance.is_none() || one.instance == other.instance;
        one.url == other.url || (trusted && same_instance)
    }

    /// Whether a claim that was made at another place counts at ours. A claim is an annotation, which anybody can
    /// write: it needs a place that is known to be the same.
    #[must_use]
    pub fn hears(&self, claimed: &Self) -> bool {
        let trusted = self.trust == Trust::Administrator && claimed.trust == Trust::Administrator;
        let beneath = self.trust == Trust::Administrator && claimed.trust == Trust::Namespace;
        let same_instance = self.instance.is_some() && self.instance == claimed.instance;
        !beneath && (self.url == claimed.url || (trusted && same_instance))
    }
}

/// A Target that goes before the one in question, as far as the user of that one may know of it: what other namespaces
/// hold is not theirs to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rival {
    /// Of the same namespace: its name.
    Neighbour(String),
    /// Of another one.
    Elsewhere,
}

impl Rival {
    /// What an object of `namespace` is told of another one.
    #[must_use]
    pub fn seen_from(namespace: Option<&str>, other: (&str, &str)) -> Self {
        let (theirs, name) = other;
        if namespace == Some(theirs) { Self::Neighbour(name.to_owned()) } else { Self::Elsewhere }
    }
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Neighbour(name) => write!(f, "the Target {name}"),
            Self::Elsewhere => f.write_str("a Target of another namespace"),
        }
    }
}

/// The remote id that a Target holds or wishes for. `access` is what its namespace may do with its connection, if that
/// exists; it is asked for a wish alone. A wish that could not be carried out now does not count: nobody's target is
/// held up by it.
#[must_use]
pub fn holds(target: &Target, access: impl FnOnce() -> Option<Access>) -> Option<(&str, Hold)> {
    if let Some(id) = target.status.as_ref().and_then(|status| status.id.as_deref()) {
        return Some((id, Hold::Recorded));
    }
    let wish = target.spec.external_id.as_deref()?;
    let idle = target.spec.suspend.unwrap_or(false) || target.metadata.deletion_timestamp.is_some();
    (!idle && access() == Some(Access::Allowed(Adoption::Allowed))).then_some((wish, Hold::Wished))
}

/// Whether a Target is there to stay and records this id.
#[must_use]
pub fn records(target: &Target, id: &str) -> bool {
    let recorded = target.status.as_ref().and_then(|status| status.id.as_deref());
    target.metadata.deletion_timestamp.is_none() && recorded == Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rank() -> Rank {
        Rank {
            hold: Hold::Recorded,
            trust: Trust::Administrator,
            claimant: Claimant::Itself,
            created: Some("2026-11-24T12:00:00Z".parse().unwrap()),
            uid: "m".to_owned(),
        }
    }

    #[test]
    fn a_wish_takes_nothing_from_a_record_whatever_the_connection() {
        let record = Rank { trust: Trust::Namespace, claimant: Claimant::Another, uid: "z".into(), ..rank() };
        let old = Some("2020-01-01T00:00:00Z".parse().unwrap());
        let wish = Rank { hold: Hold::Wished, created: old, ..rank() };
        assert!(record < wish);
    }

    #[test]
    fn an_administrators_record_goes_before_a_namespaces() {
        let old = Some("2020-01-01T00:00:00Z".parse().unwrap());
        assert!(rank() < Rank { trust: Trust::Namespace, created: old, ..rank() });
    }

    #[test]
    fn a_copy_made_in_the_same_second_does_not_go_before_its_original() {
        let copy = Rank { claimant: Claimant::Another, uid: "a".into(), ..rank() };
        assert!(rank() < copy);
        let backdated = Rank { created: Some("2020-01-01T00:00:00Z".parse().unwrap()), ..copy };
        assert!(rank() < backdated, "nor if it is older");
    }

    #[test]
    fn of_equals_the_older_one_goes_first() {
        let younger = Rank { created: Some("2026-11-24T12:00:01Z".parse().unwrap()), uid: "a".into(), ..rank() };
        assert!(rank() < younger);
        assert!(rank() < Rank { uid: "n".into(), ..rank() });
    }

    fn place(url: &str, instance: Option<&str>, trust: Trust) -> Place {
        Place { url: url.to_owned(), instance: instance.map(str::to_owned), trust }
    }

    #[test]
    fn a_claim_counts_only_at_a_place_that_is_known_to_be_the_same() {
        let (admin, own) = (Trust::Administrator, Trust::Namespace);
        for (here, there, heard) in [
            (place("a", None, admin), place("a", None, admin), true),
            (place("a", None, admin), place("b", None, admin), false),
            (place("a", Some("1"), admin), place("b", None, admin), false),
            (place("a", Some("1"), admin), place("b", Some("1"), admin), true),
            (place("a", Some("1"), admin), place("b", Some("2"), admin), false),
            (place("a", Some("1"), admin), place("a", Some("1"), own), false),
            (place("a", Some("1"), own), place("b", Some("1"), admin), false),
            (place("a", Some("1"), own), place("a", Some("1"), own), true),
            (place("a", Some("1"), own), place("b", Some("1"), own), false),
        ] {
            assert_eq!(here.hears(&there), heard, "{here:?} {there:?}");
        }
    }

    #[test]
    fn an_own_connections_word_is_nothing_to_an_administrators() {
        let (admin, own) = (place("a", Some("1"), Trust::Administrator), place("a", Some("1"), Trust::Namespace));
        assert!(!Place::concerns(Some(&admin), Some(&own)) && Place::concerns(Some(&own), Some(&admin)));
        assert!(Place::is_one(Some(&own), None) && Place::is_one(Some(&admin), Some(&own)));
    }

    fn target(spec: &serde_json::Value, status: &serde_json::Value) -> Target {
        let mut whole = json!({"restAsync": {}, "timeout": "1s", "endpoint": "https://h.example.com"});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let object = json!({
            "apiVersion": "zitadel-actions.dev/v1alpha1", "kind": "Target",
            "metadata": {"name": "hook", "namespace": "a"}, "spec": whole, "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_wish_counts_while_it_may_be_carried_out() {
        let wish = target(&json!({"externalId": "7"}), &json!({}));
        for (access, counts) in [
            (None, false),
            (Some(Access::NotAllowed), false),
            (Some(Access::Allowed(Adoption::NotAllowed)), false),
            (Some(Access::Allowed(Adoption::Allowed)), true),
        ] {
            assert_eq!(holds(&wish, || access), counts.then_some(("7", Hold::Wished)), "{access:?}");
        }
        let allowed = || Some(Access::Allowed(Adoption::Allowed));
        let suspended = target(&json!({"externalId": "7", "suspend": true}), &json!({}));
        assert_eq!(holds(&suspended, allowed), None);
        let mut going = wish;
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-24T12:00:00Z")).unwrap();
        assert_eq!(holds(&going, allowed), None);
    }

    #[test]
    fn a_record_counts_whatever_its_namespace_may_do_now() {
        let recorded = target(&json!({"externalId": "7", "suspend": true}), &json!({"id": "7"}));
        assert_eq!(holds(&recorded, || None), Some(("7", Hold::Recorded)));
        assert!(records(&recorded, "7") && !records(&recorded, "8"));
    }

    #[test]
    fn another_namespaces_objects_are_not_named() {
        assert_eq!(Rival::seen_from(Some("a"), ("a", "hook")).to_string(), "the Target hook");
        assert_eq!(Rival::seen_from(Some("a"), ("b", "hook")).to_string(), "a Target of another namespace");
    }
}
