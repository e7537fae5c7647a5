//! `docs/reference.md` is made from the definitions in `crds/` and from what the operator's own types say of conditions,
//! annotations and finalizers. `UPDATE=1 cargo test --test docs reference` writes it.

use std::fmt::Write as _;

use serde_json::Value;
use zitadel_actions_operator::api::condition::ConditionType;
use zitadel_actions_operator::api::reason::Reason;
use zitadel_actions_operator::api::{
    CLAIM_ANNOTATION, CONNECTION_FINALIZER, FIELD_MANAGER, FINALIZER, RECONCILE_ANNOTATION,
};

use crate::markdown::root;

const PATH: &str = "docs/reference.md";

/// In the order in which people meet them.
const KINDS: [&str; 3] = ["targets", "connections", "clusterconnections"];

const HEAD: &str = "# API reference\n\n\
    <!-- Made from crds/ by tests/docs/reference.rs: UPDATE=1 cargo test --test docs reference -->\n\n\
    Every field of the resources, as the API server knows them; `kubectl explain target.spec` says the same. How they are used\n\
    is in the [README](../README.md), in [connections](connections.md) and in [troubleshooting](troubleshooting.md).\n\
    `zitadel-actions-operator check` applies the same rules without a cluster ([check](check.md)).\n";

/// One field, flattened.
struct Field<'a> {
    path: String,
    schema: &'a Value,
    required: bool,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// In one line, for a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}

/// The fields below a schema, each before those below it. Conditions are Kubernetes' own: their fields are left out.
fn fields<'a>(prefix: &str, schema: &'a Value, found: &mut Vec<Field<'a>>) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}.{name}");
        found.push(Field { path: path.clone(), schema, required: required.contains(&name.as_str()) });
        if name != "conditions" {
            fields(&path, schema, found);
            fields(&format!("{path}[]"), &schema["items"], found);
        }
    }
}

fn kind_of(schema: &Value) -> String {
    match text(schema, "type") {
        "array" => format!("list of {}", kind_of(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map of {}", kind_of(&schema["additionalProperties"]))
        }
        kind => kind.to_owned(),
    }
}

/// Whether it has to be there, what it may be, and what it is without being written.
fn limits(field: &Field<'_>) -> String {
    let schema = field.schema;
    let mut said = Vec::new();
    if field.required {
        said.push("required".to_owned());
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(|value| format!("`{}`", value.as_str().unwrap())).collect();
        said.push(values.join(", "));
    }
    for (key, word) in [
        ("minLength", "at least # characters"),
        ("maxLength", "at most # characters"),
        ("minimum", "at least #"),
        ("maximum", "at most #"),
        ("minItems", "at least # items"),
        ("maxItems", "at most # items"),
        ("format", "format #"),
    ] {
        match &schema[key] {
            Value::Null => {}
            Value::String(limit) => said.push(word.replace('#', limit)),
            // A limit may be written as 1.0.
            limit => said.push(word.replace('#', limit.to_string().trim_end_matches(".0"))),
        }
    }
    if let Some(default) = schema.get("default") {
        said.push(format!("default `{default}`"));
    }
    said.join("; ")
}

/// Every rule with the path of what it speaks of.
fn rules<'a>(path: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.push((path.to_owned(), rule));
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path == "the object" { name.clone() } else { format!("{path}.{name}") };
        rules(&path, schema, found);
    }
    if schema["items"].is_object() {
        rules(&format!("{path}[]"), &schema["items"], found);
    }
}

fn section(definition: &Value) -> String {
    let (spec, version) = (&definition["spec"], &definition["spec"]["versions"][0]);
    let (names, schema) = (&spec["names"], &version["schema"]["openAPIV3Schema"]);
    let list = |key: &str| {
        let all = names[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        all.map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ")
    };
    let mut page = format!("\n## {}\n\n{}\n\n", text(names, "kind"), cell(text(schema, "description")));
    writeln!(
        page,
        "`apiVersion: {}/{}`, `kind: {}`; {}; plural `{}`, short {}, category {}.",
        text(spec, "group"),
        text(version, "name"),
        text(names, "kind"),
        text(spec, "scope").to_lowercase(),
        text(names, "plural"),
        list("shortNames"),
        list("categories"),
    )
    .unwrap();
    for part in ["spec", "status"] {
        let about = cell(text(&schema["properties"][part], "description"));
        let name = text(names, "kind");
        write!(page, "\n### {name}: {part}\n\n{about}\n\n| field | type | limits | meaning |\n|---|---|---|---|\n")
            .unwrap();
        let mut found = Vec::new();
        fields("", &schema["properties"][part], &mut found);
        for field in found {
            let about = cell(text(field.schema, "description"));
            let path = field.path.trim_start_matches('.');
            writeln!(page, "| `{path}` | {} | {} | {about} |", kind_of(field.schema), limits(&field)).unwrap();
        }
        if let Some(default) = schema["properties"][part].get("default") {
            write!(page, "\nDefault of the whole: `{default}`.\n").unwrap();
        }
    }
    let mut found = Vec::new();
    rules("the object", schema, &mut found);
    write!(page, "\n### {}: rules\n\n| of | refused with | CEL |\n|---|---|---|\n", text(names, "kind")).unwrap();
    for (path, rule) in found {
        writeln!(page, "| `{path}` | {} | `{}` |", cell(text(rule, "message")), cell_of_code(text(rule, "rule")))
            .unwrap();
    }
    write!(page, "\n### {}: columns\n\n| column | from | shown |\n|---|---|---|\n", text(names, "kind")).unwrap();
    for column in version["additionalPrinterColumns"].as_array().unwrap() {
        let shown = if column["priority"].as_i64().unwrap_or_default() > 0 { "with `-o wide`" } else { "always" };
        writeln!(page, "| {} | `{}` | {shown} |", text(column, "name"), text(column, "jsonPath")).unwrap();
    }
    page
}

/// Back ticks keep `<`; a bar would end the cell all the same.
fn cell_of_code(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn conditions() -> String {
    use ConditionType::{AccountShared, Ready, Reconciling, Stalled};
    let mut page = "\n## Conditions\n\nOf all three kinds. Each has `type`, `status`, `reason`, `message`, `observedGeneration` and \
                    `lastTransitionTime`,\nwhich moves only when `status` flips.\n\n| type | present | meaning |\n|---|---|---|\n"
        .to_owned();
    for kind in [Ready, Reconciling, Stalled, AccountShared] {
        let (present, meaning) = match kind {
            Ready => ("always", "`True`: ZITADEL is known to hold what this generation of the spec says"),
            Reconciling => ("only while `True`", "not ready, and the operator is still trying"),
            Stalled => (
                "only while `True`",
                "not ready, and only a person can help, or ten minutes have passed without success",
            ),
            AccountShared => (
                "only while `True`, on connections",
                "the event store shows writes of the service account that this operator did not send; reason `ForeignWrites`",
            ),
        };
        writeln!(page, "| `{}` | {present} | {meaning} |", kind.as_str()).unwrap();
    }
    page.push_str("\nReasons, the same in conditions, Events and metrics; what to do about each is behind its link:\n");
    let links = Reason::ALL.map(|reason| format!("[{reason}](troubleshooting.md#{})", reason.as_str().to_lowercase()));
    for (at, link) in links.iter().enumerate() {
        let end = if at + 1 == links.len() { "." } else { "," };
        writeln!(page, "{link}{end}").unwrap();
    }
    page
}

fn metadata() -> String {
    format!(
        "\n## Metadata\n\n| what | on | who writes it | meaning |\n|---|---|---|---|\n\
         | finalizer `{FINALIZER}` | Target | the operator | the target in ZITADEL is dealt with, as `spec.deletionPolicy` says, \
         before the object goes |\n\
         | finalizer `{CONNECTION_FINALIZER}` | Connection, ClusterConnection | the operator | it stays while Targets need it |\n\
         | annotation `{CLAIM_ANNOTATION}` | Target | the operator | what it was about to create, and when: with it, a target is \
         found again after a crash or a [restore](backup.md). Do not remove it |\n\
         | annotation `{RECONCILE_ANNOTATION}` | Target | you | a new value asks for one pass; `status.lastHandledReconcileAt` \
         answers |\n\
         | field manager `{FIELD_MANAGER}` | all | the operator | owns `status`, and of `metadata` what is listed here; never \
         `spec` |\n"
    )
}

#[test]
fn the_reference_is_what_the_definitions_say() {
    let mut page = HEAD.to_owned();
    for kind in KINDS {
        let file = root().join(format!("crds/{kind}.zitadel-actions.dev.yaml"));
        page.push_str(&section(&serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()));
    }
    page.push_str(&conditions());
    page.push_str(&metadata());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(root().join(PATH), page).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(root().join(PATH)).unwrap_or_default();
    assert!(page == committed, "{PATH} is not up to date: UPDATE=1 cargo test --test docs reference");
}
