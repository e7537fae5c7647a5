//! What the API server would say to one object: the schema and the rules of its definition.
//!
//! Both come out of the generated definitions, so that a change there needs none here. The schema is closed first:
//! `kubectl` refuses a field that it does not know. Pure; lines and files belong to the caller.

use anyhow::Context as _;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, ValidationError, Validator};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::rules::Rules;
use super::tree::step;
use crate::api::{GROUP, VERSION, crd};

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) struct Flaw {
    /// The field, as a JSON pointer. One that is missing is named too.
    pub pointer: String,
    /// What to write instead.
    pub message: String,
}

impl Flaw {
    fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }

    /// The field as people write it, such as `spec.credentials`.
    pub fn field(&self) -> String {
        let steps = self.pointer.split('/').skip(1);
        steps.map(|step| step.replace("~1", "/").replace("~0", "~")).collect::<Vec<_>>().join(".")
    }
}

/// Whether a document is for this command.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Verdict {
    /// Of another kind.
    Skipped,
    /// One of ours, with what is wrong with it.
    Judged(Vec<Flaw>),
}

/// The definitions, ready to be asked.
#[derive(Debug)]
pub(in crate::cli) struct Judge(Vec<Definition>);

#[derive(Debug)]
struct Definition {
    kind: String,
    namespaced: bool,
    schema: Value,
    validator: Validator,
    rules: Rules,
}

impl Judge {
    /// Reads the definitions of this binary.
    ///
    /// # Errors
    /// When one is none that can be evaluated; a test holds all of ours against it.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self(crd::all().into_iter().map(|(_, crd)| definition(&crd)).collect::<anyhow::Result<_>>()?))
    }

    /// Judges one object.
    ///
    /// # Errors
    /// A rule that cannot be evaluated at all.
    pub fn judge(&self, object: &Value) -> anyhow::Result<Verdict> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let ours = format!("{GROUP}/{VERSION}");
        let known = self.0.iter().find(|definition| definition.kind == kind);
        let group = version.split_once('/').map_or("", |(group, _)| group);
        match known {
            Some(definition) if version == ours => definition.judge(object).map(Verdict::Judged),
            Some(_) if group == GROUP || version.is_empty() => {
                Ok(Verdict::Judged(vec![Flaw::new("/apiVersion", format!("write apiVersion: {ours}"))]))
            }
            None if group == GROUP => {
                let kinds: Vec<_> = self.0.iter().map(|definition| definition.kind.as_str()).collect();
                Ok(Verdict::Judged(vec![Flaw::new("/kind", format!("write one of {}", kinds.join(", ")))]))
            }
            _ => Ok(Verdict::Skipped),
        }
    }
}

fn definition(
    crd: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
) -> anyhow::Result<Definition> {
    let version = crd.spec.versions.first().context("a definition has a version")?;
    let mut schema =
        serde_json::to_value(version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()))?;
    for common in ["apiVersion", "kind"] {
        schema["properties"][common] = json!({"type": "string"});
    }
    let settings = schemars::generate::SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    schema["properties"]["metadata"] = settings.into_generator().into_root_schema_for::<ObjectMeta>().to_value();
    close(&mut schema);
    let validator = jsonschema::options().with_draft(Draft::Draft202012).build(&schema)?;
    let rules = Rules::of(&schema)?;
    let namespaced = crd.spec.scope == "Namespaced";
    Ok(Definition { kind: crd.spec.names.kind.clone(), namespaced, schema, validator, rules })
}

/// Forbids every field that an object does not define.
fn close(schema: &mut Value) {
    if schema["type"] == "object" && schema.get("additionalProperties").is_none() {
        schema["additionalProperties"] = json!(false);
    }
    let Some(fields) = schema.as_object_mut() else { return };
    fields.retain(|keyword, value| !(value.is_null() || keyword == "format"));
    for child in fields.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(|p| p.values_mut()) {
        close(child);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(child) = fields.get_mut(keyword).filter(|child| child.is_object()) {
            close(child);
        }
    }
}

impl Definition {
    fn judge(&self, object: &Value) -> anyhow::Result<Vec<Flaw>> {
        let mut object = object.clone();
        prune(&mut object, &self.schema);
        let mut flaws: Vec<_> =
            self.validator.iter_errors(&object).flat_map(|error| explain(&error, &self.schema)).collect();
        self.names(&object, &mut flaws);
        self.rules("", &self.schema, &object, &mut flaws)?;
        flaws.sort();
        flaws.dedup();
        Ok(flaws)
    }

    /// The rules of a node and of all below it. A value of the wrong shape is not asked again by rules.
    fn rules(&self, at: &str, schema: &Value, value: &Value, flaws: &mut Vec<Flaw>) -> anyhow::Result<()> {
        let inside = |flaw: &&Flaw| flaw.pointer == at || flaw.pointer.starts_with(&format!("{at}/"));
        if at != "/metadata" && !flaws.iter().any(|flaw| inside(&flaw) && !flaw.pointer.starts_with("/metadata")) {
            let broken = self.rules.broken(schema, value)?;
            flaws.extend(broken.into_iter().map(|message| Flaw::new(at, message)));
        }
        for (key, child) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(value) = value.get(key) {
                self.rules(&step(at, key), child, value, flaws)?;
            }
        }
        Ok(())
    }

    /// Metadata has no schema in a definition: these are the API server's own rules for names.
    fn names(&self, object: &Value, flaws: &mut Vec<Flaw>) {
        let metadata = &object["metadata"];
        match metadata["name"].as_str() {
            None | Some("") if metadata["generateName"].as_str().is_none_or(str::is_empty) => {
                flaws.push(Flaw::new("/metadata/name", "write a name"));
            }
            Some(name) if !name.is_empty() && (name.len() > 253 || !name.split('.').all(label)) => {
                let how = "write at most 253 lower-case letters, digits, - and ., beginning and ending with a letter or digit";
                flaws.push(Flaw::new("/metadata/name", how));
            }
            _ => {}
        }
        let namespace = metadata["namespace"].as_str();
        if namespace.is_some_and(|namespace| self.namespaced && !(namespace.len() <= 63 && label(namespace))) {
            let how = "write the name of a namespace: at most 63 lower-case letters, digits and -";
            flaws.push(Flaw::new("/metadata/namespace", how));
        }
    }
}

fn label(text: &str) -> bool {
    let holds = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(holds) && !text.starts_with('-') && !text.ends_with('-')
}

/// The API server drops a null of a field that it knows, and then asks whether the field is required.
fn prune(value: &mut Value, schema: &Value) {
    let (Some(fields), Some(known)) = (value.as_object_mut(), schema["properties"].as_object()) else { return };
    fields.retain(|key, value| !(value.is_null() && known.contains_key(key)));
    for (key, value) in fields {
        if let Some(child) = known.get(key) {
            prune(value, child);
        }
    }
}

/// A violation of the schema, in words that say what to write.
fn explain(error: &ValidationError<'_>, root: &Value) -> Vec<Flaw> {
    let at = error.instance_path().as_str();
    let schema = schema_at(root, at);
    let one = |message: String| vec![Flaw::new(at, message)];
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let about = schema["properties"][name]["description"].as_str().unwrap_or_default();
            let first = about.split_inclusive(". ").next().unwrap_or_default().replace('\n', " ");
            vec![Flaw::new(step(at, name), format!("required: {}", first.trim()))]
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known: Vec<_> = schema["properties"].as_object().into_iter().flat_map(serde_json::Map::keys).collect();
            let known: Vec<_> = known.into_iter().map(String::as_str).collect();
            let hint = match known.as_slice() {
                [] => "this object has no fields: write {}".to_owned(),
                known => format!("known here are {}", known.join(", ")),
            };
            unexpected.iter().map(|name| Flaw::new(step(at, name), format!("unknown field; {hint}"))).collect()
        }
        ValidationErrorKind::Enum { options } => {
            let words: Vec<_> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            one(format!("write one of {}", words.join(", ")))
        }
        // How the validator says it of an object that has no fields at all: it names the object, not the field.
        ValidationErrorKind::FalseSchema => one("unknown field; this object has no fields: write {}".to_owned()),
        ValidationErrorKind::Type { kind } => one(typed(kind, error.instance())),
        ValidationErrorKind::MaxLength { limit } => one(format!("write at most {limit} characters")),
        ValidationErrorKind::MinLength { limit } => one(format!("write at least {limit} character(s)")),
        ValidationErrorKind::Maximum { limit } => one(format!("write at most {limit}")),
        ValidationErrorKind::Minimum { limit } => one(format!("write at least {limit}")),
        ValidationErrorKind::MaxItems { limit } => one(format!("write at most {limit} items")),
        _ => one(error.to_string()),
    }
}

fn typed(kind: &TypeKind, found: &Value) -> String {
    let wanted = match kind {
        TypeKind::Single(kind) => kind.to_string(),
        TypeKind::Multiple(_) => "value of another type".to_owned(),
    };
    match (wanted.as_str(), found) {
        ("string", Value::Number(_) | Value::Bool(_)) => format!("write text, in quotes: \"{found}\""),
        ("boolean", Value::String(_)) => "write true or false, without quotes".to_owned(),
        _ => format!("write a value of the type {wanted}"),
    }
}

/// The schema that governs a field.
fn schema_at<'a>(root: &'a Value, pointer: &str) -> &'a Value {
    pointer.split('/').skip(1).fold(root, |schema, key| match schema["properties"].get(key) {
        Some(child) => child,
        None => schema.get("items").unwrap_or(&Value::Null),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_our_definitions_can_be_evaluated() {
        let judge = Judge::new().unwrap();
        let target = json!({
            "apiVersion": "zitadel-actions.dev/v1alpha1", "kind": "Target", "metadata": {"name": "a"},
            "spec": {"restAsync": {}, "timeout": "10s", "endpoint": "https://h", "name": "a", "externalId": "1"},
        });
        assert_eq!(judge.judge(&target).unwrap(), Verdict::Judged(vec![]));
    }
}
