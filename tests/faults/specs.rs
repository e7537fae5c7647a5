//! Specs drawn from the schema of the CustomResourceDefinition: its properties, enums, lengths, and the regular
//! expressions in its rules. What the schema cannot say (a limit of ZITADEL, which names collide) is added here.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use proptest::prelude::{Strategy, any};
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Just, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};
use zitadel_actions_operator::api::crd;

/// Fields that a walk leaves alone: with them a target outlives its object, is nobody's to create, or is made elsewhere, or
/// not on every generation.
const LEFT_OUT: [&str; 5] = ["connectionRef", "deletionPolicy", "externalId", "managementPolicy", "payloadType"];
/// Characters of free text. No capitals beyond ASCII: some databases never free a name with one, and the stand-in does
/// as they do (docs/zitadel/observed.md).
const TEXT: &str = "[ -~à-öø-ÿ€あ]";
/// Longest free text, where the schema allows more.
const LONGEST: i64 = 60;
/// Hosts that the stand-in's DNS knows.
const URL: &str = "https?://[a-z]{1,8}[.]example[.](com|net|org)(:[1-9][0-9]{1,3})?(/[a-z0-9._~-]{0,8}){0,2}([?][a-z]=[a-z0-9]{0,4})?";
/// What newer servers take at most.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(270);

/// A source of specs that a seed decides.
pub struct Specs {
    schema: JSONSchemaProps,
    runner: TestRunner,
}

impl Specs {
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let of_targets = |(_, definition): &(_, CustomResourceDefinition)| definition.spec.names.kind == "Target";
        let (_, definition) = crd::all().into_iter().find(of_targets).expect("Targets are defined");
        let schema = definition.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
        let schema = schema.properties.unwrap().remove("spec").expect("a Target has a spec");
        Self { schema, runner: TestRunner::new_with_rng(Config::default(), rng) }
    }

    fn draw<T>(&mut self, strategy: &impl Strategy<Value = T>) -> T {
        strategy.new_tree(&mut self.runner).expect("nothing is filtered").current()
    }

    /// A spec that schema and ZITADEL accept. What is absent is null: it can be a merge patch, and [`bare`] makes it a
    /// manifest.
    pub fn valid(&mut self, name: &str) -> Value {
        loop {
            let mut spec = self.draw(&object(&self.schema.clone()));
            let kinds = alternatives(&self.schema);
            let kind = self.draw(&select(kinds.clone()));
            for other in kinds.iter().filter(|other| **other != kind) {
                spec[other] = Value::Null;
            }
            if spec[&kind].is_null() {
                spec[&kind] = self.draw(&object(&self.schema.properties.as_ref().unwrap()[&kind].clone()));
            }
            // Names of different objects never collide, and tell whose they are.
            if let Some(text) = spec["name"].as_str() {
                spec["name"] = json!(format!("{name}{text}"));
            }
            if timeout(&spec).is_some_and(|timeout| !timeout.is_zero() && timeout <= LONGEST_TIMEOUT) {
                return spec;
            }
        }
    }

    /// A spec with one thing that the API server refuses, or ZITADEL, or nobody.
    pub fn doubtful(&mut self, name: &str) -> Value {
        let mut spec = self.valid(name);
        let properties = self.schema.properties.clone().unwrap();
        let names: Vec<String> = properties.keys().filter(|name| !LEFT_OUT.contains(&name.as_str())).cloned().collect();
        let field = self.draw(&select(names));
        let schema = &properties[&field];
        let length = usize::try_from(schema.max_length.unwrap_or(LONGEST)).unwrap();
        spec[&field] = match self.draw(&(0..5)) {
            0 => json!("x".repeat(length + 1)),
            1 => json!(self.draw(&string_regex(&format!("{TEXT}{{0,20}}")).unwrap())),
            2 => json!(self.draw(&any::<i64>())),
            3 => Value::Null,
            _ => self.draw(&value(schema)),
        };
        // Free text that is accepted as a name must still tell whose it is.
        if let (true, Some(text)) = (field == "name", spec["name"].as_str().filter(|text| !text.is_empty())) {
            spec["name"] = json!(format!("{name}{text}"));
        }
        if self.draw(&(0..6)) == 0 {
            spec["endpoint"] = json!("https://nowhere.invalid/");
        }
        spec
    }
}

/// Without what is null, at any depth.
pub fn bare(spec: &Value) -> Value {
    match spec {
        Value::Object(fields) => {
            fields.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), bare(value))).collect()
        }
        other => other.clone(),
    }
}

/// The timeout, if it is not longer than the schema allows; the expression alone bounds no repetition.
fn timeout(spec: &Value) -> Option<Duration> {
    crate::judge::duration(spec["timeout"].as_str().filter(|text| text.chars().count() <= 20)?)
}

/// The properties of which a rule wants exactly one.
fn alternatives(schema: &JSONSchemaProps) -> Vec<String> {
    let rule = rules(schema).find(|rule| rule.ends_with("size() == 1")).expect("one kind of three");
    rule.split("has(self.").skip(1).filter_map(|rest| rest.split_once(')')).map(|(name, _)| name.to_owned()).collect()
}

fn rules(schema: &JSONSchemaProps) -> impl Iterator<Item = &str> {
    schema.x_kubernetes_validations.iter().flatten().map(|rule| rule.rule.as_str())
}

fn object(schema: &JSONSchemaProps) -> BoxedStrategy<Value> {
    let required = schema.required.clone().unwrap_or_default();
    let mut whole = Just(Map::new()).boxed();
    for (name, property) in schema.properties.iter().flatten().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())) {
        let drawn = value(property);
        let drawn = match (required.contains(name), property.type_.as_deref()) {
            (true, _) => drawn,
            // Suspended objects do nothing: rarely, or a walk would do little else.
            (false, Some("boolean")) => proptest::prop_oneof![4 => Just(Value::Null), 1 => drawn].boxed(),
            (false, _) => proptest::prop_oneof![Just(Value::Null), drawn].boxed(),
        };
        let name = name.clone();
        whole = (whole, drawn)
            .prop_map(move |(mut fields, value)| {
                fields.insert(name.clone(), value);
                fields
            })
            .boxed();
    }
    whole.prop_map(Value::Object).boxed()
}

fn value(schema: &JSONSchemaProps) -> BoxedStrategy<Value> {
    match (schema.type_.as_deref(), &schema.enum_) {
        (_, Some(values)) => select(values.iter().map(|value| value.0.clone()).collect::<Vec<_>>()).boxed(),
        (Some("boolean"), _) => any::<bool>().prop_map(Value::from).boxed(),
        (Some("object"), _) => object(schema),
        _ => text(schema),
    }
}

/// Text as the rules want it: by their anchored expression, as a URL, or free.
fn text(schema: &JSONSchemaProps) -> BoxedStrategy<Value> {
    let anchored = |rule: &str| Some(rule.split_once("self.matches('^")?.1.split_once("$'")?.0.to_owned());
    let expression = match rules(schema).find_map(anchored) {
        Some(expression) => expression,
        None if rules(schema).any(|rule| rule.contains("isURL(self)")) => URL.to_owned(),
        None => format!("{TEXT}{{1,{}}}", schema.max_length.unwrap_or(LONGEST).min(LONGEST)),
    };
    string_regex(&expression).expect("an expression that both know").prop_map(Value::from).boxed()
}
