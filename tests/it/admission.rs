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

fn with(changes: Value) -> Value {
    let mut spec = webhook();
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            spec.as_object_mut().unwrap().remove(key);
        } else {
            spec[key] = value.clone();
        }
    }
    spec
}

/// Every accepted form, with what it tests.
fn accepted() -> Vec<(&'static str, Value)> {
    vec![
        ("webhook", webhook()),
        ("webhook without the flag", with(json!({"restWebhook": {}}))),
        ("call", with(json!({"restWebhook": null, "restCall": {"interruptOnError": false}}))),
        ("async", with(json!({"restWebhook": null, "restAsync": {}}))),
        ("name of 1", with(json!({"name": "a"}))),
        ("name of 200 code points", with(json!({"name": "ü".repeat(200)}))),
        ("name with spaces and slashes", with(json!({"name": "My Hook / 1"}))),
        ("endpoint of 1000", with(json!({"endpoint": format!("https://h/{}", "x".repeat(990))}))),
        ("http endpoint", with(json!({"endpoint": "http://hooks.example.com"}))),
        ("endpoint with port, query, user", with(json!({"endpoint": "https://u:p@h.example.com:8443/x?y=z"}))),
        ("upper-case scheme", with(json!({"endpoint": "HTTPS://hooks.example.com"}))),
        ("fraction", with(json!({"timeout": "0.5s"}))),
        ("nanoseconds", with(json!({"timeout": "0.000000001s"}))),
        ("longest timeout", with(json!({"timeout": "999999999.999999999s"}))),
        ("plain payload", with(json!({"payloadType": "JSON"}))),
        ("encrypted payload", with(json!({"payloadType": "JWE"}))),
        ("retain", with(json!({"deletionPolicy": "Retain"}))),
        ("delete", with(json!({"deletionPolicy": "Delete"}))),
        ("suspended", with(json!({"suspend": true}))),
    ]
}

/// Every refused form, with a piece of the message that says what to write instead.
fn refused() -> Vec<(&'static str, Value, &'static str)> {
    let timeout = "timeout must be a positive number of seconds with the suffix s";
    let endpoint = "endpoint must be an absolute http or https URL, such as";
    let kind = "set exactly one of restWebhook, restCall and restAsync";
    vec![
        ("no kind", with(json!({"restWebhook": null})), kind),
        ("two kinds", with(json!({"restAsync": {}})), kind),
        ("three kinds", with(json!({"restAsync": {}, "restCall": {}})), kind),
        ("empty name", with(json!({"name": ""})), "name must not be empty: write 1 to 200 characters"),
        ("name of 201", with(json!({"name": "a".repeat(201)})), "may not be more than 200"),
        ("name with a line break", with(json!({"name": "a\nb"})), "name must have no control characters"),
        ("no endpoint", with(json!({"endpoint": null})), "spec.endpoint: Required value"),
        ("empty endpoint", with(json!({"endpoint": ""})), endpoint),
        (
            "endpoint of 1001",
            with(json!({"endpoint": format!("https://h/{}", "x".repeat(991))})),
            "may not be more than 1000",
        ),
        ("relative endpoint", with(json!({"endpoint": "/hook"})), endpoint),
        ("endpoint without scheme", with(json!({"endpoint": "hooks.example.com/zitadel"})), endpoint),
        ("ftp endpoint", with(json!({"endpoint": "ftp://hooks.example.com/x"})), endpoint),
        ("endpoint without host", with(json!({"endpoint": "https://"})), endpoint),
        ("endpoint with a space in the host", with(json!({"endpoint": "https://a b/"})), endpoint),
        ("no timeout", with(json!({"timeout": null})), "spec.timeout: Required value"),
        ("zero timeout", with(json!({"timeout": "0s"})), timeout),
        ("zero timeout with a point", with(json!({"timeout": "0.0s"})), timeout),
        ("negative timeout", with(json!({"timeout": "-1s"})), timeout),
        ("minutes", with(json!({"timeout": "1m"})), timeout),
        ("milliseconds", with(json!({"timeout": "500ms"})), timeout),
        ("no suffix", with(json!({"timeout": "10"})), timeout),
        ("a number", with(json!({"timeout": 10})), "spec.timeout"),
        ("ten decimals", with(json!({"timeout": "1.0000000001s"})), timeout),
        ("ten digits", with(json!({"timeout": "1000000000s"})), timeout),
        ("empty timeout", with(json!({"timeout": ""})), timeout),
        ("wrong payload", with(json!({"payloadType": "jwt"})), "Unsupported value"),
        ("wrong policy", with(json!({"deletionPolicy": "Orphan"})), "Unsupported value"),
        ("flag as text", with(json!({"restWebhook": {"interruptOnError": "yes"}})), "interruptOnError"),
    ]
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

fn connection(changes: Value) -> Value {
    let mut spec = json!({
        "url": "https://auth.example.com",
        "credentials": {"personalAccessToken": {"secretRef": {"name": "iam-admin-pat", "key": "pat"}}},
    });
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

/// Both kinds have the same rules, and a ClusterConnection one field more.
#[tokio::test]
async fn connections_are_checked_alike() {
    let secret = json!({"secretRef": {"name": "a", "key": "b"}});
    let key = json!({"name": "a", "key": "b"});
    let pem = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";
    let url = "url must be scheme, host and port only";
    let one = "set exactly one of personalAccessToken, privateKeyJwt and clientCredentials";
    let accepted = [
        json!({}),
        json!({"url": "http://zitadel.zitadel.svc:8080", "host": "auth.example.com"}),
        json!({"url": "https://auth.example.com:8443/"}),
        json!({"api": "Auto"}),
        json!({"api": "resources/v3alpha"}),
        json!({"requestsPerSecond": 1000}),
        json!({"caBundle": pem}),
        json!({"caSecretRef": key}),
        json!({"credentials": {"privateKeyJwt": secret}}),
        json!({"credentials": {"clientCredentials": {"clientIdSecretRef": key, "clientSecretSecretRef": key}}}),
    ];
    let refused = [
        (json!({"url": "https://auth.example.com/path"}), url),
        (json!({"url": "https://user:word@auth.example.com"}), url),
        (json!({"url": "https://auth.example.com?x=1"}), url),
        (json!({"url": "https://auth.example.com#x"}), url),
        (json!({"url": "auth.example.com"}), url),
        (json!({"url": "ftp://auth.example.com"}), url),
        (json!({"host": "https://auth.example.com"}), "host must be a host name"),
        (json!({"host": "a\r\nx: y"}), "host must be a host name"),
        (json!({"api": "v1"}), "Unsupported value"),
        (json!({"requestsPerSecond": 0}), "greater than or equal to 1"),
        (json!({"requestsPerSecond": 1001}), "less than or equal to 1000"),
        (json!({"caBundle": "x"}), "certificates in PEM form"),
        (json!({"caBundle": pem, "caSecretRef": key}), "at most one of caBundle and caSecretRef"),
        (json!({"credentials": {}}), one),
        (json!({"credentials": {"personalAccessToken": secret, "privateKeyJwt": secret}}), one),
        (
            json!({"credentials": {"privateKeyJwt": {"secretRef": {"name": "other/a", "key": "b"}}}}),
            "without a namespace",
        ),
        (
            json!({"credentials": {"privateKeyJwt": {"secretRef": {"name": "a", "key": "../b"}}}}),
            "a key of the Secret's data",
        ),
        (json!({"credentials": {"privateKeyJwt": {"secretRef": {"name": "a"}}}}), "key: Required value"),
    ];
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
        for changes in &accepted {
            let spec = connection(changes.clone());
            assert_eq!(submit(spec.clone()).await, Ok(spec), "{kind} {changes}");
        }
        for (changes, message) in &refused {
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
    for (reference, message) in [
        (json!({"name": "a"}), "kind: Required value"),
        (json!({"kind": "Secret", "name": "a"}), "Unsupported value"),
        (json!({"kind": "Connection", "name": ""}), "at least 1"),
    ] {
        let said = server.submit(with(json!({"connectionRef": reference})), "a").await.unwrap_err();
        assert!(said.contains(message), "{said}");
    }
}
