//! What no single object shows: two Targets that would fight for one target of ZITADEL, and a connection that is not there.
//!
//! The API server accepts all of these; the operator would report them one by one, as NameTaken, AdoptionConflict and
//! ConnectionNotFound. Pure: it sees the objects of one run and no cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::judge::Flaw;
use crate::api::connection::ConnectionKind;

/// Who an object is: kind, namespace (none if the manifest leaves it to `kubectl`) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl Identity {
    /// Who this object says it is.
    pub fn of(object: &Value) -> Self {
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            kind: text(&object["kind"]).unwrap_or_default(),
            namespace: text(&metadata["namespace"]).filter(|_| object["kind"] != "ClusterConnection"),
            name: text(&metadata["name"]).unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// What was found at the object with this number.
#[derive(Debug)]
pub(super) enum Found {
    /// Wrong whatever the cluster holds.
    Clash(usize, Flaw),
    /// Wrong unless the cluster holds it already.
    Absent(usize, Flaw),
}

/// Which target in ZITADEL two Targets would share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// The name; ZITADEL compares without regard to case.
    Name(String),
    /// The id.
    Id(String),
}

/// Looks at all objects of a run. Positions in `objects` are what the findings count by; `place` says where one is.
pub(super) fn look(objects: &[&Value], place: impl Fn(usize) -> String) -> Vec<Found> {
    let present: BTreeSet<Identity> = objects.iter().map(|object| Identity::of(object)).collect();
    let mut claims: BTreeMap<(Option<Identity>, Claim), usize> = BTreeMap::new();
    let mut found = Vec::new();
    for (index, object) in objects.iter().enumerate().filter(|(_, object)| object["kind"] == "Target") {
        let connection = connection(object);
        if let Some(absent) = connection.as_ref().filter(|wanted| !present.contains(wanted)) {
            let message = format!("{absent} is not among these files: write the name of one that is, or add it");
            found.push(Found::Absent(index, flaw("/spec/connectionRef/name", message)));
        }
        for (pointer, claim) in claimed(object) {
            match claims.get(&(connection.clone(), claim.clone())).copied() {
                // The same object written twice is one Target.
                Some(first) if Identity::of(objects[first]) != Identity::of(object) => {
                    let other = Identity::of(objects[first]);
                    let what = match claim {
                        Claim::Name(_) => "has the same name in ZITADEL, which ignores case: write another name",
                        Claim::Id(_) => "has the same externalId: keep it in one of the two",
                    };
                    found.push(Found::Clash(index, flaw(pointer, format!("{other} ({}) {what}", place(first)))));
                }
                Some(_) => {}
                None => {
                    claims.insert((connection.clone(), claim), index);
                }
            }
        }
    }
    found
}

fn flaw(pointer: &str, message: String) -> Flaw {
    Flaw { pointer: pointer.to_owned(), message }
}

/// What a Target takes for itself, and the field that says so.
fn claimed(target: &Value) -> Vec<(&'static str, Claim)> {
    let spec = &target["spec"];
    let (field, name) = match spec["name"].as_str() {
        Some(name) => ("/spec/name", Some(name)),
        None => ("/metadata/name", target["metadata"]["name"].as_str()),
    };
    let name = name.map(|name| (field, Claim::Name(name.to_lowercase())));
    let id = spec["externalId"].as_str().map(|id| ("/spec/externalId", Claim::Id(id.to_owned())));
    name.into_iter().chain(id).collect()
}

/// The connection that a Target names; none is the operator's default one.
fn connection(target: &Value) -> Option<Identity> {
    let reference = target["spec"]["connectionRef"].as_object()?;
    let kind = reference.get("kind")?.as_str()?;
    let local = kind == ConnectionKind::Connection.as_str();
    Some(Identity {
        kind: kind.to_owned(),
        namespace: Identity::of(target).namespace.filter(|_| local),
        name: reference.get("name")?.as_str()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn target(namespace: &str, name: &str, spec: &Value) -> Value {
        json!({"kind": "Target", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
    }

    fn seen(objects: &[Value]) -> Vec<(usize, String)> {
        let objects: Vec<&Value> = objects.iter().collect();
        let told = |found| match found {
            Found::Clash(index, flaw) | Found::Absent(index, flaw) => (index, flaw.field()),
        };
        look(&objects, |index| index.to_string()).into_iter().map(told).collect()
    }

    #[test]
    fn a_name_is_taken_once_per_connection_without_regard_to_case() {
        let elsewhere = json!({"name": "hook", "connectionRef": {"kind": "ClusterConnection", "name": "c"}});
        let connection = json!({"kind": "ClusterConnection", "metadata": {"name": "c"}});
        let objects = [
            connection,
            target("a", "hook", &json!({})),
            target("b", "x", &json!({"name": "HOOK"})),
            target("a", "y", &elsewhere),
            target("a", "hook", &json!({})),
            target("b", "z", &elsewhere),
        ];
        assert_eq!(seen(&objects), [(2, "spec.name".to_owned()), (5, "spec.name".to_owned())]);
    }

    #[test]
    fn an_id_is_adopted_once() {
        let objects = [target("a", "x", &json!({"externalId": "1"})), target("a", "y", &json!({"externalId": "1"}))];
        assert_eq!(seen(&objects), [(1, "spec.externalId".to_owned())]);
    }

    #[test]
    fn a_connection_is_looked_for_in_the_namespace_of_its_target() {
        let reference = json!({"connectionRef": {"kind": "Connection", "name": "c"}});
        let connection = json!({"kind": "Connection", "metadata": {"name": "c", "namespace": "a"}});
        let objects = [target("a", "x", &reference), target("b", "y", &reference), connection];
        assert_eq!(seen(&objects), [(1, "spec.connectionRef.name".to_owned())]);
    }
}
