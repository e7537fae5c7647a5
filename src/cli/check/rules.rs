//! The CEL rules of the definitions, evaluated as the API server does.
//!
//! The rules are those of the generated definitions: there is no second text of them. What Kubernetes adds to CEL and
//! the rules use is added here. A rule that speaks of `oldSelf` is one about changes and says nothing of a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::extractors::This;
use cel::{Context, ExecutionError, Program, Value as Cel};
use serde_json::Value;

use super::go_url::{self, GoUrl};

/// The compiled rules of a schema, by their text.
#[derive(Debug)]
pub(super) struct Rules(BTreeMap<String, Program>);

impl Rules {
    /// Compiles every rule of a schema.
    ///
    /// # Errors
    /// A rule that this version cannot read; a test holds all of ours against it.
    pub fn of(schema: &Value) -> anyhow::Result<Self> {
        let mut programs = BTreeMap::new();
        collect(schema, &mut programs)?;
        Ok(Self(programs))
    }

    /// What the rules of this node of the schema say about a value: the message of each that does not hold.
    ///
    /// # Errors
    /// A value or rule that CEL cannot work with.
    pub fn broken(&self, schema: &Value, value: &Value) -> anyhow::Result<Vec<String>> {
        let mut messages = Vec::new();
        for (rule, message) in rules(schema) {
            let Some(program) = self.0.get(rule) else { continue };
            let mut context = context()?;
            context.add_variable("self", value).map_err(|error| anyhow::anyhow!("{error}"))?;
            // A rule that ends in an error refuses, as it does at the API server.
            if !matches!(program.execute(&context), Ok(Cel::Bool(true))) {
                messages.push(message.to_owned());
            }
        }
        Ok(messages)
    }
}

/// Rule and message of a node.
fn rules(schema: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all = schema["x-kubernetes-validations"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(|rule| Some((rule["rule"].as_str()?, rule["message"].as_str().unwrap_or_default())))
}

fn collect(schema: &Value, programs: &mut BTreeMap<String, Program>) -> anyhow::Result<()> {
    for (rule, _) in rules(schema).filter(|(rule, _)| !rule.contains("oldSelf")) {
        let program = Program::compile(rule).map_err(|error| anyhow::anyhow!("the rule {rule}: {error}"))?;
        programs.insert(rule.to_owned(), program);
    }
    let children = schema["properties"].as_object().into_iter().flat_map(serde_json::Map::values);
    children.chain(schema.get("items")).try_for_each(|child| collect(child, programs))
}

/// What rules may call beside CEL's own functions: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-url-library
fn context() -> anyhow::Result<Context<'static, 'static>> {
    let mut context = Context::default();
    let part =
        |part: fn(GoUrl) -> String| move |This(text): This<Arc<String>>| part(parsed(&text).unwrap_or_else(none));
    context.add_function("isURL", |text: Arc<String>| go_url::parse(&text).is_some())?;
    context.add_function("url", |text: Arc<String>| -> Result<Cel, ExecutionError> {
        parsed(&text).map(|_| Cel::String(text)).ok_or_else(|| ExecutionError::function_error("url", "no URL"))
    })?;
    context.add_function("getScheme", part(|url| url.scheme))?;
    context.add_function("getHostname", part(|url| url.hostname))?;
    context.add_function("getEscapedPath", part(|url| url.path))?;
    Ok(context)
}

fn parsed(text: &str) -> Option<GoUrl> {
    go_url::parse(text)
}

/// `url()` has refused what this would stand for.
fn none() -> GoUrl {
    GoUrl { scheme: String::new(), hostname: String::new(), path: String::new() }
}
