//! What the roles for people add to Kubernetes' own view, edit and admin.

use serde_json::{Value, json};

use crate::installation::Installation;

/// Who may do what in the namespace of the installation: role, resource, verb, and whether.
const ALLOWED: [(&str, &str, &str, bool); 19] = [
    ("view", "targets", "list", true),
    ("view", "connections", "watch", true),
    ("view", "targets", "create", false),
    ("view", "connections", "patch", false),
    ("edit", "targets", "get", true),
    ("edit", "targets", "create", true),
    ("edit", "targets", "deletecollection", true),
    ("edit", "connections", "update", true),
    ("edit", "targets/status", "patch", false),
    ("edit", "connections/status", "update", false),
    ("edit", "clusterconnections", "list", false),
    ("edit", "clusterconnections", "create", false),
    ("admin", "connections", "list", true),
    ("admin", "targets", "patch", true),
    ("admin", "connections", "delete", true),
    ("admin", "connections", "create", true),
    ("admin", "targets/status", "patch", false),
    ("admin", "clusterconnections", "get", false),
    ("nobody", "targets", "list", false),
];

/// Asks the API server about users who have one of these roles in the namespace. Kubernetes gathers the rules some time after
/// the chart is installed.
pub fn may_what_their_roles_say(site: &Installation<'_>) {
    for role in ["view", "edit", "admin"] {
        let create = ["create", "rolebinding", role, &format!("--clusterrole={role}"), &format!("--user={role}")];
        site.kubectl(&create, "").unwrap();
    }
    let review = |(role, resource, verb, _): &(&str, &str, &str, bool)| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = json!({"namespace": site.namespace, "group": "zitadel-actions.dev", "verb": verb,
            "resource": resource, "subresource": subresource});
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": role, "resourceAttributes": attributes}})
    };
    let list = json!({"apiVersion": "v1", "kind": "List", "items": ALLOWED.iter().map(review).collect::<Vec<_>>()});
    let ask = || -> Vec<bool> {
        let said = site.kubectl(&["create", "--output=json", "--filename", "-"], &list.to_string()).unwrap();
        let answers = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
        answers.map(|answer| answer.unwrap()["status"]["allowed"] == true).collect()
    };
    site.until("the rules are gathered", || ask().iter().any(|allowed| *allowed).then_some(()));
    for ((role, resource, verb, expected), allowed) in ALLOWED.iter().zip(ask()) {
        assert_eq!(allowed, *expected, "{role}: {verb} {resource}");
    }
}
