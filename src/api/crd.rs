//! The CustomResourceDefinitions as this binary knows them.
//!
//! kube derives them from the types; two conventions that the derive cannot express are added here. `crds/` holds
//! the printed form, and a test compares.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::condition::ConditionType;
use super::connection::{ClusterConnection, Connection};
use super::reason::Reason;
use super::target::Target;

/// Every definition, with the file name under `crds/`.
///
/// # Panics
/// Never: the derived schema always has the fields that are patched.
#[must_use]
pub fn all() -> Vec<(String, CustomResourceDefinition)> {
    // In the order of their file names.
    [ClusterConnection::crd(), Connection::crd(), Target::crd()].into_iter().map(finished).collect()
}

fn finished(mut definition: CustomResourceDefinition) -> (String, CustomResourceDefinition) {
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut());
        finish(schema.expect("the derive always emits a schema"));
    }
    let name = definition.metadata.name.clone().expect("the derive always names the definition");
    (format!("{name}.yaml"), definition)
}

/// The definitions as YAML documents, with their file names.
///
/// # Errors
/// When a definition cannot be serialised.
pub fn files() -> anyhow::Result<Vec<(String, String)>> {
    let print = |(name, crd)| {
        let value = serde_json::to_value(&crd)?;
        Ok((name, format!("---\n{}", serde_saphyr::to_string(&value)?)))
    };
    all().into_iter().map(print).collect()
}

/// The definitions as one YAML stream.
///
/// # Errors
/// When a definition cannot be serialised.
pub fn yaml() -> anyhow::Result<String> {
    Ok(files()?.into_iter().map(|(_, text)| text).collect())
}

fn finish(schema: &mut JSONSchemaProps) {
    forbid_null(schema);
    let status = schema.properties.as_mut().and_then(|p| p.get_mut("status")).expect("the resource has a status");
    // kstatus reads an object without status as current; with this default it is "in progress" until the first reconcile.
    // The condition is for people who have no operator, or none that looks at the namespace (as Gateway API has it).
    let pending = json!({
        "type": ConditionType::Ready.as_str(), "status": "Unknown", "reason": Reason::Pending.as_str(),
        "message": "Waiting for the operator", "lastTransitionTime": "1970-01-01T00:00:00Z",
    });
    status.default = Some(k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSON(
        json!({"observedGeneration": -1, "conditions": [pending]}),
    ));
    let conditions = status.properties.as_mut().and_then(|p| p.get_mut("conditions"));
    let text = conditions.and_then(|c| c.description.as_mut()).expect("conditions are described");
    let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    text.push_str(" Reasons: ");
    text.push_str(&reasons.join(", "));
    text.push('.');
}

/// `Option` derives `nullable: true`, which would keep a written `null` in the stored spec and make `has()` true.
fn forbid_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for child in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        forbid_null(child);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        forbid_null(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crds_are_committed_as_printed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        let read = |path: std::path::PathBuf| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
        };
        let mut committed: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| read(entry.unwrap().path())).collect();
        committed.sort();
        assert_eq!(committed, files().unwrap(), "run: cargo run -q -p zitadel-actions-operator -- crds --write crds");
    }

    #[test]
    fn crds_stay_small_and_null_free() {
        for (name, text) in files().unwrap() {
            // 262144 bytes break client-side apply; 64 KiB is our own limit (Argo CD once crossed the hard one).
            assert!(text.len() < 64 * 1024, "{name}: {} bytes", text.len());
            assert!(!text.contains("nullable"), "{name}: null must be refused or pruned, not stored");
            assert!(text.contains("observedGeneration: -1"), "{name}");
        }
    }

    #[test]
    fn the_group_is_written_once_in_meaning() {
        for (_, definition) in all() {
            assert_eq!(definition.spec.group, super::super::GROUP);
            assert_eq!(definition.spec.versions[0].name, super::super::VERSION);
        }
    }
}
