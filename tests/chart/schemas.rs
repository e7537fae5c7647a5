//! Judges objects by the published schemas of a release of Kubernetes, and as strictly: no unknown field, no unknown kind.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jsonschema::{Registry, Validator};
use serde_json::Value;

/// Whose kinds Kubernetes has no schema of.
const FOREIGN: [&str; 1] = ["monitoring.coreos.com"];
const DEFINITIONS: &str = "_definitions.json";

/// What one release publishes.
pub struct Schemas {
    folder: PathBuf,
    definitions: Value,
}

impl Schemas {
    /// Those of a release such as `1.33`.
    pub fn of(release: &str) -> Self {
        let all = devkit::tools::kubernetes_schemas::ensure().unwrap();
        let folder = all.join(format!("v{release}.0-local-strict"));
        let definitions = read(&folder.join(DEFINITIONS)).expect("a release has definitions");
        Self { folder, definitions }
    }

    /// What is wrong with these objects.
    pub fn complaints(&self, objects: &[&Value]) -> Vec<String> {
        let uri = self.definitions["$id"].as_str().expect("the definitions say where they are");
        let registry = Registry::new().add(uri, &self.definitions).unwrap().prepare().unwrap();
        let mut validators = HashMap::new();
        let mut complaints = Vec::new();
        for object in objects {
            let (group, name) = schema(object);
            if FOREIGN.contains(&group.as_str()) {
                continue;
            }
            let validator = validators.entry(name.clone()).or_insert_with(|| self.validator(&name, uri, &registry));
            let what = format!("{} {}", object["kind"], object["metadata"]["name"]);
            match validator {
                None => complaints.push(format!("{what}: no schema {name}")),
                Some(validator) => complaints.extend(
                    validator.iter_errors(object).map(|error| format!("{what}: {error} at {}", error.instance_path())),
                ),
            }
        }
        complaints
    }

    fn validator(&self, name: &str, definitions: &str, registry: &Registry<'_>) -> Option<Validator> {
        let schema = read(&self.folder.join(name))?;
        let base = definitions.replace(DEFINITIONS, name);
        Some(jsonschema::options().with_base_uri(base).with_registry(registry).build(&schema).unwrap())
    }
}

/// The API group of an object, and the file that has the schema of its kind.
fn schema(object: &Value) -> (String, String) {
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind").to_lowercase());
    match version.split_once('/') {
        None => (String::new(), format!("{kind}-{version}.json")),
        Some((group, version)) => {
            let short = group.split('.').next().unwrap_or_default();
            (group.to_owned(), format!("{kind}-{short}-{version}.json"))
        }
    }
}

fn read(path: &Path) -> Option<Value> {
    Some(serde_json::from_slice(&std::fs::read(path).ok()?).unwrap())
}
