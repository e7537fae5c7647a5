//! What the API server accepts and refuses by itself: schema and CEL, each form, with its message.

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::ApiResource;
use serde_json::{Value, json};
use zitadel_actions_operator::api::connection::{ClusterConnection, Connection};
use zitadel_actions_operator::api::names::{Endpoint, TargetName, Timeout};
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::Generation;

use crate::cluster::{client, namespace};
use crate::forms::{
    accepted, accepted_connections, connection, documents, metadata, named, refused, refused_connections,
    refused_references, with, written,
};
use crate::world::{Setup, World, webhook};

/// Submits objects as raw JSON, dry-run: everything but the storage.
struct Server(Api<DynamicObject>);

impl Server {
    async fn new() -> Self {
        let client = client().await;
        let namespace = namespace(&client).await;
        Self(Api::namespaced_with(client, &namespace, &ApiResource::erase::<Target>(&())))
    }

    async fn submit(&self, spec: Value, name: &str) -> Result<Value, String> {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "zitadel-actions.dev/v1alpha1", "kind": "Target", "metadata": {"name": name}, "spec": spec,
        }))
        .unwrap();
        let created = self.0.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await;
        created.map(|object| object.data["spec"].clone()).map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn accepted_forms_are_stored_as_written() {
    let server = Server::new().await;
    for (what, spec) in accepted() {
        assert_eq!(server.submit(spec.clone(), "a").await, Ok(spec), "{what}");
    }
}

#[tokio::test]
async fn refused_forms_say_what_to_write_instead() {
    let server = Server::new().await;
    for (what, spec, message) in refused() {
        match server.submit(spec, "a").await {
            Ok(_) => panic!("accepted: {what}"),
            Err(said) => assert!(said.contains(message), "{what}: {said}"),
        }
    }
}

#[tokio::test]
async fn a_long_metadata_name_needs_a_name_of_its_own() {
    let server = Server::new().await;
    let long = "a".repeat(201);
    let said = server.submit(webhook(), &long).await.unwrap_err();
    assert!(said.contains("set spec.name to a shorter name"), "{said}");
    assert!(server.submit(with(json!({"name": "short"})), &long).await.is_ok());
    assert!(server.submit(webhook(), &"a".repeat(200)).await.is_ok());
}

/// The same limits stand in the schema and in the value types: what one takes, the other takes.
#[test]
fn schema_and_value_types_agree() {
    let holds = |spec: &Value| {
        let text = |key: &str| spec[key].as_str().map(str::to_owned);
        let name = text("name").is_none_or(|name| name.parse::<TargetName>().is_ok());
        let timeout = text("timeout").is_some_and(|timeout| timeout.parse::<Timeout>().is_ok());
        name && timeout && text("endpoint").is_some_and(|endpoint| endpoint.parse::<Endpoint>().is_ok())
    };
    for (what, spec) in accepted() {
        assert!(holds(&spec), "{what}");
    }
    let values = ["name", "endpoint", "timeout", "minutes", "milliseconds", "suffix", "number", "decimals"];
    for (what, spec, _) in refused().into_iter().filter(|(what, ..)| values.iter().any(|value| what.contains(value))) {
        assert!(!holds(&spec), "{what}");
    }
}

#[tokio::test]
async fn unknown_fields_and_null() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let manifest = |extra: &str| {
        format!(
            "apiVersion: zitadel-actions.dev/v1alpha1\nkind: Target\nmetadata: {{name: a}}\nspec:\n  restAsync: {{}}\n  \
             timeout: 10s\n  endpoint: https://hooks.example.com\n  {extra}\n"
        )
    };
    let strict = world.kubectl(&["apply", "-f", "-"], &manifest("interruptOnError: true")).await;
    assert!(!strict.ok && strict.err.contains("unknown field \"spec.interruptOnError\""), "{strict:?}");
    let pruned =
        world.kubectl(&["apply", "--validate=ignore", "-f", "-"], &manifest("typo: 1\n  restCall: null")).await;
    assert!(pruned.ok, "{pruned:?}");
    let stored = serde_json::to_value(world.get("a").await.spec).unwrap();
    assert_eq!(stored, json!({"restAsync": {}, "timeout": "10s", "endpoint": "https://hooks.example.com"}));
    world.finish().await;
}

#[tokio::test]
async fn a_fresh_object_is_in_progress_for_kstatus() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    world.create("a", webhook()).await;
    let status = world.get("a").await.status.expect("the CRD's default");
    assert_eq!(status.observed_generation, Some(-1));
    world.finish().await;
}

/// Somebody who has no operator, or one that does not watch the namespace, is told so by the object itself.
#[tokio::test]
async fn without_an_operator_get_says_that_one_is_waited_for() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    world.create("a", webhook()).await;
    let spec = connection(json!({}));
    for kind in ["Connection", "ClusterConnection"] {
        let name = format!("pending-{}", world.namespace);
        let object = json!({"apiVersion": "zitadel-actions.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        assert!(world.kubectl(&["create", "-f", "-"], &object.to_string()).await.ok);
    }
    for kind in ["targets", "connections", "clusterconnections"] {
        let said = world.kubectl(&["get", kind, "-o", "wide"], "").await.out;
        let row = said.lines().find(|line| line.contains("pending-") || line.starts_with("a ")).unwrap_or_default();
        assert!(row.contains("Unknown") && row.contains("Pending"), "{said}");
        assert!(row.contains("Waiting for the operator"), "{said}");
        println!("{said}");
    }
    let name = format!("pending-{}", world.namespace);
    assert!(world.kubectl(&["delete", "clusterconnection", &name], "").await.ok);
    world.finish().await;
}

#[tokio::test]
async fn explain_reads_like_documentation() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let spec = world.kubectl(&["explain", "target.spec", "--recursive=false"], "").await.out;
    for field in ["name", "restWebhook", "restCall", "restAsync", "timeout", "endpoint", "deletionPolicy", "suspend"] {
        let said = world.kubectl(&["explain", &format!("target.spec.{field}")], "").await;
        let described = said.out.split("DESCRIPTION:").nth(1).unwrap_or_default().trim();
        assert!(said.ok && described.len() > 40, "{field}: {said:?}");
        assert!(spec.contains(field), "{field} in\n{spec}");
    }
    assert!(spec.contains("-required-"), "{spec}");
    world.finish().await;
}

/// The five wrong manifests that ship as examples: five messages, nothing created, here or there.
#[tokio::test]
async fn five_wrong_manifests_make_five_messages_and_nothing_else() {
    let world = World::new(Generation::V2).await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/wrong");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 5);
    let mut messages = std::collections::BTreeSet::new();
    for file in files {
        let said = world.kubectl(&["apply", "-f", file.to_str().unwrap()], "").await;
        assert!(!said.ok, "{} was accepted", file.display());
        println!("{}: {}", file.file_name().unwrap().display(), said.err.trim());
        messages.insert(said.err);
    }
    assert_eq!(messages.len(), 5, "each says something else: {messages:#?}");
    assert!(world.targets().list(&ListParams::default()).await.unwrap().items.is_empty());
    assert!(world.zitadel.events().is_empty());
    // The namespace is empty, so nothing can have been written remotely for it.
    world.targets().delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    world.finish().await;
}

/// Both kinds have the same rules, and a ClusterConnection one field more.
#[tokio::test]
async fn connections_are_checked_alike() {
    let client = client().await;
    let namespace = namespace(&client).await;
    let own = ApiResource::erase::<Connection>(&());
    let all = ApiResource::erase::<ClusterConnection>(&());
    let servers = [Api::namespaced_with(client.clone(), &namespace, &own), Api::all_with(client, &all)];
    for (kind, api) in ["Connection", "ClusterConnection"].into_iter().zip(servers) {
        let submit = async |spec: Value| {
            let object: DynamicObject = serde_json::from_value(json!({
                "apiVersion": "zitadel-actions.dev/v1alpha1", "kind": kind, "metadata": {"name": "a"}, "spec": spec,
            }))
            .unwrap();
            let created = api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await;
            created.map(|object| object.data["spec"].clone()).map_err(|error| error.to_string())
        };
        for changes in accepted_connections() {
            let spec = connection(changes.clone());
            assert_eq!(submit(spec.clone()).await, Ok(spec), "{kind} {changes}");
        }
        for (changes, message) in refused_connections() {
            let said = submit(connection(changes.clone())).await.expect_err(&format!("{kind} {changes}"));
            assert!(said.contains(message), "{kind} {changes}: {said}");
        }
        let allowed = json!({"allowedNamespaces": {"names": ["a"], "selector": {"matchLabels": {"a": "b"}}}});
        let kept = submit(connection(allowed.clone())).await.unwrap();
        assert_eq!(kept.get("allowedNamespaces").is_some(), kind == "ClusterConnection");
    }
}

#[tokio::test]
async fn a_connection_ref_names_kind_and_name() {
    let server = Server::new().await;
    for kind in ["Connection", "ClusterConnection"] {
        let spec = with(json!({"connectionRef": {"kind": kind, "name": "a"}}));
        assert_eq!(server.submit(spec.clone(), "a").await, Ok(spec));
    }
    for (reference, message) in refused_references() {
        let said = server.submit(with(json!({"connectionRef": reference})), "a").await.unwrap_err();
        assert!(said.contains(message), "{said}");
    }
}

/// As written, by `kubectl`: readers of YAML, of numbers and of URLs differ in these.
#[tokio::test]
async fn documents_are_taken_as_the_table_says() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let specs = documents().into_iter().map(|(text, taken)| (written(text), taken));
    let mut wrong = Vec::new();
    for (manifest, taken) in specs.chain(metadata().into_iter().map(|(text, taken)| (named(text), taken))) {
        let said = world.kubectl(&["create", "--dry-run=server", "-f", "-"], &manifest).await;
        if said.ok != taken {
            wrong.push(format!("{manifest}{}", said.err));
        }
    }
    assert!(wrong.is_empty(), "{} forms are not taken as the table says:\n{}", wrong.len(), wrong.join("\n"));
    world.finish().await;
}
