//! The forms that the API server accepts and refuses, each once: what drives the tests of the server (admission.rs) and
//! those of `check` (check.rs), so that the two agree.

use serde_json::{Value, json};

use crate::world::webhook;

/// A webhook with other values; null takes a field away.
pub fn with(changes: Value) -> Value {
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
pub fn accepted() -> Vec<(&'static str, Value)> {
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
        ("a nanosecond as a fraction", with(json!({"timeout": "0.000000001s"}))),
        ("minutes and seconds", with(json!({"timeout": "1m30s"}))),
        ("milliseconds", with(json!({"timeout": "500ms"}))),
        ("every unit", with(json!({"timeout": "1h1m1s1ms1us1\u{b5}s1ns"}))),
        ("fractions of units", with(json!({"timeout": "+1.5h.5m1.s"}))),
        ("longest timeout", with(json!({"timeout": "999999999.999999999s"}))),
        ("plain payload", with(json!({"payloadType": "JSON"}))),
        ("encrypted payload", with(json!({"payloadType": "JWE"}))),
        ("retain", with(json!({"deletionPolicy": "Retain"}))),
        ("delete", with(json!({"deletionPolicy": "Delete"}))),
        ("suspended", with(json!({"suspend": true}))),
    ]
}

/// Every refused form, with a piece of the message that says what to write instead.
pub fn refused() -> Vec<(&'static str, Value, &'static str)> {
    let timeout = "timeout must be a positive duration with units, such as 10s, 1m30s or 500ms";
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
        ("timeout in days", with(json!({"timeout": "1d"})), timeout),
        ("timeout with a space", with(json!({"timeout": "1 m"})), timeout),
        ("timeout whose last number has no unit", with(json!({"timeout": "1m30"})), timeout),
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

/// A connection with other values.
pub fn connection(changes: Value) -> Value {
    let mut spec = json!({
        "url": "https://auth.example.com",
        "credentials": {"personalAccessToken": {"secretRef": {"name": "iam-admin-pat", "key": "pat"}}},
    });
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

const PEM: &str = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";

/// What an accepted connection has instead of the usual.
pub fn accepted_connections() -> Vec<Value> {
    let key = json!({"name": "a", "key": "b"});
    let secret = json!({"secretRef": {"name": "a", "key": "b"}});
    let pem = PEM;
    vec![
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
    ]
}

/// What a refused connection has instead of the usual, with a piece of the message.
pub fn refused_connections() -> Vec<(Value, &'static str)> {
    let key = json!({"name": "a", "key": "b"});
    let secret = json!({"secretRef": {"name": "a", "key": "b"}});
    let pem = PEM;
    let url = "url must be scheme, host and port only";
    let one = "set exactly one of personalAccessToken, privateKeyJwt, clientCredentials and systemUser";
    vec![
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
    ]
}

/// References to a connection that are refused.
pub fn refused_references() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"name": "a"}), "kind: Required value"),
        (json!({"kind": "Secret", "name": "a"}), "Unsupported value"),
        (json!({"kind": "Connection", "name": ""}), "at least 1"),
    ]
}

/// Documents as people write them, and whether `kubectl apply` takes them: what differs between readers of YAML, of URLs
/// and of numbers, and what only strict validation refuses. Each completes a manifest (see [`written`]).
pub fn documents() -> Vec<(&'static str, bool)> {
    let endpoints = [
        ("https://h/#f", true),
        ("https://h#f", false),
        ("https://h/a b", true),
        ("https://h/%zz", false),
        ("https://h/%41", true),
        ("https://h:99999/", true),
        ("https://h:x/", false),
        ("https:/h", false),
        ("https:h", false),
        ("//h/x", false),
        ("https://[::1]:8080/", true),
        ("https://[::1/", false),
        ("https://h%41/", false),
        ("https://%C3%BC/", true),
        ("https://u ser@h/", false),
        ("https://ü.example.com", true),
        ("https://h_1/", true),
        ("https://h?x", true),
        ("https://h\\x/", false),
        ("https://:80/", false),
        ("https://u@:80/", false),
        ("https://h|x/", false),
        ("https://h/?q=%zz", true),
        ("HTTP://h", true),
    ];
    let mut all: Vec<(String, bool)> = endpoints
        .iter()
        .map(|(url, taken)| (format!("timeout: 10s\n  restAsync: {{}}\n  endpoint: {}", json!(url)), *taken))
        .collect();
    let rest = "timeout: 10s\n  endpoint: https://h\n  ";
    for (end, taken) in [
        ("restWebhook: {interruptOnError: yes}", true),
        ("restWebhook: {interruptOnError: on}", true),
        ("restWebhook: {interruptOnError: 1}", false),
        ("restWebhook: {interruptOnError: 'true'}", false),
        ("restAsync: {}\n  name: yes", false),
        ("restAsync: {}\n  name: n", false),
        ("restAsync: {}\n  name: Y", false),
        ("restAsync: {}\n  name: 2024-01-01", true),
        ("restAsync: {}\n  name: 010", false),
        ("restAsync: {}\n  name: !!str 010", true),
        ("restAsync: {}\n  name: ~", true),
        ("restAsync: {}\n  typo: 1", false),
        ("restAsync: {}\n  typo: ~", false),
        ("restAsync: {interruptOnError: true}", false),
        ("restAsync: []", false),
        ("restAsync: ~", false),
        ("restAsync: {}\n  suspend: ~", true),
        ("restAsync: {}\n  externalId: 'a/b'", false),
        ("restAsync: {}\n  externalId: '1'", true),
        ("restAsync: {}\n  managementPolicy: Observe", false),
        ("restAsync: {}\n  managementPolicy: Observe\n  externalId: '1'", true),
        ("restAsync: {}\n  connectionRef: {kind: Connection, name: a, namespace: b}", false),
        ("restAsync: {}\nstatus: {typo: 1}", false),
        ("restAsync: {}\ntypo: 1", false),
    ] {
        all.push((format!("{rest}{end}"), taken));
    }
    // The table lives as long as the test.
    all.into_iter().map(|(text, taken)| (&*text.leak(), taken)).collect()
}

/// Metadata that differs, and whether it is taken.
pub fn metadata() -> Vec<(&'static str, bool)> {
    vec![
        ("{name: a.b-c}", true),
        ("{name: A}", false),
        ("{name: a_b}", false),
        ("{name: '-a'}", false),
        ("{name: 1}", false),
        ("{name: a, labels: {b: c}}", true),
        ("{name: a, labels: {b: 1}}", false),
        ("{name: a, typo: 1}", false),
        ("{name: a, annotations: ~}", true),
        ("{name: a, creationTimestamp: ~}", true),
        ("{}", false),
        ("{name: a, annotations: {b: yes}}", false),
    ]
}

/// The manifest of a document of [`documents`].
pub fn written(spec: &str) -> String {
    format!("apiVersion: zitadel-actions.dev/v1alpha1\nkind: Target\nmetadata: {{name: a}}\nspec:\n  {spec}\n")
}

/// The manifest of a line of [`metadata`].
pub fn named(metadata: &str) -> String {
    format!(
        "apiVersion: zitadel-actions.dev/v1alpha1\nkind: Target\nmetadata: {metadata}\nspec: {{timeout: 10s, endpoint: 'https://h', restAsync: {{}}}}\n"
    )
}
